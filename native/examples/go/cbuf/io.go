package cbuf

import (
	"fmt"
	"io"
)

var (
	_ io.ReaderAt = (*Buffer)(nil)
	_ io.WriterAt = (*Buffer)(nil)
	_ io.Closer   = (*Buffer)(nil)
)

// ReadAt copies bytes from the buffer to p, which stays the caller's. As io.ReaderAt asks, it
// returns io.EOF when it copied less than len(p).
func (b *Buffer) ReadAt(p []byte, off int64) (int, error) {
	bytes, err := b.lend()
	if err != nil {
		return 0, err
	}
	defer b.giveBack()
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", ErrRange, off)
	}
	if off >= int64(len(bytes)) {
		if len(p) == 0 && off == int64(len(bytes)) {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt copies p, which stays the caller's, to the buffer. When it does not fit, nothing is
// written and ErrRange returned: the buffer grows by Grow alone.
func (b *Buffer) WriteAt(p []byte, off int64) (int, error) {
	bytes, err := b.lend()
	if err != nil {
		return 0, err
	}
	defer b.giveBack()
	if off < 0 || off > int64(len(bytes)) || len(p) > len(bytes)-int(off) {
		return 0, fmt.Errorf("%w: %d bytes at offset %d of %d", ErrRange, len(p), off, len(bytes))
	}
	return copy(bytes[off:], p), nil
}

package cbuf

import (
	"bytes"
	"errors"
	"math/big"
	"runtime"
	"testing"
)

// FuzzSize compares Size with arithmetic that has no limits.
func FuzzSize(f *testing.F) {
	for _, pair := range [][2]int{
		{1, 1}, {0, 0}, {-1, 4}, {1 << 40, 1}, {1<<40 + 1, 1}, {1 << 32, 1 << 32}, {1 << 62, 4}, {-1 << 63, -1},
		{32768 * 32768, 4}, {3037000500, 3037000500},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, count, size int) {
		product := new(big.Int).Mul(big.NewInt(int64(count)), big.NewInt(int64(size)))
		possible := count > 0 && size > 0 && product.Cmp(big.NewInt(MaxSize)) <= 0
		n, err := Size(count, size)
		if (err == nil) != possible || (possible && product.Cmp(big.NewInt(int64(n))) != 0) {
			t.Fatalf("Size(%d, %d) = %d, %v", count, size, n, err)
		}
		if n > 1<<20 {
			return
		}
		b, err := NewArray(count, size)
		if (err == nil) != possible || b.Len() != n {
			t.Fatalf("NewArray(%d, %d): %d bytes, %v", count, size, b.Len(), err)
		}
		b.Close()
	})
}

// FuzzLifetime does what the bytes say to a buffer, to its closed self and to its successors, and
// compares with a model that a Go slice is. Under -asan a byte touched too late ends the program.
func FuzzLifetime(f *testing.F) {
	f.Add([]byte{0, 9, 1, 5, 2, 3, 3, 200, 4, 0, 5, 0, 4, 0, 5, 0})
	f.Add([]byte{6, 40, 1, 2, 7, 0, 2, 0, 4, 0, 8, 0, 1, 1})
	f.Add([]byte{0, 1, 9, 0, 3, 1, 9, 7, 4, 0, 9, 9})
	f.Add([]byte{5, 5, 0, 0, 0, 255, 3, 0, 3, 255})
	f.Fuzz(func(t *testing.T, program []byte) {
		var b *Buffer
		var model []byte
		open := false
		check := func(call string, err error) {
			t.Helper()
			if (err == nil) != open || (err != nil && !errors.Is(err, ErrClosed)) {
				t.Fatalf("%s: %v, open: %v", call, err, open)
			}
		}
		defer func() { b.Close() }()
		for len(program) >= 2 {
			what, n := program[0]%10, int(program[1])
			program = program[2:]
			switch what {
			case 0: // a new one
				b.Close()
				var err error
				b, err = New(n)
				if open = n > 0; (err == nil) != open {
					t.Fatalf("New(%d): %v", n, err)
				}
				model = make([]byte, n)
			case 1: // write
				_, err := b.WriteAt([]byte{byte(what), byte(n)}, int64(n))
				if open && n+2 > len(model) {
					if !errors.Is(err, ErrRange) {
						t.Fatalf("WriteAt(%d) of %d: %v", n, len(model), err)
					}
					continue
				}
				if check("WriteAt", err); open {
					copy(model[n:], []byte{byte(what), byte(n)})
				}
			case 2: // lend
				check("With", b.With(func(p []byte) {
					for i := range p {
						p[i] += byte(n)
						model[i] += byte(n)
					}
				}))
			case 3: // grow
				err := b.Grow(8 * n)
				if n == 0 || (open && 8*n < len(model)) {
					if !errors.Is(err, ErrSize) {
						t.Fatalf("Grow(%d) of %d: %v", 8*n, len(model), err)
					}
					continue
				}
				if check("Grow", err); open {
					model = append(model, make([]byte, 8*n-len(model))...)
				}
			case 4, 5: // close, at times again
				b.Close()
				open = false
			case 6: // close in a loan
				check("With", b.With(func(p []byte) {
					b.Close()
					p[len(p)-1] = byte(n)
				}))
				open = false
			case 7: // forget it
				if b != nil {
					b = nil
					open = false
					if n == 0 {
						runtime.GC()
					}
				}
			case 8: // out of Go's hands and back
				p, size, err := b.Release()
				if check("Release", err); open {
					b, err = Own(p, size)
					check("Own", err)
				}
			case 9: // grow in a loan
				check("With", b.With(func([]byte) {
					if err := b.Grow(len(model) + n + 1); !errors.Is(err, ErrLent) {
						t.Fatalf("Grow in a loan: %v", err)
					}
				}))
			}
			if got, err := b.Clone(); open && (err != nil || !bytes.Equal(got, model)) {
				t.Fatalf("got %v, want %v, %v", got, model, err)
			} else if !open && !errors.Is(err, ErrClosed) {
				t.Fatalf("Clone: %v", err)
			}
		}
	})
}

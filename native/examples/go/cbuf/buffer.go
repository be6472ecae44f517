// Package cbuf owns blocks of C memory from Go.
//
// A [Buffer] is the one owner of one block that C's calloc gave. Its bytes are lent to a function
// for the length of a call ([Buffer.With]) or copied ([Buffer.Clone], [Buffer.ReadAt],
// [Buffer.WriteAt]); no method hands out a slice to keep. [Buffer.Close] gives the block back. A
// cleanup of Go's runtime stands behind it as a net for a Buffer that somebody forgot; it is
// counted ([ReadStats]) and can be reported ([OnForgotten]), because the garbage collector sees
// the few bytes of a Buffer and not the megabytes behind it, and may come late or never.
//
// What happens to bad input, never corruption:
//
//	size negative, zero, above MaxSize, product overflows   ErrSize
//	C has no memory left                                    ErrNoMemory
//	use after Close, nil *Buffer, zero Buffer               ErrClosed
//	Close again, Close of nil or of a zero Buffer           nothing
//	Close during a loan                                     no new loans; freed when the last ends
//	Grow or Release during a loan                           ErrLent
//	offset outside the buffer                               ErrRange
//	NUL inside a string for C                               ErrNUL
//
// One thing no Go type can forbid: a function that keeps the slice it was lent and uses it after
// it has returned. Tests built with -asan find it.
//
// All methods may be called concurrently. The bytes themselves are memory like any other: whoever
// writes them from two loans at once must synchronise, and the race detector does not see C memory.
package cbuf

/*
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync"
	"unsafe"
)

// MaxSize is the largest size of a Buffer in bytes. No allocator in use gives more, and the sum of
// two sizes that passed this check cannot overflow a size_t.
const MaxSize = min(1<<40, math.MaxInt)

var (
	// ErrSize says that a size is negative, zero or too large.
	ErrSize = errors.New("cbuf: bad size")
	// ErrNoMemory says that C's allocator returned NULL.
	ErrNoMemory = errors.New("cbuf: out of C memory")
	// ErrClosed says that the buffer owns no memory (any more).
	ErrClosed = errors.New("cbuf: use of a closed buffer")
	// ErrLent says that the memory must stay where it is: a function is using it.
	ErrLent = errors.New("cbuf: buffer is lent")
	// ErrRange says that an offset does not lie in the buffer.
	ErrRange = errors.New("cbuf: out of range")
)

// Buffer owns a block of C memory. It must not be copied (go vet tells) and is made by [New],
// [NewArray], [NewString] or [Own]. The zero Buffer is a closed one.
type Buffer struct {
	_       noCopy
	block   *block          // Go memory; shared with the cleanup, which must not reach the Buffer
	cleanup runtime.Cleanup // the net; stopped by Close and Release
}

// block is what a Buffer and its cleanup both know of the C memory. It holds no reference to the
// Buffer: with one, the Buffer would stay reachable and the cleanup would never run.
type block struct {
	site string // where the Buffer was made, if somebody listens (OnForgotten)

	mu     sync.Mutex
	p      unsafe.Pointer // C memory, owned: freed exactly once, by release; nil from then on
	n      int            // its size in bytes
	loans  int            // functions that use p now; while there are any, p is neither moved nor freed
	closed bool           // no new loans; p is freed when the last one ends
}

// Size returns count*size when that is the size of a possible Buffer, and ErrSize otherwise.
func Size(count, size int) (int, error) {
	if count <= 0 || size <= 0 {
		return 0, fmt.Errorf("%w: %d elements of %d bytes", ErrSize, count, size)
	}
	high, low := bits.Mul64(uint64(count), uint64(size))
	if high != 0 || low > MaxSize {
		return 0, fmt.Errorf("%w: %d elements of %d bytes are more than %d bytes",
			ErrSize, count, size, uint64(MaxSize))
	}
	return int(low), nil
}

// New returns the owner of n zeroed bytes of C memory. Call Close when you are done with it.
//
// The memory comes from calloc: unlike C.malloc, which ends the program, C.calloc returns nil when
// there is no memory, and what Go reads from it is zero and not what stood there before.
func New(n int) (*Buffer, error) {
	return newBuffer(n, 1, 2)
}

// NewArray returns the owner of count zeroed elements of size bytes each. The product is checked.
func NewArray(count, size int) (*Buffer, error) {
	return newBuffer(count, size, 2)
}

func newBuffer(count, size, skip int) (*Buffer, error) {
	n, err := Size(count, size)
	if err != nil {
		return nil, err
	}
	p := C.calloc(C.size_t(n), 1) // owned by us until own has taken it
	if p == nil {
		return nil, fmt.Errorf("%w: calloc of %d bytes", ErrNoMemory, n)
	}
	return own(p, n, skip+1), nil
}

// Own makes a Buffer the owner of n bytes at p.
//
// p must come from C's malloc, calloc, realloc or strdup, hold at least n bytes, and belong to the
// caller; from now on it belongs to the Buffer, and nobody else may free it. When Own returns an
// error, p is still the caller's.
func Own(p unsafe.Pointer, n int) (*Buffer, error) {
	if p == nil {
		return nil, fmt.Errorf("%w: NULL", ErrClosed)
	}
	if _, err := Size(n, 1); err != nil {
		return nil, err
	}
	return own(p, n, 2), nil
}

// own takes ownership of p. skip is the number of frames up to the caller to name.
func own(p unsafe.Pointer, n, skip int) *Buffer {
	b := &Buffer{block: &block{p: p, n: n, site: site(skip + 1)}}
	live.Add(1)
	liveBytes.Add(int64(n))
	b.cleanup = runtime.AddCleanup(b, (*block).forgotten, b.block)
	return b
}

// Close gives the memory back. It may be called any number of times, from any goroutine; all calls
// but the first do nothing. During a loan it returns at once: there are no new loans, and the
// memory is freed when the last one ends. The error is always nil; it is there for io.Closer.
func (b *Buffer) Close() error {
	if b == nil || b.block == nil {
		return nil
	}
	if _, first := b.block.close(); first {
		b.cleanup.Stop()
	}
	runtime.KeepAlive(b) // Stop is sure to work only while b is reachable
	return nil
}

// With lends the bytes to f. The slice is C memory and is good until f returns: f must neither keep
// it nor give it to a goroutine that outlives the call. Its capacity is its length, so that an
// append copies it to Go memory instead of writing behind the block.
//
// Inside f the Buffer may be lent again and closed; Grow and Release return ErrLent. A panic in f
// ends the loan and goes on.
func (b *Buffer) With(f func(bytes []byte)) error {
	bytes, err := b.lend()
	if err != nil {
		return err
	}
	defer b.giveBack()
	f(bytes)
	return nil
}

// lend counts a loan; giveBack must follow. The slice is C memory that belongs to the block.
func (b *Buffer) lend() ([]byte, error) {
	if b == nil || b.block == nil {
		return nil, ErrClosed
	}
	k := b.block
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	k.loans++
	return unsafe.Slice((*byte)(k.p), k.n), nil
}

// giveBack ends a loan.
func (b *Buffer) giveBack() {
	k := b.block
	k.mu.Lock()
	k.loans--
	if k.closed && k.loans == 0 {
		k.release()
	}
	k.mu.Unlock()
	// Until here b counts as used: without this line, b could become unreachable as soon as its
	// block was loaded, and its cleanup could run while f still works.
	runtime.KeepAlive(b)
}

// Len returns the size in bytes, 0 when the buffer is closed.
func (b *Buffer) Len() int {
	if b == nil || b.block == nil {
		return 0
	}
	b.block.mu.Lock()
	defer b.block.mu.Unlock()
	if b.block.closed {
		return 0
	}
	return b.block.n
}

// Clone returns a copy of the bytes in Go memory, the caller's to keep.
func (b *Buffer) Clone() ([]byte, error) {
	bytes, err := b.lend()
	if err != nil {
		return nil, err
	}
	defer b.giveBack()
	return append([]byte(nil), bytes...), nil
}

// Grow makes the buffer n bytes long, with realloc: the block may move. What is new is zeroed,
// which realloc alone does not do. n must not be smaller than Len. When Grow returns an error, the
// buffer is as it was: a realloc that fails keeps the old block, and so do we.
func (b *Buffer) Grow(n int) error {
	if _, err := Size(n, 1); err != nil {
		return err
	}
	if b == nil || b.block == nil {
		return ErrClosed
	}
	k := b.block
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return ErrClosed
	case k.loans > 0:
		return ErrLent
	case n < k.n:
		return fmt.Errorf("%w: Grow from %d to %d bytes", ErrSize, k.n, n)
	case n == k.n:
		return nil
	}
	moved := C.realloc(k.p, C.size_t(n)) // owned by us; if not nil, k.p is no longer
	if moved == nil {
		return fmt.Errorf("%w: realloc to %d bytes", ErrNoMemory, n)
	}
	k.p = moved
	clear(unsafe.Slice((*byte)(moved), n)[k.n:])
	liveBytes.Add(int64(n - k.n))
	k.n = n
	runtime.KeepAlive(b)
	return nil
}

// Release gives the block to the caller, who must free it with C.free or hand it to C code that
// does. The Buffer is closed afterwards.
func (b *Buffer) Release() (p unsafe.Pointer, n int, err error) {
	if b == nil || b.block == nil {
		return nil, 0, ErrClosed
	}
	k := b.block
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, 0, ErrClosed
	case k.loans > 0:
		return nil, 0, ErrLent
	}
	p, n = k.p, k.n
	k.closed, k.p = true, nil
	live.Add(-1)
	liveBytes.Add(-int64(n))
	b.cleanup.Stop()
	runtime.KeepAlive(b)
	return p, n, nil
}

// close forbids new loans and frees the memory if nobody uses it. It returns the size, and whether
// this was the first call.
func (k *block) close() (n int, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return k.n, false
	}
	k.closed = true
	if k.loans == 0 {
		k.release()
	}
	return k.n, true
}

// release frees the memory. The caller holds the lock and has set closed.
func (k *block) release() {
	C.free(k.p)
	k.p = nil
	live.Add(-1)
	liveBytes.Add(-int64(k.n))
}

// forgotten is the cleanup. It runs in a goroutine of the runtime, on any thread, some time after
// the Buffer has become unreachable, if the garbage collector runs at all.
func (k *block) forgotten() {
	if n, first := k.close(); first {
		report(Forgotten{Size: n, Site: k.site})
	}
}

// noCopy makes go vet's copylocks check speak up when a Buffer is copied: a copy has no cleanup of
// its own, and would see its memory freed when the original is collected.
type noCopy struct{}

// Lock is here for go vet.
func (*noCopy) Lock() {}

// Unlock is here for go vet.
func (*noCopy) Unlock() {}

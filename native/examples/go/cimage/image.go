// Package cimage keeps images in C memory and works on them in C.
//
// An [Image] is the one owner of its C memory; [Image.Close] gives it back, and a cleanup of Go's
// runtime is the net for one that was forgotten ([Forgotten] counts). Pixels are seen in three ways:
//
//   - [Image.With] lends the bytes themselves to a function for the length of a call;
//   - [Image.View] returns an image/draw.Image that keeps its owner alive and panics with words
//     after Close, so that it can never show memory that belongs to somebody else;
//   - [Image.ToImage] returns a copy in Go memory, yours to keep.
//
// What happens to bad input, never corruption:
//
//	width or height not positive, channels not 1, 3 or 4, product above MaxBytes   ErrSize
//	C has no memory left                                                          ErrNoMemory
//	method after Close, of a nil *Image or of a zero Image                        ErrClosed
//	View's At, Set after Close                                                    panic "cimage: use of a closed image"
//	Close again, Close of nil                                                     nothing
//	Close during a loan                                                           freed when the last loan ends
//	Invert, Brighten, BoxBlur during a loan                                       ErrLent
//	negative radius                                                               ErrRadius
//	delta beyond ±255, radius beyond the image                                    as large as can be
//	View's At outside the bounds                                                  a transparent or black pixel
//	View's Set outside the bounds                                                 nothing
//
// All methods may be called concurrently. Bytes that are lent are memory like any other: who
// writes them from two loans at once must synchronise.
package cimage

/*
#include "pixels.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// MaxBytes is the largest number of bytes of an image: 16 GiB, or what an int can count.
const MaxBytes = min(16<<30, math.MaxInt)

var (
	// ErrSize says that an image cannot have these dimensions.
	ErrSize = errors.New("cimage: bad size")
	// ErrNoMemory says that C's allocator returned NULL.
	ErrNoMemory = errors.New("cimage: out of C memory")
	// ErrClosed says that the image owns no memory (any more).
	ErrClosed = errors.New("cimage: use of a closed image")
	// ErrLent says that the pixels must not change now: a function is looking at them.
	ErrLent = errors.New("cimage: image is lent")
	// ErrRadius says that a radius is negative.
	ErrRadius = errors.New("cimage: bad radius")
)

// Image owns an image in C memory. It must not be copied (go vet tells) and is made by [New] or
// [FromImage]. The zero Image is a closed one.
type Image struct {
	_       noCopy
	width   int // as in C; here too so that they can be asked after Close
	height  int
	chans   int
	pixels  *pixels         // Go memory; shared with the cleanup, which must not reach the Image
	cleanup runtime.Cleanup // the net; stopped by Close
}

// pixels is what an Image and its cleanup both know of the C memory.
type pixels struct {
	mu     sync.Mutex
	c      *C.oh_image // C memory, owned: freed exactly once, by release; nil from then on
	loans  int         // functions that look at the bytes now
	closed bool        // no new loans; freed when the last one ends
}

var live, forgotten atomic.Int64

// Live returns the number of images that own memory now.
func Live() int { return int(live.Load()) }

// Forgotten returns the number of images that the cleanup had to close since the program began.
func Forgotten() int { return int(forgotten.Load()) }

// Size returns the number of bytes of an image, or ErrSize. It multiplies in full width before
// anything is converted to a C type: C.int(1<<32 + 7) is 7, and 32768*32768*4 is 0 in 32 bits.
func Size(width, height, channels int) (int, error) {
	if width <= 0 || height <= 0 {
		return 0, fmt.Errorf("%w: %d x %d", ErrSize, width, height)
	}
	if channels != 1 && channels != 3 && channels != 4 {
		return 0, fmt.Errorf("%w: %d channels, not 1, 3 or 4", ErrSize, channels)
	}
	high, area := bits.Mul64(uint64(width), uint64(height))
	if high != 0 || area > uint64(MaxBytes)/uint64(channels) {
		return 0, fmt.Errorf("%w: %d x %d x %d is more than %d bytes",
			ErrSize, width, height, channels, uint64(MaxBytes))
	}
	return int(area) * channels, nil
}

// New returns the owner of a black image with 1 (grey), 3 (red, green, blue) or 4 (and alpha)
// channels of 8 bits. With alpha it is transparent. Call Close when you are done with it.
func New(width, height, channels int) (*Image, error) {
	if _, err := Size(width, height, channels); err != nil {
		return nil, err
	}
	// c is ours when oh_image_new returns, then the Image's. Go lends C the address of the
	// variable for the call; C stores a C pointer in it, which is allowed.
	var c *C.oh_image
	status := C.oh_image_new(C.size_t(width), C.size_t(height), C.size_t(channels), &c)
	if err := check(status); err != nil {
		return nil, fmt.Errorf("%w: %d x %d x %d", err, width, height, channels)
	}
	m := &Image{width: width, height: height, chans: channels, pixels: &pixels{c: c}}
	live.Add(1)
	m.cleanup = runtime.AddCleanup(m, (*pixels).forgotten, m.pixels)
	return m, nil
}

// check turns C's status into an error.
func check(status C.oh_status) error {
	switch status {
	case C.OH_OK:
		return nil
	case C.OH_NO_MEMORY:
		return ErrNoMemory
	default:
		return ErrSize
	}
}

// Close gives the memory back. It may be called any number of times, from any goroutine; all calls
// but the first do nothing. During a loan it returns at once: there are no new loans, and the
// memory is freed when the last one ends. The error is always nil; it is there for io.Closer.
func (m *Image) Close() error {
	if m == nil || m.pixels == nil {
		return nil
	}
	if m.pixels.close() {
		m.cleanup.Stop()
	}
	runtime.KeepAlive(m) // Stop is sure to work only while m is reachable
	return nil
}

// Width returns the number of pixels in a row, also after Close; 0 of a nil or zero Image.
func (m *Image) Width() int {
	if m == nil {
		return 0
	}
	return m.width
}

// Height returns the number of rows, also after Close; 0 of a nil or zero Image.
func (m *Image) Height() int {
	if m == nil {
		return 0
	}
	return m.height
}

// Channels returns the number of bytes of a pixel, also after Close; 0 of a nil or zero Image.
func (m *Image) Channels() int {
	if m == nil {
		return 0
	}
	return m.chans
}

// Stride returns the number of bytes of a row, also after Close; 0 of a nil or zero Image.
func (m *Image) Stride() int { return m.Width() * m.Channels() }

// With lends the bytes to f: Height rows of Stride bytes. The slice is C memory and is good until f
// returns: f must neither keep it nor give it to a goroutine that outlives the call. Its capacity
// is its length. Inside f the image may be lent again and closed; what works on the pixels in C
// returns ErrLent. A panic in f ends the loan and goes on.
func (m *Image) With(f func(bytes []byte)) error {
	bytes, err := m.lend()
	if err != nil {
		return err
	}
	defer m.giveBack()
	f(bytes)
	return nil
}

// lend counts a loan; giveBack must follow. The slice is C memory that belongs to the image.
func (m *Image) lend() ([]byte, error) {
	if m == nil || m.pixels == nil {
		return nil, ErrClosed
	}
	p := m.pixels
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	p.loans++
	return m.bytes(), nil
}

// bytes returns the pixels where they are. The caller holds the lock and has seen that the image
// is open; it must not let the slice out of a loan.
func (m *Image) bytes() []byte {
	return unsafe.Slice((*byte)(m.pixels.c.data), m.Stride()*m.height)
}

// giveBack ends a loan.
func (m *Image) giveBack() {
	p := m.pixels
	p.mu.Lock()
	p.loans--
	if p.closed && p.loans == 0 {
		p.release()
	}
	p.mu.Unlock()
	// Until here m counts as used: without this line, m could become unreachable as soon as its
	// pixels were loaded, and its cleanup could run while f still works.
	runtime.KeepAlive(m)
}

// Invert replaces each colour by its opposite; alpha stays.
func (m *Image) Invert() error {
	return m.work(func(c *C.oh_image) C.oh_status {
		C.oh_image_invert(c)
		return C.OH_OK
	})
}

// Brighten adds delta to each colour; what would leave 0 to 255 stays at the limit, alpha as it is.
func (m *Image) Brighten(delta int) error {
	delta = max(-255, min(delta, 255)) // before it becomes a C.int
	return m.work(func(c *C.oh_image) C.oh_status {
		C.oh_image_brighten(c, C.int(delta))
		return C.OH_OK
	})
}

// BoxBlur replaces each sample by the mean of those at most radius pixels away in x and in y,
// within the image. When there is no memory for it, the image stays as it was.
func (m *Image) BoxBlur(radius int) error {
	if radius < 0 {
		return fmt.Errorf("%w: %d", ErrRadius, radius)
	}
	return m.work(func(c *C.oh_image) C.oh_status {
		return C.oh_image_box_blur(c, C.size_t(radius))
	})
}

// work lends the C image to f, which alone may touch it.
func (m *Image) work(f func(c *C.oh_image) C.oh_status) error {
	if m == nil || m.pixels == nil {
		return ErrClosed
	}
	p := m.pixels
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case p.loans > 0:
		return ErrLent
	}
	err := check(f(p.c))
	runtime.KeepAlive(m) // not before C has returned
	return err
}

// close forbids new loans and frees the memory if nobody uses it. It tells whether this was the
// first call.
func (p *pixels) close() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.closed = true
	if p.loans == 0 {
		p.release()
	}
	return true
}

// release frees the memory. The caller holds the lock and has set closed.
func (p *pixels) release() {
	C.oh_image_free(p.c)
	p.c = nil
	live.Add(-1)
}

// forgotten is the cleanup. It runs in a goroutine of the runtime, on any thread, some time after
// the Image has become unreachable, if the garbage collector runs at all.
func (p *pixels) forgotten() {
	if p.close() {
		forgotten.Add(1)
	}
}

// noCopy makes go vet's copylocks check speak up when an Image is copied.
type noCopy struct{}

// Lock is here for go vet.
func (*noCopy) Lock() {}

// Unlock is here for go vet.
func (*noCopy) Unlock() {}

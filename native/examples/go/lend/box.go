package lend

/*
#include <stdlib.h>
#include "library.h"
*/
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// Box is a queue in C that keeps byte strings and frees those that are left in it. C outlives the
// call with them and calls free on them, so they must be copies in memory from malloc.
type Box struct {
	state   *boxState // Go memory; shared with the cleanup, which must not reach the Box
	cleanup runtime.Cleanup
	_       noCopy
}

type boxState struct {
	mu sync.Mutex
	c  *C.lib_box // C memory, owned: freed once by close, nil from then on
}

// NewBox returns the owner of an empty box. Call Close when you are done with it.
func NewBox() (*Box, error) {
	c := C.lib_box_new() // ours, then the Box's
	if c == nil {
		return nil, ErrNoMemory
	}
	b := &Box{state: &boxState{c: c}}
	b.cleanup = runtime.AddCleanup(b, func(s *boxState) { s.close() }, b.state)
	return b, nil
}

// Put gives the box a copy of data, which stays the caller's.
func (b *Box) Put(data []byte) error {
	if b == nil || b.state == nil {
		return ErrClosed
	}
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	if b.state.c == nil {
		return ErrClosed
	}
	// From malloc, ours until C has taken it. An empty slice becomes a block of one byte, and
	// when there is no memory, C.CBytes ends the program.
	copied := C.CBytes(data)
	ok := C.lib_box_put(b.state.c, (*C.uint8_t)(copied), C.size_t(len(data)))
	runtime.KeepAlive(b) // not before C has returned
	if !ok {
		C.free(copied) // C did not take it
		return ErrNoMemory
	}
	return nil
}

// Take returns a copy of the oldest bytes in the box and frees what C gave; ok is false when the
// box is empty.
func (b *Box) Take() (data []byte, ok bool, err error) {
	if b == nil || b.state == nil {
		return nil, false, ErrClosed
	}
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	if b.state.c == nil {
		return nil, false, ErrClosed
	}
	var size C.size_t                         // Go memory, lent for the call
	given := C.lib_box_take(b.state.c, &size) // ours to free
	runtime.KeepAlive(b)                      // not before C has returned
	defer C.free(unsafe.Pointer(given))       // free(NULL) does nothing
	if given == nil {
		return nil, false, nil
	}
	// What C.GoBytes does, without its C.int for the length, which cuts off at 2 GiB.
	data = make([]byte, size)
	copy(data, unsafe.Slice((*byte)(given), size))
	return data, true, nil
}

// Close frees the box and what is left in it. It may be called any number of times, from any
// goroutine.
func (b *Box) Close() error {
	if b == nil || b.state == nil {
		return nil
	}
	b.cleanup.Stop()
	b.state.close()
	runtime.KeepAlive(b)
	return nil
}

func (s *boxState) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	C.lib_box_free(s.c) // NULL is allowed
	s.c = nil
}

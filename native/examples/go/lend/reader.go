package lend

/*
#include "library.h"
*/
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// Reader reads a Go slice byte by byte through a C object that keeps the slice's address from one
// call to the next. The slice is pinned until Close: the collector neither frees nor moves it.
//
// Call Close. For a Reader that is forgotten there is the net, which frees the C object and unpins
// the slice some time after a garbage collection. Without a net the program would end then: a
// pinner that is collected while it pins panics with "runtime.Pinner: found leaking pinned pointer".
type Reader struct {
	state   *readerState // Go memory; shared with the cleanup, which must not reach the Reader
	cleanup runtime.Cleanup
	_       noCopy
}

type readerState struct {
	mu     sync.Mutex
	c      *C.lib_reader  // C memory, owned: freed once by close, nil from then on
	pinner runtime.Pinner // holds data in place as long as c knows its address
}

// NewReader returns the owner of a C reader of data. The slice stays the caller's, who may change
// its bytes but must not append to it and expect C to see that. It is kept alive by the pin.
func NewReader(data []byte) (*Reader, error) {
	s := new(readerState)
	if len(data) > 0 {
		s.pinner.Pin(unsafe.SliceData(data))
	} else {
		data = nil // nothing to pin, and no address for C to keep
	}
	s.c = C.lib_reader_new(start(data), C.size_t(len(data)))
	if s.c == nil {
		s.pinner.Unpin()
		return nil, ErrNoMemory
	}
	r := &Reader{state: s}
	r.cleanup = runtime.AddCleanup(r, func(s *readerState) { s.close() }, s)
	return r, nil
}

// Next returns the next byte; ok is false at the end.
func (r *Reader) Next() (value byte, ok bool, err error) {
	if r == nil || r.state == nil {
		return 0, false, ErrClosed
	}
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	if r.state.c == nil {
		return 0, false, ErrClosed
	}
	got := C.lib_reader_next(r.state.c)
	runtime.KeepAlive(r) // not before C has returned
	if got < 0 {
		return 0, false, nil
	}
	return byte(got), true, nil
}

// Close frees the C reader, then lets go of the slice: in this order, since C knows its address
// until it is gone. It may be called any number of times, from any goroutine.
func (r *Reader) Close() error {
	if r == nil || r.state == nil {
		return nil
	}
	r.cleanup.Stop()
	r.state.close()
	runtime.KeepAlive(r)
	return nil
}

func (s *readerState) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return
	}
	C.lib_reader_free(s.c)
	s.c = nil
	s.pinner.Unpin()
}

// noCopy makes go vet's copylocks check speak up when the owner of a C object is copied.
type noCopy struct{}

// Lock is here for go vet.
func (*noCopy) Lock() {}

// Unlock is here for go vet.
func (*noCopy) Unlock() {}

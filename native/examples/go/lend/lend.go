// Package lend shows the ways to hand memory across the border between Go and C, one function or
// type for each, over a small C library (library.h). Copy the one whose line fits your C function:
//
//	C looks at bytes during the call                lend: Sum, Fill; a string: SumString
//	C looks at several slices during the call       pin what a struct points to: SumParts
//	C keeps the pointer after the call              pin until C is done: Reader
//	C keeps the bytes and frees them itself         copy to malloc'ed memory: Box.Put
//	C returns memory that the caller frees          copy and free: Box.Take, Squares, Upper
//	C returns an array that need not be copied      a slice of it during a call: WithSquares
//	C calls back                                    a cgo.Handle: Words
//
// What happens to bad input, never corruption:
//
//	empty and nil slices, empty strings             work; nothing is read or written
//	count zero or negative, too many                ErrSize
//	C has no memory left                            ErrNoMemory
//	NUL inside a string for C                       ErrNUL
//	use of a closed, nil or zero Reader, Box        ErrClosed
//	Close again, Close of nil                       nothing
//	panic in a callback                             C returns first, then the panic goes on
package lend

/*
// These neither keep a Go pointer nor call back, and say so: a slice on the stack stays there.
#cgo noescape lib_sum
#cgo nocallback lib_sum
#cgo noescape lib_fill
#cgo nocallback lib_fill

#include <stdlib.h>
#include "library.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

var (
	// ErrSize says that a count is not positive or too large.
	ErrSize = errors.New("lend: bad size")
	// ErrNoMemory says that C's allocator returned NULL.
	ErrNoMemory = errors.New("lend: out of C memory")
	// ErrNUL says that a string holds a NUL byte: C would see it end there.
	ErrNUL = errors.New("lend: string holds a NUL byte")
	// ErrClosed says that the C side is gone already.
	ErrClosed = errors.New("lend: use of a closed object")
)

// start returns the address of the first byte: nil for a nil slice, and for an empty one an
// address that must not be followed. &data[0] panics for both.
//
// The bytes stay Go's. Go pins them while a C call has the result as its argument, no longer.
func start(data []byte) *C.uint8_t {
	return (*C.uint8_t)(unsafe.SliceData(data))
}

// Sum adds up the bytes in C. They are lent for the call: no copy, no malloc, nothing to free.
func Sum(data []byte) uint64 {
	// The length goes as size_t: a C.int would cut off what is longer than 2 GiB.
	return uint64(C.lib_sum(start(data), C.size_t(len(data))))
}

// Fill has C write to the slice. It is lent for the call.
func Fill(data []byte, value byte) {
	C.lib_fill(start(data), C.size_t(len(data)), C.uint8_t(value))
}

// SumString is Sum for the bytes of a string, lent for the call without a copy and without a NUL
// at the end. C must not write to them: a Go string never changes.
func SumString(text string) uint64 {
	return uint64(C.lib_sum((*C.uint8_t)(unsafe.StringData(text)), C.size_t(len(text))))
}

// SumParts adds up the bytes of several slices in one call of C.
//
// C gets the address of an array of structs, in Go memory, which hold the addresses of the slices.
// Go pins what the argument points to, but not what the structs point to; passing them unpinned
// panics with "… has Go pointer to unpinned Go pointer". Hence the Pinner.
func SumParts(parts ...[]byte) uint64 {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list := make([]C.lib_part, 0, len(parts)) // Go memory, lent for the call
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		pinner.Pin(unsafe.SliceData(part))
		list = append(list, C.lib_part{bytes: start(part), size: C.size_t(len(part))}) // pinned, Go's
	}
	return uint64(C.lib_sum_parts(unsafe.SliceData(list), C.size_t(len(list))))
}

// Squares returns the squares of 0 to count-1, the caller's to keep: a copy of the array that C
// made, which is freed.
func Squares(count int) ([]uint64, error) {
	var kept []uint64
	err := WithSquares(count, func(squares []uint64) {
		kept = append(kept, squares...)
	})
	return kept, err
}

// maxSquares is the largest count: its array has less than 1 TiB.
const maxSquares = 1 << 30

// WithSquares lends f the array that C made, without a copy. The slice is C memory and is freed
// when f returns or panics: f must not keep it. Its capacity is its length, so an append copies.
func WithSquares(count int, f func(squares []uint64)) error {
	if count <= 0 || count > maxSquares {
		return fmt.Errorf("%w: %d squares", ErrSize, count)
	}
	array := C.lib_squares(C.size_t(count)) // ours to free
	if array == nil {
		return ErrNoMemory
	}
	defer C.free(unsafe.Pointer(array))
	// uint64_t and uint64 are the same; for other types check with unsafe.Sizeof.
	f(unsafe.Slice((*uint64)(array), count))
	return nil
}

// Upper returns the text in capitals. Two C strings are made on the way, ours both, and freed.
func Upper(text string) (string, error) {
	if i := strings.IndexByte(text, 0); i >= 0 {
		return "", fmt.Errorf("%w at index %d", ErrNUL, i)
	}
	in := C.CString(text) // from malloc, ours to free; it ends the program when there is no memory
	defer C.free(unsafe.Pointer(in))
	out := C.lib_upper(in) // ours to free
	if out == nil {
		return "", ErrNoMemory
	}
	defer C.free(unsafe.Pointer(out))
	return C.GoString(out), nil // a copy; it is made before the deferred calls run
}

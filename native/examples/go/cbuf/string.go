package cbuf

/*
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// ErrNUL says that a string holds a NUL byte: C would see it end there.
var ErrNUL = errors.New("cbuf: string holds a NUL byte")

// NewString returns the owner of a C string: the bytes of s and a NUL. Use it when C keeps the
// string longer than a call; for one call [WithString] is simpler.
func NewString(s string) (*Buffer, error) {
	return newString(s, 2)
}

func newString(s string, skip int) (*Buffer, error) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return nil, fmt.Errorf("%w at index %d", ErrNUL, i)
	}
	b, err := newBuffer(len(s)+1, 1, skip+1)
	if err != nil {
		return nil, err
	}
	if err := b.With(func(bytes []byte) { copy(bytes, s) }); err != nil {
		return nil, err
	}
	return b, nil
}

// WithString lends f a C string with the bytes of s. p is C memory that belongs to WithString and
// is freed when f returns, panics or not: f must not keep it, and C must not free it.
func WithString(s string, f func(p unsafe.Pointer)) error {
	b, err := newString(s, 2)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.With(func(bytes []byte) { f(unsafe.Pointer(unsafe.SliceData(bytes))) })
}

// BorrowString copies the C string at p to Go memory. p stays its owner's and is not kept; it must
// be readable up to a NUL. NULL gives "", false.
func BorrowString(p unsafe.Pointer) (string, bool) {
	if p == nil {
		return "", false
	}
	return C.GoString((*C.char)(p)), true
}

// BorrowStringN is BorrowString for a field of size bytes that may lack a NUL: it reads no further.
// A size below zero counts as zero.
func BorrowStringN(p unsafe.Pointer, size int) (string, bool) {
	if p == nil {
		return "", false
	}
	if size <= 0 {
		return "", true
	}
	n := int(C.strnlen((*C.char)(p), C.size_t(size)))
	// Not C.GoStringN: its length is a C.int, which cuts off what is longer than 2 GiB.
	return string(unsafe.Slice((*byte)(p), n)), true
}

// TakeString copies the C string at p to Go memory and frees p, which must come from C's malloc or
// strdup and belong to the caller; after the call it belongs to nobody. NULL gives "", false.
func TakeString(p unsafe.Pointer) (string, bool) {
	s, ok := BorrowString(p)
	C.free(p) // free(NULL) does nothing
	return s, ok
}

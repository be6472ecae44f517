package lend

/*
#include "library.h"

// Declared here and written in Go (below); a file with //export may only declare, not define.
bool lendVisit(uintptr_t context, size_t start, size_t length);
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// walk is what C's callback needs to know on the Go side. C never sees its address: it keeps the
// number of a cgo.Handle.
type walk struct {
	text     string
	visit    func(word string) bool
	panicked any // what visit panicked with
}

// Words has C find the words between spaces and calls visit for each, until it returns false. The
// word is a part of text, the caller's to keep. text is lent to C for the call.
//
// A panic in visit does not run through C's frames, which would leave C's work half done: C is told
// to stop, and the panic goes on when it has returned. visit must not call runtime.Goexit (nor
// testing's FailNow): nothing can hold that up at C's frames.
func Words(text string, visit func(word string) bool) {
	w := &walk{text: text, visit: visit}
	handle := cgo.NewHandle(w)
	defer handle.Delete() // a handle keeps its value alive: undeleted, it leaks
	C.lib_words((*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.size_t(len(text)),
		C.lib_visit(C.lendVisit), C.uintptr_t(handle))
	if w.panicked != nil {
		panic(w.panicked)
	}
}

//export lendVisit
func lendVisit(context C.uintptr_t, start, length C.size_t) (more C.bool) {
	w := cgo.Handle(context).Value().(*walk)
	defer func() {
		if w.panicked = recover(); w.panicked != nil {
			more = false
		}
	}()
	return C.bool(w.visit(w.text[start : start+length]))
}

// A slice of C memory does not keep its owner alive: the owner is collected, its finalizer frees
// the pixels, and the slice shows what comes next.
package main

/*
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

var freed atomic.Bool

type picture struct {
	p unsafe.Pointer // C memory, freed by the finalizer
}

func newPicture() *picture {
	m := &picture{C.calloc(64, 1)}
	runtime.SetFinalizer(m, func(m *picture) {
		C.free(m.p)
		freed.Store(true)
	})
	return m
}

func (m *picture) data() []byte {
	return unsafe.Slice((*byte)(m.p), 64)
}

func main() {
	view := newPicture().data()
	view[20] = 7
	for i := 0; i < 5000 && !freed.Load(); i++ {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if !freed.Load() {
		fmt.Println("the finalizer did not run")
		os.Exit(3)
	}
	view[20] = 8 // somebody else's byte
	fmt.Println("wrote to memory that the finalizer had freed")
	os.Exit(1)
}

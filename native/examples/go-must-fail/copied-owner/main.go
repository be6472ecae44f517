// Two owners of one block: a struct that owns C memory was copied, and both copies free it. go vet
// has nothing to say, since nothing tells it that this struct must not be copied.
package main

/*
#include <stdlib.h>
*/
import "C"

import "unsafe"

type buffer struct {
	p unsafe.Pointer // C memory, owned
}

func (b *buffer) free() {
	if b.p != nil {
		C.free(b.p)
		b.p = nil
	}
}

func main() {
	a := buffer{C.calloc(100, 1)}
	b := a
	a.free()
	a.free() // the same owner: nothing happens
	b.free()
}

// Two goroutines free one owner. A nil check is no lock: both can find the pointer there.
package main

/*
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

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
	b := &buffer{C.calloc(100, 1)}
	go b.free()
	time.Sleep(50 * time.Millisecond) // luck, not order
	b.free()
	fmt.Println("lucky")
}

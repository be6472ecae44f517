// A slice of C memory outlives the memory: after free, the bytes belong to whoever calls malloc
// next, and the slice shows them.
package main

/*
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

func main() {
	p := C.calloc(64, 1)
	view := unsafe.Slice((*byte)(p), 64)
	copy(view, "my pixels")
	C.free(p)

	other := C.malloc(64) // the block that was freed last
	copy(unsafe.Slice((*byte)(other), 64), "a password")
	if said := string(view[:10]); said != "my pixels" {
		fmt.Printf("the view shows %q\n", said)
		os.Exit(1)
	}
}

// Nobody frees what C.malloc gave. The program ends as if all were well; a build with -asan looks
// for lost blocks at the end. The collector runs before, so that no old copy of the address is
// left on the Go side.
package main

/*
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"runtime"
)

//go:noinline
func lose() {
	p := C.malloc(100)
	_ = p
}

func main() {
	for range 10 {
		lose()
	}
	runtime.GC()
	fmt.Println("done")
}

// A negative length becomes a size of nearly 2 to the 64th. C.malloc does not return nil then: it
// ends the program, and recover does not help.
package main

/*
#include <stdlib.h>
*/
import "C"

import "fmt"

func main() {
	defer func() { fmt.Println("recovered:", recover()) }()
	n := -1
	if p := C.malloc(C.size_t(n)); p == nil {
		fmt.Println("nil, as the caller hoped")
	}
}

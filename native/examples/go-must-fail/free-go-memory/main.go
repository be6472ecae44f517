// C's free gets memory that Go's allocator made.
package main

/*
#include <stdlib.h>
*/
import "C"

import "unsafe"

func main() {
	data := make([]byte, 64)
	C.free(unsafe.Pointer(&data[32]))
}

// A slice of C memory made by way of a large array type ends at the size of that type.
package main

/*
#include <stdlib.h>
*/
import "C"

func main() {
	size := 1<<30 + 1
	p := C.calloc(C.size_t(size), 1)
	defer C.free(p)
	data := (*[1 << 30]byte)(p)[:size:size]
	_ = data
}

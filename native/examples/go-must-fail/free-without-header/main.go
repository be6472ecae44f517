//go:build mustfail

// cgo brings C.malloc along, but not C.free: it wants stdlib.h.
package main

import "C"

func main() {
	p := C.malloc(100)
	C.free(p)
}

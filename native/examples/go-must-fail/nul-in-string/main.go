// A Go string with a NUL byte arrives in C cut off.
package main

/*
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

func main() {
	text := "key\x00value"
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	if n := int(C.strlen(c)); n != len(text) {
		fmt.Printf("C sees %d of %d bytes\n", n, len(text))
		os.Exit(1)
	}
}

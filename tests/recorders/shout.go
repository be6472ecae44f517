package main

/*
#include <stdlib.h>
#include <string.h>

static char *shout(const char *in) {
    size_t n = strlen(in);
    char *out = malloc(n + 2);
    memcpy(out, in, n);
    out[n] = '!';
    out[n + 1] = 0;
    return out;
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

func main() {
	in := C.CString("hello")
	out := C.shout(in)
	s := C.GoString(out)
	b := C.GoBytes(unsafe.Pointer(out), 6)
	C.free(unsafe.Pointer(out))
	fmt.Println(s, len(b))
}

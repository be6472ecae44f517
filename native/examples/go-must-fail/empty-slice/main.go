// The address of the first byte of a slice that has none. unsafe.SliceData gives it without a panic.
package main

/*
#include <stddef.h>

static int first(const unsigned char *p, size_t n)
{
    return n > 0 ? p[0] : -1;
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

func first(data []byte) int {
	return int(C.first((*C.uchar)(unsafe.Pointer(&data[0])), C.size_t(len(data))))
}

func main() {
	fmt.Println(first([]byte("a")))
	fmt.Println(first(nil))
}

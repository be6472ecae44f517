// C keeps the address of a Go slice after the call, in which it was pinned, has ended. The
// collector knows nothing of it and gives the memory to somebody else.
package main

/*
#include <stddef.h>

static const unsigned char *kept;
static size_t size;

static void begin(const unsigned char *p, size_t n)
{
    kept = p;
    size = n;
}

static int finish(void)
{
    int sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += kept[i];
    return sum;
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"unsafe"
)

//go:noinline
func begin() {
	ones := bytes.Repeat([]byte{1}, 1000)
	C.begin((*C.uchar)(unsafe.SliceData(ones)), 1000)
}

var sink []byte

func main() {
	begin()
	for range 5 {
		runtime.GC()
		for range 20000 {
			sink = bytes.Repeat([]byte{9}, 1000)
		}
	}
	if sum := C.finish(); sum != 1000 {
		fmt.Println("the sum of 1000 ones is", sum)
		os.Exit(1)
	}
}

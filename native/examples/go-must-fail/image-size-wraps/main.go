// The size of an image is multiplied in 32 bits: 32768 x 32768 x 4 is 2 to the 32nd, which is 0.
// The block is as small as they come, and the first row runs over its end.
package main

/*
#include <malloc.h>
#include <stdlib.h>

// Unsigned, to wrap for sure: with int, as one would write it, the overflow is undefined.
static unsigned char *new_pixels(unsigned width, unsigned height)
{
    return calloc(width * height * 4, 1);
}

static void fill(unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = 1;
}
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

func main() {
	const width, height = 32768, 32768
	p := C.new_pixels(width, height)
	if usable := C.malloc_usable_size(unsafe.Pointer(p)); usable < width*height*4 {
		fmt.Printf("wanted %d bytes, got %d\n", width*height*4, usable)
		if len(os.Args) > 1 && os.Args[1] == "write" {
			C.fill(p, width*4)
		}
		os.Exit(1)
	}
}

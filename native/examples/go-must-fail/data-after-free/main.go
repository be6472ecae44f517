// A method of an owner that was freed follows its nil pointer: a panic of Go, which can be
// recovered from, but says nothing of what went wrong.
package main

/*
#include <stdlib.h>

typedef struct {
    unsigned char *data;
    int width, height;
} picture;
*/
import "C"

import "unsafe"

type picture struct {
	c *C.picture // owned
}

func (m *picture) free() {
	C.free(unsafe.Pointer(m.c))
	m.c = nil
}

func (m *picture) size() int {
	return int(m.c.width) * int(m.c.height)
}

func main() {
	m := &picture{(*C.picture)(C.calloc(1, C.sizeof_picture))}
	m.free()
	m.size()
}

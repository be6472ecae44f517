// The owner is collected while C still works with its block: after b.p has been read, nothing uses
// b any more. The fix is runtime.KeepAlive(b) behind the call.
package main

/*
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int freed;

static void wipe_and_free(void *p, size_t n)
{
    for (volatile unsigned char *c = p; n > 0; n--)
        *c++ = 0xEE;
    free(p);
    freed = 1;
}

// A long call: it waits for the free, for five seconds at most.
static long sum(const unsigned char *p, size_t n)
{
    long total = 0;
    for (int i = 0; i < 5000 && !freed; i++)
        usleep(1000);
    while (n > 0)
        total += p[--n];
    return total;
}
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"
)

type buffer struct {
	p unsafe.Pointer // C memory, freed by the finalizer
}

func newBuffer() *buffer {
	b := &buffer{C.calloc(100, 1)}
	runtime.SetFinalizer(b, func(b *buffer) { C.wipe_and_free(b.p, 100) })
	return b
}

func (b *buffer) sum() int {
	return int(C.sum((*C.uchar)(b.p), 100))
}

func main() {
	go func() {
		for {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}()
	b := newBuffer()
	if sum := b.sum(); sum != 0 {
		fmt.Println("the sum of 100 zeroes is", sum)
		os.Exit(1)
	}
}

// The collector sees a few bytes for each owner and not the megabyte behind it: 200 forgotten
// owners are no reason for it to run.
package main

/*
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"
)

type buffer struct {
	p unsafe.Pointer // C memory, freed by the cleanup
}

func main() {
	var freed atomic.Int64
	for range 200 {
		b := &buffer{C.calloc(1<<20, 1)}
		runtime.AddCleanup(b, func(p unsafe.Pointer) {
			C.free(p)
			freed.Add(1)
		}, b.p)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if freed.Load() < 200 {
		fmt.Printf("%d of 200 freed after %d collections\n", freed.Load(), m.NumGC)
		os.Exit(1)
	}
}

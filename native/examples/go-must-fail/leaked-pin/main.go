// A Pinner is forgotten before Unpin.
package main

import (
	"runtime"
	"time"
)

//go:noinline
func pin() {
	pinner := new(runtime.Pinner)
	pinner.Pin(new([1000]byte))
}

func main() {
	pin()
	for range 1000 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

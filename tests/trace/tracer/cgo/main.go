package main

// #cgo CFLAGS: -g -O2 -fno-omit-frame-pointer
// #include <pthread.h>
// #include <stdlib.h>
// #include <string.h>
// void *in_c(size_t size);
// void twice(size_t size);
// void from_a_c_thread(size_t size);
// char *copy(const char *from);
import "C"

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"
)

var kept [8][]unsafe.Pointer

//go:noinline
func leakInC(n int, to int) {
	p := C.in_c(C.size_t(n))
	kept[to] = append(kept[to], p)
}

func small(n int) unsafe.Pointer { return C.malloc(C.size_t(n)) } // inlined

func smaller(s string) *C.char { return C.CString(s) } // inlined

//go:noinline
func leakMalloc(n int, to int) {
	kept[to] = append(kept[to],
		small(n))
}

//go:noinline
func leakString(s string, to int) {
	kept[to] = append(kept[to],
		unsafe.Pointer(smaller(s)))
}

//export goCallback
func goCallback(n C.size_t) {
	inCallback(int(n))
}

//go:noinline
func inCallback(n int) {
	C.free(C.malloc(C.size_t(n + 1)))
	runtime.Gosched()
	leakMalloc(n, 7)
}

//go:noinline
func grow(n int) int { // the goroutine's stack moves
	var a [512]byte
	if n == 0 {
		return int(a[5])
	}
	return grow(n-1) + int(a[n%512])
}

//go:noinline
func worker(k, rounds int) {
	for range rounds {
		leakInC(1000+k, k)
		leakMalloc(2000+k, k)
		grow(k * 20)
		leakString(string(make([]byte, 2999+k)), k)
		C.free(C.malloc(77))
	}
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	var wait sync.WaitGroup
	for k := range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			worker(k, rounds)
		}()
	}
	wait.Wait()
	C.twice(5000)
	C.from_a_c_thread(6000)
	runtime.GC()
	println("done")
}

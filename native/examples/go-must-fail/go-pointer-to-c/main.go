// A Go function that C calls returns a Go pointer.
package main

/*
void call_go(void);
*/
import "C"

//export give
func give() *C.int {
	return new(C.int)
}

func main() {
	C.call_go()
}

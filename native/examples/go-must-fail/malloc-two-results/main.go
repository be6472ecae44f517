//go:build mustfail

// C.malloc cannot fail, so it has no errno to return.
package main

/*
#include <stdlib.h>
*/
import "C"

import "fmt"

func main() {
	p, err := C.malloc(100)
	fmt.Println(p, err)
}

// A conversion to C.int cuts off what does not fit, without a word.
package main

import "C"

import (
	"fmt"
	"os"
)

func main() {
	width, length := 1<<32+7, 5_000_000_000
	if int(C.int(width)) != width || int(C.int(length)) != length {
		fmt.Printf("a width of %d became %d, a length of %d became %d\n",
			width, C.int(width), length, C.int(length))
		os.Exit(1)
	}
}

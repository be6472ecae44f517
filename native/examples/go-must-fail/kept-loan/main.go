// What no Go type can forbid: the function that With lends the bytes to keeps the slice. A build
// with -asan finds the use.
package main

import (
	"fmt"
	"os"

	"otherheap/cbuf"
)

func main() {
	b, err := cbuf.New(64)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	var kept []byte
	b.With(func(bytes []byte) { kept = bytes })
	b.Close()
	kept[20] = 1
	fmt.Println("wrote to a closed buffer")
	os.Exit(1)
}

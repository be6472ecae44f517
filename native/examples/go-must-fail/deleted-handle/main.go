// C still has the number of a handle that Go has deleted.
package main

import (
	"fmt"
	"runtime/cgo"
)

func main() {
	handle := cgo.NewHandle("a Go value")
	fmt.Println(handle.Value())
	handle.Delete()
	fmt.Println(handle.Value())
}

// The same copy of an owner that go vet knows about: its noCopy field has a Lock method. It is not
// corruption even so: both copies share one block that is freed once.
package main

import (
	"fmt"
	"os"

	"otherheap/cbuf"
)

func main() {
	a, err := cbuf.New(100)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	b := *a
	a.Close()
	b.Close()
	if err := b.With(func([]byte) {}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A finalizer and a cleanup are no promise: neither runs because the program ends.
package main

import (
	"fmt"
	"os"
	"runtime"
)

type owner struct{ file *os.File }

func main() {
	a, b := &owner{os.Stdout}, &owner{os.Stdout}
	runtime.SetFinalizer(a, func(o *owner) { fmt.Fprintln(o.file, "finalizer") })
	runtime.AddCleanup(b, func(f *os.File) { fmt.Fprintln(f, "cleanup") }, b.file)
	fmt.Println("the end")
	os.Exit(1)
}

//go:build mustfail

// A finalizer without the import of its package.
package main

func main() {
	runtime.SetFinalizer(new(int), func(*int) {})
}

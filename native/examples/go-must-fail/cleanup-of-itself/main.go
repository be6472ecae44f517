// The argument of a cleanup must not be the object itself: it would stay reachable for ever.
package main

import "runtime"

type owner struct{ p *int }

func main() {
	o := &owner{new(int)}
	runtime.AddCleanup(o, func(*owner) {}, o)
}

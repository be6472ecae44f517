// recover catches a nil pointer in Go and not one in C.
package main

/*
static int follow(const int *p)
{
    return *(const volatile int *)p;
}
*/
import "C"

import "fmt"

func try(f func()) {
	defer func() { fmt.Println("recovered:", recover()) }()
	f()
}

func main() {
	try(func() {
		var p *int
		fmt.Println(*p)
	})
	try(func() { fmt.Println(C.follow(nil)) })
}

// Go memory may be passed to C if it holds no Go pointers, or pinned ones alone.
package main

/*
typedef struct {
    int *value;
} box;

static int look(const box *b)
{
    return *b->value;
}
*/
import "C"

import "fmt"

func main() {
	value := new(C.int)
	fmt.Println(C.look(&C.box{value: value}))
}

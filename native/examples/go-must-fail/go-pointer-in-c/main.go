// A Go pointer is stored in C memory, where the collector does not look. Nothing notices by
// default; a build with GOEXPERIMENT=cgocheck2 does.
package main

/*
#include <stdlib.h>

typedef struct {
    int *value;
} box;
*/
import "C"

import "fmt"

func main() {
	b := (*C.box)(C.calloc(1, C.sizeof_box))
	b.value = new(C.int)
	fmt.Println("stored, and nobody said a word")
}

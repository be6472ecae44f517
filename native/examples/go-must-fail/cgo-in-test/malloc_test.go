//go:build mustfail

package malloc

/*
#include <stdlib.h>
*/
import "C"

import "testing"

func BenchmarkMalloc(b *testing.B) {
	for b.Loop() {
		C.free(C.malloc(1024))
	}
}

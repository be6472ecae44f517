package cbuf

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// limitMemory lets the address space of this process grow by 512 MiB at most. AddressSanitizer has
// a limit of its own (max_allocation_size_mb) and terabytes of address space to begin with.
func limitMemory(t *testing.T) {
	t.Helper()
	said, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Fscan(bytes.NewReader(said), &pages); err != nil {
		t.Fatal(err)
	}
	most := pages*uint64(os.Getpagesize()) + 512<<20
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		t.Fatal(err)
	}
}

package cimage

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// limitMemory lets the address space of this process grow by the given number of bytes at most.
func limitMemory(t *testing.T, most uint64) {
	t.Helper()
	said, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Fscan(bytes.NewReader(said), &pages); err != nil {
		t.Fatal(err)
	}
	most += pages * uint64(os.Getpagesize())
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		t.Fatal(err)
	}
}

package cbuf

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// Stats are numbers that neither runtime.MemStats nor GOMEMLIMIT know of.
type Stats struct {
	Live      int64 // buffers that own memory now
	LiveBytes int64 // the sum of their sizes
	Forgotten int64 // buffers that the cleanup had to close since the program began
}

// Forgotten is a Buffer that was collected without Close.
type Forgotten struct {
	Size int    // in bytes
	Site string // "file.go:12", where it was made; empty if it was made before OnForgotten
}

// String returns a line for a log.
func (f Forgotten) String() string {
	place := f.Site
	if place == "" {
		place = "an unknown place"
	}
	return fmt.Sprintf("cbuf: buffer of %d bytes made at %s was never closed", f.Size, place)
}

var (
	live, liveBytes, forgottenCount atomic.Int64
	listener                        atomic.Pointer[func(Forgotten)]
)

// ReadStats returns the numbers of this moment.
func ReadStats() Stats {
	return Stats{
		Live:      live.Load(),
		LiveBytes: liveBytes.Load(),
		Forgotten: forgottenCount.Load(),
	}
}

// OnForgotten has f called for each buffer that the cleanup had to close; nil ends that. f runs in
// a goroutine of the runtime that other cleanups may wait for: it must not block. While somebody
// listens, making a buffer costs a look at the stack more.
func OnForgotten(f func(Forgotten)) {
	if f == nil {
		listener.Store(nil)
		return
	}
	listener.Store(&f)
}

func report(f Forgotten) {
	forgottenCount.Add(1)
	if tell := listener.Load(); tell != nil {
		(*tell)(f)
	}
}

// site names the caller skip frames up, if somebody listens.
func site(skip int) string {
	if listener.Load() == nil {
		return ""
	}
	_, file, line, ok := runtime.Caller(skip)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s:%d", file, line)
}

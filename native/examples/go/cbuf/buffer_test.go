package cbuf

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// mustNew returns a buffer that the test closes at its end, if it has not done so.
func mustNew(t testing.TB, n int) *Buffer {
	t.Helper()
	b, err := New(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestSize(t *testing.T) {
	for _, test := range []struct {
		name        string
		count, size int
		want        int // 0: ErrSize
	}{
		{"one byte", 1, 1, 1},
		{"ten ints", 10, 4, 40},
		{"largest", MaxSize, 1, MaxSize},
		{"zero count", 0, 4, 0},
		{"zero size", 4, 0, 0},
		{"negative", -1, 1, 0},
		{"both negative", -3, -5, 0},
		{"smallest int", math.MinInt, 1, 0},
		{"one too many", MaxSize, 2, 0},
		{"wraps to 0 in 64 bits", math.MaxInt/2 + 1, 4, 0},
		{"wraps to 16 in 64 bits", math.MaxInt/2 + 5, 4, 0},
		{"largest int", math.MaxInt, math.MaxInt, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Size(test.count, test.size)
			if got != test.want || errors.Is(err, ErrSize) != (test.want == 0) {
				t.Errorf("Size(%d, %d) = %d, %v", test.count, test.size, got, err)
			}
			if test.want == 0 {
				if b, err := NewArray(test.count, test.size); b != nil || !errors.Is(err, ErrSize) {
					t.Errorf("NewArray(%d, %d) = %v, %v", test.count, test.size, b, err)
				}
			}
		})
	}
	for _, n := range []int{0, -1, math.MinInt, math.MaxInt} {
		if b, err := New(n); b != nil || !errors.Is(err, ErrSize) {
			t.Errorf("New(%d) = %v, %v", n, b, err)
		}
	}
}

func TestNewIsZeroed(t *testing.T) {
	for range 50 { // from the second round on the block is a used one
		b := mustNew(t, 300)
		if err := b.With(func(p []byte) {
			if len(p) != 300 || cap(p) != 300 {
				t.Fatalf("len %d, cap %d", len(p), cap(p))
			}
			for i, v := range p {
				if v != 0 {
					t.Fatalf("byte %d is %#x", i, v)
				}
				p[i] = 0xEE
			}
		}); err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
}

// What every method says of a buffer that owns nothing.
func TestClosed(t *testing.T) {
	closed := mustNew(t, 8)
	closed.Close()
	released := mustNew(t, 8)
	p, n, err := released.Release()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Own(p, n)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	for name, b := range map[string]*Buffer{
		"closed":   closed,
		"released": released,
		"zero":     new(Buffer),
		"nil":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			_, errClone := b.Clone()
			_, errRead := b.ReadAt(make([]byte, 1), 0)
			_, errWrite := b.WriteAt([]byte{1}, 0)
			_, _, errRelease := b.Release()
			for call, err := range map[string]error{
				"With":    b.With(func([]byte) { called = true }),
				"Clone":   errClone,
				"ReadAt":  errRead,
				"WriteAt": errWrite,
				"Release": errRelease,
				"Grow":    b.Grow(100),
			} {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v", call, err)
				}
			}
			if called {
				t.Error("With called its function")
			}
			if b.Len() != 0 {
				t.Errorf("Len %d", b.Len())
			}
			for range 3 {
				if err := b.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
		})
	}
}

func TestConcurrentClose(t *testing.T) {
	before := ReadStats()
	for range 200 {
		b := mustNew(t, 64)
		var all sync.WaitGroup
		for i := range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				if i%2 == 0 {
					b.Close()
					return
				}
				switch _, err := b.WriteAt([]byte{1, 2, 3}, int64(8*i)); {
				case err == nil, errors.Is(err, ErrClosed):
				default:
					t.Errorf("WriteAt: %v", err)
				}
			}()
		}
		all.Wait()
	}
	if after := ReadStats(); after != before {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// Close in a loan neither waits for it (a deadlock) nor frees under it (a use after free).
func TestCloseDuringLoan(t *testing.T) {
	b := mustNew(t, 64)
	before := ReadStats()
	err := b.With(func(p []byte) {
		b.Close()
		b.Close()
		if now := ReadStats(); now.Live != before.Live {
			t.Error("freed while it was lent")
		}
		for i := range p {
			p[i] = 7
		}
		if err := b.With(func([]byte) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("new loan: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if now := ReadStats(); now.Live != before.Live-1 || now.LiveBytes != before.LiveBytes-64 {
		t.Errorf("before %+v, after %+v", before, now)
	}
}

func TestLent(t *testing.T) {
	b := mustNew(t, 16)
	err := b.With(func(p []byte) {
		if err := b.With(func(q []byte) { q[3] = 9 }); err != nil || p[3] != 9 {
			t.Errorf("second loan: %v", err)
		}
		if err := b.Grow(1000); !errors.Is(err, ErrLent) {
			t.Errorf("Grow: %v", err)
		}
		if _, _, err := b.Release(); !errors.Is(err, ErrLent) {
			t.Errorf("Release: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Grow(1000); err != nil {
		t.Errorf("Grow after the loan: %v", err)
	}
}

// A panic in the function ends the loan, and so does runtime.Goexit.
func TestPanicEndsLoan(t *testing.T) {
	b := mustNew(t, 16)
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the panic did not come through")
			}
		}()
		b.With(func([]byte) { panic("mine") })
	}()
	done := make(chan bool)
	go func() {
		defer close(done)
		b.With(func([]byte) { runtime.Goexit() })
	}()
	<-done
	if err := b.Grow(32); err != nil {
		t.Errorf("Grow: %v", err)
	}
}

func TestGrow(t *testing.T) {
	b := mustNew(t, 10)
	if _, err := b.WriteAt([]byte("0123456789"), 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{10, 24, 25, 4096, 1 << 20} {
		if err := b.Grow(n); err != nil {
			t.Fatal(err)
		}
		got, err := b.Clone()
		if err != nil || len(got) != n || b.Len() != n {
			t.Fatalf("Clone after Grow(%d): %d bytes, %v", n, len(got), err)
		}
		if string(got[:10]) != "0123456789" || len(bytes.Trim(got[10:], "\x00")) != 0 {
			t.Fatalf("after Grow(%d): %q", n, got[:min(n, 40)])
		}
	}
	for _, n := range []int{-1, 0, 1<<20 - 1, math.MaxInt} {
		if err := b.Grow(n); !errors.Is(err, ErrSize) {
			t.Errorf("Grow(%d): %v", n, err)
		}
	}
	if b.Len() != 1<<20 {
		t.Errorf("Len %d after calls that failed", b.Len())
	}
}

func TestReadAtWriteAt(t *testing.T) {
	b := mustNew(t, 4)
	for _, test := range []struct {
		data string
		off  int64
		err  error
	}{
		{"abcd", 0, nil},
		{"", 4, nil},
		{"xy", 2, nil},
		{"xyz", 2, ErrRange},
		{"a", 4, ErrRange},
		{"a", -1, ErrRange},
		{"", 5, ErrRange},
		{"a", math.MaxInt64, ErrRange},
	} {
		n, err := b.WriteAt([]byte(test.data), test.off)
		if !errors.Is(err, test.err) || (err == nil && n != len(test.data)) || (err != nil && n != 0) {
			t.Errorf("WriteAt(%q, %d) = %d, %v", test.data, test.off, n, err)
		}
	}
	for _, test := range []struct {
		size int
		off  int64
		want string
		err  error
	}{
		{4, 0, "abxy", nil},
		{2, 1, "bx", nil},
		{8, 2, "xy", io.EOF},
		{1, 4, "", io.EOF},
		{0, 4, "", nil},
		{1, math.MaxInt64, "", io.EOF},
		{1, -1, "", ErrRange},
	} {
		p := make([]byte, test.size)
		n, err := b.ReadAt(p, test.off)
		if string(p[:n]) != test.want || !errors.Is(err, test.err) {
			t.Errorf("ReadAt(%d, %d) = %q, %v", test.size, test.off, p[:n], err)
		}
	}
	if n, err := b.WriteAt(nil, 0); n != 0 || err != nil {
		t.Errorf("WriteAt(nil) = %d, %v", n, err)
	}
	if n, err := b.ReadAt(nil, 0); n != 0 || err != nil {
		t.Errorf("ReadAt(nil) = %d, %v", n, err)
	}
}

func TestOwnAndRelease(t *testing.T) {
	before := ReadStats()
	b := mustNew(t, 100)
	b.WriteAt([]byte("mine"), 0)
	p, n, err := b.Release()
	if err != nil || n != 100 || p == nil {
		t.Fatalf("Release = %v, %d, %v", p, n, err)
	}
	if now := ReadStats(); now != before {
		t.Errorf("a released block still counts: %+v, %+v", before, now)
	}
	if b, err := Own(nil, 4); b != nil || !errors.Is(err, ErrClosed) {
		t.Errorf("Own(nil) = %v, %v", b, err)
	}
	if b, err := Own(p, -4); b != nil || !errors.Is(err, ErrSize) {
		t.Errorf("Own with a negative size = %v, %v", b, err)
	}
	again, err := Own(p, n)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, _ := again.Clone(); string(got[:4]) != "mine" {
		t.Errorf("%q", got[:4])
	}
}

// collect runs the garbage collector until done, for at most ten seconds.
func collect(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("the cleanup did not run")
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func TestNet(t *testing.T) {
	before := ReadStats()
	told := make(chan Forgotten, 1)
	OnForgotten(func(f Forgotten) { told <- f })
	defer OnForgotten(nil)
	func() {
		if _, err := New(1234); err != nil {
			t.Fatal(err)
		}
	}()
	collect(t, func() bool { return ReadStats().Forgotten == before.Forgotten+1 })
	f := <-told
	if f.Size != 1234 || !strings.Contains(f.Site, "cbuf/buffer_test.go:") {
		t.Errorf("%+v", f)
	}
	if !strings.Contains(f.String(), "buffer of 1234 bytes made at ") ||
		!strings.HasSuffix(f.String(), " was never closed") {
		t.Errorf("%q", f)
	}
	if now := ReadStats(); now.Live != before.Live || now.LiveBytes != before.LiveBytes {
		t.Errorf("before %+v, after %+v", before, now)
	}
}

func TestSites(t *testing.T) {
	OnForgotten(func(Forgotten) {})
	defer OnForgotten(nil)
	plain, _ := New(1)
	array, _ := NewArray(1, 1)
	text, _ := NewString("s")
	p, n, _ := plain.Release()
	owned, _ := Own(p, n)
	for name, b := range map[string]*Buffer{
		"New": plain, "NewArray": array, "NewString": text, "Own": owned,
	} {
		if !strings.Contains(b.block.site, "buffer_test.go:") {
			t.Errorf("%s: made at %q", name, b.block.site)
		}
		b.Close()
	}
	if line := (Forgotten{Size: 1}).String(); !strings.Contains(line, "an unknown place") {
		t.Errorf("%q", line)
	}
}

// A buffer that was closed or released is not freed a second time by the net.
func TestNetLeavesTheClosedAlone(t *testing.T) {
	before := ReadStats()
	func() {
		a, _ := New(10)
		a.Close()
		b, _ := New(10)
		p, n, _ := b.Release()
		c, _ := Own(p, n)
		c.Close()
	}()
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if now := ReadStats(); now != before {
		t.Errorf("before %+v, after %+v", before, now)
	}
}

// The collector runs while a function has the bytes and nobody else has the buffer.
func TestKeptAliveDuringLoan(t *testing.T) {
	before := ReadStats()
	b, err := New(1000)
	if err != nil {
		t.Fatal(err)
	}
	err = b.With(func(p []byte) {
		for range 5 {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		if now := ReadStats(); now.Forgotten != before.Forgotten || now.Live != before.Live+1 {
			t.Errorf("closed during the loan: %+v, %+v", before, now)
		}
		for i := range p {
			p[i] = 1
		}
	})
	if err != nil {
		t.Error(err)
	}
	collect(t, func() bool { return ReadStats().Live == before.Live })
}

// The C library refuses: an error, the old block stays. In a process of its own, whose memory the
// test limits.
func TestNoMemory(t *testing.T) {
	if os.Getenv("CBUF_NO_MEMORY") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestNoMemory$", "-test.count=1")
		child.Env = append(os.Environ(), "CBUF_NO_MEMORY=1",
			"ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=64")
		if said, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return
	}
	b := mustNew(t, 8)
	b.WriteAt([]byte("old data"), 0)
	limitMemory(t)
	if b, err := New(1 << 32); b != nil || !errors.Is(err, ErrNoMemory) {
		t.Errorf("New = %v, %v", b, err)
	}
	if err := b.Grow(1 << 32); !errors.Is(err, ErrNoMemory) {
		t.Errorf("Grow: %v", err)
	}
	if got, err := b.Clone(); string(got) != "old data" || err != nil {
		t.Errorf("after a Grow that failed: %q, %v", got, err)
	}
}

func TestStrings(t *testing.T) {
	for _, s := range []string{"", "a", "Grüße, 世界", strings.Repeat("long ", 10000)} {
		b, err := NewString(s)
		if err != nil {
			t.Fatal(err)
		}
		if b.Len() != len(s)+1 {
			t.Errorf("Len %d of a string of %d", b.Len(), len(s))
		}
		p, _, err := b.Release()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := BorrowString(p); got != s || !ok {
			t.Errorf("BorrowString = %.20q, %v", got, ok)
		}
		if got, ok := TakeString(p); got != s || !ok { // frees p
			t.Errorf("TakeString = %.20q, %v", got, ok)
		}
		var seen string
		if err := WithString(s, func(p unsafe.Pointer) { seen, _ = BorrowString(p) }); err != nil || seen != s {
			t.Errorf("WithString: %.20q, %v", seen, err)
		}
	}
	for _, s := range []string{"\x00", "a\x00b", "a\x00"} {
		if b, err := NewString(s); b != nil || !errors.Is(err, ErrNUL) {
			t.Errorf("NewString(%q) = %v, %v", s, b, err)
		}
		if err := WithString(s, func(unsafe.Pointer) { t.Error("called") }); !errors.Is(err, ErrNUL) {
			t.Errorf("WithString(%q): %v", s, err)
		}
	}
	if s, ok := BorrowString(nil); s != "" || ok {
		t.Errorf("BorrowString(nil) = %q, %v", s, ok)
	}
	if s, ok := TakeString(nil); s != "" || ok {
		t.Errorf("TakeString(nil) = %q, %v", s, ok)
	}
}

func TestBorrowStringN(t *testing.T) {
	b := mustNew(t, 4)
	b.WriteAt([]byte("abcd"), 0) // no NUL
	b.With(func(bytes []byte) {
		p := unsafe.Pointer(unsafe.SliceData(bytes))
		for _, test := range []struct {
			size int
			want string
		}{{4, "abcd"}, {2, "ab"}, {0, ""}, {-1, ""}, {math.MinInt, ""}} {
			if got, ok := BorrowStringN(p, test.size); got != test.want || !ok {
				t.Errorf("BorrowStringN(%d) = %q, %v", test.size, got, ok)
			}
		}
		bytes[1] = 0
		if got, _ := BorrowStringN(p, 4); got != "a" {
			t.Errorf("%q", got)
		}
	})
	if s, ok := BorrowStringN(nil, 4); s != "" || ok {
		t.Errorf("BorrowStringN(nil) = %q, %v", s, ok)
	}
}

// The string of WithString is freed when its function panics, too.
func TestWithStringPanic(t *testing.T) {
	before := ReadStats()
	func() {
		defer func() { recover() }()
		WithString("text", func(unsafe.Pointer) { panic("mine") })
	}()
	if now := ReadStats(); now != before {
		t.Errorf("before %+v, after %+v", before, now)
	}
}

package lend

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// sum is Sum in Go.
func sum(data []byte) (total uint64) {
	for _, v := range data {
		total += uint64(v)
	}
	return total
}

var slices = []struct {
	name string
	data []byte
}{
	{"nil", nil},
	{"empty", []byte{}},
	{"empty, with a capacity", make([]byte, 0, 10)},
	{"empty, at the end", []byte("abc")[3:]},
	{"one", []byte{255}},
	{"part", []byte("0123456789")[3:7]},
	{"a MiB", bytes.Repeat([]byte{1, 2, 3, 4}, 1<<18)},
}

func TestSum(t *testing.T) {
	for _, test := range slices {
		t.Run(test.name, func(t *testing.T) {
			if got, want := Sum(test.data), sum(test.data); got != want {
				t.Errorf("Sum = %d, want %d", got, want)
			}
			if got, want := SumString(string(test.data)), sum(test.data); got != want {
				t.Errorf("SumString = %d, want %d", got, want)
			}
		})
	}
}

func TestFill(t *testing.T) {
	for _, test := range slices {
		t.Run(test.name, func(t *testing.T) {
			around := make([]byte, len(test.data)+2)
			Fill(around[1:len(around)-1], 7)
			want := bytes.Repeat([]byte{7}, len(around))
			want[0], want[len(want)-1] = 0, 0
			if !bytes.Equal(around, want) {
				t.Error("not just the slice was filled")
			}
			Fill(test.data[:0], 9)
		})
	}
}

// noescape and nocallback: an array on the stack stays there.
func TestSumDoesNotAllocate(t *testing.T) {
	if allocs := testing.AllocsPerRun(100, func() {
		var data [64]byte
		data[5] = 3
		if Sum(data[:]) != 3 {
			t.Error("wrong sum")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestSumParts(t *testing.T) {
	var parts [][]byte
	var want uint64
	if SumParts() != 0 || SumParts(nil, nil, []byte{}) != 0 {
		t.Error("the sum of nothing is not 0")
	}
	for _, test := range slices {
		parts = append(parts, test.data)
		want += sum(test.data)
	}
	if got := SumParts(parts...); got != want {
		t.Errorf("%d, want %d", got, want)
	}
	if got := SumParts(parts[4], parts[4]); got != 510 { // pinned twice
		t.Errorf("%d, want 510", got)
	}
}

// A slice of C memory may be among the parts: a Pinner leaves it alone.
func TestSumPartsOfC(t *testing.T) {
	if err := WithSquares(4, func(squares []uint64) {
		inC := unsafe.Slice((*byte)(unsafe.Pointer(&squares[0])), 32)
		if got := SumParts(inC, []byte{1}); got != 15 {
			t.Errorf("%d, want 15", got)
		}
	}); err != nil {
		t.Error(err)
	}
}

func TestSquares(t *testing.T) {
	for _, count := range []int{1, 2, 1000} {
		kept, err := Squares(count)
		if err != nil || len(kept) != count {
			t.Fatalf("Squares(%d): %d, %v", count, len(kept), err)
		}
		for i, v := range kept {
			if v != uint64(i*i) {
				t.Fatalf("square of %d: %d", i, v)
			}
		}
	}
	for _, count := range []int{0, -1, math.MinInt, math.MaxInt, maxSquares + 1, 1 << 61} {
		if kept, err := Squares(count); kept != nil || !errors.Is(err, ErrSize) {
			t.Errorf("Squares(%d) = %v, %v", count, kept, err)
		}
	}
	if err := WithSquares(3, func(squares []uint64) {
		if longer := append(squares, 1); cap(squares) != 3 || &longer[0] == &squares[0] {
			t.Error("an append writes behind the C array")
		}
	}); err != nil {
		t.Error(err)
	}
	func() { // freed all the same (-asan)
		defer func() {
			if recover() != "mine" {
				t.Error("the panic did not come through")
			}
		}()
		WithSquares(3, func([]uint64) { panic("mine") })
	}()
}

func TestUpper(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "ABC", "Grüße 1z": "GRüßE 1Z"} {
		if got, err := Upper(in); got != want || err != nil {
			t.Errorf("Upper(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"\x00", "a\x00b"} {
		if got, err := Upper(in); got != "" || !errors.Is(err, ErrNUL) {
			t.Errorf("Upper(%q) = %q, %v", in, got, err)
		}
	}
}

// churn fills and drops much Go memory, so that what was freed wrongly shows other bytes.
func churn() {
	runtime.GC()
	for range 2000 {
		keep = bytes.Repeat([]byte{9}, 1000)
	}
	runtime.GC()
}

var keep []byte

func TestReader(t *testing.T) {
	for _, test := range slices {
		r, err := NewReader(append([]byte(nil), test.data...)) // nobody but C knows this copy
		if err != nil {
			t.Fatal(err)
		}
		if len(test.data) < 100 {
			churn()
		}
		var got []byte
		for {
			value, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, value)
		}
		if !bytes.Equal(got, test.data) {
			t.Errorf("%s: %.20q", test.name, got)
		}
		if _, ok, err := r.Next(); ok || err != nil {
			t.Errorf("%s: after the end: %v, %v", test.name, ok, err)
		}
		for range 3 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := r.Next(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: after Close: %v", test.name, err)
		}
	}
}

func TestBox(t *testing.T) {
	b, err := NewBox()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 {
		for _, test := range slices {
			mine := append([]byte(nil), test.data...)
			if err := b.Put(mine); err != nil {
				t.Fatal(err)
			}
			Fill(mine, 9) // the box has a copy
		}
		for _, test := range slices {
			got, ok, err := b.Take()
			if !bytes.Equal(got, test.data) || !ok || err != nil {
				t.Errorf("%s: %.20q, %v, %v", test.name, got, ok, err)
			}
		}
		if got, ok, err := b.Take(); got != nil || ok || err != nil {
			t.Errorf("empty: %q, %v, %v", got, ok, err)
		}
	}
	b.Put([]byte("left in it, freed with it"))
	for range 3 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := b.Put(nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// What is closed, nil or zero.
func TestClosed(t *testing.T) {
	closedReader, _ := NewReader([]byte("a"))
	closedReader.Close()
	for _, r := range []*Reader{closedReader, new(Reader), nil} {
		if value, ok, err := r.Next(); value != 0 || ok || !errors.Is(err, ErrClosed) {
			t.Errorf("Next: %v, %v, %v", value, ok, err)
		}
		r.Close()
		r.Close()
	}
	closedBox, _ := NewBox()
	closedBox.Close()
	for _, b := range []*Box{closedBox, new(Box), nil} {
		if err := b.Put([]byte("a")); !errors.Is(err, ErrClosed) {
			t.Errorf("Put: %v", err)
		}
		if data, ok, err := b.Take(); data != nil || ok || !errors.Is(err, ErrClosed) {
			t.Errorf("Take: %v, %v, %v", data, ok, err)
		}
		b.Close()
		b.Close()
	}
}

func TestConcurrentClose(t *testing.T) {
	for range 100 {
		r, _ := NewReader([]byte("abc"))
		b, _ := NewBox()
		var all sync.WaitGroup
		for range 4 {
			all.Add(1)
			go func() {
				defer all.Done()
				for _, call := range []func() error{
					func() error { _, _, err := r.Next(); return err },
					func() error { return b.Put([]byte("abc")) },
					func() error { _, _, err := b.Take(); return err },
					r.Close, b.Close,
				} {
					if err := call(); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
			}()
		}
		all.Wait()
	}
}

// Forgotten readers unpin and free, and so do boxes with what is in them: under -asan nothing is
// lost, and no pinner ends the program.
func TestForgotten(t *testing.T) {
	for range 20 {
		r, err := NewReader(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		r.Next()
		b, err := NewBox()
		if err != nil {
			t.Fatal(err)
		}
		b.Put(make([]byte, 100))
	}
	for range 20 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func words(text string) (got []string) {
	Words(text, func(word string) bool {
		got = append(got, word)
		return true
	})
	return got
}

func TestWords(t *testing.T) {
	for _, text := range []string{"", " ", "   ", "one", " one  two three ", "Grüße, 世界", "a\x00b c"} {
		got := words(text)
		want := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' })
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	seen := 0
	Words("a b c d", func(string) bool { seen++; return seen < 2 })
	if seen != 2 {
		t.Errorf("stopped after %d words", seen)
	}
	Words("a b", func(string) bool { // the collector runs, and C calls in again from within
		runtime.GC()
		if len(words("x y z")) != 3 {
			t.Error("wrong words inside")
		}
		return true
	})
	calls := 0
	func() {
		defer func() {
			if said := recover(); said != "mine" {
				t.Errorf("panic %v", said)
			}
		}()
		Words("a b c", func(string) bool { calls++; panic("mine") })
	}()
	if calls != 1 {
		t.Errorf("%d calls after a panic", calls)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 50 {
				if len(words("x y z")) != 3 {
					t.Error("wrong words")
				}
			}
		}()
	}
	all.Wait()
}

// The handle is gone when Words has returned or panicked, and with it all that visit refers to.
func TestWordsLetsGo(t *testing.T) {
	collected := make(chan bool, 2)
	for _, fail := range []bool{false, true} {
		func() {
			seen := new([100]string)
			runtime.AddCleanup(seen, func(done chan bool) { done <- true }, collected)
			defer func() { recover() }()
			Words("a b", func(word string) bool {
				seen[0] = word
				if fail {
					panic("mine")
				}
				return true
			})
		}()
	}
	for range 2 {
		for end := time.Now().Add(10 * time.Second); ; runtime.GC() {
			select {
			case <-collected:
			case <-time.After(time.Millisecond):
				if time.Now().Before(end) {
					continue
				}
				t.Error("a handle keeps what visit refers to")
			}
			break
		}
	}
}

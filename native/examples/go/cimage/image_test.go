package cimage

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"math"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
)

// mustNew returns an image that the test closes at its end, if it has not done so.
func mustNew(t testing.TB, width, height, channels int) *Image {
	t.Helper()
	m, err := New(width, height, channels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// fill gives each sample a value of its own, more or less.
func fill(t testing.TB, m *Image) []byte {
	t.Helper()
	var model []byte
	if err := m.With(func(p []byte) {
		for i := range p {
			p[i] = byte(i*37 + i/7)
		}
		model = append(model, p...)
	}); err != nil {
		t.Fatal(err)
	}
	return model
}

func samples(t testing.TB, m *Image) []byte {
	t.Helper()
	var got []byte
	if err := m.With(func(p []byte) { got = append(got, p...) }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSize(t *testing.T) {
	for _, test := range []struct {
		name                    string
		width, height, channels int
		want                    int // 0: ErrSize
	}{
		{"one pixel", 1, 1, 1, 1},
		{"colour", 640, 480, 4, 640 * 480 * 4},
		{"wraps to 0 in 32 bits", 32768, 32768, 4, 1 << 32},
		{"largest", 1 << 17, 1 << 17, 1, 1 << 34},
		{"too large by one row", 1 << 17, 1<<17 + 1, 1, 0},
		{"zero width", 0, 1, 4, 0},
		{"zero height", 1, 0, 4, 0},
		{"negative", -1, 1, 4, 0},
		{"both negative: the product is not", -3, -5, 4, 0},
		{"smallest", math.MinInt, math.MinInt, 4, 0},
		{"no channels", 1, 1, 0, 0},
		{"two channels", 1, 1, 2, 0},
		{"negative channels", -1, 1, -4, 0},
		{"wraps to 0 in 64 bits", 1 << 32, 1 << 32, 4, 0},
		{"wraps to 4 in 64 bits", 1<<62 + 1, 1, 4, 0},
		{"becomes 7 as a C int", 1<<32 + 7, 5, 4, 0},
		{"largest ints", math.MaxInt, math.MaxInt, 4, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Size(test.width, test.height, test.channels)
			if got != test.want || errors.Is(err, ErrSize) != (test.want == 0) {
				t.Errorf("Size = %d, %v", got, err)
			}
			if test.want == 0 {
				m, err := New(test.width, test.height, test.channels)
				if m != nil || !errors.Is(err, ErrSize) {
					t.Errorf("New = %v, %v", m, err)
				}
			}
		})
	}
}

// What every method says of an image that owns nothing.
func TestClosed(t *testing.T) {
	closed := mustNew(t, 2, 2, 4)
	closed.Close()
	for name, m := range map[string]*Image{"closed": closed, "zero": new(Image), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			_, errCopy := m.ToImage()
			for call, err := range map[string]error{
				"With":     m.With(func([]byte) { t.Error("called") }),
				"Invert":   m.Invert(),
				"Brighten": m.Brighten(1),
				"BoxBlur":  m.BoxBlur(1),
				"ToImage":  errCopy,
			} {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v", call, err)
				}
			}
			for call, f := range map[string]func(){
				"At":              func() { m.View().At(0, 0) },
				"At, outside":     func() { m.View().At(-1, 0) },
				"Set":             func() { m.View().Set(0, 0, color.White) },
				"Set, outside":    func() { m.View().Set(9, 9, color.White) },
				"draw to it":      func() { draw.Draw(m.View(), image.Rect(0, 0, 1, 1), image.White, image.Point{}, draw.Src) },
				"At of zero View": func() { View{}.At(0, 0) },
			} {
				if call == "draw to it" && name != "closed" {
					continue // no pixels to draw to
				}
				if said := panics(f); said != "cimage: use of a closed image" {
					t.Errorf("%s: panic %v", call, said)
				}
			}
			for range 3 {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
			want := 0
			if name == "closed" {
				want = 2
			}
			if m.Width() != want || m.Height() != want || m.Channels() != 2*want || m.Stride() != 4*want {
				t.Errorf("%d x %d x %d, stride %d", m.Width(), m.Height(), m.Channels(), m.Stride())
			}
			m.View().Bounds()
			m.View().ColorModel()
		})
	}
}

// panics returns what f panicked with.
func panics(f func()) (said any) {
	defer func() { said = recover() }()
	f()
	return nil
}

func TestNewIsBlack(t *testing.T) {
	for range 20 { // from the second round on the block is a used one
		m := mustNew(t, 10, 10, 3)
		if got := samples(t, m); len(got) != 300 || len(bytes.Trim(got, "\x00")) != 0 {
			t.Fatalf("%v", got)
		}
		fill(t, m)
		m.Close()
	}
}

func TestInvert(t *testing.T) {
	for _, channels := range []int{1, 3, 4} {
		m := mustNew(t, 7, 5, channels)
		want := fill(t, m)
		for i := range want {
			if channels != 4 || i%4 != 3 {
				want[i] = 255 - want[i]
			}
		}
		if err := m.Invert(); err != nil {
			t.Fatal(err)
		}
		if got := samples(t, m); !bytes.Equal(got, want) {
			t.Errorf("%d channels: %v, want %v", channels, got, want)
		}
	}
}

func TestBrighten(t *testing.T) {
	for _, channels := range []int{1, 3, 4} {
		for _, delta := range []int{0, 1, -1, 100, -100, 255, -255, 256, math.MaxInt, math.MinInt, 1<<32 + 7} {
			m := mustNew(t, 7, 5, channels)
			want := fill(t, m)
			for i := range want {
				if channels != 4 || i%4 != 3 {
					want[i] = byte(max(0, min(int(want[i])+max(-1000, min(delta, 1000)), 255)))
				}
			}
			if err := m.Brighten(delta); err != nil {
				t.Fatal(err)
			}
			if got := samples(t, m); !bytes.Equal(got, want) {
				t.Errorf("%d channels, %d: %v, want %v", channels, delta, got, want)
			}
		}
	}
}

// slowBlur blurs the plain way.
func slowBlur(in []byte, width, height, channels, radius int) []byte {
	pass := func(in []byte, dx, dy int) []byte {
		out := make([]byte, len(in))
		for y := range height {
			for x := range width {
				for c := range channels {
					sum, n := 0, 0
					for d := -radius; d <= radius; d++ {
						i, j := x+d*dx, y+d*dy
						if i >= 0 && i < width && j >= 0 && j < height {
							sum += int(in[(j*width+i)*channels+c])
							n++
						}
					}
					out[(y*width+x)*channels+c] = byte((sum + n/2) / n)
				}
			}
		}
		return out
	}
	return pass(pass(in, 1, 0), 0, 1)
}

func TestBoxBlur(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {7, 5}, {16, 16}} {
		for _, channels := range []int{1, 3, 4} {
			for _, radius := range []int{0, 1, 2, 7, 40} {
				m := mustNew(t, size[0], size[1], channels)
				want := slowBlur(fill(t, m), size[0], size[1], channels, radius)
				if err := m.BoxBlur(radius); err != nil {
					t.Fatal(err)
				}
				if got := samples(t, m); !bytes.Equal(got, want) {
					t.Errorf("%v x %d, radius %d: %v, want %v", size, channels, radius, got, want)
				}
			}
		}
	}
	m := mustNew(t, 3, 3, 1)
	before := fill(t, m)
	for _, radius := range []int{-1, math.MinInt} {
		if err := m.BoxBlur(radius); !errors.Is(err, ErrRadius) {
			t.Errorf("radius %d: %v", radius, err)
		}
	}
	if !bytes.Equal(samples(t, m), before) {
		t.Error("a blur that was refused changed the image")
	}
	if err := m.BoxBlur(math.MaxInt); err != nil {
		t.Error(err)
	}
	if got, want := samples(t, m), slowBlur(before, 3, 3, 1, 5); !bytes.Equal(got, want) {
		t.Errorf("largest radius: %v, want %v", got, want)
	}
}

func TestLoans(t *testing.T) {
	m := mustNew(t, 4, 4, 4)
	before := Live()
	err := m.With(func(p []byte) {
		if len(p) != 64 || cap(p) != 64 {
			t.Errorf("len %d, cap %d", len(p), cap(p))
		}
		for call, err := range map[string]error{
			"Invert": m.Invert(), "Brighten": m.Brighten(1), "BoxBlur": m.BoxBlur(1),
		} {
			if !errors.Is(err, ErrLent) {
				t.Errorf("%s: %v", call, err)
			}
		}
		m.View().Set(1, 0, color.NRGBA{9, 8, 7, 6})
		if p[4] != 9 || p[7] != 6 {
			t.Errorf("%v", p[:8])
		}
		m.Close()
		m.Close()
		if Live() != before {
			t.Error("freed while it was lent")
		}
		p[63] = 1
		if err := m.With(func([]byte) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("new loan: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if Live() != before-1 {
		t.Error("not freed after the loan")
	}
}

func TestPanicEndsLoan(t *testing.T) {
	m := mustNew(t, 4, 4, 4)
	if said := panics(func() { m.With(func([]byte) { panic("mine") }) }); said != "mine" {
		t.Errorf("panic %v", said)
	}
	if err := m.Invert(); err != nil {
		t.Error(err)
	}
}

func TestConcurrent(t *testing.T) {
	before := Live()
	for range 100 {
		m := mustNew(t, 8, 8, 3)
		var all sync.WaitGroup
		for i := range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				var err error
				switch i % 4 {
				case 0:
					m.Close()
				case 1:
					err = m.BoxBlur(2)
				case 2:
					err = m.Invert()
				case 3:
					_, err = m.ToImage()
				}
				if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrLent) {
					t.Error(err)
				}
			}()
		}
		all.Wait()
	}
	if Live() != before {
		t.Errorf("%d images live, not %d", Live(), before)
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

// Nobody but the view has the image.
func TestViewKeepsItsOwner(t *testing.T) {
	live, lost := Live(), Forgotten()
	m, err := New(10, 10, 4)
	if err != nil {
		t.Fatal(err)
	}
	view := m.View()
	view.Set(3, 3, color.NRGBA{1, 2, 3, 4})
	m = nil
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if got := view.At(3, 3); got != (color.NRGBA{1, 2, 3, 4}) || Live() != live+1 {
		t.Errorf("%v, %d images live", got, Live()-live)
	}
	view = View{}
	collect(t, func() bool { return Forgotten() == lost+1 })
	if Live() != live {
		t.Errorf("%d images live, not %d", Live(), live)
	}
}

func TestKeptAliveDuringLoan(t *testing.T) {
	live, lost := Live(), Forgotten()
	m, err := New(100, 100, 4)
	if err != nil {
		t.Fatal(err)
	}
	err = m.With(func(p []byte) {
		for range 5 {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		if Forgotten() != lost {
			t.Error("closed during the loan")
		}
		p[len(p)-1] = 1
	})
	if err != nil {
		t.Error(err)
	}
	collect(t, func() bool { return Live() == live })
}

func TestViewAndCopies(t *testing.T) {
	for _, channels := range []int{1, 3, 4} {
		m := mustNew(t, 3, 2, channels)
		p := fill(t, m)
		copied, err := m.ToImage()
		if err != nil {
			t.Fatal(err)
		}
		view := m.View()
		if copied.Bounds() != view.Bounds() || view.Bounds() != image.Rect(0, 0, 3, 2) {
			t.Errorf("bounds %v, %v", copied.Bounds(), view.Bounds())
		}
		for y := range 2 {
			for x := range 3 {
				i := (3*y + x) * channels
				var want color.Color
				switch channels {
				case 1:
					want = color.Gray{p[i]}
				case 3:
					want = color.NRGBA{p[i], p[i+1], p[i+2], 255}
				case 4:
					want = color.NRGBA{p[i], p[i+1], p[i+2], p[i+3]}
				}
				if view.At(x, y) != want || copied.At(x, y) != want {
					t.Errorf("%d,%d: view %v, copy %v, want %v", x, y, view.At(x, y), copied.At(x, y), want)
				}
			}
		}
		// Outside: as Go's own images do.
		for _, at := range []image.Point{{-1, 0}, {0, -1}, {3, 0}, {0, 2}, {math.MaxInt, math.MinInt}} {
			if got := view.At(at.X, at.Y); got != copied.At(at.X, at.Y) {
				t.Errorf("%v: %v", at, got)
			}
			view.Set(at.X, at.Y, color.White)
		}
		if !bytes.Equal(samples(t, m), p) {
			t.Error("Set outside the bounds changed the image")
		}
		view.Set(2, 1, color.NRGBA{10, 20, 30, 255})
		copied.Set(2, 1, color.NRGBA{10, 20, 30, 255})
		if view.At(2, 1) != copied.At(2, 1) {
			t.Errorf("%v, %v", view.At(2, 1), copied.At(2, 1))
		}
		m.Close()
		if copied.At(2, 1) == (color.NRGBA{}) {
			t.Error("the copy went with its original")
		}
	}
}

func TestFromImage(t *testing.T) {
	big := image.NewNRGBA(image.Rect(-5, -5, 15, 10))
	for i := range big.Pix {
		big.Pix[i] = byte(i * 11)
	}
	for i := 3; i < len(big.Pix); i += 4 {
		big.Pix[i] = 255
	}
	for name, src := range map[string]image.Image{
		"colour": big,
		"part":   big.SubImage(image.Rect(2, 3, 9, 7)),
		"grey":   image.NewGray(image.Rect(0, 0, 4, 4)),
	} {
		m, err := FromImage(src)
		if err != nil {
			t.Fatal(err)
		}
		min := src.Bounds().Min
		for y := range m.Height() {
			for x := range m.Width() {
				if got, want := m.View().At(x, y), src.At(min.X+x, min.Y+y); got != want {
					t.Fatalf("%s at %d,%d: %v, want %v", name, x, y, got, want)
				}
			}
		}
		if m.Width() != src.Bounds().Dx() || m.Height() != src.Bounds().Dy() {
			t.Errorf("%s: %d x %d", name, m.Width(), m.Height())
		}
		m.Close()
	}
	for _, src := range []image.Image{nil, image.NewNRGBA(image.Rectangle{})} {
		if m, err := FromImage(src); m != nil || !errors.Is(err, ErrSize) {
			t.Errorf("FromImage(%v) = %v, %v", src, m, err)
		}
	}
}

// The C library refuses: an error, and BoxBlur leaves the image as it was. In a process of its
// own, whose memory the test limits.
func TestNoMemory(t *testing.T) {
	if os.Getenv("CIMAGE_NO_MEMORY") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestNoMemory$", "-test.count=1")
		child.Env = append(os.Environ(), "CIMAGE_NO_MEMORY=1",
			"ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=512")
		if said, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return
	}
	m := mustNew(t, 1<<14, 1<<14, 1) // 256 MiB, most of them never touched
	m.View().Set(5, 5, color.White)
	limitMemory(t, 64<<20)
	before := Live()
	if m, err := New(1<<16, 1<<16, 1); m != nil || !errors.Is(err, ErrNoMemory) {
		t.Errorf("New = %v, %v", m, err)
	}
	if Live() != before {
		t.Error("an image that could not be made counts")
	}
	if !underASan { // its limit is fixed at the start
		if err := m.BoxBlur(1); !errors.Is(err, ErrNoMemory) {
			t.Errorf("BoxBlur: %v", err)
		}
	}
	if m.View().At(5, 5) != (color.Gray{255}) || m.View().At(4, 5) != (color.Gray{0}) {
		t.Error("BoxBlur changed the image")
	}
}

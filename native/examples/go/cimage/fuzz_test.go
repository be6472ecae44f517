package cimage

import (
	"bytes"
	"errors"
	"image/color"
	"math/big"
	"testing"
)

// FuzzSize compares Size with arithmetic that has no limits.
func FuzzSize(f *testing.F) {
	for _, s := range [][3]int{
		{1, 1, 1}, {0, 0, 0}, {-3, -5, 4}, {32768, 32768, 4}, {1<<32 + 7, 5, 4}, {1 << 62, 4, 4}, {1 << 17, 1 << 17, 1},
		{1<<17 + 1, 1 << 17, 1}, {-1 << 63, -1, 3}, {5, 7, 2},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, width, height, channels int) {
		product := big.NewInt(int64(width))
		product.Mul(product, big.NewInt(int64(height)))
		product.Mul(product, big.NewInt(int64(channels)))
		possible := width > 0 && height > 0 && (channels == 1 || channels == 3 || channels == 4) &&
			product.Cmp(big.NewInt(MaxBytes)) <= 0
		n, err := Size(width, height, channels)
		if (err == nil) != possible || (possible && product.Cmp(big.NewInt(int64(n))) != 0) {
			t.Fatalf("Size(%d, %d, %d) = %d, %v", width, height, channels, n, err)
		}
		if n > 1<<20 {
			return
		}
		m, err := New(width, height, channels)
		if (err == nil) != possible {
			t.Fatalf("New(%d, %d, %d): %v", width, height, channels, err)
		}
		defer m.Close()
		if !possible {
			return
		}
		if err := m.With(func(p []byte) {
			if len(p) != n {
				t.Fatalf("%d bytes, want %d", len(p), n)
			}
			p[0], p[n-1] = 1, 1
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzBlur compares the blur in C with the plain one.
func FuzzBlur(f *testing.F) {
	f.Add(uint8(3), uint8(3), uint8(1), 1, []byte("abcdefghi"))
	f.Add(uint8(1), uint8(200), uint8(4), 300, []byte{255})
	f.Add(uint8(20), uint8(1), uint8(3), 5, []byte{})
	f.Fuzz(func(t *testing.T, width, height, channels uint8, radius int, data []byte) {
		w, h, c := int(width%32), int(height%32), int(channels%5)
		m, err := New(w, h, c)
		if err != nil {
			if !errors.Is(err, ErrSize) {
				t.Fatal(err)
			}
			return
		}
		defer m.Close()
		var before []byte
		m.With(func(p []byte) { copy(p, data); before = append(before, p...) })
		if err := m.BoxBlur(radius); radius < 0 {
			if !errors.Is(err, ErrRadius) {
				t.Fatal(err)
			}
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if got, want := samples(t, m), slowBlur(before, w, h, c, min(radius, 40)); !bytes.Equal(got, want) {
			t.Fatalf("%d x %d x %d, radius %d: %v, want %v", w, h, c, radius, got, want)
		}
	})
}

// FuzzLifetime does what the bytes say to an image and to its closed self. Under -asan a byte
// touched too late ends the program.
func FuzzLifetime(f *testing.F) {
	f.Add([]byte{0, 9, 1, 5, 2, 3, 3, 200, 4, 0, 5, 0, 4, 0, 5, 0})
	f.Add([]byte{0, 77, 6, 1, 2, 0, 1, 0, 7, 0, 3, 3})
	f.Add([]byte{5, 5, 0, 0, 7, 255, 3, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		var m *Image
		open := false
		check := func(call string, err error) {
			t.Helper()
			if (err == nil) != open || (err != nil && !errors.Is(err, ErrClosed)) {
				t.Fatalf("%s: %v, open: %v", call, err, open)
			}
		}
		defer func() { m.Close() }()
		for len(program) >= 2 {
			what, n := program[0]%8, int(program[1])
			program = program[2:]
			switch what {
			case 0:
				m.Close()
				var err error
				m, err = New(n%16, n/16, []int{1, 3, 4}[n%3])
				if open = n%16 > 0 && n/16 > 0; (err == nil) != open {
					t.Fatalf("New: %v", err)
				}
			case 1:
				check("Invert", m.Invert())
			case 2:
				check("BoxBlur", m.BoxBlur(n))
			case 3:
				check("With", m.With(func(p []byte) {
					p[len(p)-1] = byte(n)
					if err := m.Invert(); !errors.Is(err, ErrLent) {
						t.Fatalf("Invert in a loan: %v", err)
					}
				}))
			case 4:
				m.Close()
				open = false
			case 5:
				said := panics(func() {
					m.View().Set(n%16, n/16, color.White)
					m.View().At(n%16, n/16)
				})
				if (said == nil) != open {
					t.Fatalf("View: %v, open: %v", said, open)
				}
			case 6:
				check("With", m.With(func(p []byte) { m.Close(); p[len(p)-1] = byte(n) }))
				open = false
			case 7:
				copied, err := m.ToImage()
				if check("ToImage", err); open && copied.Bounds() != m.View().Bounds() {
					t.Fatal(copied.Bounds())
				}
			}
		}
	})
}

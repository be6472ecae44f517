package lend

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzLend compares what C sees of a slice, of its parts and of a string with what Go sees.
func FuzzLend(f *testing.F) {
	f.Add([]byte(nil), uint(0), uint(0))
	f.Add([]byte("some words here"), uint(3), uint(9))
	f.Add([]byte{0, 255, 32, 32}, uint(4), uint(4))
	f.Fuzz(func(t *testing.T, data []byte, from, to uint) {
		to %= uint(len(data) + 1)
		from %= to + 1
		part := data[from:to]
		if Sum(part) != sum(part) || SumString(string(part)) != sum(part) {
			t.Fatal("Sum")
		}
		if SumParts(data[:from], part, data[to:]) != sum(data) {
			t.Fatal("SumParts")
		}
		if strings.Join(words(string(part)), "") != strings.ReplaceAll(string(part), " ", "") {
			t.Fatalf("%q", words(string(part)))
		}
		upper, err := Upper(string(part))
		if bytes.IndexByte(part, 0) >= 0 {
			if !errors.Is(err, ErrNUL) {
				t.Fatal(err)
			}
		} else if err != nil || !strings.EqualFold(upper, string(part)) || len(upper) != len(part) {
			t.Fatalf("%q, %v", upper, err)
		}
	})
}

// FuzzLifetime does what the bytes say to a box and a reader and compares with slices.
func FuzzLifetime(f *testing.F) {
	f.Add([]byte("pabcpdefttrrrc"))
	f.Add([]byte("pxctptrcrn"))
	f.Fuzz(func(t *testing.T, program []byte) {
		b, err := NewBox()
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(program)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { b.Close(); r.Close() }()
		var in [][]byte
		read, boxOpen, readerOpen := 0, true, true
		for i, what := range program {
			switch what % 6 {
			case 0:
				part := program[i:min(i+int(what)/6, len(program))]
				if err := b.Put(part); (err == nil) != boxOpen {
					t.Fatal(err)
				}
				if boxOpen {
					in = append(in, part)
				}
			case 1, 2:
				got, ok, err := b.Take()
				if (err == nil) != boxOpen || ok != (boxOpen && len(in) > 0) || (ok && !bytes.Equal(got, in[0])) {
					t.Fatalf("Take: %q, %v, %v", got, ok, err)
				}
				if ok {
					in = in[1:]
				}
			case 3, 4:
				got, ok, err := r.Next()
				if (err == nil) != readerOpen || ok != (readerOpen && read < len(program)) || (ok && got != program[read]) {
					t.Fatalf("Next: %v, %v, %v", got, ok, err)
				}
				read++
			case 5:
				if what%5 == 0 {
					b.Close()
					boxOpen = false
				} else {
					r.Close()
					readerOpen = false
				}
			}
		}
	})
}

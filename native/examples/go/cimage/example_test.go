package cimage

import (
	"fmt"
)

func Example() {
	m, err := New(4, 2, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()

	if err := m.Invert(); err != nil { // black becomes white, in C
		fmt.Println(err)
	}
	view := m.View()
	fmt.Println(view.At(0, 0))

	m.Close()
	func() {
		defer func() { fmt.Println("panic:", recover()) }()
		view.At(0, 0)
	}()

	_, err = New(1<<62, 4, 4)
	fmt.Println(err)
	// Output:
	// {255 255 255 255}
	// panic: cimage: use of a closed image
	// cimage: bad size: 4611686018427387904 x 4 x 4 is more than 17179869184 bytes
}

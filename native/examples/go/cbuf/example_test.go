package cbuf

import (
	"errors"
	"fmt"
)

func Example() {
	b, err := New(16)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	err = b.With(func(bytes []byte) {
		copy(bytes, "lent, not given")
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	kept, err := b.Clone()
	fmt.Printf("%q %v\n", kept, err)

	b.Close()
	fmt.Println(errors.Is(b.With(func([]byte) {}), ErrClosed))
	// Output:
	// "lent, not given\x00" <nil>
	// true
}

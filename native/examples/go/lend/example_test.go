package lend

import (
	"fmt"
)

func ExampleSum() {
	fmt.Println(Sum([]byte{1, 2, 3}), Sum(nil))
	// Output: 6 0
}

func ExampleReader() {
	r, err := NewReader([]byte("kept by C"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for {
		value, ok, err := r.Next()
		if !ok || err != nil {
			break
		}
		fmt.Printf("%c", value)
	}
	fmt.Println()
	// Output: kept by C
}

func ExampleWords() {
	Words("C calls Go", func(word string) bool {
		fmt.Println(word)
		return true
	})
	// Output:
	// C
	// calls
	// Go
}

// A small store of texts in C memory, with four mistakes in it. Commands come line by line:
//
//	put KEY TEXT    store a text (an old one is replaced)
//	get KEY         print it
//	upper KEY       print it in capitals
//	drop KEY        forget it
//	last            print the text that was read last
//	stats           print how many texts there are
//
// Chapter 17 of The Other Heap asks the reader to find and repair the mistakes.
package main

/*
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// A copy of n bytes as a C string; the caller frees it.
static char *keep(const char *bytes, size_t n) {
	char *copy = malloc(n);
	if (copy == NULL)
		return NULL;
	memcpy(copy, bytes, n);
	copy[n] = 0;
	return copy;
}

// The text in capitals, in a new block; the caller frees it.
static char *capitals(const char *text) {
	size_t n = strlen(text);
	char *out = malloc(n + 1);
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i <= n; i++)
		out[i] = toupper((unsigned char)text[i]);
	return out;
}
*/
import "C"

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// Store owns the C strings in texts.
type Store struct {
	texts map[string]*C.char
	last  string
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{texts: map[string]*C.char{}} }

// Put stores a copy of text; an old text of the key is freed.
func (s *Store) Put(key, text string) error {
	copied := C.keep((*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.size_t(len(text)))
	if copied == nil {
		return fmt.Errorf("put %s: out of memory", key)
	}
	s.Drop(key)
	s.texts[key] = copied
	return nil
}

// Get returns the text of a key.
func (s *Store) Get(key string) (string, bool) {
	text := s.texts[key]
	if text == nil {
		return "", false
	}
	s.last = unsafe.String((*byte)(unsafe.Pointer(text)), int(C.strlen(text)))
	return s.last, true
}

// Upper returns the text of a key in capitals.
func (s *Store) Upper(key string) (string, bool) {
	text := s.texts[key]
	if text == nil {
		return "", false
	}
	out := C.capitals(text)
	if out == nil {
		return "", false
	}
	return C.GoString(out), true
}

// Drop forgets a key and frees its text. Dropping twice is allowed.
func (s *Store) Drop(key string) {
	C.free(unsafe.Pointer(s.texts[key]))
}

// Last returns the text that Get returned last.
func (s *Store) Last() string { return s.last }

// Close frees all texts.
func (s *Store) Close() {
	for key := range s.texts {
		s.Drop(key)
	}
	clear(s.texts)
}

// Serve carries out commands until the input ends.
func Serve(in io.Reader, out io.Writer) error {
	store := NewStore()
	defer store.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		key, text, _ := strings.Cut(rest, " ")
		switch command {
		case "put":
			if err := store.Put(key, text); err != nil {
				return err
			}
		case "get":
			answer(out, key)(store.Get(key))
		case "upper":
			answer(out, key)(store.Upper(key))
		case "drop":
			store.Drop(key)
		case "last":
			fmt.Fprintln(out, store.Last())
		case "stats":
			fmt.Fprintln(out, len(store.texts), "texts")
		default:
			fmt.Fprintf(out, "no such command: %s\n", command)
		}
	}
	return lines.Err()
}

func answer(out io.Writer, key string) func(string, bool) {
	return func(text string, found bool) {
		if !found {
			text = key + " is not here"
		}
		fmt.Fprintln(out, text)
	}
}

func main() {
	if err := Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	runtime.GC() // what is lost shall be found at the end
}

"""Films for tests: real heaps stepped by hand, with source, variables, and a Go side."""

from __future__ import annotations

import dataclasses
from typing import Any

import heaps  # finds the tests' puppet
from heapscope.glibc.reading import RawPointer
from heapscope.model.film import Film, Reel
from heapscope.model.snapshot import Event, Stop
from puppet import Puppet

assert heaps

OVERFLOW = """\
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *a = malloc(24);
    char *b = malloc(24);
    char *c = malloc(10);

    memset(a, 'A', 24);
    strcpy(c, "hello");

    a[24] = 'A';  // too far
    free(c);
    free(a);
    free(b);
    b[0] = 7;     // freed
    free(b);      // twice
    return 0;
}
"""
FIXED = OVERFLOW.replace("a[24] = 'A';  // too far", "a[23] = 'Z';  // the last")

GREET = """\
package main

/*
#include <stdlib.h>
#include <string.h>

static char *shout(const char *in) {
    size_t n = strlen(in);
    char *out = malloc(n + 2);
    memcpy(out, in, n);
    out[n] = '!';
    out[n + 1] = 0;
    return out;
}
*/
import "C"

import (
    "fmt"
    "unsafe"
)

func main() {
    in := C.CString("hello")
    out := C.shout(in)
    s := C.GoString(out)
    b := C.GoBytes(unsafe.Pointer(out), 6)
    C.free(unsafe.Pointer(out))
    fmt.Println(s, len(b))
}
"""


class Camera:
    """Takes a frame of a puppet after each line."""

    def __init__(self, puppet: Puppet, **variables: str) -> None:
        self.puppet, self.reel, self.scope = puppet, Reel(), "main"
        self.types = variables
        puppet.pointers = [
            RawPointer(name, kind, None, self.scope, state="unset")
            for name, kind in variables.items()
        ]

    def set(self, name: str, value: int) -> None:
        """Give a variable its value."""
        kept = [p.name for p in self.puppet.pointers]
        made = RawPointer(name, self.types[name], value, self.scope)
        self.puppet.pointers[kept.index(name)] = made

    def shoot(self, line: int | None, **more: Any) -> None:
        """Take a frame."""
        self.reel.add(dataclasses.replace(self.puppet.reading(), line=line, **more))


def overflow(fixed: bool = False) -> Film:
    """A C program that writes one byte too far, uses what it freed, and frees it twice."""
    with Puppet() as puppet:
        camera = Camera(puppet, a="char *", b="char *", c="char *")
        camera.shoot(None, stack=("main",))
        for line, name, size in ((6, "a", 24), (7, "b", 24), (8, "c", 10)):
            camera.set(name, puppet.malloc(size, name))
            camera.shoot(line)
        a, b, c = (p.value or 0 for p in puppet.pointers)
        puppet.write(a, b"A" * 24)
        camera.shoot(10)
        puppet.write(c, b"hello\0")
        camera.shoot(11)
        if fixed:
            puppet.write(a + 23, b"Z")
        else:
            puppet.write(a + 24, b"A")
        camera.shoot(13)
        for line, block in ((14, c), (15, a), (16, b)):
            puppet.free(block)
            camera.shoot(line)
        puppet.write(b, b"\x07")
        camera.shoot(17)
        twice = "free(): double free detected in tcache 2"
        camera.shoot(18, stop=Stop("signal", signal="SIGABRT", message=twice), output=twice + "\n")
        source = FIXED if fixed else OVERFLOW
        title = "One byte too far" if not fixed else "The last byte"
        return camera.reel.film(title, source, "c", "fixed.c" if fixed else "overflow.c")


def greeting() -> Film:
    """A cgo program: a string goes to C and comes back twice; the first copy is never freed."""
    with Puppet() as puppet:
        camera = Camera(
            puppet, **{"in": "*C.char", "out": "*C.char", "s": "string", "b": "[]uint8"}
        )
        camera.scope = "main.main"
        literal = {"at": "0x4a1000", "size": 5, "data": b"hello".hex(), "kind": "read-only"}
        version: dict[str, Any] = {"version": "go1.27.3"}
        camera.shoot(None, go={**version, "objects": [literal]})
        first = puppet.malloc(6, "in")
        camera.set("in", first)
        puppet.write(first, b"hello\0")
        copied = Event(
            "copy", "C.CString copies 6 bytes, Go → C", (0x4A1000, 6), None, None, first - 16, None
        )
        puppet.events = [dataclasses.replace(puppet.events[0], text="C.CString: malloc(6)"), copied]
        camera.shoot(24, go={**version, "objects": [literal]})
        second = puppet.malloc(7, "out")
        camera.set("out", second)
        puppet.write(second, b"hello!\0")
        puppet.events = [dataclasses.replace(puppet.events[0], text="shout: malloc(7)")]
        camera.shoot(25, go={**version, "objects": [literal]})
        names = [p.name for p in puppet.pointers]
        made = RawPointer(
            "s",
            "string",
            0xC000012000,
            "main.main",
            "go",
            "ok",
            None,
            (("ptr", 0xC000012000), ("len", 6)),
        )
        puppet.pointers[names.index("s")] = made
        tiny: dict[str, Any] = {"at": "0xc000012000", "size": 16, "kind": "heap"}
        tiny |= {"data": b"hello!".hex(), "parts": [{"name": "s", "from": 0, "size": 6}]}
        puppet.events = [
            Event(
                "copy",
                "C.GoString copies 6 bytes, C → Go",
                (0xC000012000, 6),
                None,
                None,
                second - 16,
            )
        ]
        camera.shoot(26, go={**version, "objects": [literal, tiny]})
        made = RawPointer(
            "b",
            "[]uint8",
            0xC000012006,
            "main.main",
            "go",
            "ok",
            None,
            (("ptr", 0xC000012006), ("len", 6), ("cap", 6)),
        )
        puppet.pointers[names.index("b")] = made
        parts = [*tiny["parts"], {"name": "b", "from": 6, "size": 6}]
        tiny = {**tiny, "data": b"hello!hello!".hex(), "parts": parts}
        puppet.events = [
            Event(
                "copy",
                "C.GoBytes copies 6 bytes, C → Go",
                (0xC000012006, 6),
                None,
                None,
                second - 16,
            )
        ]
        camera.shoot(27, go={**version, "objects": [literal, tiny]})
        puppet.free(second)
        camera.shoot(28, go={**version, "objects": [literal, tiny]})
        camera.shoot(29, go={**version, "objects": [literal, tiny]}, output="hello! 6\n")
        camera.shoot(30, go={**version, "objects": [literal, tiny]}, stop=Stop("exit", 0))
        return camera.reel.film("Two heaps, one program", GREET, "go", "greet.go")


def busy() -> Film:
    """A session with many blocks: tcache, unsorted, a mapping of its own, moves."""
    import heapscope

    with heapscope.Heap() as heap:
        lib, ffi = heap.lib, heap.ffi
        blocks = [lib.malloc(24 + 16 * n) for n in range(9)]
        ffi.buffer(blocks[2], 24)[:] = b"some text in the block c"
        for block in blocks[::2]:
            lib.free(block)
        big = lib.malloc(3000)
        lib.malloc(40)
        lib.free(big)
        grown = lib.realloc(blocks[1], 600)
        mapped = lib.malloc(300_000)
        lib.calloc(4, 8)
        lib.free(mapped)
        lib.free(grown)
        return heap.film()

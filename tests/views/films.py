"""Films for tests: real heaps stepped by hand, with source, variables, and a Go side."""

from __future__ import annotations

import dataclasses
from pathlib import Path
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

GREET = Path(__file__).parents[1].joinpath("recorders", "shout.go").read_text("utf-8")


class Camera:
    """Takes a frame of a puppet after each line."""

    def __init__(self, puppet: Puppet, scope: str, **variables: str) -> None:
        self.puppet, self.reel, self.scope = puppet, Reel(), scope
        self.types = variables
        puppet.pointers = [
            RawPointer(name, kind, None, self.scope, state="unset")
            for name, kind in variables.items()
        ]

    def set(self, name: str, value: int, **more: Any) -> None:
        """Give a variable its value."""
        kept = [p.name for p in self.puppet.pointers]
        made = RawPointer(name, self.types[name], value, self.scope, **more)
        self.puppet.pointers[kept.index(name)] = made

    def shoot(self, line: int | None, **more: Any) -> None:
        """Take a frame."""
        self.reel.add(dataclasses.replace(self.puppet.reading(), line=line, **more))


def overflow(fixed: bool = False) -> Film:
    """A C program that writes one byte too far, uses what it freed, and frees it twice."""
    with Puppet() as puppet:
        camera = Camera(puppet, "main", a="char *", b="char *", c="char *")
        camera.shoot(None, stack=("main",))
        for line, name, size in ((6, "a", 24), (7, "b", 24), (8, "c", 10)):
            camera.set(name, puppet.malloc(size, name))
            camera.shoot(line)
        a, b, c = (p.value or 0 for p in puppet.pointers)
        if b >> 12 & 0xFF == 7:  # a link there ends in 7 already: writing 7 would change nothing
            return overflow(fixed)
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
            puppet, "main.main", **{"in": "*C.char", "out": "*C.char", "s": "string", "b": "[]byte"}
        )
        literal = _object(0x4A0000, b"hello", "static", "s0")
        side: dict[str, Any] = {"objects": [literal], "c_blocks": {}, "gc": 0}
        camera.shoot(None, go=side)
        first = puppet.malloc(6, "in")
        camera.set("in", first)
        puppet.write(first, b"hello\0")
        note = "5 bytes and a 0 from Go to C; Go code must free in with C.free"
        copied = Event("copy", "in = C.CString(5 bytes)", (5,), first, None, first - 16, note)
        puppet.events = [copied]
        side = {**side, "c_blocks": {"in": "C.CString"}}
        camera.shoot(24, go=side)
        second = puppet.malloc(7, "out")
        camera.set("out", second)
        puppet.write(second, b"hello!\0")
        puppet.events = [dataclasses.replace(puppet.events[0], text="out = malloc(7)")]
        side = {**side, "c_blocks": {"in": "C.CString", "out": "shout"}}
        camera.shoot(25, go=side)
        for line, name, at, function in (
            (26, "s", 0xC000000000, "GoString(out)"),
            (27, "b", 0xC000000020, "GoBytes(out, 6 bytes)"),
        ):
            cells: tuple[tuple[str, int], ...] = (("ptr", at), ("len", 6), ("cap", 6))
            camera.set(name, at, heap="go", state="ok", cells=cells[: 2 if name == "s" else 3])
            made = _object(at, b"hello!", "go", name)
            side = {**side, "objects": [*side["objects"], made]}
            text, note = (
                f"{name} = C.{function}",
                "6 bytes from C to Go; the copy is the collector's",
            )
            puppet.events = [Event("copy", text, (6,), None, None, second - 16, note)]
            camera.shoot(line, go=side)
        puppet.free(second)
        side = {**side, "c_blocks": {"in": "C.CString"}}
        camera.shoot(28, go=side)
        camera.shoot(29, go=side, output="hello! 6\n")
        camera.shoot(30, go=side, output="hello! 6\n", stop=Stop("exit", 0))
        return camera.reel.film("Two heaps, one program", GREET, "go", "greet.go")


def _object(at: int, data: bytes, where: str, name: str) -> dict[str, Any]:
    holder = {"name": name, "scope": "main.main", "offset": 0}
    return {
        "at": at,
        "size": len(data),
        "type": "byte",
        "bytes": data.hex(),
        "where": where,
        "held_by": [holder],
    }


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

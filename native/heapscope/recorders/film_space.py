"""The memory of a filmed program, put together from the pages that changed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from heapscope.glibc.reading import Mapping

PAGE = 4096
WORD = 8
STACK_BELOW = 0xE0000
"""So many bytes of a thread's stack below its outermost frame of the user's are told apart."""
STACK_ABOVE = 0x10000


class Space:
    """What is mapped, and the bytes of the heaps."""

    def __init__(self) -> None:
        self.pages: dict[int, list[bytes]] = {}  # by base of a heap's range
        self.shape: list[tuple[int, int, str]] = []  # (base, length, kind), in order of address
        self.first: dict[int, int] = {}  # by base of a heap: bytes in front of its first chunk
        self._bases: list[int] = []
        self.fixed: list[Mapping] = []  # the program and libc: no bytes
        self.stacks: dict[int, Mapping] = {}  # by thread
        self.others: list[tuple[int, int]] = []  # everything that is mapped, as (start, end)
        self.used: dict[tuple[int, int], None] = {}  # those of them that a pointer led to

    def update(self, maps: Iterable[Sequence[Any]]) -> None:
        """Take in what changed: [base, length, kind, number of pages, {number: hex}]."""
        pages: dict[int, list[bytes]] = {}
        shape = []
        for base, length, kind, count, changed in maps:
            old = self.pages.get(base, [])[:count]
            old += [b""] * (count - len(old))
            for number, data in changed.items():
                old[int(number)] = bytes.fromhex(data)
            pages[base] = old
            shape.append((base, length, kind))
        self.pages, self.shape = pages, sorted(shape)
        self._bases = [base for base, _, _ in self.shape]

    def mappings(self) -> tuple[Mapping, ...]:
        """Return all ranges for a reading."""
        heaps = [
            Mapping(base, b"".join(self.pages[base]), kind, length, self.first.get(base, 0))
            for base, length, kind in self.shape
        ]
        others = [Mapping(low, b"", "other", high - low) for low, high in self.used]
        taken = [*heaps, *self.fixed, *self.stacks.values()]
        apart = [o for o in others if not any(_meet(o, known) for known in taken)]
        return tuple(taken + apart)

    def range_of(self, at: int) -> tuple[int, int, str] | None:
        """Return the heap's range that holds an address."""
        index = bisect_right(self._bases, at) - 1
        if index < 0:
            return None
        base, length, kind = self.shape[index]
        return (base, length, kind) if at < base + length else None

    def read(self, at: int, size: int) -> bytes | None:
        """Return bytes of a heap; None where it has none."""
        found = self.range_of(at)
        if found is None or at + size > found[0] + found[1]:
            return None
        base = found[0]
        pages, first, last = self.pages[base], (at - base) // PAGE, (at + size - 1 - base) // PAGE
        data = b"".join(
            (pages[i] if i < len(pages) else b"").ljust(PAGE, b"\0") for i in range(first, last + 1)
        )
        start = at - base - first * PAGE
        return data[start : start + size]

    def word(self, at: int) -> int | None:
        """Return a word of a heap."""
        data = self.read(at, WORD)
        return None if data is None else int.from_bytes(data, "little")

    def stack(self, thread: int, outermost: int) -> None:
        """Learn where a thread's stack lies, by the address of its outermost frame of the user's.

        The distance from there is the same in every run, unlike that from the stack's own end.
        """
        if thread not in self.stacks and outermost:
            base = outermost - STACK_BELOW
            self.stacks[thread] = Mapping(base, b"", "stack", STACK_BELOW + STACK_ABOVE)

    def on_stack(self, at: int) -> bool:
        """Whether an address is on a stack."""
        return any(stack.base <= at < stack.end for stack in self.stacks.values())

    def note(self, at: int) -> bool:
        """Say whether an address is mapped, and make sure that a reading tells where."""
        if self.range_of(at) is not None or self.on_stack(at):
            return True
        if any(m.base <= at < m.end for m in self.fixed):
            return True
        for low, high in self.others:
            if low <= at < high:
                self.used[low, high] = None
                return True
        return False


def _meet(one: Mapping, other: Mapping) -> bool:
    return one.base < other.end and other.base < one.end

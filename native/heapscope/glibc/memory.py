"""Checked, word-wise access to the bytes of a reading (real addresses)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from heapscope.glibc.reading import Mapping
from heapscope.model.snapshot import WORD

HEAPS = ("heap", "thread heap", "mmap")
"""The kinds of mapping that hold chunks."""


class Span:
    """One mapping that holds chunks, as words."""

    __slots__ = ("base", "data", "end", "first", "kind", "words")

    def __init__(self, mapping: Mapping) -> None:
        self.base = mapping.base
        self.end = mapping.base + mapping.length // WORD * WORD
        self.first = mapping.first
        self.kind = mapping.kind
        data = mapping.data
        if len(data) % WORD:
            data += bytes(WORD - len(data) % WORD)
        self.data = data
        self.words: list[int] = memoryview(data).cast("Q").tolist()

    def u64(self, address: int) -> int:
        """Return the word at `address`, which is in the span and a multiple of 8 from its base."""
        index = address - self.base >> 3
        return self.words[index] if index < len(self.words) else 0


class Memory:
    """All spans of a reading."""

    def __init__(self, mappings: Iterable[Mapping]) -> None:
        spans = sorted((Span(m) for m in mappings if m.kind in HEAPS), key=lambda s: s.base)
        # Overlapping mappings would show one byte twice: the first one keeps it.
        self.spans: list[Span] = []
        for span in spans:
            if span.base % WORD or span.end == span.base:
                continue
            if not self.spans or span.base >= self.spans[-1].end:
                self.spans.append(span)
        self._bases = [span.base for span in self.spans]

    def span(self, address: int) -> Span | None:
        """Return the span that holds `address`."""
        index = bisect_right(self._bases, address) - 1
        if index >= 0 and address < self.spans[index].end:
            return self.spans[index]
        return None

    def u64(self, address: int) -> int | None:
        """Return the word at `address`; None when it is outside or not aligned."""
        if address % WORD:
            return None
        span = self.span(address)
        return None if span is None else span.u64(address)

    def bytes(self, address: int, size: int) -> bytes | None:
        """Return `size` bytes at `address`; None when they are not all in one span."""
        span = self.span(address)
        if span is None or address + size > span.end:
            return None
        part = span.data[address - span.base : address - span.base + size]
        return part + bytes(size - len(part))

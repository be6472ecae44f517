"""Lists of calls that glibc ends: what a program does wrong, and nothing that it does right."""

from __future__ import annotations

from calls import Call, Record

A, B, C, D = range(4)
_MANY = range(100, 107)
M, F = Call.MALLOC, Call.FREE


def _new(size: int, *slots: int) -> list[Record]:
    return [Record(M, slot, size) for slot in slots]


def _free(*slots: int) -> list[Record]:
    return [Record(F, slot) for slot in slots]


def _store(slot: int, offset: int, value: int) -> list[Record]:
    return [Record(Call.STORE, slot, offset, value)]


def _size(slot: int, value: int) -> list[Record]:
    return _store(slot, -8, value)


def _link(slot: int, offset: int, other: int, delta: int = 0, protected: bool = True) -> Record:
    return Record(Call.LINK, slot, offset, other, delta << 1 | protected)


def _full_tcache(size: int, *slots: int) -> list[Record]:
    """Fill the tcache bin of `size`, and have blocks of that size in `slots` besides."""
    return [*_new(size, *_MANY, *slots), *_free(*_MANY)]


CORRUPTIONS: dict[str, list[Record]] = {
    "freed twice": [*_new(24, A), *_free(A, A)],
    "freed twice, fastbin": [*_full_tcache(24, A), *_free(A, A)],
    "freed twice, top": [*_new(2000, A), *_free(A, A)],
    "freed twice, unsorted": [*_new(2000, A), *_new(24, B), *_free(A, A)],
    "the middle of a block freed": [*_new(24, A), Record(Call.FORGE, B, A, 8), *_free(B)],
    "size of 16": [*_new(24, A), *_size(A, 0x11), *_free(A)],
    "size beyond top": [*_new(2000, A), *_size(A, 0x100001), *_free(A)],
    "size that is no multiple of 16": [*_new(24, A), *_size(A, 0x29), *_free(A)],
    "M set": [*_new(24, A), *_size(A, 0x23), *_free(A)],
    "next size, fastbin": [*_full_tcache(24, A, B), *_size(B, 1), *_free(A)],
    "next size, large": [*_new(2000, A, B), *_size(B, 1), *_free(A)],
    "prev_size": [*_new(2000, A, B, C), *_free(A), *_store(B, -16, 0x30), *_free(B)],
    "fd of an unsorted chunk": [
        *_new(2000, A, B, C),
        *_free(A),
        _link(A, 0, C, 0, False),
        *_free(B),
    ],
    "size of an unsorted chunk": [
        *_new(2000, A),
        *_new(24, B),
        *_free(A),
        *_size(A, 1),
        *_new(3000, C),
    ],
    "size after an unsorted chunk": [
        *_new(2000, A),
        *_new(24, B),
        *_free(A),
        *_size(B, 1),
        *_new(3000, C),
    ],
    "prev_size after an unsorted chunk": [
        *_new(2000, A),
        *_new(24, B),
        *_free(A),
        *_store(B, -16, 0x40),
        *_new(3000, C),
    ],
    "bk of an unsorted chunk": [
        *_new(2000, A, B),
        *_new(24, C),
        *_free(A),
        _link(A, 8, B, 0, False),
        *_new(3000, D),
    ],
    "bk of a small chunk": [
        *_new(1200, A),
        *_new(24, B),
        *_free(A),
        *_new(3000, C),
        *_store(B, 0, 0),
        _link(A, 8, B, 0, False),
        *_new(1200, D),
    ],
    "tcache link to the middle": [
        *_new(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 8),
        *_new(24, C, D),
    ],
    "tcache link to nowhere": [
        *_new(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 0x41414141),  # unaligned, wherever the heap lies
        *_new(24, C, D),
    ],
    "tcache link far away": [
        *_new(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 0x700000000001),
        *_new(24, C, D),
    ],
    "fastbin link to the middle": [
        *_full_tcache(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 8),
        *_new(24, *_MANY, C, D),
    ],
    "fastbin chunk of another size": [
        *_full_tcache(24, A),
        *_free(A),
        *_size(A, 0x41),
        *_new(24, *_MANY, B),
    ],
    "fastbin link, consolidated": [
        *_full_tcache(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 8),
        *_new(2000, C),
    ],
    "fastbin size, consolidated": [
        *_full_tcache(24, A, B),
        *_free(A),
        *_size(A, 0x41),
        *_new(2000, C),
    ],
    "size of top, huge": [*_new(24, A), *_store(A, 24, 0x7FFFFFFFFFFFFFF1), *_new(2000, B)],
    "size of top, small": [*_new(24, A), *_store(A, 24, 0x31), *_new(2000, B)],
    "realloc in the middle": [
        *_new(24, A),
        Record(Call.FORGE, B, A, 8),
        Record(Call.REALLOC, B, 40),
    ],
    "realloc of size 0": [*_new(24, A), *_size(A, 1), Record(Call.REALLOC, A, 40)],
    "realloc before size 0": [*_new(24, A, B), *_size(B, 1), Record(Call.REALLOC, A, 40)],
    "a mapping's middle freed": [
        *_new(200_000, A),
        Record(Call.FORGE, B, A, 64),
        *_size(B, 0x1002),
        *_free(B),
    ],
    "a mapping's size changed": [
        *_new(200_000, A),
        *_size(A, 0x30012),
        Record(Call.REALLOC, A, 300_000),
    ],
    "key in the second word, link to the middle": [
        *_new(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 8),
        *_free(B),
    ],
}

FAULTS: dict[str, list[Record]] = {
    "a small number freed": [*_new(24, A), Record(Call.FORGE, B, 9, 0x20), *_free(B)],
    "a block freed beyond the heap": [*_new(24, A), Record(Call.FORGE, B, A, 1 << 20), *_free(B)],
    "realloc beyond the heap": [
        *_new(24, A),
        Record(Call.FORGE, B, A, 1 << 20),
        Record(Call.REALLOC, B, 40),
    ],
    "usable size of a small number": [Record(Call.FORGE, B, 9, 0x20), Record(Call.USABLE, B)],
    "a mapping freed twice": [*_new(200_000, A), *_free(A, A)],
    "no address freed": [Record(Call.FORGE, A, 9, 0x4141414141414140), *_free(A)],
    "tcache link to no address": [
        *_new(24, A, B),
        *_free(A, B),
        _link(B, 0, A, 1 << 40),
        *_new(24, C, D),
    ],
}
"""What Linux ends, because there is no memory at an address."""

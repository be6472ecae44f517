"""The heap at one moment: what every recorder produces and every view draws.

Addresses in a snapshot are *canonical*: each region has been moved to a fixed base and every word
that points into a region was rewritten to match (see :mod:`heapscope.model.canonical`), so two runs
of one program give equal snapshots.  All sizes are bytes.  The terms are those of glibc's
``malloc/malloc.c``: a *chunk* starts at its ``prev_size`` word, the *user pointer* is 16 bytes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

WORD = 8
"""Bytes in a word: the decoder knows the 64-bit layouts."""
HEADER = 16
"""Bytes from a chunk's start to its user pointer: prev_size and size."""


class State(StrEnum):
    """What the allocator thinks of a chunk (malloc.c, "chunk" and "bin" comments)."""

    IN_USE = "in use"
    TCACHE = "tcache"
    FASTBIN = "fastbin"
    UNSORTED = "unsorted"
    SMALL = "small bin"
    LARGE = "large bin"
    TOP = "top"
    MMAPPED = "mmapped"
    TABLE = "tcache table"
    FOLDED = "folded"
    """Blocks the program did not ask for (loader, stdio, threads, Go), folded into one."""
    FENCE = "fencepost"
    UNKNOWN = "unknown"
    """A chunk whose state the bytes no longer tell."""

    @property
    def free(self) -> bool:
        """Whether the chunk is on one of the free lists."""
        return self in (State.TCACHE, State.FASTBIN, State.UNSORTED, State.SMALL, State.LARGE)


class Role(StrEnum):
    """Who may write a word now."""

    PREV_SIZE = "prev_size"  # valid only while the chunk before is free
    SIZE = "size"  # size and the flags A M P
    PAYLOAD = "payload"  # asked for by the program
    SLACK = "slack"  # usable, not asked for
    LINK = "link"  # fd/next, bk, fd_nextsize, bk_nextsize
    KEY = "key"  # tcache key
    STALE = "stale"  # old bytes of a free chunk
    TOP = "top"  # never handed out yet
    INTERNAL = "internal"  # tcache table, arena, folded blocks


@dataclass(frozen=True, slots=True)
class Region:
    """A mapped range of memory with its bytes."""

    name: str  # "heap", "thread heap 1", "mmap 1"
    base: int  # canonical address of data[0]
    data: bytes  # may be cut after the last byte that is not zero: what is missing is zeros
    size: int | None = None  # full length in bytes; None when `data` is all of it

    @property
    def length(self) -> int:
        """Length in bytes, the zeros that were cut off included."""
        return len(self.data) if self.size is None else max(self.size, len(self.data))

    @property
    def end(self) -> int:
        """One past the last canonical address."""
        return self.base + self.length

    def read(self, at: int, size: int = WORD) -> bytes:
        """Return `size` bytes at canonical address `at`; ValueError when they are not all here."""
        if not self.base <= at <= at + size <= self.end:
            raise ValueError(f"{size} bytes at {at:#x} are not in {self.name}")
        part = self.data[at - self.base : at - self.base + size]
        return part + bytes(size - len(part))


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: glibc's ``struct malloc_chunk`` seen from outside."""

    at: int  # canonical address of the prev_size word
    size: int  # the chunk's true extent in bytes (what the size word says unless it is a lie)
    flags: int  # low three bits of the size word: P=1, M=2, A=4
    state: State
    requested: int | None = None  # from the recorded call; None for a block nobody saw asked for
    usable: int = 0  # what malloc_usable_size would say
    name: str | None = None  # variable or letter
    free_list: str | None = None  # name of the list that holds it
    claims: int | None = None  # the size its size word states when that is not `size`
    arena: str = "main"
    label: str | None = None  # text for TABLE, FOLDED, FENCE, TOP

    @property
    def user(self) -> int:
        """The address ``malloc`` returned."""
        return self.at + HEADER

    @property
    def end(self) -> int:
        """Where the next chunk starts."""
        return self.at + self.size


@dataclass(frozen=True, slots=True)
class Word:
    """Eight bytes of the heap, with the one who may write them now."""

    at: int
    data: bytes  # 8 bytes in memory order
    role: Role
    chunk: int | None = None  # Chunk.at of the owner
    target: int | None = None  # of a link: canonical, safe-linking undone; 0 ends a list
    payload: int | None = None  # PAYLOAD: how many of the 8 bytes were asked for, if fewer than 8
    changed: tuple[int, ...] = ()  # positions (0 to 7) of bytes that differ from the frame before
    why: str | None = None  # one short sentence for a changed word
    fault: str | None = None  # what is impossible about it, and why

    @property
    def value(self) -> int:
        """The word as an unsigned little-endian number."""
        return int.from_bytes(self.data, "little")


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of a free list."""

    at: int  # where the list points: user pointer in tcache, chunk start in bins (canonical)
    chunk: int | None  # Chunk.at it belongs to, None when it leads nowhere
    raw: int  # the stored word that leads on from here (canonical)
    target: int  # the same, decoded; 0 is the end
    protected: bool  # whether raw is safe-linked: target == raw ^ (at >> 12)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FreeList:
    """One free list, in list order: the first entry is what the next malloc takes."""

    name: str  # "tcache[0x20]", "fastbin[0x30]", "unsorted", "small[0x100]", "large[0x400]"
    kind: State
    size: int | None  # chunk size in bytes the list is for; None for mixed lists
    links: tuple[Link, ...]
    count: int | None = None  # what the allocator's own counter says (tcache)
    fault: str | None = None  # "leads to 0x7, which is no block", "loops back to B"
    arena: str = "main"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A variable of the program."""

    name: str
    type: str = ""
    value: int | None = None  # canonical where it points into a region
    to: int | None = None  # Chunk.at it points into
    state: str = "ok"  # ok | dangling | null | unset | value
    heap: str = "c"  # c | go | stack | static | none
    text: str | None = None  # how to show a value that is no address
    cells: tuple[tuple[str, int], ...] = ()  # Go: ("ptr", …) ("len", …) ("cap", …)
    scope: str = ""  # function it belongs to


@dataclass(frozen=True, slots=True)
class Event:
    """What happened between the frame before and this one."""

    kind: str  # malloc | calloc | realloc | free | write | copy | gc | cleanup | output | fault
    text: str  # in words: "a = malloc(24)"
    args: tuple[int, ...] = ()
    result: int | None = None  # canonical
    errno: str | None = None  # "ENOMEM"
    chunk: int | None = None  # Chunk.at concerned
    note: str | None = None  # "grew in place", "moved", "reuses the block of a"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something impossible in the heap."""

    at: int  # canonical address of the word
    text: str  # a sentence: what it is, what it should be
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """How a program ended."""

    kind: str  # exit | signal | timeout | limit
    status: int | None = None  # exit status
    signal: str | None = None  # "SIGABRT"
    message: str = ""  # glibc's, Go's or our own words


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The heap at one moment.  Views are pure functions of this."""

    glibc: str  # "2.36"
    arch: str  # "x86-64"
    regions: tuple[Region, ...] = ()
    chunks: tuple[Chunk, ...] = ()  # in address order
    words: tuple[Word, ...] = ()  # in address order; of long blocks only the ends and what changed
    lists: tuple[FreeList, ...] = ()
    pointers: tuple[Pointer, ...] = ()
    events: tuple[Event, ...] = ()
    faults: tuple[Fault, ...] = ()
    line: int | None = None  # source line just executed, 1-based
    stack: tuple[str, ...] = ()  # innermost first
    output: str = ""  # what the program has written so far
    stop: Stop | None = None
    note: str | None = None  # "glibc 2.44 is not known: sizes and flags only"
    go: dict[str, object] = field(default_factory=dict)  # Go side, filled by the Go recorder

    def chunk_at(self, address: int) -> Chunk | None:
        """Return the chunk whose start or user pointer is `address`, if there is one."""
        return next((c for c in self.chunks if address in (c.at, c.user)), None)

    def chunk_holding(self, address: int) -> Chunk | None:
        """Return the chunk whose usable bytes hold `address`, if there is one."""
        return next((c for c in self.chunks if c.user <= address < c.user + max(c.usable, 1)), None)

    def block(self, name: str) -> Chunk:
        """Return the chunk called `name`; KeyError lists the names there are."""
        for chunk in self.chunks:
            if chunk.name == name:
                return chunk
        known = ", ".join(sorted({c.name for c in self.chunks if c.name})) or "none"
        raise KeyError(f"no block is called {name!r}; named blocks: {known}")

    def words_of(self, chunk: Chunk) -> tuple[Word, ...]:
        """Return the words that belong to `chunk`: from its size word up to the next one."""
        return tuple(w for w in self.words if w.chunk == chunk.at)

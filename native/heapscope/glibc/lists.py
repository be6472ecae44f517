"""Follow the free lists of a heap: tcache, fastbins and bins (real addresses).

Nothing is trusted: a list ends at the first address that cannot be a chunk, and the reason is kept.
Whether a plausible address really is a chunk is known only after the walk over the chunks; see
:func:`cut`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from heapscope.glibc.layout import ALIGN, MIN_CHUNK, Layout
from heapscope.glibc.memory import Memory
from heapscope.model.snapshot import HEADER, WORD, State

UNALIGNED, OUTSIDE, LOOP, NO_CHUNK = "unaligned", "outside", "loop", "no chunk"
"""Why a list cannot be followed."""


@dataclass(slots=True)
class Entry:
    """One block of a list."""

    at: int  # where the list points
    chunk: int  # start of its chunk
    slot: int  # address of the word that leads on
    raw: int  # that word
    target: int  # the same, decoded


@dataclass(slots=True)
class Break:
    """Where and why a list cannot be followed."""

    reason: str
    slot: int  # address of the word that leads there
    target: int  # where it leads


@dataclass(slots=True)
class RawList:
    """One free list."""

    name: str
    kind: State
    arena: str
    sizes: tuple[int, int] | None  # smallest and largest chunk size it is for
    protected: bool
    head: int  # address of the word that leads to the first entry
    first: int  # that word
    entries: list[Entry] = field(default_factory=list)
    broken: Break | None = None
    count: int | None = None
    count_at: int | None = None  # address of the word with the count
    table: int | None = None  # tcache: user address of the table
    wrong_back: list[tuple[int, int, int]] = field(default_factory=list)
    """Bins: (address of a word, where it leads, where it should lead)."""

    @property
    def size(self) -> int | None:
        """Size of its chunks, where it holds one size only."""
        return self.sizes[0] if self.sizes and self.sizes[0] == self.sizes[1] else None


@dataclass(slots=True)
class ArenaView:
    """One arena: where its malloc_state is and how to read it."""

    name: str
    base: int  # address of malloc_state
    read: Callable[[int], int]  # offset -> word

    def top(self, layout: Layout) -> int:
        """Where the arena's top chunk starts; 0 when there is none yet."""
        return self.read(layout.arena.top)


def _check(memory: Memory, chunk: int, seen: Collection[int]) -> str | None:
    """Say why `chunk` cannot be the next chunk of a list; None when it may be."""
    if chunk % ALIGN:
        return UNALIGNED
    span = memory.span(chunk)
    if span is None or span.kind == "mmap" or chunk + MIN_CHUNK > span.end:
        return OUTSIDE
    return LOOP if chunk in seen else None


def _singly(memory: Memory, found: RawList, shift: int, user: int) -> None:
    """Fill a singly linked list; `user` is what lies between chunk start and list pointer."""
    seen: set[int] = set()
    slot, node = found.head, found.first
    while node:
        reason = _check(memory, node - user, seen)
        if reason is not None:
            found.broken = Break(reason, slot, node)
            return
        seen.add(node - user)
        slot = node - user + HEADER
        raw = memory.u64(slot) or 0
        target = raw ^ (slot >> shift) if found.protected else raw
        found.entries.append(Entry(node, node - user, slot, raw, target))
        node = target


def tcache_lists(
    memory: Memory, layout: Layout, table: int, arena: str, tcache_count: int | None
) -> list[RawList]:
    """Return the lists of the tcache table at user address `table` that are not empty."""
    facts = layout.tcache
    data = memory.bytes(table, facts.size)
    if data is None:
        return []
    width = facts.count_width
    counts = [
        int.from_bytes(data[facts.counts + width * i : facts.counts + width * (i + 1)], "little")
        for i in range(facts.bins)
    ]
    if facts.down:
        # Most lists are empty, and an empty one tells how many places there are.
        places = tcache_count or Counter(counts).most_common(1)[0][0]
        counts = [places - left for left in counts]
    result = []
    for index, count in enumerate(counts):
        head = table + facts.entries + WORD * index
        first = memory.u64(head) or 0
        if not first and not count:
            continue
        count_at = table + facts.counts + width * index
        found = RawList(
            name=facts.bin_name(index),
            kind=State.TCACHE,
            arena=arena,
            sizes=facts.bin_range(index),
            protected=layout.safe_linking,
            head=head,
            first=first,
            count=count,
            count_at=count_at // WORD * WORD,
            table=table,
        )
        _singly(memory, found, layout.link_shift, HEADER)
        result.append(found)
    return result


def fastbin_lists(memory: Memory, layout: Layout, arena: ArenaView) -> list[RawList]:
    """Return the fastbins of `arena` that are not empty."""
    facts = layout.arena
    if facts.fastbins is None:
        return []
    result = []
    for index in range(facts.fastbin_number):
        offset = facts.fastbins + WORD * index
        first = arena.read(offset)
        if first:
            size = MIN_CHUNK + ALIGN * index
            found = RawList(
                name=f"fastbin[{size:#x}]",
                kind=State.FASTBIN,
                arena=arena.name,
                sizes=(size, size),
                protected=layout.safe_linking,
                head=arena.base + offset,
                first=first,
            )
            _singly(memory, found, layout.link_shift, 0)
            result.append(found)
    return result


def bin_lists(memory: Memory, layout: Layout, arena: ArenaView) -> list[RawList]:
    """Return the bins of `arena` that are not empty, each from its `bk` end.

    malloc takes from that end of the unsorted and the small bins; in a large bin it is the end with
    the smallest chunks.
    """
    facts, bins = layout.arena, layout.bins
    result = []
    for index in range(1, bins.last + 1):
        offset = facts.bins + 2 * WORD * (index - 1)
        fd, bk = arena.read(offset), arena.read(offset + WORD)
        header = arena.base + offset - HEADER
        if fd == bk == header or fd == bk == 0:  # empty, or an arena that was never used
            continue
        if index == 1:
            kind, sizes = State.UNSORTED, None
        else:
            kind = State.SMALL if index < bins.first_large else State.LARGE
            upper = bins.lowest(index + 1) - ALIGN if index < bins.last else 1 << 63
            sizes = (bins.lowest(index), upper)
        found = RawList(
            name=bins.name(index),
            kind=kind,
            arena=arena.name,
            sizes=sizes,
            protected=False,
            head=arena.base + offset + WORD,
            first=bk,
        )
        _doubly(memory, found, header, fd)
        result.append(found)
    return result


def _doubly(memory: Memory, found: RawList, header: int, fd: int) -> None:
    """Fill a doubly linked list along `bk`, and check every `fd` against it."""
    seen: set[int] = set()
    slot, node, came_from = found.head, found.first, header
    while node != header:
        reason = _check(memory, node, seen)
        if reason is not None:
            found.broken = Break(reason, slot, node)
            break
        seen.add(node)
        forward = memory.u64(node + HEADER) or 0
        if forward != came_from:
            found.wrong_back.append((node + HEADER, forward, came_from))
        slot = node + HEADER + WORD
        raw = memory.u64(slot) or 0
        found.entries.append(Entry(node, node, slot, raw, raw))
        node, came_from = raw, node
    if found.broken is None:
        if fd != came_from:
            found.wrong_back.append((found.head - WORD, fd, came_from))
        return
    # The other direction may still lead to the chunks behind the break.
    rest: list[Entry] = []
    node = fd
    slot, last = found.head - WORD, found.entries[-1].at if found.entries else header
    while node not in (header, last):
        if _check(memory, node, seen) is not None:
            found.wrong_back.append((slot, node, last))
            break
        seen.add(node)
        slot = node + HEADER
        back = memory.u64(node + HEADER + WORD) or 0
        rest.append(Entry(node, node, node + HEADER + WORD, back, back))
        node = memory.u64(node + HEADER) or 0
    found.entries.extend(reversed(rest))


def cut(found: RawList, starts: Collection[int]) -> None:
    """End the list before its first entry that is not the start of a chunk."""
    for index, entry in enumerate(found.entries):
        if entry.chunk not in starts:
            slot = found.entries[index - 1].slot if index else found.head
            found.broken = Break(NO_CHUNK, slot, entry.at)
            del found.entries[index:]
            return

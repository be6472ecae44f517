"""What a process did with its memory: which blocks were never freed, the peak, the sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heapscope.traces.format import Array, Events, Flag, Image, Op

_CROSSED = 20_000
"""Nanoseconds: so far apart may the clocks of two cores, and the two calls, be."""

POINTS = 400
"""So many points a timeline has at most."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Every block of a process in the order of allocation; arrays of equal length."""

    size: Array  # uint64
    stack: Array  # int64: number in Image.stacks
    thread: Array  # uint32
    born: Array  # int64: nanoseconds
    died: Array  # int64; NEVER: not freed

    @property
    def live(self) -> Array:
        """Whether each block was still there at the end."""
        result: Array = self.died == NEVER
        return result


NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Stale:
    """Counts of what an event stream told beside its blocks."""

    allocations: int  # that succeeded, realloc's included
    frees: int  # of blocks that were known
    failed: int  # allocations that returned NULL
    reallocs: int
    unknown: int  # releases of blocks that nobody saw allocated
    unseen: int  # blocks whose release was not seen: their address was handed out again


@dataclass(frozen=True, slots=True)
class Summary:
    """A process in numbers; stacks are still addresses."""

    image: Image
    blocks: Blocks
    counts: Stale
    moments: Array  # int64: nanoseconds, at most POINTS of them
    bytes: Array  # int64: live bytes at each
    objects: Array  # int64: live blocks at each
    peak: int  # bytes
    peak_objects: int
    peak_time: int  # nanoseconds
    ended: int  # nanoseconds: the last event

    def by_stack(self, chosen: Array) -> tuple[Array, Array, Array]:
        """Group the blocks that `chosen` is true for: (stack, blocks, bytes), most bytes first."""
        stack = self.blocks.stack[chosen]
        if not len(stack):
            empty = np.zeros(0, np.int64)
            return empty, empty, empty
        length = int(stack.max()) + 1
        count = np.bincount(stack, minlength=length)
        total = np.zeros(length, np.uint64)
        np.add.at(total, stack, self.blocks.size[chosen])
        found = np.flatnonzero(count)
        rank = np.lexsort((found, -count[found], -total[found].astype(np.float64)))
        found = found[rank]
        return found, count[found], total[found]

    def at_peak(self) -> Array:
        """Return which blocks were live at the peak."""
        moment = self.peak_time
        result: Array = (self.blocks.born <= moment) & (self.blocks.died > moment)
        return result


def summarize(image: Image) -> Summary:
    """Follow every block from its allocation to its release."""
    events = image.events
    kind, failed, reallocs = _deeds(events)
    blocks, unknown, unseen = _pair(events, kind)
    frees = int((kind == _FREE).sum()) - unknown
    counts = Stale(
        allocations=len(blocks.size),
        frees=frees,
        failed=failed,
        reallocs=reallocs,
        unknown=unknown,
        unseen=unseen,
    )
    moments, held, objects, peak = _timeline(blocks, image)
    return Summary(
        image=image,
        blocks=blocks,
        counts=counts,
        moments=moments,
        bytes=held,
        objects=objects,
        peak=peak[0],
        peak_objects=peak[1],
        peak_time=peak[2],
        ended=int(events.time[-1]) if len(events) else 0,
    )


_NOTHING, _ALLOCATE, _FREE = 0, 1, 2


def _deeds(events: Events) -> tuple[Array, int, int]:
    """Say of each event whether a block begins or ends there. Also: failures and reallocs."""
    op = events.op
    worked = events.address != 0
    kind = np.zeros(len(op), np.int8)
    allocate = (op == Op.MALLOC) | (op == Op.CALLOC) | (op == Op.ALIGNED) | (op == Op.REALLOC_END)
    kind[allocate & worked] = _ALLOCATE
    kind[(op == Op.FREE) & worked] = _FREE
    failed = int((allocate & ~worked).sum())
    begin = np.flatnonzero(op == Op.REALLOC_BEGIN)
    end = np.flatnonzero(op == Op.REALLOC_END)
    if not len(begin):
        return kind, failed, len(end)
    # the end belongs to the beginning just before it in its thread
    both = np.sort(np.concatenate([begin, end]))
    both = both[np.argsort(events.thread[both], kind="stable")]
    pair = (
        (op[both[:-1]] == Op.REALLOC_BEGIN)
        & (op[both[1:]] == Op.REALLOC_END)
        & (events.thread[both[:-1]] == events.thread[both[1:]])
    )
    first, second = both[:-1][pair], both[1:][pair]
    gone = worked[second] | (events.size[second] == 0)
    kind[first[gone]] = _FREE  # a realloc that failed, or was never finished, frees nothing
    failed -= int((gone & ~worked[second]).sum())
    return kind, failed, len(end)


def _pair(events: Events, kind: Array) -> tuple[Blocks, int, int]:
    """Find the release of each block."""
    mine = np.flatnonzero(kind)
    address = events.address[mine]
    rank = np.argsort(address, kind="stable")
    mine, address = mine[rank], address[rank]
    does = kind[mine]
    if len(mine) > 2:
        _uncross(events, mine, address, does)
    same = np.zeros(len(mine), bool)
    same[:-1] = address[:-1] == address[1:]
    begins = does == _ALLOCATE
    after = np.zeros(len(mine), np.int64)
    after[:-1] = mine[1:]
    died = np.where(same, events.time[after], NEVER)
    # a block that is handed out again although its release was not seen ended at that time
    again = np.zeros(len(mine), bool)
    again[:-1] = begins[:-1] & begins[1:] & same[:-1]
    known = np.zeros(len(mine), bool)
    known[1:] = begins[:-1] & same[:-1]
    unknown = int((~begins & ~known).sum())
    allocated = mine[begins]
    back = np.argsort(allocated, kind="stable")
    allocated = allocated[back]
    born = events.time[allocated]
    return (
        Blocks(
            size=events.size[allocated],
            stack=events.stack[allocated],
            thread=events.thread[allocated],
            born=born,
            died=np.maximum(died[begins][back], born),
        ),
        unknown,
        int(again.sum()),
    )


def _uncross(events: Events, mine: Array, address: Array, does: Array) -> None:
    """Put right what two cores' clocks have turned round, in place.

    A block is allocated, allocated again by another thread, and freed at once: the release came
    first in truth.
    """
    same = (address[:-2] == address[1:-1]) & (address[1:-1] == address[2:])
    turned = same & (does[:-2] == _ALLOCATE) & (does[1:-1] == _ALLOCATE) & (does[2:] == _FREE)
    place = np.flatnonzero(turned) + 1
    if not len(place):
        return
    early, late = mine[place], mine[place + 1]
    near = (events.time[late] - events.time[early] < _CROSSED) & (
        events.thread[late] != events.thread[early]
    )
    place, early, late = place[near], early[near], late[near]
    mine[place], mine[place + 1] = late, early
    does[place], does[place + 1] = _FREE, _ALLOCATE


def _timeline(blocks: Blocks, image: Image) -> tuple[Array, Array, Array, tuple[int, int, int]]:
    """Return moments, live bytes and live blocks at each, and the peak: bytes, blocks, time."""
    size = np.minimum(blocks.size, np.uint64(1 << 62)).astype(np.int64)
    dead = np.flatnonzero(blocks.died != NEVER)
    time = np.concatenate([blocks.born, blocks.died[dead]])
    change = np.concatenate([size, -size[dead]])
    step = np.concatenate([np.ones(len(size), np.int64), np.full(len(dead), -1)])
    if not len(time):
        zero = np.zeros(1, np.int64)
        return zero, zero, zero, (0, 0, 0)
    # what ends comes before what begins at the same moment
    rank = np.lexsort((step, time))
    time = time[rank]
    held, objects = np.cumsum(change[rank]), np.cumsum(step[rank])
    top = int(np.argmax(held))
    peak = (int(held[top]), int(objects[top]), int(time[top]))
    if len(time) > POINTS:
        # the highest place of each stretch of time, and both ends
        last = max(int(time[-1]), 1)
        stretch = np.minimum(time * (POINTS - 2) // last, POINTS - 3)
        first = np.flatnonzero(np.diff(stretch, prepend=-1))
        length = np.diff(np.append(first, len(time)))
        most = np.maximum.reduceat(held, first)
        hit = np.flatnonzero(held == np.repeat(most, length))
        chosen = hit[np.flatnonzero(np.diff(stretch[hit], prepend=-1))]
        chosen = np.unique(np.concatenate([[0], chosen, [top, len(time) - 1]]))
        time, held, objects = time[chosen], held[chosen], objects[chosen]
    return time, held, objects, peak


def forked(image: Image) -> bool:
    """Return whether the image began with its parent's blocks."""
    return bool(image.flags & Flag.FORKED)

"""The report of a trace: what was never freed and who allocated it, the peak, memory over time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from heapscope.traces.format import (
    Array,
    Flag,
    Image,
    Progress,
    read,
)
from heapscope.traces.summary import Summary, summarize
from heapscope.traces.symbols import Frame, Symbols

UNKNOWN = Frame()
_LIMIT = 1 << 62
"""No sum of sizes is taken for more: only a damaged trace has such."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Blocks that were allocated from one stack."""

    bytes: int
    blocks: int
    stack: tuple[Frame, ...]  # the innermost function first

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The stack without what cgo and the runtime put between Go and C."""
        return tuple(frame for frame in self.stack if not frame.glue)

    @property
    def site(self) -> Frame:
        """The call of malloc: the first frame that is the program's own or a library's."""
        return next(iter(self.frames or self.stack), UNKNOWN)

    @property
    def border(self) -> str:
        """What Go called when the call site is in Go: ``C.malloc``, ``C.CString`` or the like."""
        return border(self.stack)

    @property
    def caller(self) -> Frame | None:
        """The first frame with a known line, if that is not the call site itself."""
        lined = (frame for frame in self.frames if frame.line and not _runtime(frame))
        if self.site.go:
            return None
        first = next((f for f in self.frames if f.go and not _runtime(f)), None)
        found = first or next(lined, None)
        return None if found is self.site else found


@dataclass(frozen=True, slots=True)
class Site:
    """The blocks that were allocated at one call site, and the stacks that led there."""

    frame: Frame
    bytes: int
    blocks: int
    stacks: tuple[Usage, ...]  # most bytes first


@dataclass(frozen=True, slots=True)
class Point:
    """Live memory at a moment."""

    seconds: float
    bytes: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Peak:
    """The moment with most live bytes."""

    seconds: float
    bytes: int
    blocks: int
    usage: tuple[Usage, ...]  # who had allocated them, most bytes first


@dataclass(frozen=True, slots=True)
class Size:
    """The allocations of a range of sizes."""

    low: int
    high: int  # included
    blocks: int
    bytes: int
    live: int  # blocks of them that were not freed


@dataclass(frozen=True, slots=True)
class Total:
    """Everything that was allocated from one stack, for pprof."""

    groups: tuple[tuple[Frame, ...], ...]  # by address: inlined functions together
    blocks: int
    bytes: int
    live_blocks: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """One program of the trace."""

    pid: int
    parent: int
    exe: str
    command: tuple[str, ...]
    began: datetime
    seconds: float  # to the last event
    finished: bool  # it returned from main or called exit
    replaced: bool  # by exec, with another program: what it had not freed is gone
    forked: bool
    depth: int
    allocations: int
    frees: int
    failed: int
    reallocs: int
    threads: int
    allocated: int  # bytes, all allocations together
    leaks: tuple[Usage, ...]  # most bytes first
    peak: Peak
    timeline: tuple[Point, ...]
    sizes: tuple[Size, ...]
    notes: tuple[str, ...]  # what the reader must know of this trace
    totals: Callable[[], tuple[Total, ...]] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The program's name."""
        return os.path.basename(self.exe) or "?"

    @property
    def leaked(self) -> int:
        """Bytes that were not freed."""
        return sum(usage.bytes for usage in self.leaks)

    @property
    def leaked_blocks(self) -> int:
        """Blocks that were not freed."""
        return sum(usage.blocks for usage in self.leaks)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The leaks by call site."""
        return by_site(self.leaks)


@dataclass(frozen=True, slots=True)
class Report:
    """A trace, evaluated. A notebook shows it; ``text()``, ``page()`` and ``pprof()`` write it."""

    path: Path
    processes: tuple[Process, ...]  # in the order of their beginning
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> Process:
        """The process with the highest peak."""
        return max(self.processes, key=lambda process: process.peak.bytes)

    @property
    def leaks(self) -> tuple[Usage, ...]:
        """What was not freed, by stack, of all processes; most bytes first."""
        if len(self.processes) == 1:
            return self.processes[0].leaks
        return _merge([usage for process in self.ended for usage in process.leaks])

    @property
    def ended(self) -> tuple[Process, ...]:
        """The processes without those that exec has replaced."""
        return tuple(p for p in self.processes if not p.replaced) or self.processes

    @property
    def sites(self) -> tuple[Site, ...]:
        """What was not freed, by call site, of all processes."""
        return by_site(self.leaks)

    @property
    def leaked(self) -> int:
        """Bytes that were not freed, of all processes."""
        return sum(process.leaked for process in self.ended)

    @property
    def leaked_blocks(self) -> int:
        """Blocks that were not freed, of all processes."""
        return sum(process.leaked_blocks for process in self.ended)

    @property
    def peak(self) -> Peak:
        """The peak of the main process."""
        return self.main.peak

    @property
    def timeline(self) -> tuple[Point, ...]:
        """Live memory of the main process over time."""
        return self.main.timeline

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes of the main process's allocations."""
        return self.main.sizes

    def text(self, most: int = 10) -> str:
        """Return the report in words, with the `most` largest call sites."""
        from heapscope.traces.text import text

        return text(self, most)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        from heapscope.traces.text import to_json

        return to_json(self)

    def html(self) -> str:
        """Return the report as a part of a page, without a style sheet."""
        from heapscope.traces.page import body

        return body(self)

    def page(self) -> str:
        """Return one self-contained HTML page."""
        from heapscope.traces.page import page

        return page(self)

    def pprof(self) -> bytes:
        """Return a profile as ``go tool pprof`` opens it: a gzipped profile.proto."""
        from heapscope.traces.pprof import profile

        return profile(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from heapscope.traces.page import output

        return {"text/html": output(self), "text/plain": self.text()}

    def __repr__(self) -> str:
        return self.text()


def report(
    path: str | os.PathLike[str],
    *,
    symbols: bool = True,
    cache: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Read a trace, the folder or one file of it, and say what became of the memory.

    Without `symbols` stacks are addresses in files. With `cache`, names and lines that were looked
    up are kept on disk for the next time. Raises TraceError when there is no trace to read.
    """
    trace = read(path, progress)
    book = Symbols(cache=cache, progress=progress) if symbols else None
    processes = []
    for number, image in enumerate(trace.images):
        if progress is not None:
            progress("following the blocks", number / len(trace.images))
        replaced = any(later.pid == image.pid for later in trace.images[number + 1 :])
        processes.append(_process(image, book, replaced))
    notes = list(trace.unreadable)
    if book is not None:
        notes += [
            f"{path} was changed after it was traced: its names and lines may be wrong"
            for path in sorted(book.stale)
        ]
        book.save()
    if progress is not None:
        progress("", 1.0)
    return Report(trace.path, tuple(processes), tuple(notes))


def border(stack: Sequence[Frame]) -> str:
    """Return the C function that Go code called itself, unless C code stands before it."""
    for frame in stack:
        if not frame.glue:
            return ""
        if frame.border:
            return frame.border
    return ""


def by_site(usages: Sequence[Usage]) -> tuple[Site, ...]:
    """Group stacks by the call site, the line that called the allocator; most bytes first."""
    found: dict[tuple[Any, ...], list[Usage]] = {}
    for usage in usages:
        frame = usage.site
        exact = () if frame.line else (frame.offset,)
        key = (frame.function, frame.file, frame.line, frame.module, usage.border, *exact)
        found.setdefault(key, []).append(usage)
    sites = [
        Site(
            members[0].site,
            sum(usage.bytes for usage in members),
            sum(usage.blocks for usage in members),
            tuple(members),
        )
        for members in found.values()
    ]
    return tuple(sorted(sites, key=lambda site: (-site.bytes, -site.blocks)))


def _runtime(frame: Frame) -> bool:
    return frame.go and frame.function.startswith(("runtime.", "runtime/"))


def _merge(usages: Sequence[Usage]) -> tuple[Usage, ...]:
    """Add what came through the same lines; most bytes first."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for usage in usages:
        key = tuple((f.function, f.file, f.line, f.inlined) if f.line else f for f in usage.stack)
        total = found.setdefault(key, [0, 0, usage.stack])
        total[0] += usage.bytes
        total[1] += usage.blocks
    merged = [Usage(size, blocks, stack) for size, blocks, stack in found.values()]
    return tuple(sorted(merged, key=lambda usage: (-usage.bytes, -usage.blocks)))


class _Names:
    """The stacks of an image with names; each address is looked up once."""

    def __init__(self, image: Image, symbols: Symbols | None) -> None:
        self._image = image
        self._symbols = symbols or Symbols(cache=False)
        self._named = symbols is not None
        self._frames: dict[int, tuple[Frame, ...]] = {}

    def learn(self, numbers: Array) -> None:
        """Look up all addresses of these stacks at once."""
        stacks = self._image.stacks
        wanted: set[int] = set()
        for number in numbers.tolist():
            wanted.update(stacks.address[stacks.start[number] : stacks.start[number + 1]].tolist())
        wanted -= self._frames.keys()
        if self._named:
            self._frames.update(self._symbols.resolve(self._image, wanted))
        else:
            self._frames.update(self._symbols.places(self._image, wanted))

    def groups(self, number: int) -> tuple[tuple[Frame, ...], ...]:
        """Return a stack by address."""
        frames = self._image.stacks.frames(number)
        return tuple(self._frames[address] for address, _ in frames)

    def stack(self, number: int) -> tuple[Frame, ...]:
        return tuple(frame for group in self.groups(number) for frame in group)


def _usage(summary: Summary, names: _Names, chosen: Array) -> tuple[Usage, ...]:
    stacks, blocks, sizes = summary.by_stack(chosen)
    names.learn(stacks)
    return _merge(
        [
            Usage(int(size), int(count), names.stack(number))
            for number, count, size in zip(
                stacks.tolist(), blocks.tolist(), sizes.tolist(), strict=True
            )
        ]
    )


def _process(image: Image, symbols: Symbols | None, replaced: bool) -> Process:
    summary = summarize(image)
    names = _Names(image, symbols)
    blocks = summary.blocks
    sizes = np.minimum(blocks.size, np.uint64(_LIMIT))
    counts = summary.counts
    return Process(
        pid=image.pid,
        parent=image.parent,
        exe=image.exe,
        command=image.command,
        began=datetime.fromtimestamp(min(image.began / 1e9, 4e9), UTC),
        seconds=summary.ended / 1e9,
        finished=bool(image.flags & Flag.FINISHED),
        replaced=replaced,
        forked=bool(image.flags & Flag.FORKED),
        depth=image.depth,
        allocations=counts.allocations,
        frees=counts.frees,
        failed=counts.failed,
        reallocs=counts.reallocs,
        threads=len(np.unique(image.events.thread)),
        allocated=int(sizes.sum()),
        leaks=_usage(summary, names, blocks.live),
        peak=Peak(
            summary.peak_time / 1e9,
            summary.peak,
            summary.peak_objects,
            _usage(summary, names, summary.at_peak()),
        ),
        timeline=tuple(
            Point(time / 1e9, held, objects)
            for time, held, objects in zip(
                summary.moments.tolist(),
                summary.bytes.tolist(),
                summary.objects.tolist(),
                strict=True,
            )
        ),
        sizes=_sizes(summary),
        notes=tuple(_notes(image, summary, replaced)),
        totals=lambda: _totals(summary, names),
    )


def _sizes(summary: Summary) -> tuple[Size, ...]:
    """Count allocations by powers of two."""
    size, live = summary.blocks.size, summary.blocks.live
    if not len(size):
        return ()
    # the number of bits of size - 1: 17 to 32 is 5
    less = np.maximum(size, np.uint64(1)) - np.uint64(1)
    _, bits = np.frexp(less.astype(np.float64))
    bits = np.maximum(bits, 3)  # up to 8 bytes are one range
    length = int(bits.max()) + 1
    count = np.bincount(bits, minlength=length)
    kept = np.bincount(bits[live], minlength=length)
    total = np.zeros(length, np.uint64)
    np.add.at(total, bits, size)
    return tuple(
        Size(
            0 if n == 3 else (1 << (n - 1)) + 1,
            1 << n,
            int(count[n]),
            int(total[n]),
            int(kept[n]),
        )
        for n in range(int(bits.min()), length)
    )


def _totals(summary: Summary, names: _Names) -> tuple[Total, ...]:
    every = np.ones(len(summary.blocks.size), bool)
    stacks, blocks, sizes = summary.by_stack(every)
    live: dict[int, tuple[int, int]] = {
        number: (count, size)
        for number, count, size in zip(
            *(part.tolist() for part in summary.by_stack(summary.blocks.live)), strict=True
        )
    }
    names.learn(stacks)
    result = []
    for number, count, size in zip(stacks.tolist(), blocks.tolist(), sizes.tolist(), strict=True):
        kept, held = live.get(number, (0, 0))
        result.append(Total(names.groups(number), count, size, kept, held))
    return tuple(result)


def _notes(image: Image, summary: Summary, replaced: bool) -> list[str]:
    """Say what the reader must know before trusting the numbers."""
    notes = []
    if image.stopped:
        reason = os.strerror(image.stopped)
        if image.stopped == errno.ENOSPC:
            reason = "the disk was full"
        notes.append(f"the recording stopped before the program did: {reason}")
    elif not replaced and not image.flags & (Flag.FINISHED | Flag.GO):  # Go's exit tells nobody
        notes.append(
            "the program had not come to its end by exit or return from main: it was killed, "
            "crashed, called _exit, or is still running"
        )
    if image.lost:
        notes.append(f"{_count(image.lost, 'event')} could not be recorded")
    if image.missing:
        notes.append(
            f"the file is cut: {_count(image.missing, 'block')} of 64 KiB of events are missing"
        )
    if image.damaged:
        notes.append(f"{_count(image.damaged, 'part')} of the file made no sense and were left out")
    if image.cut_stacks:
        notes.append(
            f"{_count(image.cut_stacks, 'event')} are known by their call site alone: the program "
            "has too many different stacks"
        )
    if image.flags & Flag.ALLOCATOR:
        notes.append("the program brings an allocator of its own along, in the place of glibc's")
    if summary.counts.unknown and not image.flags & Flag.FORKED:
        notes.append(
            f"{_count(summary.counts.unknown, 'release')} of blocks that were not seen allocated"
        )
    if summary.counts.unseen:
        notes.append(
            f"{_count(summary.counts.unseen, 'block')} went without a release that was seen: their "
            "addresses were handed out again"
        )
    return notes


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

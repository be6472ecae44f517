"""Pictures beside that of a heap: process map, staircase, memory over time, fragmentation.

Each takes what a cell measured and returns a :class:`~heapscope.views.picture.Picture` with its
words.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from heapscope.model.snapshot import (
    HEADER,
    WORD,
    Chunk,
    FreeList,
    Link,
    Region,
    Role,
    Snapshot,
    State,
    Word,
)
from heapscope.views import theme, words
from heapscope.views.figure import figure
from heapscope.views.grid import Grid
from heapscope.views.pen import Pen
from heapscope.views.picture import Picture, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RECORDED = "recorded by running this"
WIDTH = 640.0
"""CSS pixels of a plot; on a narrow screen it scrolls in its own box."""


def plot(height: float, left: float = 64.0) -> tuple[Figure, Axes]:
    """Return a figure with axes for a plot; `left` is the room for labels in pixels."""
    fig = theme.canvas(WIDTH, height)
    with theme.style():
        ax = fig.add_axes(
            (left / WIDTH, 48 / height, 1 - (left + 24) / WIDTH, 1 - 64 / height),
        )
    return fig, ax


# ---- where things are in a process

KINDS = {
    "program": "the program's file: code, constants, static data",
    "heap": "the C heap ([heap]: what brk gave)",
    "go heap": "the Go heap",
    "mapping": "anonymous mappings",
    "library": "shared libraries",
    "kernel": "the kernel's own pages",
    "stack": "the main thread's stack",
}
"""What a range of a process may be, in words."""
_FILL = {"heap": "payload", "go heap": "go", "mapping": "payload", "stack": "slack"}
GO_HEAP_LOW, GO_HEAP_HIGH = 0xC0_0000_0000, 0x7F00_0000_0000
"""Where Go maps its arenas on 64-bit systems when nothing names them (runtime/malloc.go)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring ranges of one kind."""

    kind: str
    low: int
    high: int
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessMap(Picture):
    """The picture of a process, which can also be asked."""

    ranges: tuple[tuple[int, int, str], ...] = field(default=(), repr=False)

    def where(self, address: int) -> str:
        """Return the kind of the range that holds `address`: heap, stack, program and so on.

        KeyError when nothing is mapped there.
        """
        for low, high, kind in self.ranges:
            if low <= address < high:
                return kind
        raise KeyError(f"nothing is mapped at {address:#x}")

    def __repr__(self) -> str:
        return self.text()


def process_map(maps: str, marks: Mapping[str, int] | None = None) -> ProcessMap:
    """Draw the text of ``/proc/self/maps``: which kinds of memory there are, low addresses first.

    `marks` are addresses by name. Neighbours of one kind are one row; sizes are not drawn to scale
    and addresses, which change from run to run, not at all. ValueError when `maps` is no such text,
    or a mark lies outside of everything.
    """
    ranges = _ranges(maps)
    inside: dict[int, list[str]] = {}
    for name, address in (marks or {}).items():
        home = next((low for low, high, _ in ranges if low <= address < high), None)
        if home is None:
            raise ValueError(f"{name} is at {address:#x}, where these maps have nothing")
        inside.setdefault(home, []).append(name)
    parts: list[Part] = []
    for low, high, kind in ranges:
        named = tuple(inside.get(low, ()))
        last = parts[-1] if parts else None
        if last is not None and last.kind == kind:
            parts[-1] = Part(kind, last.low, high, last.marks + named)
        else:
            parts.append(Part(kind, low, high, named))
    shown = [p for p in parts if p.marks or p.kind not in ("kernel",)]
    said = [f"{' and '.join(p.marks)} in {KINDS[p.kind]}" for p in shown if p.marks]
    alt = "From low to high addresses: " + ", ".join(p.kind for p in shown) + "."
    if said:
        alt = "; ".join(said) + ". " + alt
    table = Grid.of(
        ("range, from low to high addresses", "what it is", "holds"),
        [(p.kind, KINDS[p.kind], ", ".join(p.marks)) for p in shown],
    )
    return ProcessMap(
        "The memory of one process",
        alt,
        (_draw_map(shown, alt),),
        f"/proc/self/maps · {RECORDED} · not to scale",
        (table,),
        ranges=tuple(ranges),
    )


def _ranges(maps: str) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    program = None
    for line in maps.splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)\s*(.*)$", line)
        if match is None:
            raise ValueError(f"this is no line of /proc/self/maps: {line[:60]!r}")
        low, high = int(match[1], 16), int(match[2], 16)
        inode, path = int(match[4]), match[5]
        if inode and program is None:
            program = path
        found.append((low, high, _kind(low, high, inode, path, program)))
    if not found:
        raise ValueError("the maps are empty: print the whole of /proc/self/maps")
    # .bss is anonymous memory right behind the program's file.
    for index, (low, high, kind) in enumerate(found[1:], 1):
        before = found[index - 1]
        if kind == "mapping" and before[2] in ("program", "library") and before[1] == low:
            found[index] = low, high, before[2]
    return found


def _kind(low: int, high: int, inode: int, path: str, program: str | None) -> str:
    if path == "[heap]":
        return "heap"
    if path.startswith("[stack"):
        return "stack"
    if path.startswith("[anon: Go"):
        return "go heap" if "heap" in path else "mapping"
    if path.startswith("["):
        return "kernel"
    if inode:
        return "program" if path == program else "library"
    return "go heap" if GO_HEAP_LOW <= low < high < GO_HEAP_HIGH else "mapping"


def _draw_map(parts: Sequence[Part], alt: str) -> str:
    row, gap, left, column = 40.0, 8.0, 150.0, 170.0
    pen = Pen(WIDTH, 34 + len(parts) * (row + gap) + 8)
    pen.text(left, 20, "low addresses", size=12, colour="faint")
    y = 30.0
    for part in parts:
        fill = _FILL.get(part.kind, "soft")
        pen.box(left, y, column, row, fill=fill, edge="edge")
        pen.text(left - 12, y + row / 2 + 4, part.kind, size=13, colour="ink", align="right")
        if part.marks:
            ink = {"go": "on-dark", "soft": "ink"}.get(fill, "on-light")
            pen.box(left + column - 24, y + row / 2 - 3, 6, 6, fill=ink)
            pen.path(
                [[(left + column - 18, y + row / 2), (left + column + 14, y + row / 2)]],
                edge="edge",
            )
            pen.text(left + column + 20, y + row / 2 + 4, ", ".join(part.marks), size=13)
        y += row + gap
    pen.text(left, y + 10, "high addresses", size=12, colour="faint")
    return pen.svg(alt)


# ---- sizes


def staircase(steps: Sequence[tuple[int, int, int]]) -> Picture:
    """Draw what requests cost; `steps` are (request, usable, chunk) in bytes, by request."""
    some(steps, "steps")
    fig, ax = plot(320)
    requests = [s[0] for s in steps]
    chunks = [s[2] for s in steps]
    colour = theme.COLOUR
    ax.fill_between(requests, requests, [s[1] for s in steps], step="mid", color=colour["slack"])
    ax.fill_between(requests, 0, requests, color=colour["payload"])
    ax.step(requests, chunks, where="mid", color=colour["header"], linewidth=2)
    end = requests[-1]
    ax.annotate("chunk", (end, chunks[-1]), (-8, 8), textcoords="offset points", ha="right")
    ax.annotate("requested", (end * 0.82, end * 0.3), ha="center", color=colour["on-light"])
    ax.annotate(
        "slack",
        (end * 0.4, end * 0.41),
        (end * 0.2, end * 0.82),
        arrowprops={"arrowstyle": "-", "color": colour["ink"]},
        ha="center",
    )
    ax.set_xlabel("requested, bytes")
    ax.set_ylabel("bytes")
    ax.set_xlim(requests[0], end)
    ax.set_ylim(0, max(chunks) * 1.12)
    sizes = sorted(set(chunks))
    runs = [
        (size, min(r for r, _, c in steps if c == size), max(r for r, _, c in steps if c == size))
        for size in sizes
    ]
    rises = sorted({b - a for a, b in itertools.pairwise(sizes)})
    by = " or ".join(str(r) for r in rises) or "0"
    alt = (
        f"Requests from {requests[0]} to {end} bytes lead to {len(sizes)} sizes of chunk, from "
        f"{sizes[0]} to {sizes[-1]} bytes, each {by} bytes above the one before: a staircase."
    )
    usable = {c: u for _, u, c in steps}
    table = Grid.of(
        ("requested", "usable", "chunk"),
        [(f"{low} to {high}" if low != high else low, usable[c], c) for c, low, high in runs],
    )
    return picture(fig, title="What a request costs", alt=alt, table=table, caption=RECORDED)


def capacity_curve(steps: Sequence[tuple[int, int]]) -> Picture:
    """Draw how a Go slice grows; `steps` are (length, new capacity) at each growth."""
    some(steps, "steps")
    fig, ax = plot(330)
    colour = theme.COLOUR
    lengths = [length for length, _ in steps]
    capacities = [capacity for _, capacity in steps]
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ends = [*lengths[1:], capacities[-1]]
    for length, end, capacity in zip(lengths, ends, capacities, strict=True):
        ax.plot((length, end), (capacity, capacity), color=colour["header"], linewidth=2.4)
    factors = [None, *(b / a for a, b in itertools.pairwise(capacities))]
    for length, capacity, factor in zip(lengths, capacities, factors, strict=True):
        if factor is not None:
            ax.annotate(
                f"×{factor:.3g}",
                (length, capacity),
                (-3, 5),
                textcoords="offset points",
                ha="right",
                size=10,
                color=colour["ink"],
            )
    low, high = lengths[0], capacities[-1]
    ax.plot((low, high), (low, high), color=colour["faint"], linewidth=1, linestyle=(0, (3, 3)))
    ax.annotate("length", (high / 3, high / 4.6), color=colour["faint"])
    plain = [2**n for n in range(0, high.bit_length() + 1, 2) if low <= 2**n <= high]
    ax.set_xticks(plain, [f"{n:,}" for n in plain])
    ax.set_yticks(plain, [f"{n:,}" for n in plain])
    ax.minorticks_off()
    ax.set_xlabel("length")
    ax.set_ylabel("capacity")
    known = [f for f in factors if f is not None]
    alt = (
        f"The capacity grew {len(steps)} times, up to {capacities[-1]:,}. It grows by a factor of "
        f"{max(known):.3g} at most and {min(known):.3g} at least: by less when the slice is long."
        if known
        else f"The capacity was set once, to {capacities[0]:,}."
    )
    table = Grid.of(
        ("length", "capacity", "factor"),
        [
            (length, capacity, "" if factor is None else f"{factor:.3f}")
            for length, capacity, factor in zip(lengths, capacities, factors, strict=True)
        ],
    )
    return picture(
        fig, title="A Go slice that grows", alt=alt, table=table, caption=f"{RECORDED} · log scale"
    )


# ---- memory over time


def resident(phases: Sequence[tuple[str, float]], title: str) -> Picture:
    """Draw the resident size of a process after each phase: (what happened, MiB)."""
    some(phases, "phases")
    row, left = 34.0, 168.0
    most = max(size for _, size in phases) or 1
    room = WIDTH - left - 90
    pen = Pen(WIDTH, len(phases) * row + 12)
    for number, (what, size) in enumerate(phases):
        y = 8 + number * row
        pen.text(left - 10, y + row / 2 + 2, what, size=13, align="right")
        pen.box(left, y + 3, max(room * size / most, 1.5), row - 10, fill="payload", edge="edge")
        pen.text(
            left + max(room * size / most, 1.5) + 8, y + row / 2 + 2, f"{size:,.0f} MiB", size=13
        )
    steps = [
        f"{what} ({after - before:+,.0f} MiB)"
        for (_, before), (what, after) in itertools.pairwise(phases)
        if abs(after - before) > most / 20
    ]
    alt = "Resident size changed with: " + "; ".join(steps) if steps else "It hardly changed"
    alt += f". It was {phases[0][1]:,.0f} MiB first and {phases[-1][1]:,.0f} MiB last."
    table = Grid.of(("after", "resident, MiB"), [(what, f"{size:,.0f}") for what, size in phases])
    return Picture(title, alt, (pen.svg(alt),), f"{RECORDED} · time runs downwards", (table,))


def timeline(
    points: Sequence[Sequence[float]],
    *,
    x: str,
    curves: Sequence[str],
    title: str,
    marks: str = "",
    unit: str = "MiB",
) -> Picture:
    """Draw how several amounts of memory change together.

    Each point is (x, one value in `unit` for each of `curves`, and, with `marks`, a count that
    rises, such as collections so far: each rise is a tick at the top).  ValueError when a point
    has another number of values.
    """
    some(points, "points")
    width = 1 + len(curves) + bool(marks)
    wrong = next((p for p in points if len(p) != width), None)
    if wrong is not None:
        raise ValueError(f"a point has {len(wrong)} values, {width} are needed: {tuple(wrong)}")
    fig, ax = plot(320)
    colour = theme.COLOUR
    looks = (("header", "-"), ("go-text", (0, (6, 2))), ("fault-text", (0, (2, 2))), ("ink", "-."))
    places = [p[0] for p in points]
    most = max(max(p[1 : 1 + len(curves)]) for p in points) or 1
    ends: list[float] = []
    for number, (name, (role, dash)) in enumerate(zip(curves, looks, strict=False), 1):
        values = [p[number] for p in points]
        ax.plot(places, values, color=colour[role], linewidth=2.4, linestyle=dash)
        height = max(values[-1], most * 0.04)  # above the axis, which would strike it through
        while any(abs(height - other) < most * 0.075 for other in ends):
            height -= most * 0.075
        ends.append(height)
        # in ink: not every colour of a line has the contrast that letters need, in every theme
        ax.annotate(
            name, (places[-1], height), (6, -4), textcoords="offset points", color=colour["ink"]
        )
    rises = [b[0] for a, b in itertools.pairwise(points) if marks and b[-1] > a[-1]]
    for place in rises:
        ax.annotate("▾", (place, most * 1.08), ha="center", color=colour["faint"])
    if rises:
        ax.annotate(f"▾ {marks}", (places[0], most * 1.17), color=colour["faint"])
    span = places[-1] - places[0] or 1
    ax.set_xlim(places[0], places[-1] + 0.14 * span)
    ax.set_ylim(0, most * 1.26)
    ax.set_xlabel(x)
    ax.set_ylabel(unit)
    said = "; ".join(
        f"{name} went from {points[0][n]:,.0f} to {points[-1][n]:,.0f} {unit}"
        for n, name in enumerate(curves, 1)
    )
    alt = f"{said}, over {span:,.0f} {x}."
    if marks:
        alt += f" {marks}: {points[-1][-1] - points[0][-1]:,.0f}."
    head = (x, *(f"{name}, {unit}" for name in curves), *((marks,) if marks else ()))
    table = Grid.of(head, [[f"{value:,.0f}" for value in point] for point in points])
    return picture(fig, title=title, alt=alt, table=table, caption=RECORDED)


# ---- holes


def fragmentation(snapshot: Snapshot) -> Picture:
    """Draw where a heap is used and where it is free, and score it.

    The score is 1 − largest hole / all free bytes (without top): 0 when what is free is one piece.
    """
    inside = [c for c in snapshot.chunks if c.state not in (State.TOP, State.MMAPPED, State.TABLE)]
    some(inside, "blocks")
    holes = [c for c in inside if c.state.free]
    free, largest = sum(c.size for c in holes), max((c.size for c in holes), default=0)
    used = sum(c.size for c in inside) - free
    score = 1 - largest / free if free else 0.0
    alt = (
        f"{len(holes)} holes hold {free:,} free bytes, the largest {largest:,}: "
        f"{score:.0%} of what is free lies outside of it. {used:,} bytes are in use."
    )
    table = Grid.of(
        ("", "number", "bytes", "largest"),
        [
            (
                "in use",
                len(inside) - len(holes),
                f"{used:,}",
                f"{max((c.size for c in inside if not c.state.free), default=0):,}",
            ),
            ("free", len(holes), f"{free:,}", f"{largest:,}"),
        ],
    )
    title = f"Free: {free:,} bytes in {len(holes)} holes; fragmentation {score:.0%}"
    caption = f"{words.caption(snapshot)} · top and the tcache table are left out"
    return Picture(title, alt, (_draw_holes(inside, alt),), caption, (table,))


def _draw_holes(inside: Sequence[Chunk], alt: str) -> str:
    """Draw chunks as one ribbon in address order, wrapped into rows."""
    total = sum(c.size for c in inside)
    rows = max(1, min(12, total // 4096))
    per_row = -(-total // rows)
    row, left = 30.0, 8.0
    scale = (WIDTH - 2 * left) / per_row
    pen = Pen(WIDTH, rows * (row + 8) + 44)
    done = 0
    for chunk in inside:
        start, end = done, done + chunk.size
        done = end
        while start < end:
            line = start // per_row
            stop = min(end, (line + 1) * per_row)
            x, y = left + (start - line * per_row) * scale, 6 + line * (row + 8)
            width = (stop - start) * scale
            if chunk.state.free:
                pen.box(x, y, width, row, fill="stale", edge="edge")
                pen.hatch(x, y, width, row)
            else:
                pen.box(x, y, width, row, fill="payload", edge="edge")
            start = stop
    y = 6 + rows * (row + 8) + 4
    pen.box(left, y, 22, 16, fill="payload", edge="edge")
    pen.text(left + 30, y + 12, "in use", size=12)
    pen.box(left + 90, y, 22, 16, fill="stale", edge="edge")
    pen.hatch(left + 90, y, 22, 16)
    pen.text(left + 120, y + 12, "free", size=12)
    pen.text(WIDTH - left, y + 12, "higher addresses →", size=12, colour="faint", align="right")
    return pen.svg(alt)


# ---- an allocator of one's own


def shelf(
    memory: bytes | bytearray, *, free: Iterable[int], top: int, names: Mapping[str, int]
) -> Picture:
    """Draw a model of an allocator with the views of the real one.

    `memory` starts with a chunk; chunks have glibc's header (eight bytes that are not used, then
    size and P flag). `free` are the offsets of free chunks in list order, `top` that of the rest
    that was never handed out, `names` are user offsets by name. ValueError when a size word leads
    nowhere.
    """
    data, holes = bytes(memory), list(free)
    known = {user - HEADER: name for name, user in names.items()}
    chunks: list[Chunk] = []
    shown: list[Word] = []
    at = 0
    while at + HEADER <= len(data):
        word = int.from_bytes(data[at + WORD : at + HEADER], "little")
        size = word & ~7
        if size < HEADER or at + size > len(data):
            raise ValueError(f"the size word at {at + WORD:#x} says {size} bytes: no chunk there")
        state = State.TOP if at == top else State.UNSORTED if at in holes else State.IN_USE
        chunks.append(
            Chunk(
                at,
                size,
                word & 7,
                state,
                usable=0 if state is State.TOP else size - HEADER,
                name=None if state is State.TOP else known.get(at),
                free_list="free list" if state is State.UNSORTED else None,
                label="top" if state is State.TOP else None,
            )
        )
        role = {State.TOP: Role.TOP, State.UNSORTED: Role.STALE}.get(state, Role.PAYLOAD)
        for place in range(at + WORD, at + size, WORD):
            part = data[place : place + WORD]
            shown.append(Word(place, part, Role.SIZE if place == at + WORD else role, at))
        at += size
        if state is State.TOP:
            break
    links = tuple(
        Link(hole, hole, 0, holes[i + 1] if i + 1 < len(holes) else 0, False, known.get(hole))
        for i, hole in enumerate(holes)
    )
    lists = (FreeList("free list", State.UNSORTED, None, links),) if links else ()
    model = Snapshot(
        "model",
        "model",
        (Region("shelf", 0, data),),
        tuple(chunks),
        tuple(shown),
        lists,
    )
    caption = "model: an allocator of this page's own, not glibc · drawn from its bytes"
    return dataclasses.replace(figure(model), caption=caption)


def some(things: Collection[object], what: str) -> None:
    """Raise ValueError when there is nothing to draw."""
    if not things:
        raise ValueError(f"there are no {what} to draw")

"""A second, plain reader of traces, straight from the words of trace.h."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 65536
OPS = ["hole", "malloc", "calloc", "realloc-begin", "realloc", "free", "aligned"]
OPS += ["thread", "time", "time-abs", "wide", "align", "frame", "lost"]
EVENTS = frozenset(OPS[1:7])
FORKED, TSC, GO, FINISHED, ALLOCATOR = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class Event:
    op: str
    pointer: int
    size: int
    alignment: int
    stack: int
    thread: int
    time: int
    shared: bool


@dataclass
class Image:
    """One file of a trace."""

    path: Path
    pid: int = 0
    parent: int = 0
    flags: int = 0
    lost: int = 0
    stopped: int = 0
    cut: int = 0
    parent_file: str = ""
    exe: str = ""
    events: list[Event] = field(default_factory=list)
    stacks: dict[int, dict[int, tuple[int, bool]]] = field(default_factory=dict)
    maps: list[tuple[int, int, int, str]] = field(default_factory=list)
    windows: int = 0
    lost_records: int = 0

    def frames(self, stack: int) -> list[tuple[int, bool]]:
        """Return (address, whether it is Go's) from the call site outwards."""
        have = self.stacks[stack]
        assert sorted(have) == list(range(len(have)))
        return [have[index] for index in sorted(have)]

    def file_of(self, address: int) -> tuple[str, int]:
        """Return the file an address belongs to, and the address within the file as linked."""
        for low, high, offset, path in reversed(self.maps):
            if low <= address < high:
                return path, address - low + offset
        return "", address

    def own(self, name: str | None = None) -> list[Event]:
        """Return the events whose call site is in the program itself, in the order of time."""
        name = name or Path(self.exe).name
        sites = {n: Path(self.file_of(s[0][0] - 1)[0]).name for n, s in self.stacks.items()}
        return [event for event in self.events if sites.get(event.stack) == name]


def read(path: Path) -> Image:
    data = path.read_bytes()
    magic, version, block, pid, parent, flags = struct.unpack_from("=QIIIII", data)
    assert (magic, version, block) == (0x3165636172747368, 1, BLOCK)
    image = Image(path, pid, parent, flags)
    image.lost, image.stopped, _, image.cut = struct.unpack_from("=QIIQ", data, 40)
    text = 104
    image.parent_file = data[text : text + 64].partition(b"\0")[0].decode()
    image.exe = data[text + 64 : text + 64 + 1024].partition(b"\0")[0].decode()
    rows = []
    done = set()
    for at in range(BLOCK, len(data), BLOCK):
        head = data[at : at + 64].ljust(64, b"\0")
        mark, kind, window, thread, seq, used, time, _ = struct.unpack("=IIIIQQQQ", head[:48])
        if mark != 0x6B6C6273:
            continue
        content = data[at + 64 : at + 64 + min(used, BLOCK - 64)]
        rows.append((window, seq, kind, thread, time, content))
        image.windows += kind == 1
        if kind == 2:
            done.add((window, seq))
    maps = b""
    for window, seq, kind, thread, time, content in sorted(rows):
        if kind == 4:
            maps += content
        elif kind != 1 or (window, seq) not in done:
            _records(image, kind == 3, thread, time, content)
    for line in maps.decode().splitlines():
        found = re.match(r"(\w+)-(\w+) r.xp (\w+) \S+ \d+\s+(.*)", line)
        assert found, line
        low, high, offset = (int(found[i], 16) for i in (1, 2, 3))
        image.maps.append((low, high, offset, found[4]))
    image.events.sort(key=lambda event: event.time)
    return image


def _records(image: Image, shared: bool, thread: int, time: int, content: bytes) -> None:
    wide = alignment = 0
    for w0, w1 in struct.iter_unpack("=QQ", content[: len(content) // 16 * 16]):
        op, stack, size, value = OPS[w1 & 15], w1 >> 4 & 0xFFFFFF, w1 >> 28, w0 & (1 << 48) - 1
        if op == "hole":
            continue
        time += w0 >> 48
        if op == "thread":
            thread = value
        elif op == "time":
            time += value
        elif op == "time-abs":
            time = value
        elif op == "wide":
            wide = value | size << 48
        elif op == "align":
            alignment = value
        elif op == "frame":
            image.stacks.setdefault(stack, {})[size & 255] = (value, bool(size >> 8))
        elif op == "lost":
            image.lost_records += value
        else:
            size = wide if size == (1 << 36) - 1 else size
            image.events.append(Event(op, value, size, alignment, stack, thread, time, shared))
            wide = alignment = 0


def images(folder: Path) -> list[Image]:
    return [read(path) for path in sorted(folder.glob("*.heap"))]


def image(folder: Path) -> Image:
    """Return the only one."""
    (one,) = images(folder)
    return one


def live(events: list[Event], inherited: bool = False) -> Iterator[Event]:
    """Yield the blocks that are left at the end; an impossible order of events is an error."""
    blocks: dict[int, Event] = {}
    moving: dict[int, Event | None] = {}
    for event in events:
        if event.op == "free":
            gone = blocks.pop(event.pointer, None)
            assert gone or inherited, f"free of an unknown block: {event}"
        elif event.op == "realloc-begin":
            gone = blocks.pop(event.pointer, None)
            assert gone or inherited, f"realloc of an unknown block: {event}"
            moving[event.thread] = gone
        else:
            if event.op == "realloc":
                old = moving.pop(event.thread, None)
                if old and not event.pointer and event.size:
                    blocks[old.pointer] = old
            if event.pointer:
                assert event.pointer not in blocks, f"given out twice: {event}"
                blocks[event.pointer] = event
    yield from blocks.values()

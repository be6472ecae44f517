"""Write traces by hand, as ``src/trace.h`` describes them, and follow blocks the plain way."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 65536
ROOM = BLOCK - 64
MALLOC, CALLOC, BEGIN, END, FREE, ALIGNED, THREAD, TIME, TIME_ABS, WIDE, ALIGN, FRAME, LOST = range(
    1, 14
)
WINDOW, DONE, SHARED, MAPS = range(1, 5)
FORKED, TSC, GO, FINISHED, ALLOCATOR = 1, 2, 4, 8, 16
SIZE_MAX = (1 << 36) - 1
MAGIC = 0x3165636172747368
BLOCK_MAGIC = 0x6B6C6273


def record(op: int, value: int, *, dt: int = 0, stack: int = 0, size: int = 0) -> bytes:
    return struct.pack("=QQ", value & (1 << 48) - 1 | dt << 48, op | stack << 4 | size << 28)


@dataclass
class Window:
    """What one thread writes to. Times are nanoseconds; a tick is one, the shift 2."""

    number: int
    thread: int
    time: int = 0  # in quarters of ticks, as stored
    start: int = 0
    seq: int = 0
    held: list[bytes] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)

    def add(self, op: int, value: int, *, at: int, stack: int = 0, size: int = 0) -> None:
        """Add an event at a time in nanoseconds."""
        dt = (at >> 2) - self.time
        assert dt >= 0
        if dt > 0xFFFF:
            self.push(record(TIME, dt))
            self.time, dt = at >> 2, 0
        if op == ALIGNED:
            self.push(record(ALIGN, 64))
        if size >= SIZE_MAX:
            self.push(record(WIDE, size, size=size >> 48))
            size = SIZE_MAX
        self.push(record(op, value, dt=dt, stack=stack, size=size))
        self.time = at >> 2

    def frames(self, number: int, stack: Sequence[int], go: int = 99) -> None:
        """Describe a stack; frames from index `go` on are Go's."""
        for index, address in enumerate(stack):
            flags = index | (256 if index >= go else 0)
            self.push(record(FRAME, address, stack=number, size=flags))

    def push(self, data: bytes) -> None:
        if len(self.held) * 16 >= ROOM:
            self.blocks.append(self.block(DONE))
            self.held, self.start, self.seq = [], self.time, self.seq + 1
        self.held.append(data)

    def block(self, kind: int) -> bytes:
        body = b"".join(self.held)
        return block(kind, body, self.number, self.thread, self.seq, self.start)

    def all(self) -> list[bytes]:
        return [*self.blocks, self.block(WINDOW)]


def block(
    kind: int,
    body: bytes,
    window: int = 0,
    thread: int = 0,
    seq: int = 0,
    time: int = 0,
    used: int | None = None,
) -> bytes:
    used = len(body) if used is None else used
    head = struct.pack("=IIIIQQQQQQ", BLOCK_MAGIC, kind, window, thread, seq, used, time, 0, 0, 0)
    return (head + body).ljust(BLOCK, b"\0")


def maps_block(lines: str, seq: int = 0) -> bytes:
    return block(MAPS, lines.encode(), (1 << 32) - 2, 0, seq)


def header(
    blocks: int,
    *,
    pid: int = 100,
    parent: int = 1,
    flags: int = FINISHED,
    depth: int = 16,
    lost: int = 0,
    stopped: int = 0,
    version: int = 1,
    magic: int = MAGIC,
    exe: str = "/bin/program",
    command: Iterable[str] = ("program", "an argument"),
    parent_file: str = "",
    began: int = 1_700_000_000_000_000_000,
) -> bytes:
    words = b"".join(word.encode() + b"\0" for word in command)
    data = struct.pack(
        "=QIIIIIIQQIIQQQQQQ64s1024s4096sI",
        magic,
        version,
        BLOCK,
        pid,
        parent,
        flags,
        depth,
        blocks,
        lost,
        stopped,
        0,
        0,
        0,
        50,
        began,
        1_000_000_000,
        1_000_000_050,
        parent_file.encode(),
        exe.encode(),
        words,
        len(words),
    )
    return data.ljust(BLOCK, b"\0")


def write(path: Path, blocks: Sequence[bytes], **head: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    top = header(len(blocks) + 1, **head)  # type: ignore[arg-type]
    path.write_bytes(top + b"".join(blocks))
    return path


@dataclass
class Plain:
    """The state after a row of events, followed one by one."""

    live: dict[int, tuple[int, int]] = field(default_factory=dict)  # address → size, stack
    peak: int = 0
    held: int = 0
    allocations: int = 0
    frees: int = 0
    failed: int = 0

    def allocate(self, address: int, size: int, stack: int) -> None:
        if not address:
            self.failed += 1
            return
        self.allocations += 1
        self.live[address] = (size, stack)
        self.held += size
        self.peak = max(self.peak, self.held)

    def free(self, address: int) -> None:
        self.held -= self.live.pop(address)[0]
        self.frees += 1

    def by_stack(self) -> Mapping[int, tuple[int, int]]:
        sizes: Counter[int] = Counter()
        blocks: Counter[int] = Counter()
        for size, stack in self.live.values():
            sizes[stack] += size
            blocks[stack] += 1
        return {stack: (sizes[stack], blocks[stack]) for stack in blocks}

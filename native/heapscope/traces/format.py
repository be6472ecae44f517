"""Reading traces: the blocks and records that ``src/trace.h`` describes, as arrays of events.

A trace is a folder with one file for each process image. It can be read at any moment and in any
state: what is damaged or missing is left out and counted, and everything else is used.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Progress: TypeAlias = Callable[[str, float], None]
"""Is told what is being done and how much of it, from 0 to 1."""

MAGIC = 0x3165636172747368
VERSION = 1
BLOCK = 65536
HEAD = 64
ROOM = BLOCK - HEAD
BLOCK_MAGIC = 0x6B6C6273
TIME_SHIFT = 2
SIZE_MAX = (1 << 36) - 1
ADDRESS = (1 << 48) - 1
SUFFIX = ".heap"
_MOST_STACKS = 1 << 24


class TraceError(Exception):
    """What cannot be read as a trace; the message is a sentence."""


class Kind(enum.IntEnum):
    """Kinds of blocks."""

    WINDOW = 1
    DONE = 2
    SHARED = 3
    MAPS = 4


class Op(enum.IntEnum):
    """Kinds of records."""

    HOLE = 0
    MALLOC = 1
    CALLOC = 2
    REALLOC_BEGIN = 3
    REALLOC_END = 4
    FREE = 5
    ALIGNED = 6
    THREAD = 7
    TIME = 8
    TIME_ABS = 9
    WIDE = 10
    ALIGN = 11
    FRAME = 12
    LOST = 13


class Flag(enum.IntFlag):
    """Flags of the file's header."""

    FORKED = 1
    TSC = 2
    GO = 4
    FINISHED = 8
    ALLOCATOR = 16


HEADER = np.dtype(
    [
        ("magic", "=u8"),
        ("version", "=u4"),
        ("block", "=u4"),
        ("pid", "=u4"),
        ("parent", "=u4"),
        ("flags", "=u4"),
        ("depth", "=u4"),
        ("blocks", "=u8"),
        ("lost", "=u8"),
        ("stopped", "=u4"),
        ("stacks", "=u4"),
        ("cut_stacks", "=u8"),
        ("ticks0", "=u8"),
        ("monotonic0", "=u8"),
        ("real0", "=u8"),
        ("ticks1", "=u8"),
        ("monotonic1", "=u8"),
        ("parent_file", "S64"),
        ("exe", "S1024"),
        ("command", "V4096"),
        ("command_size", "=u4"),
    ]
)
"""``struct hs_header``."""

BLOCK_HEAD = np.dtype(
    [
        ("magic", "=u4"),
        ("kind", "=u4"),
        ("window", "=u4"),
        ("thread", "=u4"),
        ("seq", "=u8"),
        ("used", "=u8"),
        ("time", "=u8"),
        ("last", "=u8"),
        ("spare", "=u8", (2,)),
    ]
)
"""``struct hs_block``."""

_EVENTS = np.zeros(16, bool)
_EVENTS[[Op.MALLOC, Op.CALLOC, Op.REALLOC_BEGIN, Op.REALLOC_END, Op.FREE, Op.ALIGNED]] = True


@dataclass(frozen=True, slots=True)
class Mapping:
    """An executable line of ``/proc/self/maps``."""

    low: int
    high: int
    offset: int  # in the file
    path: str


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a process in the order of their time; arrays of equal length."""

    op: Array  # uint8: Op
    time: Array  # int64: nanoseconds since the trace began
    thread: Array  # uint32
    address: Array  # uint64; 0: the call failed
    size: Array  # uint64
    stack: Array  # int64: number of a stack in Stacks, 0: not known

    def __len__(self) -> int:
        return len(self.op)


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks of a process; equal ones have one number. Number 0 is the unknown stack."""

    start: Array  # int64, one more than there are stacks: where each begins in `address`
    address: Array  # uint64: return addresses, the call site first
    go: Array  # bool: a Go frame

    def __len__(self) -> int:
        return len(self.start) - 1

    def frames(self, number: int) -> tuple[tuple[int, bool], ...]:
        """Return a stack: (return address, whether it is a Go frame), the call site first."""
        low, high = int(self.start[number]), int(self.start[number + 1])
        addresses, go = self.address[low:high].tolist(), self.go[low:high].tolist()
        return tuple(zip(addresses, go, strict=True))


@dataclass(frozen=True, slots=True)
class Image:
    """One process image of a trace: its events and what is known about the program."""

    path: Path
    pid: int
    parent: int
    flags: Flag
    depth: int
    exe: str
    command: tuple[str, ...]
    parent_file: str
    began: int  # nanoseconds since 1970
    monotonic: int  # nanoseconds of CLOCK_MONOTONIC at time 0 of the events
    lost: int  # events, as the tracer counted them
    stopped: int  # 0, or the errno that ended the recording
    cut_stacks: int
    events: Events
    stacks: Stacks
    maps: tuple[Mapping, ...]
    holes: int  # blocks reserved and never completed
    damaged: int  # blocks and records that make no sense
    missing: int  # blocks that the file should have and does not: it was cut

    @property
    def name(self) -> str:
        """The program's name, without its folder."""
        return os.path.basename(self.exe) or "?"


@dataclass(frozen=True, slots=True)
class Trace:
    """The images of a trace, the oldest first, and the files that could not be read."""

    path: Path
    images: tuple[Image, ...]
    unreadable: tuple[str, ...] = field(default=())


def read(path: str | os.PathLike[str], progress: Progress | None = None) -> Trace:
    """Read a trace: the folder, or one of its files.

    Raises TraceError when there is none, or no file of it can be read.
    """
    place = Path(path)
    try:
        if place.is_dir():
            files = sorted(place.glob(f"*{SUFFIX}"))
            if not files:
                raise TraceError(f"{place} holds no trace: there is no file *{SUFFIX} in it")
        elif place.exists():
            files = [place]
        else:
            raise TraceError(f"there is no trace {place}")
    except OSError as error:
        raise TraceError(f"{place} cannot be read: {error.strerror}") from None
    images: list[Image] = []
    wrong: list[str] = []
    for number, file in enumerate(files):
        if progress is not None:
            progress("reading", number / len(files))
        try:
            images.append(read_image(file))
        except TraceError as error:
            wrong.append(str(error))
    if not images:
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise TraceError(wrong[0] + more)
    images.sort(key=lambda image: (image.monotonic, image.path.name))
    return Trace(place, tuple(images), tuple(wrong))


def read_image(path: Path) -> Image:
    """Read one file. Raises TraceError when it is none of ours, or its header is damaged."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
    return parse(data, path)


def parse(data: Array, path: Path) -> Image:
    """Read the bytes of a file; `path` is for messages."""
    header, command = _header(data, path)
    whole = -(-len(data) // BLOCK)
    if len(data) % BLOCK:  # what is missing of the last block is zero
        data = np.concatenate([data, np.zeros(whole * BLOCK - len(data), np.uint8)])
    blocks = data.reshape(whole, BLOCK)[1:]
    heads = np.ascontiguousarray(blocks[:, :HEAD]).view(BLOCK_HEAD).reshape(-1)
    good = heads["magic"] == BLOCK_MAGIC
    known = good & (heads["kind"] >= Kind.WINDOW) & (heads["kind"] <= Kind.MAPS)
    promised = int(header["blocks"])
    missing = max(0, promised - whole) if promised < 1 << 40 else 0
    order = _order(heads, known)
    clock = _Clock(header)
    decoded = _decode(blocks, heads, order)
    stacks, renumber = _stacks(decoded)
    events, odd = _events(decoded, clock, renumber)
    return Image(
        path=path,
        pid=int(header["pid"]),
        parent=int(header["parent"]),
        flags=Flag(int(header["flags"]) & 31),
        depth=int(header["depth"]),
        exe=_text(bytes(header["exe"])),
        command=command,
        parent_file=_text(bytes(header["parent_file"])),
        began=int(header["real0"]),
        monotonic=int(header["monotonic0"]),
        lost=int(header["lost"]),
        stopped=int(header["stopped"]),
        cut_stacks=int(header["cut_stacks"]),
        events=events,
        stacks=stacks,
        maps=_maps(blocks, heads, known),
        holes=int((~good).sum()),
        damaged=int((good & ~known).sum()) + odd,
        missing=missing,
    )


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _header(data: Array, path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the header and the command, or say what is wrong with them."""
    if len(data) == 0:
        raise TraceError(f"{path} is empty: the program was stopped before it began")
    if len(data) < HEADER.itemsize:
        raise TraceError(f"{path} is cut within its header: {len(data):,} bytes")
    header = data[: HEADER.itemsize].view(HEADER)[0]
    magic = int(header["magic"])
    if magic == 0:
        raise TraceError(f"{path} has no header: the program was stopped before it began")
    if magic == int.from_bytes(MAGIC.to_bytes(8, "little"), "big"):
        raise TraceError(f"{path} was recorded on a machine with the other byte order")
    if magic != MAGIC:
        raise TraceError(f"{path} is not a trace of heapscope")
    if header["version"] != VERSION:
        raise TraceError(
            f"{path} is a trace of version {header['version']}; this heapscope reads version "
            f"{VERSION}"
        )
    if header["block"] != BLOCK:
        raise TraceError(
            f"{path} is damaged: its header tells of blocks of {header['block']} bytes"
        )
    size = min(int(header["command_size"]), 4096)
    words = bytes(header["command"])[:size].rstrip(b"\0").split(b"\0")
    return header, tuple(word.decode("utf-8", "replace") for word in words if size)


class _Clock:
    """Turns ticks into nanoseconds since the trace began."""

    def __init__(self, header: Any) -> None:
        self.ticks = int(header["ticks0"])
        ticks = int(header["ticks1"]) - self.ticks
        passed = int(header["monotonic1"]) - int(header["monotonic0"])
        self.rate = passed / ticks if ticks > 0 and 0 < passed < 1 << 60 else 1.0
        if not 1e-3 < self.rate < 1e3:
            self.rate = 1.0

    def nanoseconds(self, shifted: Array) -> Array:
        """Return `shifted` (ticks >> TIME_SHIFT) as nanoseconds; int64, never negative."""
        start = self.ticks >> TIME_SHIFT
        ticks = np.asarray(shifted, np.uint64).view(np.int64) - np.int64(start & (1 << 63) - 1)
        times = np.clip(ticks * (self.rate * (1 << TIME_SHIFT)), 0, float(1 << 60))
        result: Array = times.astype(np.int64)
        return result


def _order(heads: Array, known: Array) -> Array:
    """Return the numbers of the blocks with records, as each window filled them."""
    kind = heads["kind"]
    mine = np.flatnonzero(known & (kind != Kind.MAPS))
    shared = kind[mine] == Kind.SHARED
    window = heads["window"][mine].astype(np.int64)
    # a shared block stands for itself
    window[shared] = (1 << 32) + mine[shared]
    seq = heads["seq"][mine]
    # a window comes after what was copied of it
    rank = np.lexsort((mine, kind[mine] == Kind.WINDOW, seq, window))
    mine, window, seq = mine[rank], window[rank], seq[rank]
    again = np.zeros(len(mine), bool)
    again[1:] = (window[1:] == window[:-1]) & (seq[1:] == seq[:-1])
    result: Array = mine[~again]
    return result


@dataclass(slots=True)
class _Decoded:
    """All records that are no holes, window by window."""

    op: Array
    w0: Array
    w1: Array
    time: Array  # ticks >> TIME_SHIFT
    thread: Array


def _decode(blocks: Array, heads: Array, order: Array) -> _Decoded:
    used = np.minimum(heads["used"][order], ROOM).astype(np.int64) // 16
    rows = blocks[order, HEAD:] if len(order) else np.zeros((0, ROOM), np.uint8)
    words = rows.view(np.uint64).reshape(-1, 2)
    per = ROOM // 16
    # which block each record is in, and whether it is within what the block says it uses
    block = np.repeat(np.arange(len(order)), per)
    keep = (np.arange(per) < used[:, None]).reshape(-1)
    keep &= (words[:, 1] & np.uint64(15)) != 0
    words, block = words[keep], block[keep]
    w0, w1 = np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
    op = (w1 & np.uint64(15)).astype(np.uint8)
    step = w0 >> np.uint64(48)
    pause = op == Op.TIME
    step[pause] += w0[pause] & np.uint64(ADDRESS)
    total = np.cumsum(step, dtype=np.uint64)
    count = np.bincount(block, minlength=len(order))
    first = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64)
    filled = count > 0
    base = np.zeros(len(order), np.uint64)
    base[filled] = total[first[filled]] - step[first[filled]]
    start = heads["time"][order]
    time = total + (start - base)[block]
    # no record is later than the beginning of the window's next filling: order is kept
    limit = np.full(len(order), np.iinfo(np.uint64).max)
    next_one = heads["window"][order][1:] == heads["window"][order][:-1]
    next_one &= heads["kind"][order][1:] != Kind.SHARED
    limit[:-1][next_one] = start[1:][next_one]
    time = np.minimum(time, limit[block])
    thread = heads["thread"][order][block]
    names = op == Op.THREAD
    if names.any():
        # the last name before each record, within its block
        place = np.maximum.accumulate(np.where(names, np.arange(len(op)), -1))
        inside = (place >= 0) & (place >= first[block])
        thread = np.where(inside, (w0[place] & np.uint64(0xFFFFFFFF)).astype(np.uint32), thread)
    told = np.flatnonzero(op == Op.TIME_ABS)
    told = told[told + 1 < len(op)]
    if len(told):
        low = w0[told] & np.uint64(ADDRESS)
        near = start[block[told]]
        absolute = (near & ~np.uint64(ADDRESS)) | low
        absolute[absolute < near] += np.uint64(1 << 48)
        far = absolute - near > np.uint64(1 << 47)  # before the block began
        absolute[far] -= np.uint64(1 << 48)
        time[told] = absolute
        # it holds for the event that follows, with what is told about its size
        for ahead in range(1, 4):
            after = np.minimum(told + ahead, len(op) - 1)
            time[after] = absolute
            going = (op[after] == Op.ALIGN) | (op[after] == Op.WIDE)
            told, absolute = told[going], absolute[going]
    return _Decoded(op, w0, w1, time, thread)


def _events(decoded: _Decoded, clock: _Clock, renumber: Array) -> tuple[Events, int]:
    op = decoded.op
    size = decoded.w1 >> np.uint64(28)
    wide = np.flatnonzero(op == Op.WIDE)
    wide = wide[wide + 1 < len(op)]
    if len(wide):
        low = decoded.w0[wide] & np.uint64(ADDRESS)
        size[wide + 1] = np.where(
            size[wide + 1] == SIZE_MAX, low | size[wide] << np.uint64(48), size[wide + 1]
        )
    mine = np.flatnonzero(_EVENTS[op])
    odd = int((op > Op.LOST).sum())
    time = clock.nanoseconds(decoded.time[mine])
    rank = np.argsort(time, kind="stable")
    mine = mine[rank]
    number = ((decoded.w1[mine] >> np.uint64(4)) & np.uint64(0xFFFFFF)).astype(np.int64)
    number[number >= len(renumber)] = 0
    return (
        Events(
            op=op[mine],
            time=time[rank],
            thread=decoded.thread[mine],
            address=decoded.w0[mine] & np.uint64(ADDRESS),
            size=size[mine],
            stack=renumber[number],
        ),
        odd,
    )


def _stacks(decoded: _Decoded) -> tuple[Stacks, Array]:
    """Return the stacks, and the new number of each old one."""
    mine = np.flatnonzero(decoded.op == Op.FRAME)
    w1 = decoded.w1[mine]
    number = ((w1 >> np.uint64(4)) & np.uint64(0xFFFFFF)).astype(np.int64)
    detail = w1 >> np.uint64(28)
    index = (detail & np.uint64(255)).astype(np.int64)
    go = (detail & np.uint64(256)) != 0
    address = decoded.w0[mine] & np.uint64(ADDRESS)
    key = number << 8 | index
    key, first = np.unique(key, return_index=True)  # a frame that is told twice counts once
    number, address, go = key >> 8, address[first], go[first]
    if not len(key):
        empty = np.zeros(0, np.uint64)
        return Stacks(np.zeros(2, np.int64), empty, np.zeros(0, bool)), np.zeros(1, np.int64)
    numbers, start = np.unique(number, return_index=True)
    length = np.diff(np.append(start, len(number)))
    # equal stacks have equal sums: each frame is mixed with its place
    place = (np.arange(len(number)) - np.repeat(start, length)).astype(np.uint64)
    mixed = address * np.uint64(2) + go.astype(np.uint64)
    for shift, factor in ((31, 0x9E3779B97F4A7C15), (29, 0xBF58476D1CE4E5B9)):
        mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(factor)
        mixed += (place + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0x94D049BB133111EB)
    _, example, same = np.unique(
        np.add.reduceat(mixed, start), return_index=True, return_inverse=True
    )
    chosen = np.sort(example)  # the numbers follow the old ones
    rank = np.searchsorted(chosen, example)
    lengths = length[chosen]
    begin = np.concatenate([[0, 0], np.cumsum(lengths)])
    pick = np.repeat(start[chosen] - begin[1:-1], lengths) + np.arange(begin[-1])
    renumber = np.zeros(int(numbers[-1]) + 1, np.int64)
    renumber[numbers] = rank[same] + 1
    return Stacks(begin, address[pick], go[pick]), renumber


_LINE = re.compile(rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) \S{4} ([0-9a-f]{1,16}) \S+ \d+ *([^\n]*)\n")


def _maps(blocks: Array, heads: Array, known: Array) -> tuple[Mapping, ...]:
    mine = np.flatnonzero(known & (heads["kind"] == Kind.MAPS))
    mine = mine[np.lexsort((heads["seq"][mine], heads["window"][mine]))]
    text = b""
    for block in mine:
        text += blocks[block, HEAD : HEAD + min(int(heads["used"][block]), ROOM)].tobytes()
    found: dict[Mapping, None] = {}
    for low, high, offset, path in _LINE.findall(text):
        mapping = Mapping(
            int(low, 16), int(high, 16), int(offset, 16), path.decode("utf-8", "replace")
        )
        if mapping.low < mapping.high:
            found.setdefault(mapping)
    return tuple(found)

"""A profile as ``go tool pprof`` reads it: profile.proto, gzipped.

Values: alloc_objects, alloc_space, inuse_objects and inuse_space, as in Go's own heap profiles.
See https://github.com/google/pprof/blob/main/proto/profile.proto.
"""

from __future__ import annotations

import gzip
import shlex
from collections.abc import Iterable

from heapscope.traces.report import Process, Report, Total, border
from heapscope.traces.symbols import Frame

_MOST = (1 << 63) - 1


def profile(report: Report) -> bytes:
    """Return the profile of all processes of a trace."""
    writer = _Writer()
    several = len(report.processes) > 1
    for process in report.processes:
        writer.add(process, several)
    main = report.main
    comments = [shlex.join(process.command) for process in report.processes]
    began = min(process.began for process in report.processes)
    body = writer.finish(
        nanoseconds=int(began.timestamp() * 1e9),
        duration=int(main.seconds * 1e9),
        comments=comments,
    )
    return gzip.compress(body, 6, mtime=0)


def varint(number: int) -> bytes:
    """Encode a number; negative ones as 64 bits."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(tag: int, number: int) -> bytes:
    """Encode a field with a number; 0 is what is not there."""
    return varint(tag << 3) + varint(number) if number else b""


def packed(tag: int, numbers: Iterable[int]) -> bytes:
    """Encode a field with several numbers."""
    return message(tag, b"".join(varint(number) for number in numbers))


def message(tag: int, body: bytes) -> bytes:
    """Encode a field with a message or a text."""
    return varint(tag << 3 | 2) + varint(len(body)) + body


def _shown(total: Total) -> list[tuple[Frame, ...]]:
    """Return a stack as it is to be read: what Go called, and not how cgo does that."""
    called = border([frame for group in total.groups for frame in group])
    groups = [tuple(frame for frame in group if not frame.glue) for group in total.groups]
    groups = [group for group in groups if group]
    if called:
        groups.insert(0, (Frame(function=called, go=True),))
    return groups or [*total.groups] or [(Frame(function="(unknown)"),)]


class _Writer:
    """Collects samples with the tables that they refer to."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str, int], int] = {}
        self._locations: dict[tuple[Frame, ...], int] = {}
        self._mappings: dict[str, int] = {}
        self._reach: dict[str, int] = {}
        self._parts: list[bytes] = []
        self._types = b"".join(
            message(1, integer(1, self._string(name)) + integer(2, self._string(unit)))
            for name, unit in (
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes"),
            )
        )

    def add(self, process: Process, several: bool) -> None:
        """Add the samples of a process, and its name when there is more than one."""
        label = b""
        if several:
            name = f"{process.name} {process.pid}"
            label = message(3, integer(1, self._string("process")) + integer(2, self._string(name)))
        for total in process.totals():
            live = (0, 0) if process.replaced else (total.live_blocks, total.live_bytes)
            values = (total.blocks, total.bytes, *live)
            self._parts.append(
                message(
                    2,
                    packed(1, self._stack(total))
                    + packed(2, (min(value, _MOST) for value in values))
                    + label,
                )
            )

    def finish(self, *, nanoseconds: int, duration: int, comments: Iterable[str]) -> bytes:
        """Return the whole message."""
        tail = self._types
        inuse = self._string("inuse_space")
        space = integer(1, self._string("space")) + integer(2, self._string("bytes"))
        notes = [self._string(comment) for comment in comments if comment]
        mappings = b"".join(self._mapping(path, n) for path, n in self._mappings.items())
        locations = b"".join(self._location(group, n) for group, n in self._locations.items())
        functions = b"".join(
            message(
                5,
                integer(1, number)
                + integer(2, self._string(name))
                + integer(3, self._string(name))
                + integer(4, self._string(file))
                + integer(5, low),
            )
            for (name, file, low), number in self._functions.items()
        )
        strings = b"".join(message(6, text.encode()) for text in self._strings)
        return b"".join(
            (
                tail,
                *self._parts,
                mappings,
                locations,
                functions,
                strings,
                integer(9, nanoseconds),
                integer(10, duration),
                message(11, space),
                integer(12, 1),
                packed(13, notes) if notes else b"",
                integer(14, inuse),
            )
        )

    def _string(self, text: str) -> int:
        text = text.encode("utf-8", "replace").decode("utf-8", "replace")
        return self._strings.setdefault(text, len(self._strings))

    def _stack(self, total: Total) -> list[int]:
        groups = _shown(total)
        numbers = []
        for group in groups:
            number = self._locations.setdefault(group, len(self._locations) + 1)
            for frame in group:
                self._function(frame)
            last = group[-1]
            if last.module:
                self._mappings.setdefault(last.module, len(self._mappings) + 1)
                self._reach[last.module] = max(self._reach.get(last.module, 0), last.offset)
            numbers.append(number)
        return numbers

    def _function(self, frame: Frame) -> int:
        key = (frame.name, frame.file, frame.low)
        self._string(frame.name)
        self._string(frame.file)
        return self._functions.setdefault(key, len(self._functions) + 1)

    def _mapping(self, path: str, number: int) -> bytes:
        """Describe a module. pprof must not look for symbols itself: it has them all."""
        flags = b"".join(integer(tag, 1) for tag in (7, 8, 9, 10))
        # modules do not overlap here: each has a stretch of addresses to itself
        start = self._base(number)
        return message(
            3,
            integer(1, number)
            + integer(2, start)
            + integer(3, start + self._reach[path] + 1)
            + integer(5, self._string(path))
            + flags,
        )

    @staticmethod
    def _base(number: int) -> int:
        return (number - 1) << 40

    def _location(self, group: tuple[Frame, ...], number: int) -> bytes:
        last = group[-1]
        mapping = self._mappings.get(last.module, 0)
        lines = b"".join(
            message(4, integer(1, self._function(frame)) + integer(2, frame.line))
            for frame in group
        )
        address = last.offset + (self._base(mapping) if mapping else 0)
        return message(4, integer(1, number) + integer(2, mapping) + integer(3, address) + lines)

"""The Go side of a film: the objects that Go's variables lead to, at fixed addresses.

Go's heap lies somewhere else in each run.  Every object that a variable leads to is given a fixed
address, in order of appearance; what overlaps (two slices of one array) stays together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heapscope.recorders.film_space import Space
from heapscope.recorders.film_values import Cell, Types, quoted

BASES = {"go": 0xC000000000, "stack": 0xC000800000, "static": 0x4A0000}
"""Where the objects of Go's heap, of a goroutine's stack and of the program's constants are put."""
ALIGN = 16
LOWEST = 1 << 37
"""No object of Go's heap lies below; smaller numbers in C's memory are not taken for pointers."""


@dataclass(slots=True)
class Object:
    """A range of Go's memory that variables lead to."""

    low: int  # real
    high: int
    to: int  # fixed address of `low`
    where: str  # go | stack | static
    type: str
    data: bytes
    live: bool = True
    copied: bool = False  # into C's memory, by the line that just ran


class GoSide:
    """What is known of Go's memory, from frame to frame."""

    def __init__(self) -> None:
        self.objects: list[Object] = []
        self.cycles = 0  # of the collector, since main began
        self._first_cycle: int | None = None
        self._next = dict(BASES)
        self._stacks: dict[int, tuple[int, int]] = {}
        self._pins: dict[int, int] = {}  # address in an object -> the runtime.Pinner
        self._loans: list[tuple[str, int]] = []  # C function that runs, address it was handed
        self._running: list[str] = []  # C's functions among them that have not returned
        self._copies: list[int] = []  # addresses that the last line copied from

    def update(
        self,
        side: Mapping[str, Any],
        wanted: Sequence[int],
        thread: int,
        space: Space,
        types: Types,
    ) -> int:
        """Take in one stop: the objects that the addresses in `wanted` lead to, and theirs.

        Returns how many cycles the collector ran since the stop before.
        """
        if side.get("stack"):
            low, high = side["stack"]
            self._stacks[thread] = low, high
        cycle = int(side.get("gc", 0))
        if self._first_cycle is None:
            self._first_cycle = cycle
        before, self.cycles = self.cycles, cycle - self._first_cycle
        for known in self.objects:
            known.live = known.copied = False
        self._copies = []
        found = {int(at): rest for at, rest in side.get("objects", {}).items()}
        queue = list(dict.fromkeys(wanted))
        for low in queue:  # grows while it is walked
            if low not in found or space.range_of(low) is not None:
                seen = self.find(low)
                if seen is not None and space.range_of(low) is None:
                    seen.live = True  # the variable is Go's, and the thread is in C
                continue  # no object, or C's memory
            text, size, number = found.pop(low)
            data = bytes.fromhex(text)
            kind = types.kinds.get(number) if number is not None else None
            name = kind.name if kind else "byte"
            if "<" in name:  # the runtime's own: a map or a channel; it holds a random seed
                name, data = _spoken(name), b""
            self._add(low, low + size, data, name, space)
            queue += [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
        return self.cycles - before

    def _add(self, low: int, high: int, data: bytes, kind: str, space: Space) -> None:
        """Learn of one object; one that overlaps a known one extends it."""
        for known in self.objects:
            if known.low < high and low < known.high:
                if low < known.low or high > known.high:
                    # Seldom: it was seen in part before. Its fixed address stays that of the part.
                    known.low, known.to = min(low, known.low), known.to - max(known.low - low, 0)
                    known.high = max(high, known.high)
                if (low == known.low and len(data) >= len(known.data)) or not known.live:
                    offset = low - known.low
                    front, rest = known.data[:offset], known.data[offset + len(data) :]
                    known.data = front.ljust(offset, b"\0") + data + rest
                known.live = True
                return
        where = "go"
        if any(m.kind == "program" and m.base <= low < m.end for m in space.fixed):
            where = "static"
        elif any(first <= low < last for first, last in self._stacks.values()):
            where = "stack"
        to = self._next[where]
        self._next[where] = to + max(high - low + ALIGN - 1 & -ALIGN, ALIGN) + ALIGN
        self.objects.append(Object(low, high, to, where, kind, data))

    def copied(self, at: int, size: int, data: bytes, kind: str, space: Space) -> None:
        """Learn where a copy into C's memory came from; no variable need lead there."""
        if at and size:
            known = self.find(at)
            if known is None or not known.live or at >= known.high:
                self._add(at, at + size, data, kind, space)
            source = self.find(at)
            if source is not None:
                source.copied = True
        self._copies.append(at)

    def pin(self, pinner: int, at: int) -> bool:
        """Note that an object is pinned, or (`at` 0) that a pinner lets go; return if it is new."""
        if at:
            new = at not in self._pins
            self._pins[at] = pinner
            return new
        kept = {where: who for where, who in self._pins.items() if who != pinner}
        new, self._pins = len(kept) < len(self._pins), kept
        return new

    def pinned(self, at: int) -> bool:
        """Whether the object at an address is pinned."""
        found = self.find(at)
        return found is not None and any(found.low <= pin < found.high for pin in self._pins)

    def lend(self, fresh: Sequence[tuple[str, int]], running: Sequence[str]) -> list[str]:
        """Note what C's functions were handed; `running` are those on the stack.

        Returns the functions that ran at the last frame and have returned since.
        """
        kept = [loan for loan in self._loans if loan[0] in running]
        over = [name for name in self._running if name not in running]
        self._loans = kept + [loan for loan in fresh if loan not in kept]
        self._running = list(dict.fromkeys(name for name, _ in self._loans if name in running))
        return over

    def find(self, at: int) -> Object | None:
        """Return the object that holds an address (or ends there)."""
        inside = next((o for o in self.objects if o.low <= at < o.high), None)
        return inside or next((o for o in self.objects if at == o.high), None)

    def has(self, at: int) -> bool:
        """Whether an address is of an object of Go's."""
        return at != 0 and self.find(at) is not None

    def where(self, at: int) -> str:
        """Return which memory an address is of: go, stack or static."""
        found = self.find(at)
        return found.where if found is not None else "none"

    def to(self, at: int) -> int:
        """Return the fixed address for a real one."""
        found = self.find(at)
        return at if found is None else at - found.low + found.to

    def text(self, at: int, count: int) -> str | None:
        """Return the text of a string, in quotes."""
        found = self.find(at)
        if found is None:
            return None
        start = at - found.low
        return quoted(found.data[start : start + count] + b"\0")

    def moved(self, at: int) -> int | None:
        """Return the fixed address of what lies in an object of Go's; None for all else."""
        found = self.find(at) if at >= LOWEST else None
        return None if found is None or at == found.high else at - found.low + found.to

    def word(self, space: Space) -> Callable[[int], int | None]:
        """Return a function that reads words of C's heaps and of the objects."""

        def read(at: int) -> int | None:
            found = self.find(at)
            if found is None or at == found.high:
                return space.word(at)
            data = found.data[at - found.low :][:8]
            return int.from_bytes(data, "little") if len(data) == 8 else None

        return read

    def side(
        self,
        held: Sequence[tuple[str, Cell]],
        owners: Mapping[str, str],
        fixed: Callable[[int], int | None],
    ) -> dict[str, object]:
        """Return what a snapshot tells of the Go side.

        ``objects`` are in order of appearance: `at` is a fixed address, `held_by` the variables
        that lead there; `fixed` moves addresses of C's; ``c_blocks`` says who asked for each C
        block in use; ``gc`` counts cycles.  An object that a runtime.Pinner holds is ``pinned``,
        one whose address a C function was handed ``lent`` to it, until the frame after the call;
        ``copies`` are the addresses that C.CString and C.CBytes copied from, in order.
        """
        objects = []
        for known in self.objects:
            if not known.live or known.type.startswith("runtime."):
                continue  # gone, or the runtime's own: what a Pinner keeps
            held_by = [
                {"name": cell.name, "scope": scope, "offset": cell.number - known.low}
                for scope, cell in held
                if cell.number and known.low <= cell.number < known.high
            ]
            form: dict[str, object] = {
                "at": known.to,
                "size": known.high - known.low,
                "type": known.type,
                "bytes": self._rewritten(known.data, fixed).hex(),
                "where": known.where,
                "held_by": held_by,
            }
            lent = [name for name, at in self._loans if known.low <= at < known.high]
            form |= {"pinned": True} if self.pinned(known.low) else {}
            form |= {"lent": list(dict.fromkeys(lent))} if lent else {}
            form |= {"copied": True} if known.copied else {}
            objects.append(form)
        side = {"objects": objects, "c_blocks": dict(owners), "gc": self.cycles}
        return side | ({"copies": [self.to(at) for at in self._copies]} if self._copies else {})

    def _rewritten(self, data: bytes, fixed: Callable[[int], int | None]) -> bytes:
        """Return bytes of Go's in which addresses are the fixed ones."""
        result = bytearray(data)
        for place in range(0, len(data) - 7, 8):
            word = int.from_bytes(data[place : place + 8], "little")
            if word > 1 << 16:
                moved = self.to(word) if self.has(word) else fixed(word)
                if moved is not None:
                    result[place : place + 8] = moved.to_bytes(8, "little")
        return bytes(result)


def _spoken(name: str) -> str:
    """Return the name of a map's or channel's type as Go has it."""
    name = name.removeprefix("struct ")
    if found := re.fullmatch(r"(?:map|hash)<([^,]*),(.*)>", name):
        return f"map[{found[1]}]{found[2]}"
    if found := re.fullmatch(r"hchan<(.*)>", name):
        return f"chan {found[1]}"
    return name

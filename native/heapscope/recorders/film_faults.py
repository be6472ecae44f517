"""What a filmed program does wrong, as far as its calls and the bytes of its blocks show it.

The decoder says which words of a heap are impossible.  This module knows what a decoder cannot:
who wrote where, how much was asked for, and what was handed to free.
"""

from __future__ import annotations

from dataclasses import dataclass

from heapscope.glibc.chunks import chunk_size
from heapscope.glibc.reading import Asked
from heapscope.model.snapshot import HEADER, WORD
from heapscope.recorders.calls import Call, Calls
from heapscope.recorders.film_space import Space

MOST_COMPARED = 1 << 16
"""Of a longer block so many bytes are compared."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong; addresses are real."""

    text: str
    at: int | None = None  # the word that shows it
    chunk: int | None = None  # the chunk of the block concerned


class Judge:
    """Watches the calls and the bytes of one program."""

    def __init__(self, space: Space, calls: Calls) -> None:
        self.space, self.calls = space, calls
        self.internal: dict[int, int] = {}  # blocks of libraries: user address -> bytes
        self.stirred = False  # whether the allocator did anything since the last frame
        self.asked = False  # whether the program itself asked it to
        self.names: dict[int, str] = {}  # the variable that holds an address
        self._gone: dict[int, tuple[int, str]] = {}  # moved by realloc: bytes asked for, name
        self._freed: dict[int, int | None] = {}  # user address -> line of its free
        self._last: dict[int, bytes] = {}  # user address -> bytes up to the next size word

    def call(self, call: Call, line: int | None) -> Fault | None:
        """Say what is wrong with a call that is about to be taken in."""
        block = call.block
        if call.function not in ("free", "realloc", "reallocarray") or not block:
            return None
        if self.calls.live(block):
            return None
        asked = self.calls.blocks.get(block)
        name = self.calls.name(block) if asked else self.names.get(block, "?")
        said = f"{call.function}({name})"
        if asked is not None:
            when = self._freed.get(block)
            since = f": line {when} has freed it" if when is not None else ""
            return Fault(f"{said}: {name} is free already{since}", block + WORD, block - HEADER)
        moved = self.calls.moved.get(block)
        if moved is not None:
            now = self.calls.name(moved[0])
            return Fault(f"{said}: realloc has moved this block; it is {now} now", block - WORD)
        for user, other in self.calls.blocks.items():
            if user < block < user + chunk_size(other.requested or 0):
                count = _bytes(block - user)
                text = f"{said}: this address is {count} into {self.calls.name(user)}, "
                text += "and not one that malloc returned"
                return Fault(text, block - WORD, user - HEADER)
        if self.space.on_stack(block):
            return Fault(f"{said}: this is a variable on the stack, and no block of malloc's")
        if self.space.range_of(block) is None:
            return Fault(f"{said}: this is not on the heap, and no block of malloc's")
        if block in self.internal:
            return None
        return Fault(f"{said}: malloc has returned no such address", block - WORD)

    def took(self, call: Call, old: Asked | None, name: str, line: int | None) -> None:
        """Remember what became of a block that was handed in: `old`, called `name`."""
        if call.function == "free" and call.block:
            self._freed[call.block] = line
        if call.result:
            self._gone.pop(call.result, None)
            if old is not None and call.block != call.result and old.requested:
                self._gone[call.block] = old.requested, name

    def writes(self) -> tuple[list[tuple[str, int]], list[Fault]]:
        """Compare all blocks with the frame before.

        Returns the blocks whose own bytes were written, as (name, chunk), and the writes that were
        not allowed. Nothing is said of a frame in which the allocator did something. But what it
        did for a library, such as a thread that Go starts at any time, leaves the inside of the
        program's blocks as it was.
        """
        stirred, self.stirred = self.stirred, False
        asked_for, self.asked = self.asked, False
        written: list[tuple[str, int]] = []
        faults: list[Fault] = []
        now: dict[int, bytes] = {}
        own: set[int] = set()
        for user, asked in self.calls.blocks.items():
            if asked.requested is None or asked.requested < 0:
                continue
            length = min(chunk_size(asked.requested), MOST_COMPARED)
            data = self.space.read(user - WORD, length + WORD)
            if data is None:
                continue
            now[user] = data
            old = self._last.get(user)
            if old is None or asked_for or old == data or len(old) != len(data):
                continue
            name = self.calls.name(user)
            inside = slice(WORD, WORD + asked.requested)
            if asked.freed is None and old[inside] != data[inside]:
                written.append((name, user - HEADER))
            if stirred:
                continue
            if asked.freed is None:
                fault = self._overflow(user, asked.requested, old, data, name)
                if old[:WORD] != data[:WORD]:
                    own.add(user)
            else:
                fault = self._after_free(user, old, data, name)
            if fault is not None:
                faults.append(fault)
        marked = {fault.at for fault in faults}
        for user in own:
            if user - WORD not in marked:
                text = f"the size word in front of {self.calls.name(user)} was overwritten"
                faults.append(Fault(text, user - WORD, user - HEADER))
        for user, (requested, name) in self._gone.items():
            length = chunk_size(requested) - WORD
            data = self.space.read(user, length)
            old = self._last.get(user)
            if data is None:
                continue
            now[user] = data
            places = [i for i in range(length) if old and old[i] != data[i]]
            places = [i for i in places if not self._taken(user + i, user)]
            if places and not stirred and old is not None and len(old) == length:
                text = f"{_bytes(len(places))} written where {name} was before realloc moved it"
                faults.append(Fault(text, user + places[0] // WORD * WORD, user - HEADER))
        self._last = now
        return written, faults

    def _overflow(
        self, user: int, requested: int, old: bytes, data: bytes, name: str
    ) -> Fault | None:
        places = [i for i in range(WORD + requested, len(data)) if old[i] != data[i]]
        if not places:
            return None
        count = places[-1] + 1 - WORD - requested
        text = f"{_bytes(count)} written past the end of {name}, which has {_bytes(requested)}"
        return Fault(text, user - WORD + places[-1] // WORD * WORD, user - HEADER)

    def _after_free(self, user: int, old: bytes, data: bytes, name: str) -> Fault | None:
        places = [i for i in range(WORD, len(data) - WORD) if old[i] != data[i]]
        places = [i for i in places if not self._taken(user - WORD + i, user)]
        if not places:
            return None
        when = self._freed.get(user)
        since = f" since line {when}" if when is not None else ""
        text = f"{_bytes(len(places))} of {name} overwritten, which is free{since}"
        return Fault(text, user - WORD + places[0] // WORD * WORD, user - HEADER)

    def _taken(self, at: int, but: int) -> bool:
        """Whether somebody may write at an address: it belongs to another block in use."""
        if any(user <= at < user + size for user, size in self.internal.items()):
            return True
        return any(
            user != but and asked.freed is None and user <= at < user + (asked.requested or 0)
            for user, asked in self.calls.blocks.items()
        )


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"

"""The calls a recorder saw, and which blocks they leave behind."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from heapscope.glibc.reading import Asked
from heapscope.glibc.scene import letter
from heapscope.model.snapshot import Event

ALLOCATES = frozenset(
    {
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "aligned_alloc",
        "posix_memalign",
        "memalign",
        "strdup",
    }
)
"""Calls that may return a block."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call on a heap, with real addresses.

    `block` is the block that was passed in (free, realloc), `size` the bytes asked for (calloc: the
    product), `result` the address that came back (0 for NULL and for calls that return none).
    """

    number: int  # counted from 1
    function: str
    args: tuple[int, ...] = ()  # as they were passed
    block: int = 0
    size: int | None = None
    result: int = 0
    errno: str | None = None  # "ENOMEM"
    thread: int = 0  # 0: the thread that opened the heap

    def text(self, names: Mapping[int, str]) -> str:
        """Write the call as C: ``b = realloc(a, 40)``; `names` are those of real addresses."""
        shown = []
        for index, arg in enumerate(self.args):
            pointer = index == 0 and self.takes_block
            shown.append((names.get(arg) or ("NULL" if not arg else "?")) if pointer else f"{arg}")
        said = f"{self.function}({', '.join(shown)})"
        if self.function == "strdup":
            said = f"strdup({self.size} bytes)"
        elif self.function == "posix_memalign":
            said = said.replace("(0", "(&p", 1)
        if self.function not in ALLOCATES:
            return said
        if not self.result:
            return f"{said} returned NULL"
        name = names.get(self.result)
        return f"{name} = {said}" if name else said

    @property
    def takes_block(self) -> bool:
        """Whether the first argument is a block."""
        return self.function in ("free", "realloc", "reallocarray", "malloc_usable_size")


class Calls:
    """The log of one heap, and the blocks as they are after its last call."""

    def __init__(self) -> None:
        self.log: list[Call] = []
        self.blocks: dict[int, Asked] = {}
        """By user address: the latest block there, in use or freed."""
        self.moved: dict[int, tuple[int, int]] = {}
        """Addresses that realloc moved a block away from: (new address, number of the call)."""
        self.named: dict[int, list[tuple[int, str]]] = {}
        """The names a block was given, by its order of allocation: (from which call on, name)."""
        self._allocated = 0

    def copy(self) -> Calls:
        """Return a log that goes on from here on its own."""
        other = Calls()
        other.log, other.blocks = list(self.log), dict(self.blocks)
        other.moved, other.named = dict(self.moved), copy.deepcopy(self.named)
        other._allocated = self._allocated
        return other

    def add(self, call: Call) -> None:
        """Take in one call that was made."""
        self.log.append(call)
        function, blocks = call.function, self.blocks
        if function == "free":
            if call.block:
                self._free(call.block, call.number)
            return
        if function not in ALLOCATES:
            return
        order = None
        if function in ("realloc", "reallocarray") and call.block:
            old = blocks.get(call.block)
            if not call.result:
                if call.size == 0:
                    self._free(call.block, call.number)  # realloc(p, 0) frees in glibc
                return
            if old is not None:
                order = old.order
            if call.result != call.block:
                # It lives on elsewhere: what stays behind is nobody's block any more.
                blocks.pop(call.block, None)
                self.moved[call.block] = call.result, call.number
        if not call.result:
            return
        if order is None:
            order = self._allocated
            self._allocated += 1
        self.moved.pop(call.result, None)
        names = [n for since, n in self.named.get(order, ()) if since <= call.number]
        name = names[-1] if names else None
        blocks[call.result] = Asked(call.size, call.number, name=name, order=order)

    def _free(self, block: int, number: int) -> None:
        old = self.blocks.get(block)
        if old is not None:
            self.blocks[block] = replace(old, freed=number)

    def live(self, block: int) -> bool:
        """Whether `block` is the address of a block in use."""
        asked = self.blocks.get(block)
        return asked is not None and asked.freed is None

    def rename(self, block: int, name: str) -> None:
        """Give the latest block at `block` a name."""
        old = self.blocks.get(block)
        if old is None or old.order is None or old.name == name:
            return
        self.blocks[block] = replace(old, name=name)
        # A first name is found out late: it holds from the beginning.
        self.named.setdefault(old.order, []).append((old.call if old.name else 0, name))

    def unname(self, name: str, kept: Container[int]) -> None:
        """Have the blocks of that name go by their letters, but for those at addresses `kept`."""
        for block, asked in list(self.blocks.items()):
            if asked.name == name and asked.order is not None and block not in kept:
                self.rename(block, letter(asked.order))

    def name(self, block: int) -> str:
        """Return what the latest block at `block` is called: its name, or its letter."""
        asked = self.blocks.get(block)
        if asked is None:
            return "?"
        return asked.name or letter(asked.order or 0)


def _kind(function: str) -> str:
    """Return the kind of event that a call of `function` is."""
    if function in ("free", "calloc", "realloc"):
        return function
    if function == "reallocarray":
        return "realloc"
    return "malloc" if function in ALLOCATES else "call"


def event(call: Call, names: Mapping[int, str]) -> Event:
    """Return `call` as the event of a snapshot (real addresses)."""
    note = None
    if call.function in ("realloc", "reallocarray") and call.block and call.result:
        note = "same address" if call.result == call.block else "moved"
    block = call.result or call.block
    return Event(
        kind=_kind(call.function),
        text=call.text(names),
        args=call.args,
        result=call.result or None,
        errno=call.errno,
        chunk=block - 16 if block else None,
        note=note,
    )


def to_json(call: Call) -> dict[str, Any]:
    """Return a call as plain data."""
    return {
        "number": call.number,
        "function": call.function,
        "args": list(call.args),
        "block": call.block,
        "size": call.size,
        "result": call.result,
        "errno": call.errno,
        "thread": call.thread,
    }


def from_json(form: Mapping[str, Any]) -> Call:
    """Read what :func:`to_json` wrote."""
    return Call(**{**form, "args": tuple(form["args"])})

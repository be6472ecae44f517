"""Chapter 9: a linked list is freed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.trial import Trial

_NODE = 16  # bytes: the next node's address, and a word of data
_WORD = 8
_LENGTHS = (1, 50, 2, 0)  # of 50 blocks it is plain to see which ones are left
_TRAP = 256  # words


@exercise("free-all")
def free_all(answer: Callable[..., object]) -> Verdict:
    """Check ``free_all(heap, head)``: every block of the list is freed once."""
    for length in _LENGTHS:
        with Quarantine() as trial:
            _try(trial, answer, length)
    return Right(
        f"Lists of {', '.join(map(str, sorted(_LENGTHS)[:-1]))} and {max(_LENGTHS)} blocks: each "
        "block was freed once, and none was read after that. The address of the next one was "
        "read first."
    )


@dataclass(slots=True)
class Quarantine(Trial):
    """A trial that keeps freed blocks out of circulation, with an address in each of their words.

    So what is read from a freed block is always the same thing, and a function that follows it
    meets a trap: a chain of words that leads to NULL, instead of a crash of the kernel.
    """

    gone: dict[int, bytes] = field(default_factory=dict)  # freed block: what it was filled with
    order: list[int] = field(default_factory=list)  # the list's blocks, the first first
    trap: Any = None

    def __post_init__(self) -> None:
        """Build the trap: each word holds the address of the next, the last one NULL."""
        ffi = self.heap.ffi
        self.trap = ffi.new("uintptr_t[]", _TRAP)
        for n in range(_TRAP - 1):
            self.trap[n] = int(ffi.cast("uintptr_t", self.trap + n + 1))

    def __enter__(self) -> Quarantine:
        """Return the trial."""
        return self

    def free(self, pointer: Any) -> None:
        """Free a block; a hint for one that is none."""
        at = int(self.heap.ffi.cast("uintptr_t", pointer))
        if at in self.gone:
            raise Hint(f"{self.name_of(at)} was freed twice.")
        start = int(self.heap.ffi.cast("uintptr_t", self.trap))
        if start <= at < start + _TRAP * _WORD:
            raise Hint(
                "Your function freed an address that it had read from a block after freeing that "
                "block. By then the bytes are the allocator's: here they are overwritten at once. "
                "Read what you need first."
            )
        block = self.live.get(at)
        if block is None:
            self.heap.lib.free(pointer)  # NULL, or an address that the heap explains
            return
        self._give_back(at)
        self.gone[at] = struct.pack("<Q", start) * (block.size // _WORD)
        self.heap.ffi.memmove(self.heap.ffi.cast("char *", at), self.gone[at], len(self.gone[at]))

    def name_of(self, at: int) -> str:
        """Return "Block 3 of 50", or what else the block is."""
        if at in self.order:
            return f"Block {self.order.index(at) + 1} of {len(self.order)}"
        return "A block"


def _try(trial: Quarantine, answer: Callable[..., object], length: int) -> None:
    ffi, lib = trial.heap.ffi, trial.lib
    blocks = [lib.malloc(_NODE) for _ in range(length + 1)]
    # Addresses in no order, so that the links are the only way from block to block.
    Random(length).shuffle(blocks)
    other, *trial.order = [trial.address(block) for block in blocks]
    for n, at in enumerate(trial.order):
        following = trial.order[n + 1] if n + 1 < length else 0
        ffi.memmove(ffi.cast("char *", at), struct.pack("<QQ", following, 0), _NODE)
    ffi.memmove(ffi.cast("char *", other), bytes(_NODE), _NODE)
    head = ffi.cast("void *", trial.order[0] if length else 0)
    try:
        trial.ask(answer, head, shown="free_all(heap, head)" if length else "free_all(heap, NULL)")
    except Hint as hint:
        raise Hint(_explained(str(hint), length)) from hint
    _look(trial, other, length)


def _explained(hint: str, length: int) -> str:
    """Say which list it was, and what NULL means when it was followed."""
    if "null pointer" not in hint and "was given NULL" not in hint:
        known = f" of {length} " in hint
        return hint if known else f"{hint} (The list had {_blocks(length)}.)"
    if not length:
        return f"{hint}\nAn empty list is NULL: it has no first block to read from."
    return (
        f"{hint}\nThe list had {_blocks(length)}. The last block holds NULL: the list ends there. "
        "Look for NULL in a block that you have not freed yet."
    )


def _look(trial: Quarantine, other: int, length: int) -> None:
    """Look at the heap after the call."""
    if other in trial.gone:
        raise Hint("Your function freed a block that is not in the list. Follow the links.")
    if kept := [at for at in trial.order if at in trial.live]:
        raise Hint(_kept(trial, kept, length))
    for at, filled in trial.gone.items():
        if trial.read(at, len(filled)) != filled:
            raise Hint(
                f"{trial.name_of(at)} was written to after it was freed. To clear it, do that "
                "before; nobody needs it."
            )
    if leaked := trial.leaks(other):
        raise Hint(f"The list is freed, but a block of your own is left: the {leaked[0].call}.")
    trial.sound()


def _kept(trial: Quarantine, kept: list[int], length: int) -> str:
    seen = f"Of a list of {_blocks(length)}, "
    if len(kept) == length:
        return f"{seen}none was freed."
    if kept == trial.order[:1]:
        return f"{seen}the first was not freed."
    if kept == trial.order[-1:]:
        return f"{seen}the last was not freed. It holds NULL, and is a block all the same."
    if len(kept) == length - 1 and kept == trial.order[1:]:
        return f"{seen}only the first was freed. With it went the only address of the second."
    first = trial.order.index(kept[0]) + 1
    return f"{seen}{len(kept)} were not freed, number {first} among them."


def _blocks(length: int) -> str:
    return f"{length or 'no'} block{'' if length == 1 else 's'}"

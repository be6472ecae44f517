"""Chapter 4: one more integer at the end."""

from __future__ import annotations

import struct
from collections.abc import Callable

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.trial import GONE, NEW, Trial

_INT = 4  # bytes
_PUSHES = 300
_FAILS_AT = (2, 7, 150)  # lengths at which there is no memory for once
_VALUES = (7, -1000, 2**30, 0, -(2**31))


@exercise("push")
def push(answer: Callable[..., object]) -> Verdict:
    """Check ``push(heap, block, length, value)``: the block with one more integer, or NULL."""
    with Trial() as trial:
        block = trial.heap.ffi.NULL
        numbers: list[int] = []
        for length in range(_PUSHES):
            value = _VALUES[length % len(_VALUES)] + length
            if length in _FAILS_AT:
                _without_memory(trial, answer, block, numbers, value)
            block = _one(trial, answer, block, numbers, value)
            numbers.append(value)
        trial.sound()
    return Right(
        f"{_PUSHES} numbers are in place. `realloc` moved the block {trial.moves} times, and when "
        "there was no memory the old block was kept."
    )


def _shown(block_at: int, length: int, value: int) -> str:
    return f"push(heap, {'block' if block_at else 'NULL'}, {length}, {value})"


def _one(
    trial: Trial, answer: Callable[..., object], block: object, numbers: list[int], value: int
) -> object:
    """Push one value and return the block."""
    length = len(numbers)
    old = trial.address(block)
    shown = _shown(old, length, value)
    result = trial.ask(answer, block, length, value, shown=shown)
    at = trial.address(result)
    need = (length + 1) * _INT
    if not at:
        raise Hint(f"`{shown}` returned NULL, although there is memory.")
    if at not in trial.live:
        if at == old:
            raise Hint(
                f"`{shown}` returned the old address, and the block has moved away from it. "
                "Return what `realloc` returned."
            )
        raise Hint(f"`{shown}` returned an address that is no block of this heap.")
    size = trial.live[at].size
    if size < need:
        raise Hint(
            f"After `{shown}` the block should have room for {need} bytes, {_INT} for each "
            f"integer. It was asked for with {size}. `realloc` counts in bytes."
        )
    _compare(trial, at, [*numbers, value], shown)
    if leaked := trial.leaks(at):
        raise Hint(
            f"After `{shown}` the old block is still in use: the {leaked[0].call}. Who has its "
            "address now?"
        )
    trial.inside()
    return result


def _without_memory(
    trial: Trial, answer: Callable[..., object], block: object, numbers: list[int], value: int
) -> None:
    old = trial.address(block)
    shown = _shown(old, len(numbers), value)
    trial.no_memory, trial.refused = True, 0
    try:
        at = trial.address(trial.ask(answer, block, len(numbers), value, shown=shown))
    except Hint as hint:
        raise Hint(f"There was no memory for once, and {hint}") from hint
    trial.no_memory = False
    if at == old and not trial.refused:
        return  # nothing was asked for: the block had room
    if at:
        raise Hint(
            f"There was no memory for `{shown}`, and it did not return NULL. The caller must be "
            "told."
        )
    if old and old not in trial.live:
        raise Hint(
            f"There was no memory for `{shown}`, and the old block is gone. It belongs to the "
            "caller: leave it as it was."
        )
    if old:
        _compare(trial, old, numbers, f"{shown}, for which there was no memory,")
    trial.inside()


def _compare(trial: Trial, at: int, numbers: list[int], shown: str) -> None:
    found = struct.unpack(f"<{len(numbers)}i", trial.read(at, len(numbers) * _INT))
    for n, (is_, should) in enumerate(zip(found, numbers, strict=True)):
        if is_ != should:
            old = is_ in (_filled(NEW), _filled(GONE))
            why = (
                "nobody has written it. Was it written through the address from before `realloc`?"
                if old
                else f"it is {is_} and should be {should}."
            )
            raise Hint(f"After `{shown}` integer {n} is not right: {why}")


def _filled(byte: int) -> int:
    number: int = struct.unpack("<i", bytes([byte]) * _INT)[0]
    return number

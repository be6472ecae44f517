"""Chapter 10: a C string in a new block."""

from __future__ import annotations

from collections.abc import Callable

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.trial import NEW, Trial

_LONGEST = 60
_LONG = 5000  # no fixed size will do
_NO_MEMORY = (0, 10, 24)  # lengths for which there is no memory once more


@exercise("duplicate")
def duplicate(answer: Callable[..., object]) -> Verdict:
    """Check ``duplicate(heap, text)``: a new block with the text and a zero byte, or NULL."""
    exact = []
    with Trial() as trial:
        for length in (*range(_LONGEST + 1), _LONG):
            if _try(trial, answer, length) and length <= _LONGEST:
                exact.append(str(length))
        trial.sound()
    with Trial() as trial:
        trial.no_memory = True
        for length in _NO_MEMORY:
            _without_memory(trial, answer, length)
    behind = (
        f" With {' or '.join(exact)} letters there is no slack: from a block one byte shorter "
        "the zero would have gone into the next chunk."
        if exact
        else ""
    )
    return Right(
        f"Every length from 0 to {_LONGEST}, each with its zero byte inside the block.{behind}"
    )


def _text(length: int) -> bytes:
    """Return a text without zero bytes; its bytes are no filling's."""
    return bytes(33 + n % 90 for n in range(length))


def _shown(length: int) -> str:
    return f"duplicate(heap, {_text(length)!r})" if length <= 6 else "duplicate(heap, text)"


def _letters(length: int) -> str:
    return f"for a text of {length} letter{'' if length == 1 else 's'}"


def _try(trial: Trial, answer: Callable[..., object], length: int) -> bool:
    """Copy a text of `length` bytes; tell whether a block for it without zero would be full."""
    shown, text = _shown(length), _text(length)
    before = set(trial.live)
    trial.calls.clear()
    trial.overflows.clear()
    trial.last_freed = b""
    result = trial.ask(answer, text, shown=shown)
    at = trial.address(result)
    if not at:
        raise Hint(f"`{shown}` returned NULL, although there is memory.")
    if at not in trial.live or at in before:
        raise Hint(f"`{shown}` {_no_block(trial, result, at, before)}")
    block = trial.live[at]
    if block.size <= length:
        raise Hint(_too_small(trial, at, length))
    trial.inside()
    _compare(trial.read(at, length + 1), text)
    if extra := trial.leaks(at, *before):
        raise Hint(
            f"`{shown}` left another block behind: the {extra[0].call}. Only the one that it "
            "returns has an owner."
        )
    usable: int = trial.heap.lib.malloc_usable_size(trial.heap.ffi.cast("void *", at))
    if usable == block.size:  # no slack, in which `inside` would see it
        trial.sound()
    one_less = trial.heap.lib.malloc(length)
    full: bool = length > 0 and trial.heap.lib.malloc_usable_size(one_less) == length
    trial.heap.lib.free(one_less)
    return full


def _no_block(trial: Trial, result: object, at: int, before: set[int]) -> str:
    """Say what the address is that is no new block."""
    ffi = trial.heap.ffi
    if at in before:
        return "returned a block that an earlier call had returned. Each text needs its own."
    if trial.last_freed:
        return "freed the block before it returned it. The block is the caller's now."
    if ffi.typeof(result).kind == "array" or not trial.calls:
        return (
            "returned memory that is Python's: cffi frees it when the object is gone, and the "
            "caller cannot. Take a block from `heap.lib`."
        )
    if any(start < at <= start + block.size for start, block in trial.live.items()):
        return "returned an address inside of its block. Only the first one can be freed."
    return "returned an address that is no block of this heap."


def _too_small(trial: Trial, at: int, length: int) -> str:
    """Say what is wrong with a block without room for the zero byte."""
    size = trial.live[at].size
    asked = f"{_letters(length).capitalize()}, your function asked for {size} bytes"
    if size < length:
        return f"{asked}. The letters need {length}, and the zero byte one more."
    try:
        trial.sound()
    except Hint:
        return (
            f"{asked} and wrote behind their end: there is no room for the zero byte. Most lengths "
            "leave slack there; with 24 letters the byte is the next chunk's size."
        )
    return f"{asked}. A C string has one byte more than it has letters: the zero at the end."


def _compare(found: bytes, text: bytes) -> None:
    length = len(text)
    if found[:length] != text:
        at = next(n for n in range(length) if found[n] != text[n])
        why = (
            "nobody has written it"
            if found[at] == NEW
            else f"it is {found[at]:#04x} and should be {text[at]:#04x}"
        )
        raise Hint(f"{_letters(length).capitalize()}, byte {at} is not right: {why}.")
    if found[length]:
        was = "nobody has written it" if found[length] == NEW else f"it is {found[length]:#04x}"
        raise Hint(
            f"{_letters(length).capitalize()}, byte {length} should be the zero that ends the "
            f"string, and {was}. A new block holds what was there before."
        )


def _without_memory(trial: Trial, answer: Callable[..., object], length: int) -> None:
    shown = _shown(length)
    try:
        result = trial.ask(answer, _text(length), shown=shown)
    except Hint as hint:
        raise Hint(f"There was no memory for once, and {hint}") from hint
    if result is None:
        raise Hint(
            f"There was no memory for `{shown}`, and it returned nothing. C's word for that is "
            "NULL: `heap.ffi.NULL`."
        )
    if trial.address(result):
        raise Hint(
            f"There was no memory for `{shown}`, and it did not return NULL. The caller must be "
            "told."
        )

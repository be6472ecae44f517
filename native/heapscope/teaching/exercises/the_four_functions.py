"""Chapter 1: words joined in one block that grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.trial import GONE, NEW, Trial

_WORDS = (
    (b"malloc",),
    (b"to", b"be", b"or", b"not", b"to", b"be"),
    (b"a", b"longer" * 20, b"x" * 3000, b"end"),
    tuple(b"%d" % n for n in range(100)),
)
_MUST_GROW = 3000  # bytes


@exercise("join")
def join(answer: Callable[..., object]) -> Verdict:
    """Check ``join(heap, words)``: the words with one space between, built in one C block."""
    for words in _WORDS:
        with Trial() as trial:
            _try(trial, answer, words)
    return Right(
        "The text grew in one block, moved when it had to, and the block was given back. "
        "Every `realloc` here moved the block on purpose."
    )


def _try(trial: Trial, answer: Callable[..., object], words: Sequence[bytes]) -> None:
    shown = "join(heap, words)" if sum(map(len, words)) > 60 else f"join(heap, {list(words)})"
    expected = b" ".join(words)
    result = trial.ask(answer, list(words), shown=shown)
    if isinstance(result, memoryview) or type(result).__name__ == "buffer":
        raise Hint(
            "Your function returned a view of the C block, and the block must not outlive the "
            "call. Copy the bytes out before you free it: `bytes(ffi.buffer(...))`."
        )
    if result is None:
        raise Hint("Your function returned nothing. Is there a `return` on every way out?")
    if not isinstance(result, bytes):
        raise Hint(f"`{shown}` should return `bytes`, and returned a {type(result).__name__}.")
    if trial.overflows:
        raise Hint(trial.overflows[0])
    if result != expected:
        raise Hint(f"`{shown}` is not right. {_difference(result, expected, trial)}")
    if leaked := trial.leaks():
        raise Hint(
            f"The bytes are right, but a block is left behind: the {leaked[0].call} is never "
            "freed. Copy the bytes out, then free."
        )
    trial.sound()
    made = len(trial.calls) - trial.calls.count("realloc") - trial.calls.count("reallocarray")
    if made == 0:
        raise Hint("The bytes are right, but no C block was made. Build them in one.")
    if made > 1:
        raise Hint(
            f"The bytes are right, but your function made {made} blocks. Make one, and let "
            "`realloc` make it larger."
        )
    if trial.moves == 0 and len(expected) > _MUST_GROW:  # a short text may fit at once
        raise Hint(
            "The bytes are right, but the block never grew. Start with room for the first word "
            "and call `realloc` when the next one does not fit."
        )
    if not trial.last_freed.startswith(expected):
        raise Hint(
            "The bytes are right, but they were not in the C block when it was freed. Write the "
            "words into the block, and read the result from it."
        )


def _difference(result: bytes, expected: bytes, trial: Trial) -> str:
    if len(result) == len(expected) and trial.last_freed.startswith(expected):
        return "The block held the right text when it was freed: copy it out before that."
    at = next(
        (n for n, (a, b) in enumerate(zip(result, expected, strict=False)) if a != b),
        min(len(result), len(expected)),
    )
    if at < len(result) and result[at] == GONE:
        return (
            f"Byte {at} was read from a block that `realloc` had already given back. The block "
            "has moved: use the address that `realloc` returned."
        )
    if at < len(result) and result[at] == NEW:
        return f"Byte {at} of the block was never written. " + (
            "Was it written through a pointer from before `realloc`, which moved the block?"
            if trial.moves
            else "A new block holds what was there before."
        )
    if result.replace(b" ", b"") == expected.replace(b" ", b""):
        return (
            "The words are there, but the spaces are not: one between two words, none at the ends."
        )
    if result.rstrip(b"\0") == expected:
        return "There is a zero byte behind the text. Count only the bytes of the words."
    return (
        f"From byte {at} on it should go on with {expected[at : at + 12]!r}, and goes on with "
        f"{result[at : at + 12]!r}."
    )

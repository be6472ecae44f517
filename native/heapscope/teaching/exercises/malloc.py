"""Chapter 2: the rule of the staircase."""

from __future__ import annotations

from collections.abc import Callable

from heapscope.recorders.heap import Heap
from heapscope.teaching.exercises.base import Hint, Right, Verdict, ask, exercise

_REQUESTS = (*range(201), 1000, 1024, 1032, 1033, 4080, 4096, 4104, 4105, 20_000, 65_536, 100_000)
_FLAGS = 7  # the low bits of the size word (glibc malloc.c, SIZE_BITS)


@exercise("chunk-size")
def chunk_size(answer: Callable[..., object]) -> Verdict:
    """Check ``chunk_size(request)`` against the size words of real blocks."""
    real = _real_sizes()
    wrong: list[int] = []
    first = ""
    for request, size in real.items():
        said = ask(answer, request, shown=f"chunk_size({request})")
        if isinstance(said, bool) or not isinstance(said, int | float):
            raise Hint(
                f"`chunk_size({request})` should be a number of bytes, and was {said!r}."
                if said is not None
                else "Your function returned nothing. Is there a `return`?"
            )
        if said != size:
            wrong.append(request)
            if len(wrong) == 1:
                first = (
                    f"`malloc({request})` makes a chunk of {size} bytes, and your rule says {said}."
                )
    if not wrong:
        return Right(
            f"Your rule and the real `malloc` agree on {len(real)} requests, from 0 to "
            f"{max(real):,} bytes."
        )
    raise Hint(f"{first} {_pattern(wrong, list(real))}")


def _real_sizes() -> dict[int, int]:
    sizes = {}
    with Heap() as heap:
        for request in _REQUESTS:
            block = heap.lib.malloc(request)
            sizes[request] = heap.ffi.cast("size_t *", block)[-1] & ~_FLAGS
    return sizes


def _pattern(wrong: list[int], asked: list[int]) -> str:
    """Say where the rule is wrong, as a pointer to what it leaves out."""
    count = f"It is wrong for {len(wrong)} of the {len(asked)} requests that were tried"
    if max(wrong) <= 24:
        return f"{count}, all of them small. How small can a chunk be?"
    if all(request % 16 == 9 for request in wrong if request > 24):
        return f"{count}, always one byte beyond a step. Where exactly does the next step begin?"
    if all(0 < request % 16 < 9 or request <= 24 for request in wrong):
        return (
            f"{count}, always in the first half of a step. The last 8 usable bytes lie in the "
            "next chunk's first word, so a chunk needs one word beside its bytes, not two."
        )
    if all(request % 16 > 8 or request % 16 == 0 or request <= 24 for request in wrong):
        return f"{count}, always in the second half of a step. Is the size word counted?"
    return f"{count}."

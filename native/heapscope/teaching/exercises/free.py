"""Chapter 5: an allocator that merges in both directions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import pairwise, permutations
from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, ask, exercise

_REQUESTS = (40, 24, 100, 8)
_NAMES = "ABCD"
_HEADER = 16  # from a chunk's start to its user offset
_PARTS = ("malloc", "memory", "free", "top")


@exercise("coalesce")
def coalesce(answer: Callable[..., object]) -> Verdict:
    """Check ``free_both_ways(self, user)`` on the allocator that the chapter defines.

    The allocator is the reader's own `Shelf`, found where the function was defined; its bytes are
    read here, not asked of it.
    """
    make = _shelf(answer)
    orders = list(permutations(range(len(_REQUESTS))))
    for order in orders:
        _free_in(order, make, answer)
    return Right(
        f"{len(_REQUESTS)} blocks freed in all {len(orders)} orders, and each time one free chunk "
        "was left. No two free chunks were ever neighbours."
    )


def _shelf(answer: Callable[..., object]) -> Callable[[], Any]:
    names = getattr(inspect.unwrap(answer), "__globals__", {})
    make = names.get("Shelf")
    if not isinstance(make, type) or not hasattr(make, "malloc"):
        raise Hint(
            "Your function works on a `Shelf`, and there is none with a `malloc`. Run the cells "
            "under “An allocator of your own” first."
        )
    shelf = make()
    if missing := [part for part in _PARTS if not hasattr(shelf, part)]:
        raise Hint(f"This check reads the Shelf's `{missing[0]}`, and your Shelf has none.")
    return make


def _free_in(
    order: tuple[int, ...], make: Callable[[], Any], answer: Callable[..., object]
) -> None:
    shelf = make()
    users = [shelf.malloc(request) for request in _REQUESTS]
    if None in users:
        raise Hint("Your Shelf has no room for four small blocks. Run its cells again.")
    for n, user in enumerate(users):
        shelf.memory[user : user + _REQUESTS[n]] = bytes([0xA0 + n]) * _REQUESTS[n]
    size = {n: _size(shelf, user) for n, user in enumerate(users)}
    done: list[int] = []
    for n in order:
        done.append(n)
        told = f"After freeing {' then '.join(_NAMES[d] for d in done)} of A, B, C, D"
        ask(answer, shelf, users[n], shown=f"free_both_ways(shelf, {_NAMES[n]})")
        _account(shelf, users, size, done, told)
    again = shelf.malloc(shelf.top - 8)  # everything, as one block
    if again != _HEADER:
        raise Hint(f"{told}, a request for all of the free chunk's bytes did not get it.")


def _size(shelf: Any, user: int) -> int:
    return int.from_bytes(shelf.memory[user - 8 : user], "little") & ~7


def _account(
    shelf: Any, users: list[int], size: dict[int, int], done: list[int], told: str
) -> None:
    """Compare the list of free chunks with what must be free now."""
    for n, user in enumerate(users):
        if n not in done:
            if _size(shelf, user) != size[n]:
                raise Hint(
                    f"{told}, block {_NAMES[n]}, which is in use, has another size: "
                    f"{_size(shelf, user)} instead of {size[n]}."
                )
            if shelf.memory[user : user + _REQUESTS[n]].strip(bytes([0xA0 + n])):
                raise Hint(f"{told}, bytes of block {_NAMES[n]}, which is in use, have changed.")
    want = list(_runs(users, size, done))
    found = sorted(shelf.free)
    if len(set(found)) != len(found):
        raise Hint(f"{told}, the list of free chunks has {_twice(found)} twice.")
    chunks = [(at, _size(shelf, at + _HEADER)) for at in found]
    if chunks == want:
        return
    starts = {user - _HEADER: _NAMES[n] for n, user in enumerate(users)}
    for at, _ in chunks:
        if at not in starts:
            raise Hint(f"{told}, the list of free chunks has {at}, where no chunk begins.")
    for (at, length), (after, _) in pairwise(chunks):
        if at + length == after:
            raise Hint(
                f"{told}, there are two free chunks side by side, {starts[at]} and "
                f"{starts[after]}. They should be one."
            )
        if at + length > after:
            raise Hint(
                f"{told}, the free chunk at {starts[at]} reaches over the one at {starts[after]}, "
                "which is still in the list. Take the one that was swallowed out of it."
            )
    words = ", ".join(f"{starts[at]} with {length} bytes" for at, length in chunks) or "none"
    should = ", ".join(f"{starts[at]} with {length} bytes" for at, length in want)
    raise Hint(f"{told}, the free chunks are: {words}. They should be: {should}.")


def _runs(users: list[int], size: dict[int, int], done: list[int]) -> Iterator[tuple[int, int]]:
    """Yield start and length of each run of freed chunks, in address order."""
    start = length = 0
    for n, user in enumerate(users):
        if n in done:
            start = start if length else user - _HEADER
            length += size[n]
        elif length:
            yield start, length
            length = 0
    if length:
        yield start, length


def _twice(found: list[int]) -> int:
    return next(at for at in found if found.count(at) > 1)

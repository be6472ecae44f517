"""Chapter 11: a Python object that owns a C block."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise, in_words
from heapscope.teaching.exercises.trial import NEW, Trial

_SIZES = (1, 7, 24, 40, 1000, 5000)
_METHODS = ("close", "view")


class _Stop(Exception):  # noqa: N818  it is raised in a with block, to see it come out
    """Ends a with block early."""


@exercise("owned")
def owned(answer: Callable[..., Any]) -> Verdict:
    """Check the class ``Owned(heap, n)``: view, close, with, MemoryError."""
    for size in _SIZES:
        _live(partial(_life, size=size), answer)
    for life in (_close_again, _two, _with, _with_an_exception, _without_memory):
        _live(life, answer)
    return Right(
        "Zeroes at the start, one `free` however often it is closed, no view after that, and a "
        "`with` block closes it on every way out. When there is no memory, nobody gets an object."
    )


# ---------------------------------------------------------------- lives


def _live(life: Callable[[Trial, Callable[..., Any]], None], answer: Callable[..., Any]) -> None:
    """Live one life on a fresh heap; the objects die before the heap, for `__del__`'s sake."""
    with Trial() as trial:
        try:
            life(trial, answer)
            trial.sound()
        except Hint as hint:
            error: BaseException | None = hint
            while error is not None:
                traceback.clear_frames(error.__traceback__)
                error = error.__cause__ or error.__context__
            raise


def _life(trial: Trial, answer: Callable[..., Any], size: int) -> None:
    """Make one, look at all of its bytes, close it."""
    one = _make(trial, answer, size)
    for method in _METHODS:
        if not callable(getattr(one, method, None)):
            raise Hint(f"`Owned` has no method `{method}`.")
    if not trial.live:
        raise Hint(
            f"`Owned(heap, {size})` took no block. Take it with `heap.lib`, when the object is "
            "made."
        )
    shown = _bytes(trial, one, size)
    data = shown.tobytes()
    if data.strip(b"\0"):
        first = size - len(data.lstrip(b"\0"))
        old = "old bytes" if data[first] == NEW else "something else"
        raise Hint(
            f"The block of `Owned(heap, {size})` is not all zero: byte {first} is "
            f"{data[first]:#04x}, {old}. `malloc` does not clear a block."
        )
    if not shown.readonly:
        shown[:] = bytes(n % 251 + 1 for n in range(size))
        if _bytes(trial, one, size) != shown:
            raise Hint("What was written into one `view()` is not in the next one.")
    del shown
    trial.inside()
    _close(one, "owned.close()")
    if leaked := trial.leaks():
        raise Hint(
            f"`close()` left a block in use: the {leaked[0].call}. Who frees it, if not the owner?"
        )
    _no_view(one, "after `close()`")


def _close_again(trial: Trial, answer: Callable[..., Any]) -> None:
    """Close one three times, twice when its address is somebody else's."""
    one = _make(trial, answer, 40)
    _close(one, "owned.close()")
    _close(one, "owned.close()", again=True)
    one = _make(trial, answer, 40)
    _close(one, "owned.close()")
    next_one = _address(trial, trial.lib.malloc(40))
    for _ in range(2):
        _close(one, "owned.close()", again=True)
        if next_one not in trial.live:
            raise Hint(
                "A second `close()` freed somebody else's block: `malloc` had given the same "
                "address out again. The object must remember that it is closed."
            )
    _no_view(one, "after `close()`")
    _free(trial, next_one)
    _nothing_left(trial, "Closed three times, the object")


def _two(trial: Trial, answer: Callable[..., Any]) -> None:
    """Close one of two."""
    first = _make(trial, answer, 40)
    firsts = set(trial.live)
    second = _make(trial, answer, 24)
    kept = _bytes(trial, second, 24)
    seconds = set(trial.live) - firsts
    _close(first, "first.close()")
    if set(trial.live) != seconds:
        raise Hint(
            "Of two objects the first was closed, and it is not just the first one's block that "
            "was freed. Each object must remember its own: is it in `self`?"
        )
    if _bytes(trial, second, 24) != kept:
        raise Hint("Of two objects the first was closed, and the second's bytes have changed.")
    del kept
    _close(second, "second.close()")
    _nothing_left(trial, "Two objects, both closed,")


def _with(trial: Trial, answer: Callable[..., Any]) -> None:
    """Use two in with blocks; one is closed inside."""
    one = _make(trial, answer, 40)
    _enter(trial, one, lambda inside: _bytes(trial, inside, 40).release())
    if trial.live:
        raise Hint("After the `with` block the C block is still in use. `__exit__` must close.")
    _no_view(one, "after the `with` block")
    _close(one, "owned.close()", again=True)
    another = _make(trial, answer, 40)
    _enter(trial, another, lambda inside: _close(inside, "owned.close()"))
    _nothing_left(trial, "An object that was closed inside of its `with` block")


def _with_an_exception(trial: Trial, answer: Callable[..., Any]) -> None:
    """Leave a with block by an exception."""
    one = _make(trial, answer, 40)

    def stop(_inside: object) -> None:
        raise _Stop

    try:
        _enter(trial, one, stop)
    except _Stop:
        pass
    else:
        raise Hint(
            "An exception in the `with` block disappeared: `__exit__` returned something true. "
            "That tells Python that the exception was handled."
        )
    if trial.live:
        raise Hint("When an exception ends the `with` block, the C block stays in use.")
    _no_view(one, "after the `with` block")


def _without_memory(trial: Trial, answer: Callable[..., Any]) -> None:
    """Try to make one when there is no memory."""
    trial.no_memory = True
    try:
        answer(trial, 40)
    except MemoryError:
        pass
    except Exception as error:
        raise Hint(
            f"There was no memory for once, and {_said(error, answer, 'Owned(heap, 40)')}\n"
            "`MemoryError` is what callers expect."
        ) from error
    else:
        raise Hint(
            "There was no memory for `Owned(heap, 40)`, and it made an object all the same. The "
            "allocation returned NULL: raise `MemoryError`."
        )
    if not trial.refused:
        raise Hint("`Owned(heap, 40)` raised `MemoryError` without asking the heap.")


# ---------------------------------------------------------------- steps


def _make(trial: Trial, answer: Callable[..., Any], size: int) -> Any:
    shown = f"Owned(heap, {size})"
    try:
        one = answer(trial, size)
    except Exception as error:
        raise Hint(_said(error, answer, shown)) from error
    if one is None:
        raise Hint(f"`{shown}` is nothing. Is `Owned` a class?")
    return one


def _bytes(trial: Trial, one: Any, size: int) -> memoryview:
    """Return the bytes that view() shows; a hint unless they are the block's."""
    try:
        view = one.view()
    except Exception as error:
        raise Hint(_said(error, one.view, "owned.view()")) from error
    if view is None:
        raise Hint("`view()` returned nothing. Is there a `return` on every way out?")
    ffi = trial.heap.ffi
    try:
        shown = memoryview(view).cast("B")
    except TypeError:
        pointer = isinstance(view, ffi.CData)
        raise Hint(
            "`view()` returned "
            + ("a pointer" if pointer else f"a {type(view).__name__}")
            + ", and Python cannot look at its bytes: `heap.ffi.buffer` makes a buffer of a block."
        ) from None
    if shown.nbytes != size:
        raise Hint(f"`view()` of `Owned(heap, {size})` has {shown.nbytes} bytes.")
    at = _address(trial, ffi.from_buffer(shown))
    for start, block in trial.live.items():
        if start <= at and at + size <= start + block.size:
            return shown
        if start <= at < start + block.size:
            raise Hint(
                f"The view has {size} bytes, and {start + block.size - at} of them lie in the "
                f"{block.call}."
            )
    raise Hint(
        "`view()` returned bytes that do not lie in a block of this heap. A copy is no view: what "
        "is written into it does not reach C."
    )


def _close(one: Any, shown: str, *, again: bool = False) -> None:
    try:
        one.close()
    except Exception as error:
        words = _said(error, one.close, shown)
        if again:
            words = f"The object was closed already. {words}\nThe object must remember that."
        raise Hint(words) from error


def _no_view(one: Any, when: str) -> None:
    """Hint unless view() raises ValueError."""
    try:
        one.view()
    except ValueError:
        return
    except Exception as error:
        raise Hint(
            f"{when.capitalize()}, {_said(error, one.view, 'owned.view()')}\nIt should raise "
            "`ValueError`."
        ) from error
    raise Hint(
        f"{when.capitalize()}, `view()` still returns something, and the block is gone. It should "
        "raise `ValueError`."
    )


def _enter(trial: Trial, one: Any, use: Callable[[Any], object]) -> None:
    """Run `use` in a with block; hints and _Stop pass through."""
    for method in ("__enter__", "__exit__"):
        if not hasattr(type(one), method):
            raise Hint(f"`with Owned(heap, 40) as owned:` needs a method `{method}`.")
    try:
        with one as inside:
            if inside is None:
                raise Hint(
                    "`with Owned(heap, 40) as owned:` gave `owned` nothing: `__enter__` returns "
                    "what stands behind `as`."
                )
            if not trial.live:
                raise Hint("In the `with` block the C block is gone already.")
            use(inside)
    except (Hint, _Stop):
        raise
    except Exception as error:
        raise Hint(_said(error, type(one).__exit__, "with Owned(heap, 40) as owned:")) from error


def _nothing_left(trial: Trial, who: str) -> None:
    if leaked := trial.leaks():
        raise Hint(f"{who} left a block in use: the {leaked[0].call}.")


def _said(error: Exception, function: Any, shown: str) -> str:
    """Say what an exception means, with its line; a class has its code in `__init__`."""
    made = isinstance(function, type)
    return in_words(error, function.__dict__.get("__init__") if made else function, shown)


def _address(trial: Trial, pointer: Any) -> int:
    return int(trial.heap.ffi.cast("uintptr_t", pointer))


def _free(trial: Trial, at: int) -> None:
    trial.lib.free(trial.heap.ffi.cast("void *", at))

"""A fresh heap for one trial of an exercise: harsher than a real one, and it keeps account.

It is allowed to be harsh because the standard is: ``realloc`` may move a block (here it always
does), a new block's bytes are indeterminate (here they are a pattern), a freed block's are nobody's
(here another pattern), and any allocation may fail (here when the trial says so).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from heapscope.recorders.heap import Heap
from heapscope.teaching.exercises.base import Hint, ask

NEW = 0xA5
"""What a new block is filled with, its slack included."""
GONE = 0xEE
"""What a block is filled with before it is freed or moved away from."""

_SIZES: dict[str, Callable[..., int]] = {
    "malloc": lambda size: size,
    "calloc": lambda count, size: count * size,
    "realloc": lambda _old, size: size,
    "reallocarray": lambda _old, count, size: count * size,
    "aligned_alloc": lambda _alignment, size: size,
    "memalign": lambda _alignment, size: size,
}
_COPIES = ("strdup", "strndup")
_FAIL = {*_SIZES, *_COPIES}
_READ_OR_WRITE = {
    *("memchr", "memcmp", "memcpy", "memmove", "memset"),
    *("strcat", "strcmp", "strcpy", "strdup", "strlen", "strncat", "strncpy", "strndup"),
}


@dataclass(slots=True)
class Block:
    """A block that the reader's code holds."""

    size: int  # as requested, bytes
    call: str  # "malloc(24)"


@dataclass(slots=True)
class Trial:
    """What the reader's function gets as `heap`, and what it did with it."""

    heap: Heap = field(default_factory=Heap)
    no_memory: bool = False  # whether every allocation fails
    refused: int = 0  # how many allocations failed so
    live: dict[int, Block] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)  # names of the allocating functions, in order
    moves: int = 0
    overflows: list[str] = field(default_factory=list)
    last_freed: bytes = b""  # what the block freed last held, as far as it was asked for

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.heap.close()

    # ------------------------------------------------------------ what the reader's code uses

    @property
    def lib(self) -> Library:
        """The C functions."""
        return Library(self)

    @property
    def ffi(self) -> Foreign:
        """Cffi's own functions."""
        return Foreign(self.heap.ffi)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.heap, name)

    # ------------------------------------------------------------ what a checker uses

    def ask(self, answer: Callable[..., object], *args: object, shown: str) -> Any:
        """Call the reader's function on this heap; what it raises becomes a hint."""
        try:
            return ask(answer, self, *args, shown=shown)
        except Hint as hint:
            refused = type(hint.__cause__).__module__.startswith("heapscope")
            if self.moves and refused:
                raise Hint(
                    f"{hint} `realloc` has moved the block before: from then on only the address "
                    "that it returned is good."
                ) from hint
            raise

    def inside(self) -> None:
        """Hint when something was written into the slack behind a block."""
        for at, block in self.live.items():
            self._look_behind(at, block)
        if self.overflows:
            raise Hint(self.overflows[0])

    def sound(self) -> None:
        """Hint when something was written outside the blocks; this decodes the whole heap."""
        self.inside()
        for fault in self.heap.snapshot().faults:
            raise Hint(f"Your function wrote outside its blocks. {fault.text}")

    def leaks(self, *kept: int) -> list[Block]:
        """Return the blocks that are still in use, those at the addresses `kept` left out."""
        return [block for at, block in self.live.items() if at not in kept]

    def address(self, pointer: object) -> int:
        """Return a pointer's address; a hint when the value is no pointer."""
        ffi = self.heap.ffi
        if pointer is None:
            raise Hint("Your function returned nothing. Is there a `return` on every way out?")
        if not isinstance(pointer, ffi.CData):
            raise Hint(f"Your function returned {pointer!r}, which is no pointer.")
        try:
            return int(ffi.cast("uintptr_t", pointer))
        except TypeError:
            raise Hint(f"Your function returned {pointer!r}, which is no pointer.") from None

    def read(self, at: int, size: int) -> bytes:
        """Return `size` bytes of a block."""
        ffi = self.heap.ffi
        return bytes(ffi.buffer(ffi.cast("char *", at), size)) if size else b""

    # ------------------------------------------------------------ the account

    def allocate(self, name: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Make an allocating call and write it down."""
        ffi = self.heap.ffi
        if self.no_memory:
            self.refused += 1
            ffi.errno = errno.ENOMEM
            return ffi.NULL
        old = int(ffi.cast("uintptr_t", args[0])) if name in ("realloc", "reallocarray") else 0
        self.calls.append(name if name not in ("realloc", "reallocarray") or old else "malloc")
        if old and old in self.live:
            return self._reallocate(name, function, args, old)
        result = function(*args)
        if at := int(ffi.cast("uintptr_t", result)):
            size = (
                _SIZES[name](*args)
                if name in _SIZES
                else len(ffi.string(ffi.cast("char *", result))) + 1
            )
            self._take(at, size, name, clean=name == "calloc" or name in _COPIES)
        return result

    def _reallocate(
        self, name: str, function: Callable[..., Any], args: tuple[Any, ...], old: int
    ) -> Any:
        ffi, lib = self.heap.ffi, self.heap.lib
        block = self.live[old]
        size = _SIZES[name](*args)
        if size == 0:  # glibc frees
            self._give_back(old)
            return function(*args)
        if size >> 63:  # what no allocator can give: let the real one say so
            return function(*args)
        new = lib.malloc(size)
        if new == ffi.NULL:
            return new
        at = int(ffi.cast("uintptr_t", new))
        self._take(at, size, name, clean=False)
        ffi.memmove(new, ffi.cast("char *", old), min(size, block.size))
        self._give_back(old)
        lib.free(ffi.cast("void *", old))
        self.moves += 1
        return new

    def free(self, pointer: Any) -> None:
        """Free a block; the heap itself refuses what is none."""
        self._give_back(int(self.heap.ffi.cast("uintptr_t", pointer)))
        self.heap.lib.free(pointer)

    def _take(self, at: int, size: int, name: str, *, clean: bool) -> None:
        ffi = self.heap.ffi
        usable = self.heap.lib.malloc_usable_size(ffi.cast("void *", at))
        start = size if clean else 0
        ffi.memmove(ffi.cast("char *", at + start), bytes([NEW]) * (usable - start), usable - start)
        self.live[at] = Block(size, f"{name} of {size} bytes")

    def _give_back(self, at: int) -> None:
        block = self.live.pop(at, None)
        if block is None:
            return
        self._look_behind(at, block)
        self.last_freed = self.read(at, block.size)
        ffi = self.heap.ffi
        ffi.memmove(ffi.cast("char *", at), bytes([GONE]) * block.size, block.size)

    def _look_behind(self, at: int, block: Block) -> None:
        usable = self.heap.lib.malloc_usable_size(self.heap.ffi.cast("void *", at))
        slack = self.read(at, usable)[block.size :]
        if slack.strip(bytes([NEW])):
            self.overflows.append(
                f"Your function wrote behind the end of its block: the {block.call} gave bytes 0 "
                f"to {block.size - 1}, and byte {usable - len(slack.lstrip(bytes([NEW])))} was "
                "written. Nothing crashed, because chunks are rounded up. Do not count on it."
            )


class Library:
    """``heap.lib`` of a trial."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._trial.heap.lib, name)
        if name == "free":
            return self._trial.free
        if name in _READ_OR_WRITE:
            function = _without_null(name, function, self._trial.heap.ffi)
        if name in _FAIL:
            return lambda *args: self._trial.allocate(name, function, args)
        return function


class Foreign:
    """``heap.ffi`` of a trial: it does not follow NULL, so the kernel survives."""

    def __init__(self, ffi: Any) -> None:
        self._ffi = ffi

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ffi, name)
        if name in ("buffer", "memmove", "string", "unpack"):
            return _without_null(f"ffi.{name}", value, self._ffi)
        return value


class NullFollowed(Exception):  # noqa: N818  the reader's words
    """The reader's code passed NULL to something that would have read or written there."""


def _without_null(name: str, function: Callable[..., Any], ffi: Any) -> Callable[..., Any]:
    def called(*args: Any, **keywords: Any) -> Any:
        for arg in args:
            if isinstance(arg, ffi.CData) and ffi.typeof(arg).kind == "pointer" and not arg:
                raise NullFollowed(
                    f"{name} was given NULL. In C that is a crash: look at what the allocation "
                    "returned before you use it."
                )
        return function(*args, **keywords)

    return called

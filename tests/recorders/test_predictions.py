"""What a refusal says that glibc would do is what glibc does, in a child."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from heapscope import Heap, child
from heapscope.recorders.heap import RefusedError

Make = Callable[[Heap], Any]


def _tcache(heap: Heap) -> Any:
    a = heap.lib.malloc(24)
    heap.lib.malloc(24)
    heap.lib.free(a)
    return a


def _full(heap: Heap, size: int, extra: int) -> list[Any]:
    """Free `extra` blocks after the tcache list of this size is full, with walls between them."""
    rest = [heap.lib.malloc(size) for _ in range(7)]
    blocks = []
    for _ in range(extra):
        blocks.append(heap.lib.malloc(size))
        heap.lib.malloc(24)
    for block in [*rest, *blocks]:
        heap.lib.free(block)
    return blocks


def _fast_head(heap: Heap) -> Any:
    return _full(heap, 24, 3)[-1]


def _fast_inner(heap: Heap) -> Any:
    return _full(heap, 24, 3)[1]


def _fast_with_room(heap: Heap) -> Any:
    """In a fastbin, and the tcache has room again."""
    inner = _full(heap, 24, 3)[1]
    heap.lib.malloc(24)
    return inner


def _unsorted(heap: Heap) -> Any:
    a = heap.lib.malloc(2000)
    heap.lib.malloc(24)
    heap.lib.free(a)
    return a


def _unsorted_small_size(heap: Heap) -> Any:
    return _full(heap, 500, 2)[1]


def _unsorted_with_room(heap: Heap) -> Any:
    a = _full(heap, 500, 2)[1]
    heap.lib.malloc(500)
    return a


def _small(heap: Heap) -> Any:
    a = _full(heap, 500, 2)[1]
    heap.lib.malloc(3000)  # sorts
    return a


def _small_with_room(heap: Heap) -> Any:
    a = _small(heap)
    heap.lib.malloc(500)
    return a


def _large(heap: Heap) -> Any:
    a = _unsorted(heap)
    heap.lib.malloc(3000)
    return a


def _top(heap: Heap) -> Any:
    a = heap.lib.malloc(2000)
    heap.lib.free(a)
    return a


def _top_small(heap: Heap) -> Any:
    """The tcache is full, and the last block goes to top."""
    rest = [heap.lib.malloc(500) for _ in range(7)]
    heap.lib.malloc(24)
    a = heap.lib.malloc(500)
    for block in [*rest, a]:
        heap.lib.free(block)
    return a


def _merged_backwards(heap: Heap) -> Any:
    """Part of the free chunk that begins with the block before."""
    a, b = heap.lib.malloc(2000), heap.lib.malloc(2000)
    heap.lib.malloc(24)
    heap.lib.free(a)
    heap.lib.free(b)
    return b


def _merged_forwards(heap: Heap) -> Any:
    a, b = heap.lib.malloc(2000), heap.lib.malloc(2000)
    heap.lib.malloc(24)
    heap.lib.free(b)
    heap.lib.free(a)
    return a


def _merged_into_top(heap: Heap) -> Any:
    """Freed, then its neighbour before went to top with it."""
    a, b = heap.lib.malloc(2000), heap.lib.malloc(2000)
    heap.lib.free(b)
    heap.lib.free(a)
    return b


def _mapped(heap: Heap) -> Any:
    a = heap.lib.malloc(2_000_000)
    heap.lib.free(a)
    return a


def _moved(heap: Heap) -> Any:
    a = heap.lib.malloc(24)
    heap.lib.malloc(24)
    heap.lib.realloc(a, 1000)
    return a


def _moved_large(heap: Heap) -> Any:
    a = heap.lib.malloc(2000)
    heap.lib.malloc(24)
    heap.lib.realloc(a, 5000)
    return a


def _moved_twice(heap: Heap) -> Any:
    """The old place was given to somebody else meanwhile."""
    a = heap.lib.malloc(24)
    heap.lib.malloc(24)
    heap.lib.realloc(a, 1000)
    return a


def _realloc_to_nothing(heap: Heap) -> Any:
    a = heap.lib.malloc(24)
    heap.lib.malloc(24)
    heap.lib.realloc(a, 0)
    return a


def _split(heap: Heap) -> Any:
    """Freed, and a smaller block was cut from it: the address is in use again, for another."""
    a = heap.lib.malloc(2000)
    heap.lib.malloc(24)
    heap.lib.free(a)
    heap.lib.malloc(1500)
    return heap.ffi.cast("char *", a) + 1520


def _inside(offset: int) -> Make:
    def make(heap: Heap) -> Any:
        a = heap.ffi.cast("char *", heap.lib.malloc(100))
        heap.lib.memset(a, 0, 100)
        heap.lib.malloc(24)
        return a + offset

    return make


def _inside_with_sizes(heap: Heap) -> Any:
    """The block holds what looks like a size word."""
    a = heap.ffi.cast("long *", heap.lib.malloc(100))
    heap.lib.memset(a, 0, 100)
    a[1] = 0x21
    return a + 2


def _before(heap: Heap) -> Any:
    return heap.ffi.cast("char *", heap.lib.malloc(24)) - 16


def _other_heap(heap: Heap) -> Any:
    _kept.append(Heap())
    return _kept[-1].lib.malloc(24)


def _stack(heap: Heap) -> Any:
    _kept.append(heap.ffi.new("long[16]"))
    return _kept[-1] + 2 + int(heap.ffi.cast("long", _kept[-1])) // 8 % 2


def _odd(heap: Heap) -> Any:
    return heap.ffi.cast("char *", heap.lib.malloc(100)) + 5


def _nowhere(heap: Heap) -> Any:
    heap.lib.malloc(24)
    return heap.ffi.cast("void *", 0x10)


def _table(heap: Heap) -> Any:
    heap.lib.malloc(24)
    return heap.ffi.cast("void *", heap._tables()[0])


def _at_top(heap: Heap) -> Any:
    a = heap.ffi.cast("char *", heap.lib.malloc(24))
    return a + 32


_kept: list[Any] = []

STATES: dict[str, Make] = {
    name.removeprefix("_"): make
    for name, make in list(globals().items())
    if name.startswith("_")
    and callable(make)
    and getattr(make, "__module__", "") == __name__
    and name not in ("_full", "_inside")
} | {f"inside_{offset}": _inside(offset) for offset in (1, 8, 16, 32, 96)}


@pytest.fixture(autouse=True)
def _close_what_was_kept() -> Any:
    yield
    for each in _kept:
        if isinstance(each, Heap):
            each.close()
    _kept.clear()


@dataclass
class End:
    """How a child ended, as a refusal words it."""

    signal: str | None
    message: str

    @property
    def noticed(self) -> bool:
        return self.signal is not None


def really(heap: Heap, pointer: Any, call: str) -> End:
    with child() as c:
        if call == "free":
            heap.lib.free(pointer)
        elif call == "realloc":
            heap.lib.realloc(pointer, 3000)
        else:
            print(heap.lib.malloc_usable_size(pointer))
    return End(c.signal, c.message)


def told(error: RefusedError) -> str:
    """The part of a refusal that says what glibc does."""
    found = re.search(r"Tried in a child process, .*?(?= To see it happen)", str(error))
    assert found, str(error)
    return found[0]


@pytest.mark.parametrize("call", ["free", "realloc", "malloc_usable_size"])
@pytest.mark.parametrize("state", STATES)
def test_the_prediction_comes_true(state: str, call: str) -> None:
    with Heap() as heap:
        pointer = STATES[state](heap)
        with pytest.raises(RefusedError) as caught:
            getattr(heap.lib, call)(*([pointer, 3000] if call == "realloc" else [pointer]))
        said = told(caught.value)
        end = really(heap, pointer, call)
        if end.signal is None:
            assert "did not notice" in said
        elif end.message:
            assert said.endswith(f'said "{end.message}" and ended with {end.signal}.')
        else:
            assert said.endswith(f"ended with {end.signal}.")


SURE = {
    "tcache": "free(): double free detected in tcache 2",
    "fast_head": "double free or corruption (fasttop)",
    "unsorted": "double free or corruption (!prev)",
    "large": "double free or corruption (!prev)",
    "top": "double free or corruption (top)",
    "mapped": "SIGSEGV",
    "fast_inner": "tied the list into a loop",
    "fast_with_room": "put the block on a second list: then malloc returns it twice",
    "moved": "free(): double free detected in tcache 2",
    "odd": "free(): invalid pointer",
}


@pytest.mark.parametrize("state", SURE)
def test_the_words_for_what_is_well_known(state: str) -> None:
    with Heap() as heap:
        pointer = STATES[state](heap)
        with pytest.raises(RefusedError) as caught:
            heap.lib.free(pointer)
        assert SURE[state] in told(caught.value)
        heap.snapshot()
        heap.lib.malloc(24)


@pytest.mark.parametrize("call", ["malloc", "calloc", "realloc", "free"])
@pytest.mark.parametrize("size", [0, 1, 0x20, 0x31, 0x420, 0x1001, 0xFFFFFFFFFFFFFFF8])
@pytest.mark.parametrize("behind", ["a", "b", "top"])
def test_what_happens_on_a_smashed_heap(call: str, size: int, behind: str) -> None:
    """Size words overwritten in front of a block, behind it, and of top."""
    with Heap() as heap:
        a, b = heap.lib.malloc(24), heap.lib.malloc(24)
        smashed = {"a": a, "b": b, "top": heap.ffi.cast("char *", b) + 32}[behind]
        heap.ffi.cast("uint64_t *", smashed)[-1] = size
        args = {"malloc": (24,), "calloc": (3, 8), "realloc": (b, 3000), "free": (b,)}[call]
        with pytest.raises(RefusedError) as caught:
            getattr(heap.lib, call)(*args)
        with child() as c:
            getattr(heap.lib, call)(*args)
        said = told(caught.value)
        if c.signal is None:
            assert "did not notice" in said
        else:
            assert said.endswith(f"ended with {c.signal}.")
            assert c.message in said

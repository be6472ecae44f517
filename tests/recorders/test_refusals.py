"""A call on a heap that somebody has written past is refused, and the process lives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from heapscope import Heap
from heapscope.recorders.heap import RefusedError

CALLS: dict[str, Callable[[Heap, Any], object]] = {
    "malloc": lambda heap, other: heap.lib.malloc(24),
    "calloc": lambda heap, other: heap.lib.calloc(3, 8),
    "realloc": lambda heap, other: heap.lib.realloc(other, 100),
    "free": lambda heap, other: heap.lib.free(other),
    "malloc_usable_size": lambda heap, other: heap.lib.malloc_usable_size(other),
    "aligned_alloc": lambda heap, other: heap.lib.aligned_alloc(64, 64),
    "strdup": lambda heap, other: heap.lib.strdup(b"x"),
    "malloc_trim": lambda heap, other: heap.lib.malloc_trim(0),
}


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap() as opened:
        yield opened


def char(heap: Heap, pointer: Any) -> Any:
    return heap.ffi.cast("unsigned char *", pointer)


def allocators_words(heap: Heap) -> set[int]:
    """Real addresses of all bytes that only the allocator may write, by an independent reading.

    The decoder's word list says whose each word is; the recorder's C side has a list of its own.
    """
    shot = heap.snapshot()
    region, base = shot.regions[0], int(heap._c.pieces[0].base)
    mine = {"size", "link", "key", "top", "internal", "prev_size"}
    return {
        word.at - region.base + base + i
        for word in shot.words
        for i in range(8)
        if str(word.role) in mine and region.base <= word.at < region.end
    }


def neighbours(heap: Heap, behind: str) -> tuple[Any, Any]:
    """A block `a` with `behind` right after it, and another one that the calls are made with."""
    lib = heap.lib
    other = lib.malloc(24)
    if behind == "large free block":
        a, b = lib.malloc(24), lib.malloc(2000)
        lib.malloc(24)
        lib.free(b)
    elif behind == "fastbin block":
        rest = [lib.malloc(40) for _ in range(7)]
        a, b = lib.malloc(24), lib.malloc(40)
        lib.malloc(24)
        for block in [*rest, b]:
            lib.free(block)
    elif behind == "top":
        a = lib.malloc(24)
    else:
        a, b = lib.malloc(24), lib.malloc(24)
        if behind == "tcache block":
            lib.free(b)
        lib.malloc(24)
    return a, other


BEHIND = ("block in use", "tcache block", "fastbin block", "large free block", "top")


FOUR = ("malloc", "calloc", "realloc", "free")
ALL = tuple(range(1, 65))
SOME = (1, 2, 7, 8, 9, 15, 16, 17, 32, 33, 64)
OVERFLOWS = [
    *((call, behind, 0x41, ALL) for call in FOUR for behind in ("block in use", "top")),
    *((call, behind, fill, SOME) for call in FOUR for behind in BEHIND for fill in (0x00, 0xFF)),
    *((call, "tcache block", 0x41, (33,)) for call in CALLS if call not in FOUR),
]


@pytest.mark.parametrize(("call", "behind", "fill", "lengths"), OVERFLOWS)
def test_overflows_of_1_to_64_bytes(
    call: str, behind: str, fill: int, lengths: tuple[int, ...]
) -> None:
    """Refused exactly when an allocator's byte changed; and the process is still here."""
    refused = 0
    with Heap() as heap:
        a, other = neighbours(heap, behind)
        usable = heap.lib.malloc_usable_size(a)
        block = char(heap, a)
        start = int(heap.ffi.cast("uintptr_t", a)) + usable
        mine = allocators_words(heap)
        whole = bytes(heap.ffi.buffer(block + usable, 64))
        for length in lengths:
            heap.ffi.buffer(block + usable, length)[:] = bytes([fill]) * length
            changed = [i for i in range(length) if whole[i] != fill and start + i in mine]
            if changed:
                with pytest.raises(RefusedError) as caught:
                    CALLS[call](heap, other)
                assert f"{call} was not run: somebody wrote over " in str(caught.value)
                assert "A" in str(caught.value) or "a ends right before it" in str(caught.value)
                refused += 1
            elif call == "malloc_usable_size":
                CALLS[call](heap, other)
            heap.ffi.buffer(block + usable, 64)[:] = whole
        # Put back, all is as it was.
        CALLS[call](heap, other)
    assert refused >= len(lengths) // 2


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("length", [1, 64])
def test_a_smashed_heap_can_be_drawn_and_closed(call: str, length: int) -> None:
    with Heap() as heap:
        a, other = neighbours(heap, "block in use")
        heap.lib.memset(char(heap, a) + 24, 0xEE, length)
        for _ in range(2):
            with pytest.raises(RefusedError):
                CALLS[call](heap, other)
        assert "<svg" in heap._repr_mimebundle_()["text/html"]
        heap.film()
        assert heap.snapshot().faults
    assert heap.closed


def test_an_overflow_within_the_usable_bytes_is_none(heap: Heap) -> None:
    a = heap.lib.malloc(20)
    heap.lib.malloc(24)
    heap.lib.memset(a, 0xFF, 24)
    heap.lib.free(a)


def test_the_message_names_word_and_block(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    b = heap.lib.malloc(24)
    heap.name(a=a, b=b)
    char(heap, a)[24] = 0x41
    with pytest.raises(RefusedError) as caught:
        heap.lib.free(b)
    said = str(caught.value)
    assert "the size word of b (at heap+0x2b8)" in said
    assert "It held 0x21 and holds 0x41" in said
    assert "a ends right before it: were more than its 24 usable bytes written?" in said
    assert "with heapscope.child() as c:" in said
    assert "heap = Heap()" in said


def test_written_back_the_heap_goes_on(heap: Heap) -> None:
    a, b = heap.lib.malloc(24), heap.lib.malloc(24)
    char(heap, a)[24] = 0x41
    with pytest.raises(RefusedError):
        heap.lib.free(b)
    char(heap, a)[24] = 0x21
    heap.lib.free(b)


@pytest.mark.parametrize("size", [24, 100, 1000, 2000, 40_000])
@pytest.mark.parametrize("word", [0, 1, 2, 3])
def test_use_after_free_writes(heap: Heap, size: int, word: int) -> None:
    """Links, the key, the sizes of large chunks' lists; what is nobody's may be written."""
    a = heap.lib.malloc(size)
    heap.lib.malloc(24)
    heap.name(a=a)
    heap.lib.free(a)
    if size >= 2000:
        heap.lib.malloc(size + 1000)  # sorts it into a large bin
    mine = allocators_words(heap)
    at = int(heap.ffi.cast("uintptr_t", a)) + 8 * word
    heap.ffi.cast("long *", a)[word] ^= 0x1111
    if at not in mine:
        heap.lib.malloc(24)
        return
    with pytest.raises(RefusedError, match=r"of the free block a |of a |size word of B "):
        heap.lib.malloc(24)


def test_the_list_that_use_after_free_covers() -> None:
    """So that the test above cannot pass by finding nothing."""
    found = set()
    for size, word in itertools.product([24, 1000, 2000], range(4)):
        with Heap() as heap:
            a = heap.lib.malloc(size)
            heap.lib.malloc(24)
            heap.lib.free(a)
            if size >= 2000:
                heap.lib.malloc(size + 1000)
            at = int(heap.ffi.cast("uintptr_t", a)) + 8 * word
            if at in allocators_words(heap):
                found.add((size, word))
    assert found == {
        (24, 0),
        (24, 1),
        (24, 3),
        (1000, 0),
        (1000, 1),
        *((2000, n) for n in range(4)),
    }


@pytest.mark.parametrize("place", ["count", "entry"])
def test_the_tcache_table(heap: Heap, place: str) -> None:
    heap.lib.free(heap.lib.malloc(24))
    table = heap._tables()[0]
    offset = heap.layout.tcache.counts if place == "count" else heap.layout.tcache.entries
    heap.ffi.cast("long *", table + offset)[0] ^= 16
    with pytest.raises(RefusedError, match="tcache table"):
        heap.lib.malloc(24)
    heap.snapshot()


def test_main_arena(heap: Heap) -> None:
    heap.lib.malloc(24)
    heap.ffi.cast("long *", int(heap._c.main_arena) + heap.layout.arena.bins)[0] ^= 16
    with pytest.raises(RefusedError, match="a word of main_arena"):
        heap.lib.malloc(24)
    heap.snapshot()


@pytest.mark.parametrize("call", ["malloc", "calloc", "realloc", "free"])
@pytest.mark.parametrize("index", [-1, -2])
def test_before_a_mapped_block(heap: Heap, call: str, index: int) -> None:
    """munmap_chunk() looks at both words of the header."""
    a = heap.lib.malloc(2_000_000)
    heap.ffi.cast("long *", a)[index] ^= 0x1000
    with pytest.raises(RefusedError, match="word of"):
        CALLS[call](heap, a)
    heap.snapshot()


def test_past_a_mapped_block_into_its_neighbour(heap: Heap) -> None:
    """The kernel maps downwards: the second block usually ends where the first one begins."""
    a = heap.lib.malloc(2_000_000)
    b = heap.lib.malloc(2_000_000)
    usable = heap.lib.malloc_usable_size(b)
    if int(heap.ffi.cast("intptr_t", a)) - int(heap.ffi.cast("intptr_t", b)) != usable + 16:
        pytest.skip("the two mappings are not neighbours here")
    heap.lib.memset(char(heap, b) + usable, 0x41, 16)
    with pytest.raises(RefusedError):
        heap.lib.free(a)
    heap.snapshot()


def test_before_the_first_block(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    char(heap, a)[-8] = 0x99
    with pytest.raises(RefusedError, match="the size word of"):
        heap.lib.malloc(24)


def test_everything_at_once(heap: Heap) -> None:
    blocks = [heap.lib.malloc(n) for n in (24, 100, 1000, 2000)]
    for block in blocks:
        heap.lib.free(block)
    base, end = int(heap._c.pieces[0].base), int(heap._c.pieces[0].end)
    heap.lib.memset(heap.ffi.cast("char *", base), 0x5A, end - base)
    for call in CALLS.values():
        with pytest.raises(RefusedError):
            call(heap, blocks[0])
    heap.snapshot()
    assert "<svg" in heap._repr_mimebundle_()["text/html"]

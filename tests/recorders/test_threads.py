"""Calls from other threads: refused, or lent to one that waits for each call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from heapscope import Heap
from heapscope.model.snapshot import Chunk, State
from heapscope.recorders.heap import HeapError, RefusedError


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap() as opened:
        yield opened


def elsewhere(call: Callable[[], object]) -> BaseException | None:
    """What a call in another thread raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def named(heap: Heap, **pointers: object) -> list[Chunk]:
    heap.name(**pointers)
    shot = heap.snapshot()
    return [shot.block(name) for name in pointers]


def test_a_call_from_another_thread_is_refused(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    for call in (lambda: heap.lib.malloc(24), lambda: heap.lib.free(a)):
        error = elsewhere(call)
        assert isinstance(error, HeapError)
        assert "heap.thread()" in str(error)
    assert len(heap.snapshot().chunks) == 3
    heap.lib.free(a)


def test_looking_from_another_thread_is_allowed(heap: Heap) -> None:
    heap.lib.malloc(24)
    assert elsewhere(heap.snapshot) is None
    assert elsewhere(lambda: heap._repr_mimebundle_()) is None


def test_a_heap_belongs_to_the_thread_that_opened_it() -> None:
    opened: list[Heap] = []
    assert elsewhere(lambda: opened.append(Heap())) is None
    with opened[0] as heap, pytest.raises(HeapError, match="another thread"):
        heap.lib.malloc(24)


def test_a_lent_thread_has_its_own_arena_and_table(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    with heap.thread() as other:
        b = other.malloc(24)
        c = other.malloc(24)
        other.free(c)
        shot_a, shot_b, shot_c = named(heap, a=a, b=b, c=c)
        shot = heap.snapshot()
    assert shot_a.arena == "main"
    assert shot_b.arena == shot_c.arena == "thread 1"
    assert shot_c.state is State.TCACHE
    regions = [r.name for r in shot.regions]
    assert "thread heap 1" in regions
    assert not shot.faults
    tables = [c for c in shot.chunks if c.state is State.TABLE]
    assert len(tables) == 2
    heap.lib.free(b)


def test_a_thread_that_only_frees_has_a_table_too(heap: Heap) -> None:
    """Its tcache takes the block, though the block is main's."""
    a = heap.lib.malloc(24)
    heap.lib.malloc(24)
    with heap.thread() as other:
        other.free(a)
        (chunk,) = named(heap, a=a)
        lists = [f for f in heap.snapshot().lists if f.links]
    assert chunk.state is State.TCACHE
    assert [(f.name, f.arena) for f in lists] == [("tcache[0x20]", "thread 1")]


def test_writes_on_a_threads_list_are_seen(heap: Heap) -> None:
    with heap.thread() as other:
        blocks = [heap.ffi.cast("long *", other.malloc(24)) for _ in range(3)]
        for block in blocks:
            other.free(block)
        blocks[2][0] = 7
        with pytest.raises(RefusedError, match="a link of the free block"):
            other.malloc(24)
    with pytest.raises(RefusedError):
        heap.lib.malloc(24)
    heap.snapshot()


def test_a_thread_that_aligns_first(heap: Heap) -> None:
    with heap.thread() as other:
        for _ in range(80):
            other.aligned_alloc(64, 40)
        a = other.malloc(24)
        other.free(a)
        assert named(heap, a=a)[0].free_list == "tcache[0x20]"


def test_errno_and_null_come_back_from_the_thread(heap: Heap) -> None:
    with heap.thread() as other:
        heap.ffi.errno = 0
        assert other.malloc(2**62) == heap.ffi.NULL
        assert heap.ffi.errno == 12
        with pytest.raises(TypeError):
            other.malloc("x")  # type: ignore[arg-type]


def test_many_threads_one_after_the_other(heap: Heap) -> None:
    """More than there may be arenas: later threads share one, each with a table of its own."""
    for _ in range(40):
        with heap.thread() as other:
            other.free(other.malloc(24))
    shot = heap.snapshot()
    assert not shot.faults
    assert [c.state for c in shot.chunks].count(State.TABLE) == 40
    assert [c.state for c in shot.chunks].count(State.TCACHE) == 40


def thread_heaps(heap: Heap) -> int:
    """How many are known. (A snapshot of so much memory would take seconds.)"""
    return sum(int(heap._c.pieces[i].thread) for i in range(heap._c.piece_count))


def test_an_arena_of_several_heaps_that_come_and_go(heap: Heap) -> None:
    """A thread arena's heap is 64 MiB at most; an empty one is unmapped where top_pad allows it."""
    m_top_pad = -2
    heap.lib.mallopt(m_top_pad, 0)
    heap.lib.malloc(24)  # the thread of the first call has the main arena, whichever it is
    with heap.thread() as other:
        blocks = [other.malloc(120_000) for _ in range(700)]
        assert thread_heaps(heap) == 2
        for block in reversed(blocks):
            other.free(block)
        assert thread_heaps(heap) == 1
        other.malloc(24)
    heap.film()


def test_threads_of_a_closed_heap(heap: Heap) -> None:
    with heap.thread() as other:
        a = other.malloc(24)
        heap.close()
        with pytest.raises(HeapError, match="closed"):
            other.free(a)

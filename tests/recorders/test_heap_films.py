"""The film of a session: a frame after each call, and where the program wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from heapscope import Film, Heap
from heapscope.model import codec
from heapscope.recorders.heap import MOST_FRAMES, RefusedError


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap(name="a test") as opened:
        yield opened


def texts(film: Film) -> list[str]:
    return ["; ".join(event.text for event in frame.events) for frame in film.frames]


def test_a_frame_for_each_call(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    b = heap.lib.calloc(3, 8)
    b = heap.lib.realloc(b, 100)
    heap.lib.free(a)
    heap.name(a=a, b=b)
    assert texts(heap.film()) == [
        "a = malloc(24)",
        "b = calloc(3, 8)",
        "b = realloc(b, 100)",
        "free(a)",
    ]


def test_a_frame_for_what_was_written(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    b = heap.lib.malloc(24)
    heap.lib.memset(a, 65, 24)
    heap.lib.memset(b, 66, 24)
    heap.lib.malloc_usable_size(a)
    heap.lib.free(b)
    heap.name(a=a, b=b)
    assert texts(heap.film()) == [
        "a = malloc(24)",
        "b = malloc(24)",
        "malloc_usable_size(a); a and b written",
        "free(b)",
    ]


def test_reading_makes_no_frame(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    heap.ffi.buffer(a, 24)[:]
    heap.snapshot()
    heap.film()
    heap.lib.free(a)
    assert len(heap.film().frames) == 2


def test_null_is_told(heap: Heap) -> None:
    heap.lib.malloc(24)
    heap.lib.malloc(2**62)
    heap.lib.free(heap.ffi.NULL)
    assert texts(heap.film())[1:] == [f"malloc({2**62}) returned NULL", "free(NULL)"]
    assert heap.film().frames[1].events[0].errno == "ENOMEM"


def test_moving_is_told(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    a = heap.lib.realloc(a, 20)
    wall = heap.lib.malloc(24)
    a = heap.lib.realloc(a, 1000)
    heap.name(a=a, wall=wall)
    notes = [frame.events[0].note for frame in heap.film().frames]
    assert notes == [None, "same address", None, "moved"]


def test_a_write_on_a_mapped_block_is_seen(heap: Heap) -> None:
    a = heap.lib.malloc(2_000_000)
    heap.lib.memset(a, 1, 100)
    heap.lib.free(a)
    heap.name(a=a)
    assert texts(heap.film()) == ["a = malloc(2000000)", "a written", "free(a)"]


def test_a_film_stays_as_it_was(heap: Heap) -> None:
    heap.lib.malloc(24)
    first = heap.film()
    heap.lib.malloc(24)
    assert len(first.frames) == 1
    assert len(heap.film().frames) == 2


def test_two_runs_give_the_same_film() -> None:
    films = []
    for _ in range(2):
        with Heap() as heap:
            blocks = [heap.lib.malloc(n) for n in (24, 100, 1000, 2_000_000)]
            for block in blocks:
                heap.lib.memset(block, 7, 16)
                heap.lib.free(block)
            films.append(codec.film_to_json(heap.film()))
    assert films[0] == films[1]


def test_a_refused_call_is_not_in_the_film(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    heap.lib.free(a)
    with pytest.raises(RefusedError):
        heap.lib.free(a)
    heap.lib.malloc(24)
    assert [t.partition("(")[0].split()[-1] for t in texts(heap.film())] == [
        "malloc",
        "free",
        "malloc",
    ]


def test_a_film_has_400_frames_at_most_and_says_so(heap: Heap) -> None:
    for _ in range(MOST_FRAMES):
        heap.lib.free(heap.lib.malloc(24))
    film = heap.film()
    assert len(film.frames) == MOST_FRAMES
    assert "the film shows the first 400 steps" in film.caption


def test_a_loop_of_10000_calls_goes_on_quickly(heap: Heap) -> None:
    """The film ends early; the calls, the checks and the picture go on."""
    started = time.perf_counter()
    for _ in range(5000):
        heap.lib.free(heap.lib.malloc(24))
    assert time.perf_counter() - started < 10
    a = heap.lib.malloc(24)
    heap.lib.free(a)
    with pytest.raises(RefusedError, match="freed at call 10002"):
        heap.lib.free(a)
    assert len(heap.snapshot().chunks) == 3


def test_a_film_of_large_blocks_ends_at_its_room(
    heap: Heap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heapscope.recorders.heap.MOST_BYTES", 2 << 20)
    for _ in range(10):
        heap.lib.memset(heap.lib.malloc(2_000_000), 1, 400_000)
    assert len(heap._frames) < 10
    assert sum(len(m.data) for f in heap._frames for m in f.reading.mappings) <= 2 << 20
    assert "the film shows the first 2 MiB of frames" in heap.film().caption


def test_an_empty_film(heap: Heap) -> None:
    assert heap.film().frames == ()

"""Whatever a reader does to the heap, each call ends: after a number of steps that is counted."""

from __future__ import annotations

import re

import pytest
from calls import Call, Heap, Machine, Record
from corrupt_lists import corrupted_calls
from heapscope.playground.module import SHIM

_M, _F = Call.MALLOC, Call.FREE
A, B, C, D, E = range(5)
RING = [
    *(Record(_M, A, 1100), Record(_M, B, 24), Record(_M, C, 1120), Record(_M, D, 24)),
    *(Record(_F, A), Record(_F, C)),
    Record(_M, E, 5000),  # both go to one large bin
    Record(Call.LINK, A, 24, A, -16 << 1),  # its bk_nextsize is itself
    Record(_M, E, 1120),
]
"""malloc looks for the smallest chunk that is large enough, and goes round one that is not."""


@pytest.fixture(scope="module")
def limit() -> int:
    """The number of steps after which the module stops a call."""
    found = re.search(r"MOST_STEPS = (\d+)", (SHIM / "playground.c").read_text("utf-8"))
    assert found
    return int(found[1])


def _stopped(heap: Heap) -> bool:
    return heap("endless") == 1


def test_a_ring_ends(machine: Machine, limit: int) -> None:
    heap = machine.heap()
    end = heap.run(RING)
    assert (end.signal, end.message) == (11, "")
    assert _stopped(heap)
    assert heap("steps") == limit + 1


def test_the_same_number_of_steps_each_time(machine: Machine) -> None:
    taken = set()
    for _ in range(3):
        heap = machine.heap()
        heap.run(corrupted_calls(7))
        taken.add(heap("steps"))
    assert len(taken) == 1


@pytest.mark.parametrize("call", [(_M, 2000), (Call.TRIM, 0)])
def test_a_sound_heap_stays_far_below(machine: Machine, limit: int, call: tuple[Call, int]) -> None:
    """As many chunks as a small room holds, all free; the page's room is 128 times as large."""
    heap, blocks = machine.heap(), []
    heap("set_room", 1 << 19)
    while block := heap("malloc", 24):
        blocks.append(block)
    assert len(blocks) > 12_000
    for block in blocks:
        heap("free", block)
    heap.run([Record(call[0], A, call[1])])
    assert len(blocks) < heap("steps")
    assert heap("steps") * 128 < limit / 3


def test_zeroing_is_one_step(machine: Machine) -> None:
    heap = machine.heap()
    assert heap("calloc", 1, 60 << 20)
    assert heap("steps") < 1000


def _never_long(machine: Machine, seeds: range) -> tuple[int, int]:
    """Run each; return how many were stopped, and the most steps of the last call of another."""
    stopped, most = 0, 0
    for seed in seeds:
        heap = machine.heap()
        heap.run(corrupted_calls(seed))
        if _stopped(heap):
            stopped += 1
        else:
            most = max(most, heap("steps"))
    return stopped, most


def test_random_corruptions(machine: Machine) -> None:
    _, most = _never_long(machine, range(370, 410))
    assert 0 < most < 10_000


@pytest.mark.long
def test_two_thousand_random_corruptions(machine: Machine) -> None:
    stopped, most = _never_long(machine, range(2_000))
    assert stopped >= 1
    assert most < 10_000

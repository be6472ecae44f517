"""Blocks are called what the notebook calls them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from heapscope import Heap
from heapscope.model.snapshot import State
from heapscope.recorders.heap import HeapError


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap() as opened:
        yield opened


@pytest.fixture
def cell(heap: Heap) -> Iterator[dict[str, Any]]:
    """The notebook's variables, where `exec` runs a cell."""
    space = vars(sys.modules["__main__"])  # tests with an IPython shell put their own there
    before = set(space)
    space.update(heap=heap, lib=heap.lib, ffi=heap.ffi)
    yield space
    for name in set(space) - before:
        del space[name]


def names(heap: Heap) -> list[str]:
    return [c.name for c in heap.snapshot().chunks if c.name]


def test_variables_name_blocks(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); b = lib.malloc(24)", cell)
    assert names(heap) == ["a", "b"]


def test_typed_variables_name_blocks(heap: Heap, cell: dict[str, Any]) -> None:
    exec("n = ffi.cast('int *', lib.malloc(24))", cell)
    assert names(heap) == ["n"]
    pointer = next(p for p in heap.snapshot().pointers if p.name == "n")
    assert pointer.type == "int *"
    assert pointer.to == heap.snapshot().block("n").at


def test_a_function_names_its_blocks_too(heap: Heap) -> None:
    def function() -> None:
        local = heap.lib.malloc(24)
        heap.lib.free(local)

    function()
    assert names(heap) == ["local"]


def test_a_block_without_a_variable_has_a_letter(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); lib.malloc(24); lib.malloc(24)", cell)
    assert names(heap) == ["a", "B", "C"]


def test_elements_of_a_list(heap: Heap, cell: dict[str, Any]) -> None:
    exec("blocks = [lib.malloc(24) for _ in range(3)]", cell)
    assert names(heap) == ["blocks[0]", "blocks[1]", "blocks[2]"]


def test_a_variable_wins_over_a_list(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); b = lib.malloc(24); both = [a, b]", cell)
    assert names(heap) == ["a", "b"]


def test_a_long_list_names_nothing(heap: Heap, cell: dict[str, Any]) -> None:
    exec("many = [lib.malloc(24) for _ in range(150)]", cell)
    assert not any("many" in name for name in names(heap))


def test_names_stay_after_the_block_was_freed(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); lib.free(a)", cell)
    assert heap.snapshot().block("a").state is State.TCACHE
    pointer = next(p for p in heap.snapshot().pointers if p.name == "a")
    assert pointer.state == "dangling"


def test_a_variable_set_to_none_leaves_the_name(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24)", cell)
    assert names(heap) == ["a"]
    exec("a = None", cell)
    assert names(heap) == ["a"]


def test_a_reused_variable_moves_its_name(heap: Heap, cell: dict[str, Any]) -> None:
    exec("p = lib.malloc(24)", cell)
    assert names(heap) == ["p"]
    exec("p = lib.malloc(24)", cell)
    assert heap.snapshot().block("p").at == heap.snapshot().chunks[2].at
    assert len(set(names(heap))) == 2


def test_a_reused_block_has_the_new_name(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); lib.free(a); b = lib.malloc(24)", cell)
    assert names(heap) == ["b"]


def test_realloc_that_moves_renames(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); wall = lib.malloc(24)", cell)
    assert names(heap) == ["a", "wall"]
    exec("bigger = lib.realloc(a, 1000)", cell)
    assert "bigger" in names(heap)
    assert heap.snapshot().block("bigger").size == 1008


def test_realloc_into_the_same_variable_keeps_the_name(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24); wall = lib.malloc(24); a = lib.realloc(a, 1000)", cell)
    assert heap.snapshot().block("a").size == 1008


def test_names_given_by_hand(heap: Heap) -> None:
    a, b = heap.lib.malloc(24), heap.lib.malloc(24)
    heap.name(first=a, second=b)
    assert names(heap) == ["first", "second"]


def test_only_blocks_have_names(heap: Heap) -> None:
    stack = heap.ffi.new("int *")
    with pytest.raises(HeapError, match="no block of this heap"):
        heap.name(x=stack)
    with pytest.raises(HeapError, match="no block of this heap"):
        heap.name(x=heap.ffi.NULL)


def test_another_heaps_pointers_name_nothing_here(heap: Heap, cell: dict[str, Any]) -> None:
    exec("a = lib.malloc(24)", cell)
    with Heap() as second:
        cell["other"] = second.lib.malloc(24)
        assert names(heap) == ["a"]
        assert names(second) == ["other"]
        assert [p.name for p in heap.snapshot().pointers] == ["a"]


def test_ipythons_own_variables_do_not_count(heap: Heap, cell: dict[str, Any]) -> None:
    exec("_ = lib.malloc(24); _1 = _; __ = _", cell)
    assert names(heap) == ["A"]


def test_odd_variables_do_no_harm(heap: Heap, cell: dict[str, Any]) -> None:
    exec("loop = []; loop.append(loop); mixed = [ffi.NULL, 1]; nothing = ffi.NULL; e = []", cell)
    exec("array = ffi.new('void *[3]'); number = ffi.cast('long', 5); a = lib.malloc(24)", cell)
    exec("f = ffi.cast('void (*)(void)', 0); holes = [ffi.NULL, ffi.cast('char *', a)]", cell)
    assert names(heap) == ["a"]

"""What the module has in Linux' place: the brk heap, mappings, and a room with an end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wasmtime
from calls import Call, Heap, Machine, Record, random_calls
from heapscope.playground import Source

EXPORTS = {
    *("memory", "malloc", "calloc", "realloc", "free", "memalign", "aligned_alloc"),
    *("malloc_usable_size", "malloc_trim", "mallopt", "errno_", "fatal"),
    *("main_arena", "main_arena_size", "tcache", "tcache_key", "mp_tcache_count"),
    *("mp_mmap_threshold", "heap_start", "heap_end", "mappings", "mappings_count"),
    *("set_room", "set_tcache_key", "steps", "endless"),
}
PAGE = 4096
ENOMEM = 12


@pytest.fixture
def heap(machine: Machine) -> Heap:
    return machine.heap()


def test_exports_and_nothing_else(machine: Machine) -> None:
    assert {export.name for export in machine.module.exports} == EXPORTS
    assert list(machine.module.imports) == []


def test_fresh(heap: Heap) -> None:
    assert heap.start % PAGE == 0
    assert heap("heap_end") == heap.start
    assert heap("tcache") == 0
    assert heap("fatal") == 0
    assert heap.mappings() == []


def test_layout_is_that_of_the_data_file(heap: Heap, source: Source, root: Path) -> None:
    layouts = json.loads((root / "native/heapscope/glibc/layouts.json").read_text())
    arena: dict[str, object] = {}
    tcache: dict[str, object] = {}
    for step in layouts["steps"]:
        if tuple(map(int, step["since"].split("."))) <= (2, source.minor):
            arena |= step["set"].get("arena", {})
            tcache |= step["set"].get("tcache", {})
    block = heap("malloc", 24)
    assert heap("main_arena_size") == arena["size"]
    assert heap.word(heap("main_arena") + int(str(arena["top"]))) == block + 16
    assert heap("tcache") == heap.start + 16
    assert block == heap.start + 0x2A0
    assert heap("mp_tcache_count") == tcache["default_count"]
    heap("free", block)
    assert heap.word(block + 8) == heap("tcache_key")
    assert heap.word(block) == block >> 12  # safe-linking, the end of a list


def test_key_is_one_constant_until_another_is_asked_for(machine: Machine) -> None:
    keys = []
    for asked in (None, None, 0xFEDCBA9876543211):
        heap = machine.heap()
        if asked is not None:
            heap("set_tcache_key", asked)
        heap("malloc", 1)
        keys.append(heap("tcache_key"))
    assert keys[0] == keys[1] != 0
    assert keys[2] == 0xFEDCBA9876543211


def test_mappings_go_below_each_other_and_come_back(heap: Heap) -> None:
    heap("malloc", 24)
    blocks = [heap("malloc", 200_000) for _ in range(3)]
    size = -(-(200_000 + 16) // PAGE) * PAGE
    assert heap.mappings() == [(block - 16, size) for block in blocks]
    assert [a - b for a, b in zip(blocks, blocks[1:], strict=False)] == [size, size]
    assert heap("mp_mmap_threshold") == 128 << 10
    heap.put(blocks[1], 0x4141)
    heap("free", blocks[1])
    assert [base for base, _ in heap.mappings()] == [blocks[0] - 16, blocks[2] - 16]
    assert heap("mp_mmap_threshold") == size  # the threshold follows what was freed
    assert heap("malloc", 300_000) < blocks[2]  # the gap is too small
    heap("mallopt", -3, 128 << 10)
    assert heap("malloc", 150_000) == blocks[1] + size - 151_552  # the highest gap that holds it


def test_a_mapping_that_is_used_anew_is_zero(heap: Heap) -> None:
    heap("mallopt", -3, 128 << 10)  # M_MMAP_THRESHOLD: it stays where it is
    first = heap("malloc", 200_000)
    heap.put(first + 100_000, 0x4141)
    heap("free", first)
    second = heap("malloc", 200_000)
    assert second == first
    assert heap.word(second + 100_000) == 0


def test_mapping_grows_and_shrinks_with_its_bytes(heap: Heap) -> None:
    heap("mallopt", -3, 128 << 10)
    other = heap("malloc", 200_000)
    block = heap("malloc", 200_000)
    heap.put(block + 190_000, 0x4141)
    moved = heap("realloc", block, 1_000_000)  # the other one is in the way
    assert moved != block
    assert heap.word(moved + 190_000) == 0x4141
    smaller = heap("realloc", moved, 195_000)
    assert smaller == moved
    assert heap("realloc", smaller, 990_000) == moved  # into the place it left
    assert heap.word(moved + 190_000) == 0x4141
    assert heap.word(moved + 400_000) == 0
    assert heap("malloc_usable_size", moved) >= 990_000
    heap("free", other)
    heap("free", moved)
    assert heap.mappings() == []


def test_trim_gives_back_and_the_memory_is_zero_afterwards(heap: Heap) -> None:
    block = heap("malloc", 100_000)
    heap.put(block + 90_000, 0x4141)
    end = heap("heap_end")
    heap("free", block)
    assert heap("malloc_trim", 0) == 1
    assert heap("heap_end") < end
    block = heap("malloc", 100_000)
    assert heap.word(block + 90_000) == 0


def test_trim_zeroes_whole_pages_inside(heap: Heap) -> None:
    block, _ = heap("malloc", 50_000), heap("malloc", 24)
    heap.put(block + 20_000, 0x4141)
    heap("free", block)
    assert heap("malloc_trim", 0) == 1
    assert heap.word(block + 20_000) == 0


@pytest.mark.parametrize("size", [1000, 100_000, 200_000])
def test_room_has_an_end(heap: Heap, size: int) -> None:
    room = 4 << 20
    heap("set_room", room)
    blocks = []
    while len(blocks) < 10_000 and (block := heap("malloc", size)):
        blocks.append(block)
    assert 0.8 * room < len(blocks) * size < room
    assert heap("errno_") == ENOMEM
    assert all(heap.start < block <= heap.start + room - size for block in blocks)
    assert heap.memory.data_len(heap.store) <= heap.start + room + (64 << 10)
    for block in blocks:
        heap("free", block)
    assert heap("malloc", size) != 0


def test_room_is_64_mib_unless_it_is_set(heap: Heap) -> None:
    assert heap("malloc", 65 << 20) == 0
    assert heap("errno_") == ENOMEM
    assert heap("malloc", 63 << 20) != 0
    assert heap("malloc", 24) == heap.start + 0x2A0


def test_mappings_never_overlap(machine: Machine) -> None:
    heap = machine.heap()
    heap.run([Record(Call.MALLOPT, 0, -3, 4096)])
    for record in random_calls(3, 1_500, largest=300_000):
        heap.run([record])
        ends = [heap.start + (64 << 20)]
        for base, size in heap.mappings():
            assert base % PAGE == size % PAGE == 0
            assert base + size <= ends[-1]
            ends.append(base)
        assert heap("heap_end") <= ends[-1]


def test_beyond_the_memory_is_a_trap_without_a_text(heap: Heap) -> None:
    heap("malloc", 24)
    with pytest.raises(wasmtime.Trap):
        heap("free", 0x4141414141414140)
    assert heap.message() == ""
    assert heap("fatal") == 0

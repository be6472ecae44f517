"""Every version's layout, on heaps built from the measured facts."""

from __future__ import annotations

import pytest
from heapscope.glibc.decode import decode
from heapscope.glibc.layout import Layout, data, numbers
from heapscope.glibc.reading import Asked, Mapping
from heapscope.model import canonical
from heapscope.model.snapshot import Role, State
from synthetic import KEY, THREAD, Builder, facts

VERSIONS = [f"2.{minor}" for minor in range(31, 44)]


@pytest.mark.parametrize("version", VERSIONS)
def test_layout_agrees_with_what_was_measured(version: str) -> None:
    layout, measured = Layout.for_version(version), facts(version)
    assert layout.known
    assert layout.note is None
    assert layout.tcache.size == measured.table
    assert measured.table_chunk in layout.tcache.chunks
    assert layout.tcache.entries == measured.heads
    assert layout.tcache.down == measured.down
    assert layout.tcache.default_count == measured.places
    assert layout.safe_linking == measured.protected
    assert (layout.tcache.key == "random") == measured.random_key
    assert layout.arena.size == measured.arena
    assert layout.arena.fastbins == measured.fastbins
    assert layout.arena.top == measured.top
    assert layout.arena.bins == measured.bins
    assert layout.arena.system_mem == measured.system_mem
    assert layout.heap_info == measured.heap_info
    assert layout.thread_first == measured.thread_first
    assert layout.mmap_extra == measured.mmap_extra
    assert layout.mmap_usable_less == measured.mmap_less


def test_versions_with_a_suffix_and_unknown_ones() -> None:
    assert Layout.for_version("2.36-9+deb12u14").arena == Layout.for_version("2.36").arena
    newer = Layout.for_version("2.44")
    assert not newer.known
    assert newer.note == (
        "this build of heapscope knows glibc up to 2.43, found 2.44: showing sizes and flags only"
    )
    older = Layout.for_version("2.17")
    assert "knows glibc from 2.31 to 2.43, found 2.17" in (older.note or "")
    assert not Layout.for_version("musl").known


def test_steps_are_in_order_and_say_what_they_are() -> None:
    file = data()
    versions = [numbers(step["since"]) for step in file["steps"]]
    assert versions == sorted(versions, key=lambda v: v or (0, 0))
    assert all(step["what"] for step in file["steps"])
    assert file["steps"][0]["since"] == file["oldest"]


def test_bins_cover_every_size() -> None:
    bins = Layout.for_version("2.36").bins
    # malloc.c: 62 small bins, then 64, 512, 4096 … bytes apart
    known = {0x20: 2, 0x3F0: 63, 0x400: 64, 0x430: 64, 0x440: 65, 0xC30: 96, 0xC40: 97}
    known |= {0xE00: 98, 0x2A00: 112, 0xB000: 120, 0x28000: 124, 0x100000: 126}
    assert {size: bins.index(size) for size in known} == known
    for index in range(2, bins.last + 1):
        lowest = bins.lowest(index)
        assert bins.index(lowest) == index
        if index > 2:
            assert bins.index(lowest - 16) == index - 1
    assert bins.name(1) == "unsorted"
    assert bins.name(2) == "small[0x20]"
    assert bins.name(64) == "large[0x400]"


def test_large_tcache_lists() -> None:
    tcache = Layout.for_version("2.42").tcache
    assert tcache.bin_range(64) == (0x420, 0x7F0)
    assert tcache.bin_range(65) == (0x800, 0xFF0)
    assert tcache.bin_range(75) == (0x200000, 0x3FFFF0)
    assert tcache.bin_name(64) == "tcache[0x420+]"
    assert tcache.bin_name(0) == "tcache[0x20]"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_heap_of_each_version(version: str) -> None:
    made = Builder(version)
    a, b, c = made.block(24), made.block(24), made.block(24)
    d = made.block(2000)
    e = made.block(100)
    f = made.block(24)
    made.tcache(0, b, a)
    made.tcache(5, e)
    made.bin(1, d)
    if made.facts.fastbins is not None:
        made.fastbin(0, f)
    made.mmapped(200000)
    shot = decode(made.reading())
    assert not shot.faults
    base = canonical.HEAP - made.base
    assert [chunk.state for chunk in shot.chunks] == [
        State.TABLE,
        State.TCACHE,
        State.TCACHE,
        State.IN_USE,
        State.UNSORTED,
        State.TCACHE,
        State.FASTBIN if made.facts.fastbins is not None else State.IN_USE,
        State.TOP,
        State.MMAPPED,
    ]
    by_name = {found.name: found for found in shot.lists}
    assert [link.at for link in by_name["tcache[0x20]"].links] == [b + base, a + base]
    assert by_name["tcache[0x20]"].count == 2
    assert by_name["tcache[0x70]"].count == 1
    assert [link.at for link in by_name["unsorted"].links] == [d - 16 + base]
    assert ("fastbin[0x20]" in by_name) == (made.facts.fastbins is not None)
    link = by_name["tcache[0x20]"].links[0]
    assert link.raw ^ (link.at >> 12 if made.facts.protected else 0) == link.target == a + base
    key = next(w for w in shot.words if w.at == b + 8 + base)
    assert key.role is Role.KEY
    assert key.value == (canonical.KEY if made.facts.random_key else made.table + base)
    assert (shot.chunk_at(c + base) or shot.chunks[0]).state is State.IN_USE
    block = next(chunk for chunk in shot.chunks if chunk.state is State.MMAPPED)
    assert block.requested == 200000
    assert block.usable == block.size - made.facts.mmap_less


@pytest.mark.parametrize("version", ["2.42", "2.43"])
def test_large_blocks_in_the_tcache(version: str) -> None:
    made = Builder(version)
    a, b = made.block(1100), made.block(1500)
    made.block(24)
    made.tcache(64, a, b)  # one list, several sizes, smallest first
    shot = decode(made.reading())
    assert not shot.faults
    (found,) = shot.lists
    assert (found.name, found.size, len(found.links)) == ("tcache[0x420+]", None, 2)
    assert [chunk.state for chunk in shot.chunks][1:3] == [State.TCACHE] * 2


@pytest.mark.parametrize("version", ["2.42", "2.43"])
def test_places_count_down_from_whatever_the_tunable_says(version: str) -> None:
    made = Builder(version)
    for index in range(76):
        made.put16(made.table + 2 * index, 3)
    a = made.block(24)
    made.link(a, 0)
    made.put(a + 8, KEY)
    made.freed(a)
    made.put(made.table + made.facts.heads, a)
    made.put16(made.table, 2)
    for known in (None, 3):
        shot = decode(made.reading(tcache_count=known))
        assert not shot.faults
        assert shot.lists[0].count == 1


def test_no_table_yet_in_2_43() -> None:
    made = Builder("2.43")
    made.data = bytearray(made.size)
    made.at = made.base
    made.block(24)
    shot = decode(made.reading(tcache=()))
    assert not shot.faults
    assert [chunk.state for chunk in shot.chunks] == [State.IN_USE, State.TOP]


@pytest.mark.parametrize("version", ["2.31", "2.36", "2.43"])
def test_two_heaps_of_a_thread_arena(version: str) -> None:
    measured = facts(version)
    made = Builder(version)
    size, second = 0x21000, THREAD + 0x4000000
    old, new = bytearray(size), bytearray(size)

    def put(heap: bytearray, offset: int, value: int) -> None:
        heap[offset : offset + 8] = value.to_bytes(8, "little")

    arena = THREAD + measured.heap_info
    for heap, before in ((old, 0), (new, THREAD)):
        put(heap, 0, arena)
        put(heap, 8, before)
        put(heap, 16, size)
    first = measured.thread_first
    put(old, first + 8, 0x400 | 5)
    put(old, first + 0x408, size - 0x20 - first - 0x400 | 5)
    put(old, size - 0x18, 0x10 | 1)  # the fenceposts
    put(old, size - 8, 0 | 1)
    put(new, measured.heap_info + 8, 0x100 | 5)
    put(new, measured.heap_info + 0x108, size - measured.heap_info - 0x100 | 1)
    state = measured.heap_info
    put(old, state + measured.top, second + measured.heap_info + 0x100)
    put(old, state + measured.system_mem, 2 * size)
    for index in range(1, 128):
        for half in (0, 8):
            offset = measured.bins + 16 * (index - 1)
            put(old, state + offset + half, arena + offset - 16)
    made.mappings += [
        Mapping(THREAD, bytes(old), "thread heap"),
        Mapping(second, bytes(new), "thread heap"),
    ]
    made.blocks[THREAD + first + 16] = Asked(1000, 0)
    made.blocks[second + measured.heap_info + 16] = Asked(200, 1)
    shot = decode(made.reading(complete=False))
    assert not shot.faults
    heaps = [r for r in shot.regions if r.name.startswith("thread")]
    assert [r.name for r in heaps] == ["thread heap 1", "thread heap 2"]
    states = [c.state for c in shot.chunks if c.at >= canonical.THREAD_HEAP]
    assert states == [
        State.IN_USE,
        State.IN_USE,
        State.FENCE,
        State.FENCE,
        State.IN_USE,
        State.TOP,
    ]
    assert {c.arena for c in shot.chunks} == {"main", "thread 1"}
    # one thread arena's bytes are canonical too: its bins lead to where they stand
    data_ = heaps[0].data
    at = state + measured.bins
    assert int.from_bytes(data_[at : at + 8], "little") == heaps[0].base + at - 16


def test_pieces_of_a_main_arena() -> None:
    """A second libc's arena is made of mmapped pieces; an old one ends in two fenceposts."""
    made = Builder("2.36")
    made.block(24)
    lower = bytearray(0x1000)
    base = made.base - 0x1000
    for offset, word in ((8, 0xFE1), (0xFE8, 0x11), (0xFF8, 0x11)):
        lower[offset : offset + 8] = word.to_bytes(8, "little")
    made.mappings.append(Mapping(base, bytes(lower), "heap"))
    user = base + 16
    made.blocks[user] = Asked(0xFD0, 5)
    shot = decode(made.reading())
    assert not shot.faults
    assert {r.name for r in shot.regions} == {"heap", "heap 2"}
    assert [c.state for c in shot.chunks].count(State.FENCE) == 2
    # the same when the kernel shows both as one mapping
    joined = Builder("2.36", base=base, size=0x22000)
    joined.data = lower + made.data
    joined.at, joined.table, joined.blocks = made.at, made.table, made.blocks
    shot = decode(joined.reading())
    assert not shot.faults
    assert [c.state for c in shot.chunks].count(State.FENCE) == 2
    assert [c.state for c in shot.chunks][-1] is State.TOP

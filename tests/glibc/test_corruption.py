"""No byte of a heap can make the decoder crash, hang or lose the heap's bounds."""

from __future__ import annotations

import dataclasses
import random
import time

import pytest
from heapscope.glibc.decode import decode
from heapscope.glibc.reading import Mapping, Reading
from heapscope.model.canonical import Canon
from heapscope.model.snapshot import Snapshot, State
from synthetic import Builder
from test_decode import tiles


def small_heap(version: str) -> Reading:
    """A heap with something on every kind of list."""
    made = Builder(version, size=0x3000)
    blocks = [made.block(24) for _ in range(6)]
    large, _ = made.block(1200), made.block(24)
    odd, _ = made.block(1500), made.block(24)
    rest, _ = made.block(200), made.block(40)
    made.tcache(0, *blocks[:3])
    if made.facts.fastbins is not None:
        made.fastbin(0, *blocks[3:5])
    made.bin(1, odd)
    made.bin(67, large)
    made.bin(13, rest)
    return made.reading()


def damaged(reading: Reading, place: int, mask: int) -> Reading:
    """Change one byte of the heap, or of main_arena behind it."""
    heap = reading.mappings[0]
    if place < len(heap.data):
        data = bytearray(heap.data)
        data[place] ^= mask
        new = Mapping(heap.base, bytes(data), heap.kind, heap.size)
        return dataclasses.replace(reading, mappings=(new, *reading.mappings[1:]))
    assert reading.main_arena
    arena = bytearray(reading.main_arena[1])
    arena[place - len(heap.data)] ^= mask
    return dataclasses.replace(reading, main_arena=(reading.main_arena[0], bytes(arena)))


def places(reading: Reading) -> int:
    assert reading.main_arena
    return len(reading.mappings[0].data) + len(reading.main_arena[1])


def survives(reading: Reading, place: int, mask: int, clean: Snapshot) -> Snapshot:
    canon = Canon()
    decode(reading, None, canon)
    hurt = damaged(reading, place, mask)
    shot = decode(hurt, clean, canon)
    tiles(shot)
    region = shot.regions[0]
    assert [c for c in shot.chunks if not region.base <= c.at < c.end <= region.end] == []
    if reading.blocks and hurt.mappings[0].data == reading.mappings[0].data:
        return shot
    # what the program holds stays where it is, whatever the size words say
    held = {(c.name, c.at, c.size) for c in clean.chunks if c.state is State.IN_USE and c.name}
    assert not reading.blocks or held <= {(c.name, c.at, c.size) for c in shot.chunks}
    return shot


def nobody_saw(reading: Reading) -> Reading:
    return dataclasses.replace(reading, blocks={}, complete=False, tcache=())


@pytest.mark.parametrize("version", ["2.31", "2.36", "2.42", "2.43"])
def test_the_heap_is_sound_before(version: str) -> None:
    shot = decode(small_heap(version))
    assert not shot.faults
    kinds = {found.kind for found in shot.lists}
    assert kinds >= {State.TCACHE, State.UNSORTED, State.SMALL, State.LARGE}


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("version", ["2.36", "2.43"])
def test_seeded_flips(version: str, seen: bool) -> None:
    reading = small_heap(version) if seen else nobody_saw(small_heap(version))
    clean = decode(reading)
    draw = random.Random(f"{version} {seen}")
    start = time.monotonic()
    for _ in range(500):
        survives(reading, draw.randrange(places(reading)), 1 << draw.randrange(8), clean)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("version", ["2.31", "2.42"])
def test_many_flips_at_once(version: str) -> None:
    clean = small_heap(version)
    draw = random.Random(version)
    canon, before = Canon(), None
    for _ in range(150):
        reading = clean if draw.random() < 0.5 else nobody_saw(clean)
        for _ in range(draw.randrange(1, 60)):
            reading = damaged(reading, draw.randrange(places(reading)), draw.randrange(1, 256))
        before = decode(reading, before, canon)
        tiles(before)


def test_noise(version: str = "2.36") -> None:
    draw = random.Random(7)
    clean = small_heap(version)
    heap = clean.mappings[0]
    for kind in ("heap", "thread heap", "mmap"):
        for _ in range(40):
            data = draw.randbytes(draw.randrange(0, 3000))
            reading = dataclasses.replace(
                clean, mappings=(Mapping(heap.base, data, kind),), tcache=(heap.base + 16,)
            )
            tiles(decode(reading))


@pytest.mark.parametrize("version", ["2.36", "2.43"])
def test_a_smashed_size_word_is_always_noticed(version: str) -> None:
    """With recorded blocks every change of a size's bits is a fault, and names the word."""
    reading = small_heap(version)
    clean = decode(reading)
    region = clean.regions[0]
    for chunk in clean.chunks:
        if chunk.state is State.TABLE:
            continue
        for bit in range(3, 40):
            place = chunk.at + 8 - region.base + bit // 8
            shot = survives(reading, place, 1 << bit % 8, clean)
            assert chunk.at + 8 in {fault.at for fault in shot.faults}, (chunk, bit)


@pytest.mark.long
@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("version", ["2.31", "2.36", "2.41", "2.42", "2.43"])
def test_every_single_flip(version: str, seen: bool) -> None:
    reading = small_heap(version) if seen else nobody_saw(small_heap(version))
    clean = decode(reading)
    for place in range(places(reading)):
        for bit in range(8):
            survives(reading, place, 1 << bit, clean)

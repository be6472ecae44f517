"""The page's decoder says of the same bytes what heapscope's own decoder says."""

from __future__ import annotations

import base64
import dataclasses
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))

from browser import chromium
from calls import Call, Heap, Machine, Record, random_calls
from corrupt_lists import corrupted_calls
from heapscope import Heap as PrivateHeap
from heapscope.glibc.layout import facts, numbers
from heapscope.glibc.reading import Asked, Mapping, Reading
from heapscope.model.film import Reel
from heapscope.model.snapshot import Event
from heapscope.playground import Module
from heapscope.recorders.gdb_recorder import glibc_version
from playwright.sync_api import Page

SIZES = (0, 1, 24, 25, 40, 100, 120, 200, 500, 1032, 1040, 1100, 2000)
LARGE = (5000, 20000, 140000)
STEPS = 20
FEW = 8

_DECODE = """readings => {
    const D = heapscopeDecoder, bytes = text => {
        const made = atob(text), out = new Uint8Array(made.length);
        for (let i = 0; i < out.length; i++) out[i] = made.charCodeAt(i);
        return out;
    };
    return readings.map(list => {
        const reel = new D.Reel(FACTS);
        list.forEach(r => reel.add({
            ...r, mappings: r.mappings.map(m => ({...m, data: bytes(m.data)})),
            main_arena: r.main_arena && [r.main_arena.at, bytes(r.main_arena.data)],
            tcache_key: r.tcache_key === null ? null : BigInt(r.tcache_key),
            blocks: new Map(r.blocks.map(b => [b.user, b])),
            pointers: r.pointers.map(p => ({...p, value: p.value === null ? null : p.value})),
        }));
        return JSON.stringify(reel.film("", ""));
    });
}"""


@pytest.fixture(scope="module")
def decoder(root: Path) -> Iterator[Page]:
    """A page with the decoder in it."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto("about:blank")
        page.add_script_tag(path=str(root / "native/heapscope/views/decoder.js"))
        version = numbers(glibc_version())  # the module is of the same one
        assert version is not None
        page.evaluate("facts => { window.FACTS = facts; }", facts(version))
        yield page


def plain(reading: Reading, *events: Event) -> Reading:
    """A reading as the playground has it: every call was seen, nothing is folded."""
    return dataclasses.replace(reading, complete=False, former=None, events=events)


def recorded(seed: int, hurt: bool, steps: int = FEW) -> list[Reading]:
    """Make random calls and writes on a private heap; `hurt` changes bytes of the copies."""
    dice = random.Random(seed)
    readings: list[Reading] = []
    sizes = SIZES + LARGE if seed % 10 == 0 else SIZES
    with PrivateHeap() as heap:
        live: list[tuple[Any, int]] = []
        for _ in range(steps):
            kind = dice.random()
            block = None
            if kind < 0.45 or not live:
                size = dice.choice(sizes)
                how = dice.choice(("malloc", "malloc", "calloc", "memalign"))
                if how == "calloc":
                    block = heap.lib.calloc(1, size)
                elif how == "memalign":
                    block = heap.lib.memalign(dice.choice((16, 64, 256)), size)
                else:
                    block = heap.lib.malloc(size)
                live.append((block, size))
            elif kind < 0.75:
                block, size = live.pop(dice.randrange(len(live)))
                heap.lib.free(block)
                how = "free"
            elif kind < 0.85:
                old, _ = live.pop(dice.randrange(len(live)))
                size = dice.choice(sizes[1:])
                block = heap.lib.realloc(old, size)
                live.append((block, size))
                how = "realloc"
            else:
                block, size = dice.choice(live)
                count = min(dice.randrange(1, 40), size)
                heap.ffi.buffer(block, count)[:] = (
                    dice.choice((b"A", b"\0", b"xyz", b"\7"))[:1] * count
                )
                how = "write"
            at = int(heap.ffi.cast("uintptr_t", block))
            said = Event(
                how, f"{how}()", (at,) if how == "free" else (), None if how == "free" else at
            )
            readings.append(plain(heap.reading(), said))
    if hurt:
        readings.append(damaged(readings[-1], dice, 1))
        readings.append(damaged(readings[-1], dice, 3))
        readings.append(damaged(readings[-1], dice, 30))
    return readings


def damaged(reading: Reading, dice: random.Random, count: int) -> Reading:
    """Change `count` bytes of the heap or, one in five times, of main_arena."""
    maps = [bytearray(m.data) for m in reading.mappings]
    at, arena = reading.main_arena or (0, b"")
    head = bytearray(arena)
    for _ in range(count):
        target = head if dice.random() < 0.2 else dice.choice(maps)
        if not target:
            continue
        full = [i for i in range(0, len(target), 8) if any(target[i : i + 8])] or [0]
        place = dice.choice(full) + dice.randrange(8)
        if place < len(target):
            target[place] = dice.choice(
                (0, 1, 0x21, 0x41, 0xFF, target[place] ^ 1 << dice.randrange(8))
            )
    pairs = zip(reading.mappings, maps, strict=True)
    mappings = tuple(dataclasses.replace(m, data=bytes(d)) for m, d in pairs)
    return dataclasses.replace(reading, mappings=mappings, main_arena=(at, bytes(head)), events=())


def sent(reading: Reading) -> dict[str, Any]:
    """The reading's JSON, its bytes as base64: the browser reads that fast."""
    form = reading.to_json()
    for part in (*form["mappings"], *([form["main_arena"]] if form["main_arena"] else ())):
        part["data"] = base64.b64encode(bytes.fromhex(part["data"])).decode()
    if form["tcache_key"] is not None:
        form["tcache_key"] = str(form["tcache_key"])  # more than a JavaScript number holds
    return form


def different(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Say where two JSON forms differ."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = sorted(mine.keys() | theirs.keys())
        return [d for k in keys for d in different(mine.get(k), theirs.get(k), f"{path}.{k}")]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [d for i, (a, b) in pairs for d in different(a, b, f"{path}[{i}]")]
    return [] if mine == theirs else [f"{path}: python {mine!r}, page {theirs!r}"]


def compared(page: Page, films: list[list[Reading]]) -> list[str]:
    found = page.evaluate(_DECODE, [[sent(reading) for reading in film] for film in films])
    wrong: list[str] = []
    for number, (readings, text) in enumerate(zip(films, found, strict=True)):
        reel = Reel()
        for reading in readings:
            reel.add(reading)
        mine = reel.film(language="calls").to_json() | {"caption": ""}
        wrong += [f"film {number}{line}" for line in different(mine, json.loads(text))]
    return wrong


def test_sound_heaps(decoder: Page) -> None:
    assert compared(decoder, [recorded(seed, False) for seed in range(50)])[:5] == []


def test_corrupt_heaps(decoder: Page) -> None:
    assert compared(decoder, [recorded(seed, True) for seed in range(50, 100)])[:5] == []


@pytest.mark.long
@pytest.mark.parametrize("part", range(20))
def test_a_thousand(decoder: Page, part: int) -> None:
    start = 1000 + 50 * part
    assert (
        compared(decoder, [recorded(seed, True, STEPS) for seed in range(start, start + 50)])[:5]
        == []
    )


# ---- the module's own memory


_ALLOCATES = {Call.MALLOC, Call.CALLOC, Call.REALLOC, Call.MEMALIGN, Call.ALIGNED_ALLOC}


def _asked(record: Record) -> int:
    """Return the bytes that a call asks for."""
    if record.call == Call.CALLOC:
        return record.a * record.b
    return record.b if record.call in (Call.MEMALIGN, Call.ALIGNED_ALLOC) else record.a


def in_the_module(
    machine: Machine, records: list[Record], minor: int, readings: int
) -> list[Reading]:
    """Run the calls in a fresh instance; return so many readings of its memory, and the last."""
    heap = machine.heap()
    blocks: dict[int, Asked] = {}
    made = []
    every = max(1, len(records) // readings)
    for number, record in enumerate(records, 1):
        old = heap.slots.get(record.slot, 0)
        if heap.run([record]).signal:
            break
        block = heap.slots.get(record.slot, 0)
        if record.call == Call.FREE and old in blocks:
            blocks[old] = dataclasses.replace(blocks[old], freed=number)
        elif record.call in _ALLOCATES and block:
            if record.call == Call.REALLOC and old != block:
                blocks.pop(old, None)
            blocks[block] = Asked(_asked(record), number, order=number)
        if number % every == 0:
            made.append(_read(heap, blocks, minor))
    return [*made, _read(heap, blocks, minor)]


def _read(heap: Heap, blocks: dict[int, Asked], minor: int) -> Reading:
    def memory(at: int, size: int) -> bytes:
        return bytes(heap.memory.read(heap.store, at, at + size))

    start, end, arena = heap("heap_start"), heap("heap_end"), heap("main_arena")
    maps = [Mapping.trimmed(start, memory(start, end - start), "heap")] if end > start else []
    maps += [Mapping.trimmed(at, memory(at, size), "mmap") for at, size in heap.mappings()]
    table = heap("tcache")
    return Reading(
        glibc=f"2.{minor}",
        mappings=tuple(maps),
        main_arena=(arena, memory(arena, heap("main_arena_size"))),
        tcache=(table,) if table else (),
        tcache_count=heap("mp_tcache_count"),
        tcache_key=heap("tcache_key") or None,
        blocks=dict(blocks),
    )


def test_memory_of_the_module(decoder: Page, machine: Machine, module: Module) -> None:
    minor = module.source.minor
    sound = [list(random_calls(seed, 120, 3000)) for seed in range(6)]
    hurt = [corrupted_calls(seed) for seed in range(12)]
    films = [in_the_module(machine, records, minor, 2) for records in sound + hurt]
    assert all(film[-1].mappings for film in films)
    assert compared(decoder, films)[:5] == []


@pytest.mark.long
@pytest.mark.parametrize("part", range(20))
def test_memory_after_a_thousand_calls(
    decoder: Page, machine: Machine, module: Module, part: int
) -> None:
    minor = module.source.minor
    for seed in range(10 * part, 10 * part + 10):
        largest = 300_000 if seed % 10 == 0 else 20_000
        film = in_the_module(machine, list(random_calls(seed, 1000, largest)), minor, 2)
        assert compared(decoder, [film])[:5] == []

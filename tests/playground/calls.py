"""The same list of calls on the system's malloc and on the playground's module."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from struct import pack, unpack

import wasmtime

_WORD = 1 << 64
MAPPED = 1 << 63
"""In the place of a block: not in the heap; the other bits are its address."""


class Call(IntEnum):
    """What a record asks for; calls.c has the same list."""

    MALLOC = 0  # slot, size
    CALLOC = 1  # slot, count, size
    REALLOC = 2  # slot, size
    FREE = 3  # slot
    MEMALIGN = 4  # slot, alignment, size
    ALIGNED_ALLOC = 5  # slot, alignment, size
    FILL = 6  # slot, byte, length
    TRIM = 7  # 0, pad
    MALLOPT = 8  # 0, setting, value
    USABLE = 9  # slot
    STORE = 10  # slot, offset, value
    LINK = 11  # slot, offset, other slot, offset in it << 1 | protected
    FORGE = 12  # slot, other slot, offset in it
    LOAD = 13  # slot, offset
    ERRNO = 14
    WALK = 15  # a sum over the size words of all chunks


@dataclass(frozen=True, slots=True)
class Record:
    """One call, on the block in a slot."""

    call: Call
    slot: int = 0
    a: int = 0
    b: int = 0
    c: int = 0

    def packed(self) -> bytes:
        return pack("<5Q", *(n % _WORD for n in (self.call, self.slot, self.a, self.b, self.c)))


@dataclass(frozen=True, slots=True)
class End:
    """How a list of calls ended: with its results, or with glibc's message."""

    results: tuple[int, ...] = ()
    message: str = ""
    signal: int = 0  # 6 after abort(), 11 after an access beyond the memory

    def comparable(self) -> list[int]:
        """Return the results with mapped blocks' places in their page instead of addresses.

        Where Linux puts a mapping depends on the holes between the process's libraries.
        """
        return [n & MAPPED | n & 0xFFF if n & MAPPED else n for n in self.results]


def compiled(folder: Path) -> Path:
    """Compile the program that runs lists on the system's malloc."""
    program = folder / "calls"
    source = Path(__file__).with_name("calls.c")
    options = ["-O1", "-fno-builtin", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *options, "-o", program, source], check=True)
    return program


def natively(program: Path, records: Iterable[Record], libc: Path | None = None) -> End:
    """Run the list in a process; `libc` is a folder with another libc and its loader."""
    loader: list[str | Path] = (
        [libc / "ld-linux-x86-64.so.2", "--library-path", libc] if libc else []
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    run = subprocess.run(
        [*loader, program],
        input=b"".join(record.packed() for record in records),
        capture_output=True,
        env=clean,
        check=False,
        timeout=60,
    )
    if run.returncode < 0:
        return End(message=run.stderr.decode().rstrip("\n"), signal=-run.returncode)
    assert run.returncode == 0, run.stderr
    return End(unpack(f"<{len(run.stdout) // 8}Q", run.stdout))


def system_glibc() -> str:
    """Return the version of the system's own."""
    return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")


class Machine:
    """A compiled module, of which `heap()` makes fresh instances."""

    def __init__(self, wasm: bytes) -> None:
        config = wasmtime.Config()
        config.wasm_memory64 = True
        self.engine = wasmtime.Engine(config)
        self.module = wasmtime.Module(self.engine, wasm)

    def heap(self) -> Heap:
        return Heap(self)


class Heap:
    """An instance: a heap nobody has used."""

    def __init__(self, machine: Machine) -> None:
        self.store = wasmtime.Store(machine.engine)
        exports = wasmtime.Instance(self.store, machine.module, []).exports(self.store)
        memory = exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory
        self.functions = {e.name: exports[e.name] for e in machine.module.exports}
        self.start = self("heap_start") % _WORD
        self.slots: dict[int, int] = {}

    def __call__(self, name: str, *arguments: int) -> int:
        signed = (n - _WORD if n >= _WORD >> 1 else n for n in arguments)
        result = self.functions[name](self.store, *signed)
        return int(result) % _WORD if result is not None else 0

    def word(self, at: int) -> int:
        return int(unpack("<Q", self.memory.read(self.store, at, at + 8))[0])

    def put(self, at: int, value: int) -> None:
        self.memory.write(self.store, pack("<Q", value % _WORD), at)

    def mappings(self) -> list[tuple[int, int]]:
        """Return (address, bytes) of each, as the page sees them."""
        table = self("mappings")
        return [
            (self.word(table + 16 * i), self.word(table + 16 * i + 8))
            for i in range(self("mappings_count"))
        ]

    def message(self) -> str:
        at = self("fatal")
        text = bytes(self.memory.read(self.store, at, at + 512)) if at else b""
        return text.partition(b"\0")[0].decode()

    def run(self, records: Iterable[Record]) -> End:
        results = []
        for record in records:
            try:
                results.append(self._run(record))
            except wasmtime.Trap:
                message = self.message()
                return End(message=message, signal=6 if message else 11)
        return End(tuple(results))

    def _run(self, r: Record) -> int:
        name = r.call.name.lower()
        block = self.slots.get(r.slot, 0)
        match r.call:
            case Call.MALLOC:
                return self._place(r.slot, self(name, r.a))
            case Call.CALLOC | Call.MEMALIGN | Call.ALIGNED_ALLOC:
                return self._place(r.slot, self(name, r.a, r.b))
            case Call.REALLOC:
                return self._place(r.slot, self(name, block, r.a))
            case Call.FREE:
                return self(name, block)
            case Call.FILL:
                self.memory.write(self.store, bytes([r.a]) * r.b, block)
            case Call.TRIM:
                return self("malloc_trim", r.a)
            case Call.MALLOPT:
                return self(name, r.a, r.b)
            case Call.USABLE:
                return self("malloc_usable_size", block)
            case Call.STORE:
                self.put(block + r.a, r.b)
            case Call.LINK:
                at = block + r.a
                self.put(at, (self.slots[r.b] + (r.c >> 1)) ^ (at >> 12 if r.c & 1 else 0))
            case Call.FORGE:
                self.slots[r.slot] = (self.slots.get(r.a, 0) + r.b) % _WORD
            case Call.LOAD:
                return self.word(block + r.a)
            case Call.ERRNO:
                return self("errno_")
            case Call.WALK:
                return self._walk()
        return 0

    def _place(self, slot: int, block: int) -> int:
        self.slots[slot] = block
        if block and not self.start < block < self("heap_end"):
            return block | MAPPED
        return block and block - self.start

    def _walk(self) -> int:
        total, chunk, end = 0xCBF29CE484222325, self.start, self("heap_end")
        while chunk < end:
            size = self.word(chunk + 8)
            total = (total ^ size) * 0x100000001B3 % _WORD
            if size < 16:
                break
            chunk += size & ~7
        return total >> 1


def random_calls(seed: int, number: int, largest: int = 100_000) -> Iterator[Record]:
    """Yield `number` calls that a correct program may make.

    None asks for more than `largest` bytes: from 128 KiB on, blocks have mappings of their own.
    Most blocks are small, as in programs; each is filled to its requested size, so that links and
    headers that stay behind are overwritten as they would be.
    """
    chance = random.Random(seed)
    live: dict[int, int] = {}
    free = list(range(400))

    def size() -> int:
        return min(
            chance.choice((chance.randrange(128), chance.randrange(1100), chance.randrange(9000)))
            if chance.random() < 0.97
            else chance.randrange(largest),
            largest,
        )

    for _ in range(number):
        what = chance.random()
        if live and what < 0.05:
            slot = chance.choice(list(live))
            yield Record(Call.FILL, slot, chance.randrange(256), live[slot])
        elif live and what < 0.17:
            slot = chance.choice(list(live))
            live[slot] = max(size(), 1)
            yield Record(Call.REALLOC, slot, live[slot])
        elif live and (what < 0.55 or not free):
            slot = chance.choice(list(live))
            del live[slot]
            free.append(slot)
            yield Record(Call.FREE, slot)
        elif what < 0.553:
            yield Record(Call.TRIM, 0, chance.choice((0, 4096, 70_000)))
        elif what < 0.56:
            yield Record(Call.WALK)
        elif live and what < 0.57:
            yield Record(Call.USABLE, chance.choice(list(live)))
        else:
            slot = free.pop(chance.randrange(len(free)))
            live[slot] = size()
            if what < 0.65:
                count = chance.randrange(1, 20)
                live[slot] = live[slot] // count * count
                yield Record(Call.CALLOC, slot, count, live[slot] // count)
            elif what < 0.7:
                live[slot] = min(live[slot], largest // 2)
                call = chance.choice((Call.MEMALIGN, Call.ALIGNED_ALLOC))
                yield Record(call, slot, 1 << chance.randrange(4, 13), live[slot])
            else:
                yield Record(Call.MALLOC, slot, live[slot])

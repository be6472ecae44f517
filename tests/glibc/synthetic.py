"""Heaps built by hand, as each version of glibc lays them out.

The numbers are the measured ones (gdb and probe programs on 2.31, 2.36, 2.41, 2.42 and 2.43; the
versions between by comparing the struct definitions at every release).  They are written here a
second time on purpose: what the decoder reads from layouts.json is checked against them.
"""

from __future__ import annotations

from dataclasses import dataclass

from heapscope.glibc.reading import Asked, Mapping, Reading

HEAP = 0x55E3A1B2C000
ARENA = 0x7F12345678C0
THREAD = 0x7F1220000000
KEY = 0x1F2E3D4C5B6A7988


@dataclass(frozen=True)
class Facts:
    """One version as it was measured."""

    table: int  # bytes of tcache_perthread_struct
    table_chunk: int
    heads: int  # offset of the list heads
    down: bool  # counts are free places
    places: int  # blocks a tcache list takes
    protected: bool
    random_key: bool
    arena: int  # bytes of malloc_state
    fastbins: int | None
    top: int
    bins: int
    system_mem: int
    heap_info: int
    thread_first: int
    mmap_extra: int
    mmap_less: int


def facts(version: str) -> Facts:
    minor = int(version.split(".")[1])
    new = minor >= 43
    large = minor >= 42
    return Facts(
        table=760 if large else 640,
        table_chunk=0x300 if large else 0x290,
        heads=152 if large else 128,
        down=large,
        places=16 if new else 7,
        protected=minor >= 32,
        random_key=minor >= 34,
        arena=2112 if new else 2200,
        fastbins=None if new else 16,
        top=8 if new else 96,
        bins=24 if new else 112,
        system_mem=2096 if new else 2184,
        heap_info=48 if minor >= 35 else 32,
        thread_first=0x870 if new else 0x8D0 if minor >= 35 else 0x8C0,
        mmap_extra=16 if new else 0,
        mmap_less=8 if new else 16,
    )


class Builder:
    """A main heap with an arena beside it."""

    def __init__(self, version: str, base: int = HEAP, size: int = 0x21000) -> None:
        self.version, self.base, self.size = version, base, size
        self.facts = facts(version)
        self.data = bytearray(size)
        self.arena = bytearray(self.facts.arena)
        self.arena_at = ARENA
        self.at = base
        self.blocks: dict[int, Asked] = {}
        self.mappings: list[Mapping] = []
        self.table = self._chunk(self.facts.table_chunk)
        if self.facts.down:
            for index in range(76):
                self.put16(self.table + 2 * index, self.facts.places)
        for index in range(1, 128):
            for half in (0, 8):
                self.arena_put(self.facts.bins + 16 * (index - 1) + half, self.header(index))

    def put(self, at: int, value: int) -> None:
        self.data[at - self.base : at - self.base + 8] = value.to_bytes(8, "little")

    def put16(self, at: int, value: int) -> None:
        self.data[at - self.base : at - self.base + 2] = value.to_bytes(2, "little")

    def get(self, at: int) -> int:
        return int.from_bytes(self.data[at - self.base : at - self.base + 8], "little")

    def arena_put(self, offset: int, value: int) -> None:
        self.arena[offset : offset + 8] = value.to_bytes(8, "little")

    def header(self, index: int) -> int:
        return self.arena_at + self.facts.bins + 16 * (index - 1) - 16

    def _chunk(self, size: int, flags: int = 1) -> int:
        self.put(self.at + 8, size | flags)
        self.at += size
        return self.at - size + 16

    def block(self, requested: int) -> int:
        """Add a block in use; return its user address."""
        user = self._chunk(max(32, requested + 8 + 15 & ~15))
        self.blocks[user] = Asked(requested, len(self.blocks))
        return user

    def freed(self, user: int) -> None:
        old = self.blocks[user]
        self.blocks[user] = Asked(old.requested, old.call, 100)

    def link(self, slot: int, target: int) -> None:
        self.put(slot, target ^ (slot >> 12) if self.facts.protected else target)

    def tcache(self, index: int, *users: int) -> None:
        """Make list `index` of these blocks, the first one at its head."""
        for user, following in zip(users, [*users[1:], 0], strict=True):
            self.link(user, following)
            self.put(user + 8, KEY if self.facts.random_key else self.table)
            self.freed(user)
        self.put(self.table + self.facts.heads + 8 * index, users[0])
        count = self.facts.places - len(users) if self.facts.down else len(users)
        self.put16(self.table + 2 * index, count)

    def fastbin(self, index: int, *users: int) -> None:
        assert self.facts.fastbins is not None
        for user, following in zip(users, [*users[1:], 0], strict=True):
            self.link(user, following - 16 if following else 0)
            self.freed(user)
        self.arena_put(self.facts.fastbins + 8 * index, users[0] - 16)

    def bin(self, index: int, *users: int) -> None:
        """Put these blocks into bin `index`, the first one at the `bk` end."""
        ring = [self.header(index), *(u - 16 for u in users), self.header(index)]
        for fd, chunk, bk in zip(ring, ring[1:], ring[2:], strict=False):
            self.put(chunk + 16, fd)
            self.put(chunk + 24, bk)
            size = self.get(chunk + 8) & ~7
            self.put(chunk + size, size)
            self.put(chunk + size + 8, self.get(chunk + size + 8) & ~1)
            self.freed(chunk + 16)
        self.arena_put(self.facts.bins + 16 * (index - 1), ring[-2])
        self.arena_put(self.facts.bins + 16 * (index - 1) + 8, ring[1])

    def mmapped(self, requested: int, base: int = 0x7F1111000000) -> int:
        """Add a block with a mapping of its own."""
        less = self.facts.mmap_less
        length = requested + less + (16 if self.facts.mmap_extra else 0) + 4095 & ~4095
        size = length - self.facts.mmap_extra
        data = bytes(8) + (size | 2).to_bytes(8, "little")
        self.mappings.append(Mapping(base, data, "mmap", length))
        self.blocks[base + 16] = Asked(requested, len(self.blocks))
        return base + 16

    def reading(self, **changes: object) -> Reading:
        left = self.base + self.size - self.at
        self.put(self.at + 8, left | 1)
        self.arena_put(self.facts.top, self.at)
        self.arena_put(self.facts.system_mem, self.size)
        heap = Mapping.trimmed(self.base, bytes(self.data), "heap")
        values: dict[str, object] = {
            "glibc": self.version,
            "mappings": (heap, *self.mappings),
            "main_arena": (self.arena_at, bytes(self.arena)),
            "tcache": (self.table,),
            "blocks": dict(self.blocks),
            "complete": True,
        }
        return Reading(**{**values, **changes})  # type: ignore[arg-type]

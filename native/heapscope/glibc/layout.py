"""The layout of a glibc heap, by version.

All facts stand in ``layouts.json`` (the page's own decoder gets the same ones); this module picks
the ones for a version and gives them types.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

P, M, A = 1, 2, 4
"""Flags of a size word: PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA."""
ALIGN = 16
"""Chunks start at, and sizes are, multiples of this many bytes."""
MIN_CHUNK = 32
"""Smallest chunk in bytes."""


@dataclass(frozen=True, slots=True)
class Tcache:
    """``tcache_perthread_struct`` and what belongs to it."""

    size: int  # bytes of the struct
    chunks: tuple[int, ...]  # sizes its own chunk may have
    counts: int  # offset of the counts
    count_width: int  # bytes of one count
    down: bool  # counts say how many places are left instead of how many blocks there are
    entries: int  # offset of the list heads
    bins: int  # how many lists
    small_bins: int  # the first so many lists hold one size each
    default_count: int  # blocks a list takes, unless a tunable says otherwise
    key_offset: int  # of the key in a free block, from the user pointer
    key: Literal["table", "random"]  # what the key is
    late: bool  # the table is made by the first free, not by the first call

    def bin_name(self, index: int) -> str:
        """Name list `index` after the size, or the smallest size, of its chunks."""
        if index < self.small_bins:
            return f"tcache[{MIN_CHUNK + ALIGN * index:#x}]"
        lowest = 0x420 if index == self.small_bins else 0x400 << (index - self.small_bins)
        return f"tcache[{lowest:#x}+]"

    def bin_range(self, index: int) -> tuple[int, int]:
        """Smallest and largest chunk size of list `index`."""
        if index < self.small_bins:
            return (MIN_CHUNK + ALIGN * index,) * 2
        lowest = 0x400 << (index - self.small_bins)
        return max(lowest, 0x420), 2 * lowest - ALIGN


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets in ``malloc_state``."""

    size: int
    fastbins: int | None  # None where there are none any more
    fastbin_number: int
    top: int
    bins: int
    next: int
    system_mem: int


@dataclass(frozen=True, slots=True)
class LargeRule:
    """One line of ``largebin_index_64``: ``index = (size >> shift) + add`` up to a bound."""

    shift: int
    up_to: int
    add: int


@dataclass(frozen=True, slots=True)
class Bins:
    """How the 126 bins are numbered."""

    first_large: int
    last: int
    min_large: int  # smallest chunk of a large bin, in bytes
    rules: tuple[LargeRule, ...]

    def index(self, size: int) -> int:
        """Return the number of the bin for a chunk of `size` bytes."""
        if size < self.min_large:
            return size // ALIGN
        for rule in self.rules:
            if size >> rule.shift <= rule.up_to:
                return (size >> rule.shift) + rule.add
        return self.last

    def lowest(self, index: int) -> int:
        """Smallest chunk size of bin `index`, in bytes."""
        if index < self.first_large:
            return index * ALIGN
        floor = self.min_large
        for rule in self.rules:
            if index <= rule.up_to + rule.add:
                return max(floor, (index - rule.add) << rule.shift)
            floor = (rule.up_to + 1) << rule.shift
        return floor

    def name(self, index: int) -> str:
        """Name bin `index` as the pictures do: ``unsorted``, ``small[0x100]``, ``large[0x400]``."""
        if index == 1:
            return "unsorted"
        kind = "small" if index < self.first_large else "large"
        return f"{kind}[{self.lowest(index):#x}]"


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything the decoder branches on."""

    version: str
    known: bool  # False: only sizes and flags may be read
    note: str | None
    safe_linking: bool
    link_shift: int
    tcache: Tcache
    arena: Arena
    bins: Bins
    heap_info: int  # sizeof(heap_info)
    ar_ptr: int
    heap_prev: int
    heap_size: int
    heap_max: int
    mmap_extra: int  # length of the mapping - prev_size - size
    mmap_usable_less: int  # size - usable, of an mmapped chunk
    mmap_offset_mask: int  # bits of its prev_size that are the offset in the mapping

    @property
    def thread_first(self) -> int:
        """Bytes from a thread arena's heap to its first chunk."""
        return self.heap_info + self.arena.size + ALIGN - 1 & -ALIGN

    @classmethod
    def for_version(cls, version: str) -> Layout:
        """Return the layout of glibc `version` ("2.36", also "2.36-9+deb12u14").

        A version that is not known gives the nearest known layout with ``known`` False and a
        ``note`` that says so.
        """
        return _layout(version)


def numbers(version: str) -> tuple[int, int] | None:
    """Return a version's two numbers; None when the text does not begin with a version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def data() -> dict[str, Any]:
    """Return ``layouts.json``."""
    text = resources.files(__package__).joinpath("layouts.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it, key by key, at every depth."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def facts(at: tuple[int, int]) -> dict[str, Any]:
    """Return what ``layouts.json`` says of a version, (2, 36) for 2.36, in its own form."""
    found: dict[str, Any] = {}
    for step in data()["steps"]:
        since = numbers(step["since"])
        assert since is not None
        if since <= at:
            found = merged(found, step["set"])
    return found


@lru_cache(maxsize=64)
def _layout(version: str) -> Layout:
    file = data()
    oldest, newest = numbers(file["oldest"]), numbers(file["newest"])
    assert oldest is not None
    assert newest is not None
    wanted = numbers(version)
    note = None
    if wanted is None or wanted > newest:
        note = f"up to {file['newest']}"
    elif wanted < oldest:
        note = f"from {file['oldest']} to {file['newest']}"
    if note is not None:
        note = f"this build of heapscope knows glibc {note}, found {version}"
        note += ": showing sizes and flags only"
    at = newest if wanted is None else min(max(wanted, oldest), newest)
    return _typed(version, note, facts(at))


def _typed(version: str, note: str | None, facts: dict[str, Any]) -> Layout:
    tcache, arena, bins, heap = facts["tcache"], facts["arena"], facts["bins"], facts["heap_info"]
    fast = arena["fastbins"]
    return Layout(
        version=version,
        known=note is None,
        note=note,
        safe_linking=facts["safe_linking"],
        link_shift=facts["link_shift"],
        tcache=Tcache(
            size=tcache["size"],
            chunks=tuple(tcache["chunks"]),
            counts=tcache["counts"]["offset"],
            count_width=tcache["counts"]["width"],
            down=tcache["counts"]["down"],
            entries=tcache["entries"]["offset"],
            bins=tcache["entries"]["number"],
            small_bins=tcache["small_bins"],
            default_count=tcache["default_count"],
            key_offset=tcache["key"]["offset"],
            key=tcache["key"]["kind"],
            late=tcache["made"] == "first free",
        ),
        arena=Arena(
            size=arena["size"],
            fastbins=fast and fast["offset"],
            fastbin_number=fast["number"] if fast else 0,
            top=arena["top"],
            bins=arena["bins"]["offset"],
            next=arena["next"],
            system_mem=arena["system_mem"],
        ),
        bins=Bins(
            first_large=bins["first_large"],
            last=bins["last"],
            min_large=bins["min_large"],
            rules=tuple(LargeRule(**rule) for rule in bins["large"]),
        ),
        heap_info=heap["size"],
        ar_ptr=heap["ar_ptr"],
        heap_prev=heap["prev"],
        heap_size=heap["heap_size"],
        heap_max=facts["heap_max"],
        mmap_extra=facts["mmapped"]["length_extra"],
        mmap_usable_less=facts["mmapped"]["usable_less"],
        mmap_offset_mask=facts["mmapped"]["offset_mask"],
    )

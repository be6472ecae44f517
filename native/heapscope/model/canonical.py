"""Move a heap to fixed addresses, so that one program gives one picture.

The kernel puts the heap, thread arenas and mmapped blocks somewhere else in every run, and glibc
draws a new tcache key for every process.  A :class:`Canon` gives each range a fixed base, in order
of appearance, and rewrites the words that say where they are: pointers, protected links and the
key.  Everything else is left as it is.  One ``Canon`` is kept for all frames of a film.

A link that glibc protects is stored as ``target ^ (address >> 12)``.  It is rewritten so that the
same equation holds between the canonical numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from heapscope.model.snapshot import WORD

HEAP = 0x555555559000
"""Base of the main heap; gdb shows the same when it turns address randomisation off."""
MORE_HEAP = 0x555600000000
"""Base of the main arena's second piece; further ones follow 16 MiB apart."""
MORE_STEP = 0x1000000
THREAD_HEAP = 0x7FFFF0000000
"""Base of the first thread heap."""
THREAD_STEP = 0x4000000
MMAP_TOP = 0x7FFFF7C00000
"""Mmapped blocks end here, the first one highest."""
MMAP_TOP_BIG = 0x7FFFE0000000
"""The same for blocks that would not fit between a few thread heaps and MMAP_TOP."""
MMAP_FLOOR = THREAD_HEAP + THREAD_STEP
MAIN_ARENA = 0x7FFFF7FA0000
"""Where libc's ``main_arena`` is said to be."""
LIBC = 0x7FFFF7E00000
PROGRAM = 0x555555000000
STACK = 0x7FFFFFF00000
OTHER = 0x7FFE00000000
KEY = 0x9E3779B97F4A7C15
"""The tcache key (the golden ratio's first 64 bits: nothing depends on it)."""
PAGE = 4096
SHIFT = 12
"""Bits by which an address is shifted to protect a link, on every architecture."""
_LOW = 1 << 32
"""Below this, a number in the program's own data is not taken for the end of an old link."""


@dataclass(frozen=True, slots=True)
class Range:
    """A range of real addresses and where it has been moved."""

    base: int  # real
    end: int  # real
    to: int  # canonical address of `base`
    name: str  # "heap", "thread heap 1", "mmap 1"; "" for ranges that are no heap
    kind: str


@dataclass(slots=True)
class _Known:
    """The last bytes of a range: real words and the canonical words made of them."""

    raw: list[int]
    made: list[int]


class Canon:
    """The fixed addresses of one film."""

    def __init__(self) -> None:
        self.key: int | None = None
        """The process's tcache key, once it is known."""
        self.foreign: Callable[[int], int | None] | None = None
        """Says where addresses of somebody else's memory are moved (Go's); None: not theirs."""
        self._ranges: dict[tuple[str, int], Range] = {}  # all that were ever seen
        self._live: list[Range] = []  # those of the reading at hand, by real address
        self._bases: list[int] = []
        self._counts: dict[str, int] = {}
        self._last: dict[int, _Known] = {}
        self._arena: tuple[int, int] | None = None  # real start and end of main_arena

    # ---- ranges

    def learn(
        self, ranges: Iterable[tuple[int, int, str]], arena: tuple[int, int] | None
    ) -> list[Range]:
        """Take in the ranges of a reading: (real base, length, kind), and main_arena's place.

        Returns one :class:`Range` for each, in the same order.
        """
        wanted = list(ranges)
        self._arena = None if arena is None else (arena[0], arena[0] + arena[1])
        live: list[Range] = []
        for base, length, kind in wanted:
            old = self._ranges.get((kind, base))
            if old is not None:
                grown = Range(base, base + length, old.to, old.name, kind)
                if not any(_overlap(grown, other) for other in live):
                    live.append(grown)
                    self._ranges[kind, base] = grown
                    continue
            new = self._place(base, length, kind, live)
            live.append(new)
            self._ranges[kind, base] = new
        self._live = sorted(live, key=lambda r: r.base)
        self._bases = [r.base for r in self._live]
        return live

    def _place(self, base: int, length: int, kind: str, live: list[Range]) -> Range:
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        name = kind if kind == "heap" and number == 1 else f"{kind} {number}"
        low = base % PAGE
        if kind == "heap":
            to = HEAP + low if number == 1 else MORE_HEAP + (number - 2) * MORE_STEP + low
        elif kind == "thread heap":
            to = THREAD_HEAP + (number - 1) * THREAD_STEP + low
        elif kind == "mmap":
            to = self._below(length, live) + low
        else:
            name = ""
            start = {"program": PROGRAM, "stack": STACK, "libc": LIBC}.get(kind, OTHER)
            # A stack is given by a place in it, and where in a page that is differs between runs.
            to = start + (number - 1) * MORE_STEP + (0 if kind == "stack" else low)
            if kind == "libc" and self._arena and base <= self._arena[0] < base + length:
                to = MAIN_ARENA - (self._arena[0] - base)
        return Range(base, base + length, to, name, kind)

    def _below(self, length: int, live: list[Range]) -> int:
        """Find room for an mmapped block, from the top downwards."""
        room = -(-max(length, 1) // PAGE) * PAGE
        taken = sorted(
            ((r.to, r.to + r.end - r.base) for r in (*self._ranges.values(), *live)), reverse=True
        )
        for top, floor in ((MMAP_TOP, MMAP_FLOOR), (MMAP_TOP_BIG, 0)):
            end = top
            for start, stop in taken:
                if stop > end - room and start < end:
                    end = start // PAGE * PAGE
            if end - room >= floor:
                return end - room
        return MMAP_TOP_BIG - room

    def range_of(self, address: int) -> Range | None:
        """Return the range of the reading at hand that holds real `address`."""
        index = bisect_right(self._bases, address) - 1
        if index >= 0:
            found = self._live[index]
            if address < found.end:
                return found
        return None

    def gone(self, address: int) -> Range | None:
        """Return a range of an earlier reading that held real `address` and is not there now."""
        if self.range_of(address) is not None:
            return None
        return next((r for r in self._ranges.values() if r.base <= address < r.end), None)

    def address(self, real: int) -> int | None:
        """Return the canonical address for a real one; None when it is in no range."""
        moved = self.foreign(real) if self.foreign is not None else None
        if moved is not None:
            return moved
        found = self.range_of(real)
        if found is not None:
            return real - found.base + found.to
        if self._arena is not None and self._arena[0] <= real < self._arena[1]:
            return real - self._arena[0] + MAIN_ARENA
        return None

    def anywhere(self, real: int) -> int | None:
        """Like :meth:`address`, and also for ranges that are gone."""
        found = self.address(real)
        if found is not None:
            return found
        old = self.gone(real)
        return None if old is None else real - old.base + old.to

    # ---- words

    def pointer(self, value: int) -> int:
        """Return a word that may be a pointer: moved if it is one, else as it is."""
        moved = self.address(value)
        return value if moved is None else moved

    def protected(self, value: int, at: int) -> int | None:
        """Return the canonical form of a protected link stored at real `at`; None if it is none."""
        here = self.address(at)
        if here is None:
            return None
        target = value ^ (at >> SHIFT)
        if target == 0:
            return here >> SHIFT
        moved = self.address(target)
        return None if moved is None else moved ^ (here >> SHIFT)

    def before(self, at: int) -> tuple[int, int] | None:
        """Return real and canonical word at real `at` in the reading before, if there was one."""
        found = self.range_of(at)
        known = None if found is None else self._last.get(found.base)
        if found is None or known is None:
            return None
        index = (at - found.base) // WORD
        if index >= len(known.raw):
            return None
        return known.raw[index], known.made[index]

    def patched(self, value: int, at: int) -> int | None:
        """Rewrite a word of which the program has overwritten a part; see :func:`torn`.

        None when nothing of the word before is left.
        """
        was = self.before(at)
        return None if was is None else torn(value, *was)

    def rewrite(self, base: int, words: list[int], fixed: dict[int, int]) -> list[int]:
        """Return the canonical words of the range at real `base`.

        `words` are its real words; `fixed` says what the decoder already knows: real address of a
        word -> canonical word (links, and words that must not be touched).
        """
        known = self._last.get(base)
        old = known.raw if known else []
        made = list(words)
        lows, highs = self._reach()
        for index, word in enumerate(words):
            if not word:
                continue
            at = base + index * WORD
            if fixed and at in fixed:
                made[index] = fixed[at]
            elif known and index < len(old) and old[index] == word:
                made[index] = known.made[index]
            elif word == self.key:
                made[index] = KEY
            else:
                near = bisect_right(lows, word) - 1
                if near >= 0 and word < highs[near]:
                    better = self._guess(word, at)
                    if better is not None:
                        made[index] = better
                        continue
                if known:
                    part = self.patched(word, at)
                    if part is not None:
                        made[index] = part
        self._last[base] = _Known(list(words), made)
        return made

    def forget(self, bases: set[int]) -> None:
        """Drop the memory of ranges that are not among real `bases`: they were unmapped."""
        for base in self._last.keys() - bases:
            del self._last[base]

    def _reach(self) -> tuple[list[int], list[int]]:
        """Bounds of what can be a pointer or a protected link, to skip other words quickly.

        They are apart and in order: all lower ones, all upper ones.
        """
        reach = [(r.base, r.end) for r in self._live]
        if self._arena is not None:
            reach.append(self._arena)
        for low, high in [(r.base, r.end) for r in self._live if r.name]:
            # link = target ^ page: the same but for the bits of the page number; and 0 ^ page
            bits = (high >> SHIFT).bit_length()
            reach.append((low >> bits << bits, (high >> bits) + 1 << bits))
            if low >= _LOW:
                reach.append((low >> SHIFT, (high >> SHIFT) + 1))
        lows: list[int] = []
        highs: list[int] = []
        for low, high in sorted(reach):
            if highs and low <= highs[-1]:
                highs[-1] = max(highs[-1], high)
            else:
                lows.append(low)
                highs.append(high)
        return lows, highs

    def _guess(self, word: int, at: int) -> int | None:
        """Rewrite a word of the program's data, or an old one, that decodes as an address."""
        moved = self.address(word)
        if moved is not None:
            return moved
        if word <= PAGE:
            return None
        own = at >> SHIFT
        # An old link usually lies where it was made; realloc may have carried it to another page.
        found = self._unlink(word, own)
        if found is not None:
            return found
        for other in self._live:
            if other.kind not in ("heap", "thread heap"):
                continue
            first, last = other.base >> SHIFT, other.end - 1 >> SHIFT
            if first <= word <= last:
                return word - first + (other.to >> SHIFT) if other.base >= _LOW else None
            # The pages of a range differ in their low bits only: most words fall out here.
            low = (first ^ last).bit_length()
            near = (word ^ first) >> low << low
            if not any(r.base < near + (1 << low) and near < r.end for r in self._live if r.name):
                continue
            for page in range(first, min(last, first + 4096) + 1):
                if page != own:
                    found = self._unlink(word, page)
                    if found is not None:
                        return found
        return None

    def _unlink(self, word: int, page: int) -> int | None:
        """Undo and redo the protection by real page number `page`."""
        target = word ^ page
        moved_page = self.address(page << SHIFT)
        if moved_page is None:
            return None
        if target == 0:
            return moved_page >> SHIFT if page << SHIFT >= _LOW else None
        found = self.range_of(target)
        if found is None or not found.name or target % 16:
            return None
        return target - found.base + found.to ^ moved_page >> SHIFT


def torn(value: int, was: int, made: int) -> int | None:
    """Rewrite a word of which a part was written over.

    `value` is what it holds, `was` what it held before, and `made` the canonical form of that.  The
    bytes that were left keep their canonical form, byte by byte.  A byte that was written and is
    the same as before cannot be told from one that was left.  None when nothing is left: fewer than
    two bytes at either end.
    """
    raw, old, new = (word.to_bytes(WORD, "little") for word in (value, was, made))
    head = 0
    while head < WORD and raw[head] == old[head]:
        head += 1
    tail = 0
    while tail < WORD - head and raw[WORD - 1 - tail] == old[WORD - 1 - tail]:
        tail += 1
    # Zero bytes at the top of an address are equal whatever was written: they prove nothing.
    proof = len(raw[WORD - tail :].rstrip(b"\0"))
    keep_tail = tail if proof >= 2 else 0
    keep_head = head if head >= 2 else 0
    if keep_head + keep_tail == 0:
        return None
    middle = raw[keep_head : WORD - keep_tail]
    return int.from_bytes(new[:keep_head] + middle + new[WORD - keep_tail :], "little")


def _overlap(one: Range, other: Range) -> bool:
    """Whether the canonical ranges share an address."""
    return one.to < other.to + other.end - other.base and other.to < one.to + one.end - one.base

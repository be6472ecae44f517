"""One reading while it is being decoded (real addresses), and how to speak of its parts."""

from __future__ import annotations

from bisect import bisect_right

from heapscope.glibc.chunks import Piece
from heapscope.glibc.layout import Layout
from heapscope.glibc.lists import ArenaView, RawList
from heapscope.glibc.memory import HEAPS, Memory, Span
from heapscope.glibc.reading import Asked, Reading
from heapscope.model.canonical import Canon, Range
from heapscope.model.snapshot import HEADER, WORD, Chunk, Fault, Snapshot, State

BINNED = (State.UNSORTED, State.SMALL, State.LARGE)
"""Free chunks that the next chunk's P flag tells of."""


class Scene:
    """What is known so far; :mod:`survey` and :mod:`judge` fill it."""

    def __init__(self, reading: Reading, before: Snapshot | None, canon: Canon) -> None:
        self.reading, self.before, self.canon = reading, before, canon
        self.layout = Layout.for_version(reading.glibc)
        self.memory = Memory(reading.mappings)
        self.notes = [self.layout.note] if self.layout.note else []
        self.chunks_before: dict[int, Chunk] = (
            {chunk.at: chunk for chunk in before.chunks} if before is not None else {}
        )
        self.ranges = self._ranges()
        self.names = self._names()
        self.arenas: list[ArenaView] = []
        self.tables: dict[int, str] = {}  # user address of a tcache table -> whose it is
        self.lists: list[RawList] = []
        self.tops: dict[int, ArenaView] = {}
        self.pieces: list[Piece] = []
        self.starts: list[int] = []
        self.by_start: dict[int, Piece] = {}
        self.faults: list[Fault] = []  # canonical
        self.word_faults: dict[int, str] = {}  # address of a word -> what is wrong with it
        self.fixed: dict[int, int] = {}  # address of a word -> its canonical value
        self.targets: dict[int, int] = {}  # address of a link -> canonical target

    def _ranges(self) -> dict[int, Range]:
        """Tell the canon about this reading's mappings."""
        arena = self.reading.main_arena
        spans = {span.base for span in self.memory.spans}
        maps = [
            m
            for m in self.reading.mappings
            if m.length and (m.kind not in HEAPS or m.base in spans)
        ]
        found = self.canon.learn(
            [(m.base, m.length, m.kind) for m in maps],
            None if arena is None else (arena[0], len(arena[1])),
        )
        self.canon.forget(spans)
        return {m.base: r for m, r in zip(maps, found, strict=True) if m.kind in HEAPS}

    def _names(self) -> dict[int, str]:
        """Name the recorded blocks by user address: the program's name, else a letter.

        No two blocks have one name: blocks in use choose first, then the newest.
        """
        blocks = self.reading.blocks
        ranked = sorted(blocks, key=lambda user: (blocks[user].call, user))
        order: dict[int, int] = {}
        for rank, user in enumerate(ranked):
            known = blocks[user].order
            order[user] = rank if known is None else known

        def turn(user: int) -> tuple[bool, int, int]:
            asked = blocks.get(user)
            return asked is not None and asked.freed is not None, -order.get(user, 0), user

        names: dict[int, str] = {}
        taken: set[str] = set()
        for user in sorted({*blocks, *self.reading.names}, key=turn):
            asked = blocks.get(user, Asked(None))
            wanted = self.reading.names.get(user) or asked.name
            if asked.internal or (wanted is None and user not in order):
                continue
            if wanted is None or wanted in taken:
                if user not in order:
                    continue
                wanted = letter(order[user])
                while wanted in taken:
                    wanted += "′"
            names[user] = wanted
            taken.add(wanted)
        return names

    @property
    def knows_main(self) -> bool:
        """Whether the main arena's own structure is there to be read."""
        return bool(self.arenas) and self.arenas[0].name == "main"

    def settle_starts(self) -> None:
        """Bring the look-up tables in line with `pieces`."""
        self.pieces.sort(key=lambda piece: piece.at)
        self.starts = [piece.at for piece in self.pieces]
        self.by_start = {piece.at: piece for piece in self.pieces}

    def arena_of(self, span: Span) -> str:
        """Name the arena that hands out from `span`."""
        if span.kind != "thread heap":
            return "main"
        pointer = span.u64(span.base + self.layout.ar_ptr)
        for arena in self.arenas:
            if arena.base == pointer:
                return arena.name
        return self.ranges[span.base].name.replace("thread heap", "thread")

    def owner(self, at: int) -> Piece | None:
        """Return the chunk that the word at `at` belongs to: from its size word to the next one."""
        index = bisect_right(self.starts, at - WORD) - 1
        if index < 0:
            return None
        piece = self.pieces[index]
        return piece if at < piece.end + WORD else None

    def holding(self, address: int) -> Piece | None:
        """Return the chunk whose bytes, header included, hold `address`."""
        index = bisect_right(self.starts, address) - 1
        if index < 0 or address >= self.pieces[index].end:
            return None
        return self.pieces[index]

    def bin_at(self, address: int) -> int | None:
        """Return the number of the bin whose header a bin link at `address` means."""
        first, last = self.layout.arena.bins, self.layout.bins.last
        for view in self.arenas:
            index, rest = divmod(address - view.base - first + HEADER, 2 * WORD)
            if not rest and 0 <= index < last:
                return index + 1
        return None

    def asked(self, piece: Piece) -> Asked | None:
        """Return the latest call that returned this chunk."""
        return self.reading.blocks.get(piece.at + HEADER)

    def to(self, real: int) -> int:
        """Return the canonical address; an address that is nowhere stays as it is."""
        return self.canon.pointer(real)

    def value(self, at: int, raw: int) -> int:
        """Return the canonical form of the word `raw` stored at real `at`, whatever it is.

        Sentences say this one, so that what is left of an address in it is not the real one's.
        """
        if at in self.fixed:
            return self.fixed[at]
        moved = self.canon.address(raw)
        if moved is None:
            moved = self.canon.patched(raw, at)
        return raw if moved is None else moved

    def led(self, at: int, real: int) -> str:
        """Say where the plain pointer `real` stored at real `at` leads; see :meth:`where`."""
        if self.canon.address(real) is None:
            return f"{self.value(at, real):#x}"
        return self.where(real)

    def offset(self, real: int) -> str:
        """Write an address as region and offset, or as a bare number."""
        found = self.canon.range_of(real)
        if found is None or not found.name:
            return f"{self.to(real):#x}"
        return f"{found.name}+{real - found.base:#x}"

    def who(self, piece: Piece) -> str:
        """Name a chunk in a sentence."""
        if piece.state is State.TOP:
            return "top"
        user = piece.at + HEADER
        if user in self.tables:
            return "the tcache table"
        return self.names.get(user) or f"the chunk at {self.offset(piece.at)}"

    def where(self, real: int) -> str:
        """Say where an address leads: to a block, into one, or just somewhere."""
        index = self.bin_at(real)
        if index is not None:
            return f"{self.layout.bins.name(index)} itself"
        piece = self.holding(real)
        if piece is not None and piece.state is not State.TOP:
            if real in (piece.at, piece.at + HEADER):
                return self.who(piece)
            inside = real - piece.at - HEADER
            if inside > 0 and piece.at + HEADER in self.names:
                return f"byte {inside} of {self.who(piece)}"
        return self.offset(real)

    def fault(self, at: int, text: str, piece: Piece | None = None) -> None:
        """Note something impossible about the word at `at`."""
        place = at // WORD * WORD
        self.word_faults.setdefault(place, text)
        chunk = None if piece is None else self.to(piece.at)
        fault = Fault(self.to(place), text, chunk)
        if fault not in self.faults:
            self.faults.append(fault)


def letter(number: int) -> str:
    """Name block `number`, counted from 0: A to Z, then AA, AB and so on."""
    name = ""
    number += 1
    while number > 0:
        number, digit = divmod(number - 1, 26)
        name = chr(ord("A") + digit) + name
    return name or "?"

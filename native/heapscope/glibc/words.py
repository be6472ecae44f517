"""Say of every word who may write it now, what changed in it, and why."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from heapscope.glibc.chunks import Piece
from heapscope.glibc.layout import A, M, P
from heapscope.glibc.memory import Span
from heapscope.glibc.scene import BINNED, Scene
from heapscope.model.snapshot import HEADER, WORD, Chunk, Region, Role, State, Word

HEAD_WORDS = 16
"""Of a long block the first 8 rows are shown …"""
TAIL_ROWS = 2
"""… and the last 2."""
MOST_CHANGES = 32
"""Of the rest of a block at most so many changed words."""
_ZERO = bytes(WORD)
_INTERNAL = (State.TABLE, State.FOLDED, State.FENCE)


@dataclass(slots=True)
class Painted:
    """A region with its words, and which of them differ from the frame before."""

    span: Span
    region: Region
    words: list[int]  # canonical
    old: list[int]  # canonical, the frame before
    changed: list[int]  # indices of words that differ


class Painter:
    """Makes the words of a snapshot."""

    def __init__(self, scene: Scene, painted: dict[int, Painted]) -> None:
        self.scene, self.painted = scene, painted
        self.result: list[Word] = []
        self.labels = {0: "∅"}
        for piece in scene.pieces:
            name = scene.names.get(piece.at + HEADER) or scene.offset(piece.at)
            at = scene.to(piece.at)
            self.labels[at] = self.labels[at + HEADER] = "top" if piece.state is State.TOP else name
        self.keys_before: set[int] = set()  # canonical addresses of words that were keys
        self.clean: dict[int, list[Word]] = {}  # chunk -> its words, if nothing was special there
        if scene.before is not None:
            dirty: set[int | None] = {None}
            for word in scene.before.words:
                if word.role is Role.KEY:
                    self.keys_before.add(word.at)
                if word.changed or word.fault is not None:
                    dirty.add(word.chunk)
                if word.chunk is not None:
                    self.clean.setdefault(word.chunk, []).append(word)
            for chunk in dirty:
                if chunk is not None:
                    self.clean.pop(chunk, None)
        self.counts = {found.name: found.count or 0 for found in scene.lists}

    def words(self) -> tuple[Word, ...]:
        """Return the words of all chunks in address order."""
        previous: Piece | None = None
        for piece in self.scene.pieces:
            if previous is None or previous.end != piece.at or previous.span is not piece.span:
                self._lead(piece)
            self._piece(piece)
            previous = piece
        self.result.sort(key=lambda word: word.at)
        return tuple(self.result)

    # ---- which words

    def _lead(self, piece: Piece) -> None:
        """Add the word before a chunk that has no neighbour there: its own prev_size."""
        at = piece.at
        painted = self.painted[piece.span.base]
        index = at - piece.span.base >> 3
        changed = self._changed_at(painted, index)
        why = self._why_prev_size(painted, index) if changed else None
        self._emit(painted, index, Role.PREV_SIZE, None, None, None, why)

    def _piece(self, piece: Piece) -> None:
        painted = self.painted[piece.span.base]
        base = piece.span.base
        start = piece.at - base >> 3
        if piece.state is State.MMAPPED:
            stop = start + 2 + (piece.usable >> 3)
        elif piece.state is State.TOP:
            stop = piece.end - base >> 3
        else:
            stop = (piece.end - base >> 3) + 1
        stop = min(stop, piece.span.end - base >> 3)
        chunk = self.scene.to(piece.at)
        old = self.scene.chunks_before.get(chunk)
        changes = self._changes(painted, start + 1, stop)
        faults = self.scene.word_faults
        if not changes and not faults and chunk in self.clean and old is not None:
            same = (old.size, old.state, old.requested, old.usable, old.free_list)
            if same == (piece.size, piece.state, piece.requested, piece.usable, piece.free_list):
                self.result += self.clean[chunk]
                return
        size_changed = bool(changes) and changes[0] == start + 1
        why = self._why_size(painted, piece, old, start + 1) if size_changed else None
        self._emit(painted, start + 1, Role.SIZE, chunk, None, None, why)
        if size_changed:
            changes = changes[1:]
        data = stop - start - 2  # words from the user pointer on
        if data <= 0:
            return
        role = self._roles(piece, data)
        first = start + 2
        shown = self._shown(painted, piece, first, data, changes)
        if not changes and not faults:
            # Most chunks of most frames: nothing to explain.
            home, bytes_of, add = painted.region.base, painted.region.data, self.result.append
            end = len(bytes_of) >> 3
            for index in shown:
                kind, part = role(index - first)
                target = None
                if kind is Role.LINK or kind is Role.INTERNAL:
                    target = self._target(painted, index, kind)
                raw = bytes_of[index << 3 : (index << 3) + 8] if index < end else _ZERO
                add(Word(home + (index << 3), raw, kind, chunk, target, part))
            return
        note = self._why_data(painted, piece, old, first, changes, role)
        for index in shown:
            kind, part = role(index - first)
            why = note(index) if self._changed_at(painted, index) else None
            self._emit(painted, index, kind, chunk, self._target(painted, index, kind), part, why)

    @staticmethod
    def _changes(painted: Painted, start: int, stop: int) -> list[int]:
        low = bisect_left(painted.changed, start)
        return painted.changed[low : bisect_left(painted.changed, stop)]

    def _shown(
        self, painted: Painted, piece: Piece, first: int, data: int, changes: list[int]
    ) -> Iterable[int]:
        """Return the indices of the words to show: the ends, what changed, what is wrong."""
        faults = self.scene.word_faults
        base = piece.span.base
        if piece.state is State.FOLDED:
            chosen = set(changes[:HEAD_WORDS])
        elif piece.state in _INTERNAL:
            written = range(first, min(first + data, len(painted.words)))
            chosen = {i for i in written if painted.words[i]} | set(changes[:MOST_CHANGES])
        elif piece.state is State.TOP:
            written = range(first + 4, min(first + data, len(painted.words)))
            chosen = {i for i in written[:4096] if painted.words[i]}
            chosen = set(sorted(chosen)[:HEAD_WORDS]) | set(range(first, first + min(4, data)))
            chosen |= set(changes[:HEAD_WORDS])
        elif data <= HEAD_WORDS + 2 * TAIL_ROWS:
            return range(first, first + data)
        else:
            rows = (data + 1) // 2
            tail = range(2 * (rows - TAIL_ROWS), data)
            chosen = {first + i for i in (*range(HEAD_WORDS), *tail)} | set(changes[:MOST_CHANGES])
        if faults:
            chosen |= {at - base >> 3 for at in faults if first <= at - base >> 3 < first + data}
        return sorted(chosen)

    # ---- whose

    def _roles(self, piece: Piece, data: int) -> Callable[[int], tuple[Role, int | None]]:
        """Return a function: number of a word from the user pointer -> role, bytes asked for."""
        state = piece.state
        if state in (State.IN_USE, State.MMAPPED):
            requested = piece.usable if piece.requested is None else piece.requested
            listed = piece.free_list is not None

            def used(number: int) -> tuple[Role, int | None]:
                if listed and number == 0:
                    return Role.LINK, None
                rest = requested - number * WORD
                if rest >= WORD:
                    return Role.PAYLOAD, None
                return (Role.PAYLOAD, rest) if rest > 0 else (Role.SLACK, None)

            return used
        if state is State.TOP:
            return lambda number: (Role.TOP, None)
        if state in _INTERNAL:
            return lambda number: (Role.INTERNAL, None)
        special: dict[int, Role] = {}
        if state is State.TCACHE:
            special = {0: Role.LINK, 1: Role.KEY}
        elif state is State.FASTBIN:
            special = {0: Role.LINK}
        elif state in BINNED:
            large = piece.size >= self.scene.layout.bins.min_large
            special = dict.fromkeys(range(4 if large else 2), Role.LINK)
            special[data - 1] = Role.PREV_SIZE
        return lambda number: (special.get(number, Role.STALE), None)

    def _target(self, painted: Painted, index: int, role: Role) -> int | None:
        at = painted.span.base + index * WORD
        if role is Role.LINK:
            known = self.scene.targets.get(at)
            return _word(painted.words, index) if known is None else known
        if role is Role.INTERNAL and self._entry(at) is not None:
            return _word(painted.words, index) or None
        return None

    def _entry(self, at: int) -> int | None:
        """Return the number of the tcache list whose head is at `at`."""
        facts = self.scene.layout.tcache
        for table in self.scene.tables:
            number = at - table - facts.entries >> 3
            if 0 <= number < facts.bins:
                return number
        return None

    # ---- why

    @staticmethod
    def _changed_at(painted: Painted, index: int) -> bool:
        place = bisect_left(painted.changed, index)
        return place < len(painted.changed) and painted.changed[place] == index

    def _why_prev_size(self, painted: Painted, index: int) -> str:
        value = _word(painted.words, index)
        return f"prev_size: {value}" if value else "prev_size: cleared"

    def _why_size(self, painted: Painted, piece: Piece, old: Chunk | None, index: int) -> str:
        new, was = _word(painted.words, index), _word(painted.old, index)
        if piece.lie:
            return f"size: {was:#x} became {new:#x}"
        if piece.state is State.TOP:
            return f"top: {piece.size} bytes left"
        if old is not None and old.state is not State.TOP:
            if new ^ was == P:
                return f"size: P {'set' if new & P else 'cleared'}"
            if new & ~7 != was & ~7:
                return f"size: {was & ~7} became {new & ~7}"
        signs = "".join(f" + {sign}" for bit, sign in ((A, "A"), (M, "M"), (P, "P")) if new & bit)
        return f"size: {new:#x} = {new & ~7}{signs}"

    def _why_data(
        self,
        painted: Painted,
        piece: Piece,
        old: Chunk | None,
        first: int,
        changes: list[int],
        role: Callable[[int], tuple[Role, int | None]],
    ) -> Callable[[int], str | None]:
        """Return a function that gives the reason for a changed word of a chunk's data."""
        base = painted.span.base
        plain = [i for i in changes if role(i - first)[0] in (Role.PAYLOAD, Role.SLACK)]
        written = ""
        if plain:
            count = sum(len(_difference(painted, i)) for i in plain)
            written = f"{count} byte{'s' if count > 1 else ''} changed"
            if not any(_word(painted.words, i) for i in plain):
                written = "zeroed"
        was_free = old is not None and old.state.free
        free = piece.state.free

        def note(index: int) -> str | None:
            at = base + index * WORD
            kind = role(index - first)[0]
            if kind is Role.LINK:
                return self._why_link(painted, piece, index, index - first)
            if kind is Role.KEY:
                return "key: overwritten" if at in self.scene.word_faults else "key: “already free”"
            if kind is Role.PREV_SIZE:
                return self._why_prev_size(painted, index)
            if kind in (Role.PAYLOAD, Role.SLACK):
                key = self.scene.to(at) in self.keys_before
                if key and not _word(painted.words, index):
                    return "key: cleared"
                return written if index == plain[0] else None
            if kind is Role.STALE and free:
                return "written after free" if was_free else None
            if piece.state is State.TABLE:
                return self._why_table(painted, index)
            return None

        return note

    def _why_link(self, painted: Painted, piece: Piece, index: int, number: int) -> str:
        target = self._target(painted, index, Role.LINK) or 0
        name = "link"
        if piece.state in BINNED:
            name = ("fd", "bk", "fd_nextsize", "bk_nextsize")[number]
        label = self._label(target)
        if label is None:
            return f"{name} → {target:#x}, no block"
        return f"{name} → {label}"

    def _label(self, target: int) -> str | None:
        """Name a canonical address that a link may lead to."""
        known = self.labels.get(target)
        if known is not None:
            return known
        for view in self.scene.arenas:
            index = self.scene.bin_at(target - self.scene.to(view.base) + view.base)
            if index is not None:
                return self.scene.layout.bins.name(index)
        return None

    def _why_table(self, painted: Painted, index: int) -> str | None:
        at = painted.span.base + index * WORD
        facts = self.scene.layout.tcache
        number = self._entry(at)
        if number is not None:
            target = _word(painted.words, index)
            label = self._label(target) or f"{target:#x}"
            return f"{facts.bin_name(number)} → {label}"
        for table in self.scene.tables:
            first = (at - table - facts.counts) // facts.count_width
            if 0 <= first < facts.bins:
                bins = {first + place // facts.count_width for place in _difference(painted, index)}
                names = [facts.bin_name(number) for number in sorted(bins) if number < facts.bins]
                return ", ".join(f"{name}: {self.counts.get(name, 0)}" for name in names[:4])
        return None

    # ---- out

    def _emit(
        self,
        painted: Painted,
        index: int,
        role: Role,
        chunk: int | None,
        target: int | None,
        payload: int | None,
        why: str | None,
    ) -> None:
        if (index + 1) * WORD > painted.region.length:
            return  # the size word of a last chunk that its region cuts off
        value = _word(painted.words, index)
        changed = _difference(painted, index) if self._changed_at(painted, index) else ()
        faults = self.scene.word_faults
        fault = faults.get(painted.span.base + index * WORD) if faults else None
        self.result.append(
            Word(
                painted.region.base + index * WORD,
                value.to_bytes(WORD, "little"),
                role,
                chunk,
                target,
                payload,
                changed,
                why,
                fault,
            )
        )


def _word(words: list[int], index: int) -> int:
    """Return a word; what was cut off at the end is zero."""
    return words[index] if index < len(words) else 0


def _difference(painted: Painted, index: int) -> tuple[int, ...]:
    """Positions of the bytes of a word that differ from the frame before."""
    differ = _word(painted.words, index) ^ _word(painted.old, index)
    return tuple(i for i in range(WORD) if differ >> 8 * i & 0xFF)

"""The drawing of a heap: 16 bytes a row, two words of 8, one colour and one sign for each role."""

from __future__ import annotations

from dataclasses import dataclass

from heapscope.model.snapshot import Chunk, Pointer, Role, Snapshot, State, Word
from heapscope.views import words
from heapscope.views.layout import ROW, Row
from heapscope.views.pen import Pen

INSET = 3.0
"""Words of one owner touch; between two owners are twice so many pixels."""
FAINT = 0.5
"""Width of a character of the sans-serif font in ems, on the safe side (to break lines)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Measures of a drawing in CSS pixels."""

    labels: float  # right edge of the addresses
    cells: float  # left edge of the words; between the two runs the gutter with the links
    word: float  # width of a word
    cards: float | None  # left edge of the chunks' texts; None: they stand below, in HTML
    width: float
    pointers: float | None = None  # right edge of the variables' boxes
    row: float = 46.0
    band: float = 28.0
    size: float = 12.0  # of byte values

    @property
    def middle(self) -> float:
        """Where the right word begins."""
        return self.cells + self.word

    @property
    def right(self) -> float:
        """Right edge of the words."""
        return self.cells + 2 * self.word


WIDE = Shape(labels=68, cells=88, word=156, cards=420, width=664)
WITH_POINTERS = Shape(labels=132, cells=152, word=150, cards=472, width=704, pointers=46)
NARROW = Shape(labels=43, cells=53, word=123, cards=None, width=300, size=10.5)

_PAINT = {
    Role.SIZE: ("header", "on-dark", "on-dark-dim"),
    Role.PREV_SIZE: ("link", "on-light", "on-light-dim"),
    Role.LINK: ("link", "on-light", "on-light-dim"),
    Role.KEY: ("link", "on-light", "on-light-dim"),
    Role.PAYLOAD: ("payload", "on-light", "on-light-dim"),
    Role.SLACK: ("slack", "on-light", "on-light-dim"),
    Role.STALE: ("stale", "on-stale", "on-stale-dim"),
    Role.TOP: ("top", "on-light", "on-light-dim"),
    Role.INTERNAL: ("top", "on-light", "on-light-dim"),
}


def paint(word: Word) -> tuple[str, str, str]:
    """Return the colours of a word: fill, text, less important text."""
    if word.fault is not None:
        return "fault", "on-dark", "on-dark-dim"
    if word.role is Role.PREV_SIZE and word.chunk is None:
        return _PAINT[Role.INTERNAL]
    return _PAINT[word.role]


class Drawing:
    """One drawing of one snapshot."""

    def __init__(self, snapshot: Snapshot, rows: list[Row], shape: Shape) -> None:
        self.snapshot, self.rows, self.shape = snapshot, rows, shape
        self.tops: list[float] = []
        y = 4.0
        for row in rows:
            self.tops.append(y)
            y += shape.row if row.kind == "words" else shape.band
        self.bottom = y
        self.by_address = {r.at: n for n, r in enumerate(rows) if r.kind == "words"}
        self.pen = Pen(shape.width, y + 26)
        self.text_before = False  # whether the word before was text that goes on
        self.cards_end = 0.0

    def svg(self, label: str) -> str:
        """Draw, and return the SVG."""
        for number, row in enumerate(self.rows):
            getattr(self, f"_{row.kind}")(number, row)
        self._arrows()
        self._pointers()
        for chunk in self.snapshot.chunks:
            self._bracket(chunk)
        middle = (self.shape.cells + self.shape.right) / 2
        text = "↓ higher addresses"
        self.pen.text(middle, self.bottom + 18, text, colour="faint", align="center")
        return self.pen.svg(label)

    # ---- rows

    def _region(self, number: int, row: Row) -> None:
        text = _fit(row.text, self.shape.right - 2, 12.5)
        self.pen.text(0, self.tops[number] + 20, text, size=12.5, bold=True)

    def _band(self, number: int, row: Row) -> None:
        s, y = self.shape, self.tops[number]
        self.pen.box(s.cells, y, 2 * s.word, s.band - INSET, fill="top", edge="edge")
        text = _fit(row.text, 2 * s.word - 16, 12)
        self.pen.text(s.cells + 8, y + 17, text, colour="on-light")
        self._offset(row.at, y + 17, bold=False)
        if row.changed:
            self._ring(s.cells, y, 2 * s.word, s.band - INSET)
            self._notch(s.right - 16, y + s.band - INSET - 2, "edge")

    def _gap(self, number: int, row: Row) -> None:
        s, y = self.shape, self.tops[number]
        chunk = row.chunks[0]
        fill = "stale" if chunk.state.free else "payload"
        edge = [[(s.cells, y), (s.cells, y + s.band)], [(s.right, y), (s.right, y + s.band)]]
        self.pen.box(s.cells, y, 2 * s.word, s.band, fill=fill)
        if chunk.state.free:
            self.pen.hatch(s.cells, y, 2 * s.word, s.band)
        self.pen.path(edge, edge="edge", dash=(2, 3))
        text = _fit(row.text, 2 * s.word - 40, 12)
        if chunk.state.free:
            wide = 12 * FAINT * len(text) + 12
            self.pen.box(s.cells + s.word - wide / 2, y + 5, wide, 18, fill="stale")
        colour = "on-stale" if chunk.state.free else "on-light"
        self.pen.text(s.cells + s.word, y + 18, text, colour=colour, align="center")

    def _torn(self, number: int, row: Row) -> None:
        s, y = self.shape, self.tops[number]
        step, teeth = 2 * s.word / 12, [(s.right, y + s.band - 8)]
        for tooth in range(1, 13):
            down = s.band - 2 if tooth % 2 else s.band - 8
            teeth.append((s.right - tooth * step, y + down))
        outline = [(s.cells, y), (s.right, y), *teeth]
        self.pen.path([outline], fill="top", closed=True)
        self.pen.path([[(s.cells, y), *reversed(teeth), (s.right, y)]], edge="edge")
        text = _fit(row.text, 2 * s.word - 16, 12)
        self.pen.text(s.cells + 8, y + 15, text, colour="on-light")

    def _words(self, number: int, row: Row) -> None:
        y = self.tops[number]
        above = self._neighbour(number, -1)
        below = self._neighbour(number, 1)
        for side, word in enumerate((row.left, row.right)):
            if word is None:
                continue
            other = row.right if side == 0 else row.left
            beside = INSET if other is None or self._owner(other) != self._owner(word) else 0.0
            gaps = [beside, 0.0] if side else [0.0, beside]
            top = INSET if self._parted(word, above, side) else 0.0
            end = INSET if self._parted(word, below, side) else 0.0
            self._word(word, side, y, (gaps[0], top, gaps[1], end))
        self._labels(number, row)

    def _neighbour(self, number: int, step: int) -> Row | None:
        place = number + step
        return self.rows[place] if 0 <= place < len(self.rows) else None

    @staticmethod
    def _owner(word: Word) -> int | None:
        return word.chunk

    def _parted(self, word: Word, row: Row | None, side: int) -> bool:
        """Whether the word above or below belongs to somebody else."""
        if row is None:
            return True
        if row.kind == "gap" or row.kind == "torn":
            return row.chunks[0].at != word.chunk
        if row.kind == "band":
            return word.chunk not in {chunk.at for chunk in row.chunks}
        other = row.right if side else row.left
        return other is None or other.chunk != word.chunk

    # ---- one word

    def _word(
        self, word: Word, side: int, y: float, gaps: tuple[float, float, float, float]
    ) -> None:
        s = self.shape
        x = s.middle if side else s.cells
        left, top, width, height = (
            x + gaps[0],
            y + gaps[1],
            s.word - gaps[0] - gaps[2],
            s.row - gaps[1] - gaps[3],
        )
        fill, ink, dim = paint(word)
        column = (s.word - 10) / 8
        self.pen.box(left, top, width, height, fill=fill)
        if word.fault is None:
            if word.role is Role.STALE:
                self.pen.hatch(left, top, width, height)
            if word.role is Role.PAYLOAD and word.payload is not None and word.payload < 8:
                cut = x + 5 + word.payload * column
                self.pen.box(cut, top, left + width - cut, height, fill="slack")
                self.pen.dots(cut, top, left + width - cut, height)
            if word.role in (Role.SLACK, Role.INTERNAL) or paint(word)[0] == "top":
                self.pen.dots(left, top, width, height)
        self.pen.box(left, top, width, height, edge="edge")
        if word.changed:
            self._ring(left, top, width, height)
        self._value(word, x, y, column, ink, dim)
        if s.cards is not None or self._says_more(word):
            self._bytes(word, x, y, column, ink, dim)
        self._changed(word, x, y, top + height, ink)

    def _says_more(self, word: Word) -> bool:
        """Whether the bytes of a word say what its value does not: a phone has no room for all."""
        if word.changed or word.fault is not None or word.role in (Role.LINK, Role.KEY):
            return True
        return not words.value(self.snapshot, word)

    def _value(self, word: Word, x: float, y: float, column: float, ink: str, dim: str) -> None:
        text = words.text_of(word.data)
        kept = word.data.rstrip(b"\0")
        if self.text_before and text is None and kept and all(32 <= b < 127 for b in kept):
            text = kept.decode("ascii")  # the last letter of a longer text
        plain = word.role in (Role.PAYLOAD, Role.STALE, Role.SLACK) or word.fault is not None
        self.text_before = plain and text is not None and len(text) == 8
        if plain and text is not None and word.role is not Role.SIZE:
            places = [x + 5 + (n + 0.5) * column - 4.2 for n in range(8)]
            for letters, colour in ((text, ink), ("·" * (8 - len(text)), dim)):
                start = 0 if letters is text else len(text)
                marks = [(c, p) for c, p in zip(letters, places[start:], strict=False) if c != " "]
                if marks:
                    self.pen.text(
                        x,
                        y + 19,
                        "".join(c for c, _ in marks),
                        size=14,
                        colour=colour,
                        mono=True,
                        bold=letters is text,
                        columns=[p for _, p in marks],
                    )
            return
        value = words.value(self.snapshot, word)
        note = ""
        if word.role is Role.INTERNAL or (word.role is Role.PREV_SIZE and word.chunk is None):
            note = "unused" if word.chunk is None else "last word"
            value = "" if value == "0" else value
        elif word.role is Role.PREV_SIZE and value != "0":
            note = "size of the free block" if self.shape.cards else "free size"
        elif word.role is Role.LINK:
            note = _link_name(self.snapshot, word)
        if word.fault is not None:
            value += " ✗"
        zero = value == "0"
        if value:
            long = self.shape.cards is None and len(value) > 5
            size = 12 if long else 14
            self.pen.text(
                x + 8,
                y + 19,
                value,
                size=size,
                colour=dim if zero else ink,
                mono=True,
                bold=not zero,
            )
        if note:
            size = 11 if self.shape.cards is None else 12
            end = x + self.shape.word - 8
            room = end - x - 12 - 8.6 * len(value)
            if room > FAINT * size * len(note):
                self.pen.text(end, y + 18, note, size=size, colour=dim, align="right")
        if word.role is Role.SIZE:
            self._flags(word, x, y, paint(word)[0])

    def _flags(self, word: Word, x: float, y: float, fill: str) -> None:
        """Draw the boxes A M P: filled and lettered when set, else empty and struck through."""
        box, step = (15.0, 18.0) if self.shape.cards else (14.0, 16.0)
        start = x + self.shape.word - 7 - 2 * step - box
        for number, (letter, bit) in enumerate((("A", 4), ("M", 2), ("P", 1))):
            left = start + number * step
            on = bool(word.value & bit)
            self.pen.box(
                left, y + 6.5, box, box, fill="on-dark" if on else None, edge="on-dark-dim"
            )
            self.pen.text(
                left + box / 2,
                y + 18.2,
                letter,
                size=11.5,
                colour=fill if on else "on-dark-dim",
                mono=True,
                bold=on,
                align="center",
            )
            if not on:
                self.pen.path(
                    [[(left + 2.5, y + 19), (left + box - 2.5, y + 9)]], edge="on-dark-dim"
                )

    def _bytes(self, word: Word, x: float, y: float, column: float, ink: str, dim: str) -> None:
        size = self.shape.size
        advance = 0.6 * size
        groups: dict[tuple[str, bool], list[tuple[str, float]]] = {}
        for number, byte in enumerate(word.data):
            bold = number in word.changed
            colour = ink if byte or bold else dim
            at = x + 5 + (number + 0.5) * column - advance
            digits = zip(f"{byte:02x}", (at, at + advance), strict=True)
            groups.setdefault((colour, bold), []).extend(digits)
        for (colour, bold), marks in groups.items():
            self.pen.text(
                x,
                y + 34,
                "".join(c for c, _ in marks),
                size=size,
                colour=colour,
                mono=True,
                bold=bold,
                columns=[p for _, p in marks],
            )

    def _changed(self, word: Word, x: float, y: float, bottom: float, ink: str) -> None:
        """Draw a line under the bytes that changed, and a ▲ that stands under each run of them."""
        column = (self.shape.word - 10) / 8
        for first, last in _runs(word.changed):
            left, right = x + 6 + first * column, x + 4 + (last + 1) * column
            self.pen.path([[(left, y + 37), (right, y + 37)]], edge=ink, width=1.5)
            self._notch((left + right) / 2, min(y + 43, bottom - 2.5), ink)

    def _ring(self, x: float, y: float, width: float, height: float) -> None:
        self.pen.box(x + 1, y + 1, width - 2, height - 2, edge="edge", line=3)

    def _notch(self, x: float, y: float, colour: str) -> None:
        """Draw a ▲ whose foot is at `y`: this changed."""
        self.pen.path([[(x - 5, y), (x + 5, y), (x, y - 5.5)]], fill=colour, closed=True)

    # ---- beside the words

    def _offset(self, at: int, y: float, *, bold: bool) -> None:
        region = words.region_of(self.snapshot, at)
        sign = "+" if self.shape.cards else ""
        text = f"{sign}{at - region.base:#05x}" if region else f"{at:#x}"
        size = 12.0 if self.shape.cards else 11.0
        self.pen.text(
            self.shape.labels,
            y,
            text,
            size=size,
            colour="ink" if bold else "faint",
            mono=True,
            bold=bold,
            align="right",
        )

    def _labels(self, number: int, row: Row) -> None:
        y = self.tops[number]
        starts = {chunk.at: chunk for chunk in self.snapshot.chunks}
        users = {chunk.user: chunk for chunk in self.snapshot.chunks}
        user, start = users.get(row.at), starts.get(row.at)
        size = 12.0 if self.shape.cards else 11.0
        text, colour = "", "faint"
        if user is not None and user.state is not State.TOP:
            text, colour = f"▼ {user.name or ''}".rstrip(), "ink"
        elif start is not None:
            text = "▽ chunk" if self.shape.cards else "▽"
        self._offset(row.at, y + 18, bold=colour == "ink")
        if text:
            self.pen.text(
                self.shape.labels,
                y + 34,
                _fit(text, self.shape.labels - (self.shape.pointers or 0), 1.2 * size),
                size=size,
                colour=colour,
                mono=True,
                bold=colour == "ink",
                align="right",
            )

    def _arrows(self) -> None:
        """Draw the allocator's own links in the gutter, from a link to what it leads to."""
        s = self.shape
        gutter = s.cells - s.labels
        spans: list[tuple[float, float, int, int]] = []
        for number, row in enumerate(self.rows):
            word = row.left
            if row.kind != "words" or word is None or word.role is not Role.LINK or not word.target:
                continue
            goal = self.by_address.get(word.target & -ROW)
            if goal is not None and word.target - word.at not in range(-2 * ROW, ROW):
                spans.append((self.tops[number] + 28, self.tops[goal] + 10, number, goal))
        lanes = 3 if gutter > 16 else 2
        taken: list[list[tuple[float, float]]] = [[] for _ in range(lanes)]
        for start, end, _, _ in sorted(spans, key=lambda span: abs(span[0] - span[1])):
            low, high = min(start, end), max(start, end)
            free = (
                n for n in range(lanes) if all(high < a - 2 or low > b + 2 for a, b in taken[n])
            )
            lane = next(free, lanes - 1)
            taken[lane].append((low, high))
            x = s.cells - 8 - lane * ((gutter - 10) / lanes)
            self.pen.path(
                [[(s.cells, start), (x, start), (x, end), (s.cells - 5, end)]],
                edge="ink",
                width=1.6,
            )
            head = [(s.cells, end), (s.cells - 7, end - 4), (s.cells - 7, end + 4)]
            self.pen.path([head], fill="ink", closed=True)
            self.pen.path([[(s.cells - 1.5, start - 3), (s.cells + 1.5, start)]], edge="ink")

    def _pointers(self) -> None:
        s = self.shape
        if s.pointers is None:
            return
        grouped: dict[int, list[Pointer]] = {}
        for pointer in drawn_pointers(self.snapshot):
            assert pointer.value is not None
            grouped.setdefault(pointer.value & -ROW, []).append(pointer)
        for at, group in grouped.items():
            number = self.by_address.get(at)
            if number is None:
                continue
            y = self.tops[number] + 13
            for live in (True, False):
                mine = [p for p in group if (p.state != "dangling") is live]
                if not mine:
                    continue
                colour = "ink" if live else "fault-text"
                text = _fit(", ".join(_pointing(p) for p in mine), s.pointers - 8, 15)
                wide = min(s.pointers, 7.9 * len(text) + 12)
                left = s.pointers - wide
                dash = None if live else (4.0, 3.0)
                self.pen.box(left, y - 11, wide, 22, fill="soft", edge="line" if live else colour)
                self.pen.text(
                    left + wide / 2,
                    y + 4.5,
                    text,
                    size=13,
                    colour=colour,
                    mono=True,
                    bold=True,
                    align="center",
                )
                tip = s.labels - 7.3 * 6 - 5
                self.pen.path([[(s.pointers, y), (tip, y)]], edge=colour, width=1.6, dash=dash)
                self.pen.path(
                    [[(tip - 6, y - 4), (tip, y), (tip - 6, y + 4)]], edge=colour, width=1.6
                )
                if not live:
                    self.pen.text(
                        (s.pointers + tip) / 2 - 1,
                        y - 3,
                        "✗",
                        size=13,
                        colour=colour,
                        bold=True,
                        align="center",
                    )
                y += 24

    def _bracket(self, chunk: Chunk) -> None:
        s = self.shape
        if s.cards is None:
            return
        mine = [
            n
            for n, row in enumerate(self.rows)
            if (row.kind == "words" and chunk.at <= row.at < chunk.end)
            or (row.kind == "gap" and chunk in row.chunks)
        ]
        if not mine:
            return
        top = self.tops[mine[0]] + INSET
        end = self.tops[mine[-1]] + self._height(mine[-1]) - INSET
        if chunk.state is State.TOP:
            end += s.band - 8
        self._brace(s.right + 4, top, end, "edge")
        if chunk.claims is not None:
            self._lie(chunk, top)
        self._card(chunk, top, end)

    def _height(self, number: int) -> float:
        return self.shape.row if self.rows[number].kind == "words" else self.shape.band

    def _brace(
        self, x: float, top: float, end: float, colour: str, dash: tuple[float, ...] | None = None
    ) -> None:
        line = [(x, top), (x + 6, top), (x + 6, end), (x, end)]
        self.pen.path([line], edge=colour, width=1.4 if dash is None else 2, dash=dash)

    def _lie(self, chunk: Chunk, top: float) -> None:
        """Draw how far a chunk would reach if its size word were true."""
        assert chunk.claims is not None
        last = chunk.at + max(chunk.claims, ROW) - ROW
        reached = [
            n
            for n, row in enumerate(self.rows)
            if row.kind == "words" and chunk.at <= row.at <= last
        ]
        end = self.tops[reached[-1]] + self._height(reached[-1]) - INSET
        self._brace(self.shape.right + 9, top + 5, end, "fault-text", (5.0, 3.0))

    def _card(self, chunk: Chunk, top: float, end: float) -> None:
        """Write beside a chunk what it is."""
        s = self.shape
        assert s.cards is not None
        y = max(top + 15, self.cards_end)
        room = s.width - s.cards
        title = words.name(self.snapshot, chunk)
        self.pen.text(s.cards, y, title, size=13.5, mono=True, bold=True)
        if chunk.state is not State.TOP:
            state = _fit(words.place(self.snapshot, chunk), room - 8.4 * len(title) - 8, 12)
            self.pen.text(s.cards + 8.3 * len(title) + 8, y, state, size=12, colour="faint")
        for text, colour, bold in card(self.snapshot, chunk):
            for line in _wrapped(text, room, 12):
                y += 17
                self.pen.text(s.cards, y, line, size=12, colour=colour, bold=bold)
        self.cards_end = y + 20


def card(snapshot: Snapshot, chunk: Chunk) -> list[tuple[str, str, bool]]:
    """Return the lines about a chunk: text, colour, whether bold."""
    lines = [(words.sizes(chunk), "faint", False)]
    own = snapshot.words_of(chunk)
    if chunk.claims is not None:
        lie = f"✗ claims {chunk.claims:,}, is {chunk.size:,}"
        lines.append((lie, "fault-text", True))
    elif any(word.fault for word in own):
        lines.append(("✗ a word here is impossible", "fault-text", True))
    reasons = list(dict.fromkeys(word.why for word in own if word.changed and word.why))
    lines += [(f"▲ {reason}", "ink", False) for reason in reasons[:2]]
    if len(reasons) > 2:
        lines.append((f"▲ {len(reasons) - 2} more changes", "ink", False))
    return lines


def drawn_pointers(snapshot: Snapshot) -> list[Pointer]:
    """Return the pointers that can be drawn: they lead into a region."""
    return [
        p
        for p in snapshot.pointers
        if p.value and p.heap in ("c", "none") and words.region_of(snapshot, p.value) is not None
    ]


def _pointing(pointer: Pointer) -> str:
    """Return a pointer's name, with what it is beyond the start of its row."""
    assert pointer.value is not None
    inside = pointer.value % ROW
    return pointer.name + (f" (+{inside})" if inside else "")


def _link_name(snapshot: Snapshot, word: Word) -> str:
    """Return what glibc calls a link, by its place in the chunk (malloc_chunk, tcache_entry)."""
    chunk = next((c for c in snapshot.chunks if c.at == word.chunk), None)
    if chunk is None:
        return ""
    place = (word.at - chunk.user) // 8
    if chunk.state is State.TCACHE:
        return "next" if place == 0 else ""
    names = ("fd", "bk", "fd_nextsize", "bk_nextsize")
    return names[place] if 0 <= place < len(names) else ""


def _runs(places: tuple[int, ...]) -> list[tuple[int, int]]:
    """Group neighbouring numbers: (0, 1, 4) gives [(0, 1), (4, 4)]."""
    runs: list[tuple[int, int]] = []
    for number in sorted(places):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _fit(text: str, room: float, size: float) -> str:
    """Cut `text` to `room` pixels."""
    most = max(1, int(room / (FAINT * size)))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _wrapped(text: str, room: float, size: float) -> list[str]:
    """Break `text` into lines of `room` pixels."""
    most = int(room / (FAINT * size))
    lines = [""]
    # three sizes break between two of them, not inside one
    parts = text.replace(" · ", " ·\n").split("\n") if " · " in text else text.split(" ")
    for part in parts:
        if lines[-1] and len(lines[-1]) + 1 + len(part) > most:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}".strip()
    return lines

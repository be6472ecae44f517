"""A film: the heap at a sequence of moments, and the life of each block.

The JSON form is described by ``film.schema.json`` beside this file (and in :mod:`codec`, which
writes and reads it); a film that was read back equals the one that was written, but for ``raw``.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapscope.model.canonical import Canon
from heapscope.model.snapshot import HEADER, WORD, Chunk, Role, Snapshot, State, Word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heapscope.glibc.reading import Asked, Reading
    from heapscope.teaching.table import Table

MOST_COLUMNS = 8
"""A block's table shows at most so many of its words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block was from some frame on; realloc may move and resize it."""

    frame: int  # number of the first frame that shows it there
    at: int  # canonical address of its chunk
    size: int  # of the chunk, bytes
    requested: int | None  # bytes asked for


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that went wrong with a block."""

    frame: int
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """The life of one block, from the call that returned it to the one that freed it."""

    name: str
    born: int  # number of the first frame in which it is in use
    died: int | None  # number of the first frame in which it is free; None: never freed
    places: tuple[Place, ...]
    born_line: int | None = None
    died_line: int | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def leaked(self) -> bool:
        """Whether nobody freed it before the film ended."""
        return self.died is None

    @property
    def at(self) -> int:
        """Canonical address of its chunk, where it was first."""
        return self.places[0].at


@dataclass(frozen=True, slots=True)
class BlockTable:
    """What happened to one block: a row for each line that changed it."""

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    frames: tuple[int, ...]  # the frame of each row

    def _table(self) -> Table:
        from heapscope.teaching.table import Table  # the model does not need it otherwise

        return Table(self.head, [(f"`{line}`", *cells) for line, *cells in self.rows])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self._table()._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        return str(self._table())


@dataclass(frozen=True, slots=True)
class Film:
    """A recorded run."""

    frames: tuple[Snapshot, ...]
    title: str = ""
    source: str = ""  # text of the program
    language: str = "c"  # c | go | python | calls
    file: str = ""  # name of the source file
    caption: str = ""
    blocks: tuple[Block, ...] = ()  # in order of allocation
    raw: tuple[Reading, ...] | None = dataclasses.field(default=None, compare=False, repr=False)
    """The readings with their real addresses and bytes, frame by frame; not part of the JSON."""

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame: int) -> Snapshot:
        return self.frames[frame]

    def block(self, name: str) -> Block:
        """Return the latest block called `name`; KeyError lists the names there are."""
        for block in reversed(self.blocks):
            if block.name == name:
                return block
        known = ", ".join(dict.fromkeys(block.name for block in self.blocks)) or "none"
        raise KeyError(f"no block of this film is called {name!r}; its blocks: {known}")

    def statement(self, frame: int) -> str:
        """Return the source line executed just before `frame`, without its comment.

        Where there is no source it is the call that the recorder saw; "" when there is neither.
        """
        shot = self.frames[frame]
        lines = self.source.splitlines()
        if shot.line is not None and 0 < shot.line <= len(lines):
            return re.sub(r"\s*(//.*|/\*.*\*/\s*)$", "", lines[shot.line - 1]).strip()
        return "; ".join(event.text for event in shot.events)

    def table(self, name: str, columns: tuple[str, ...] | None = None) -> BlockTable:
        """Return the table of the block called `name`: each line that changed it.

        The block is followed by its place, under whatever name. `columns` names its words (the
        fields of a struct); without it they are called after their offset.
        """
        at, count = self._followed(name)
        count = min(count, MOST_COLUMNS)
        heads = [f"byte {WORD * i}" for i in range(count)]
        for number, column in enumerate((columns or ())[:count]):
            heads[number] = column
        rows: list[tuple[str, ...]] = []
        frames: list[int] = []
        last: tuple[object, ...] | None = None
        olds: dict[int, tuple[bytes, str]] = {}
        for number, shot in enumerate(self.frames):
            chunk = next((c for c in shot.chunks if c.at == at), None)
            if chunk is None or chunk.state in (State.TOP, State.FOLDED):
                continue
            words = {w.at: w for w in shot.words if w.chunk == at}
            row = [words.get(chunk.user + WORD * i) for i in range(count)]
            now = (chunk.state, *(w and (w.data, w.role is Role.LINK) for w in row))
            if now != last:
                cells = [self._cell(w, olds, shot) for w in row]
                rows.append((self.statement(number), _state(chunk), *cells))
                frames.append(number)
            for word in row:
                if word is not None and word.role in (Role.LINK, Role.KEY):
                    olds[word.at] = (word.data, f"old {word.role}")
            last = now
        head = ("after this line", "the block is", *heads)
        return BlockTable(name, head, tuple(rows), tuple(frames))

    def _followed(self, name: str) -> tuple[int, int]:
        """Return the chunk called `name`, and how many words of it the program asked for."""
        for shot in reversed(self.frames):
            for chunk in shot.chunks:
                if chunk.name == name:
                    size = chunk.usable if chunk.requested is None else chunk.requested
                    return chunk.at, -(-size // WORD)
        place = self.block(name).places[-1]
        size = place.size - WORD if place.requested is None else place.requested
        return place.at, -(-size // WORD)

    @staticmethod
    def _cell(word: Word | None, olds: dict[int, tuple[bytes, str]], shot: Snapshot) -> str:
        if word is None:
            return ""
        if word.role is Role.KEY and word.fault is None:
            return "key"
        if word.role is Role.LINK and word.fault is None:
            target = shot.chunk_at(word.target) if word.target else None
            name = "∅" if not word.target else (target and target.name) or f"{word.target:#x}"
            return f"link → {name}"
        old = olds.get(word.at)
        if old is not None and old[0] == word.data:
            return old[1]
        return f"`{word.data.hex(' ')}`{_meaning(word.data)}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from heapscope.views.film import player  # the model does not need views otherwise

        return player(self)._repr_mimebundle_()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        from heapscope.model.codec import film_to_json

        return film_to_json(self)

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Film:
        """Build a film from its JSON form; ValueError says what is wrong with it."""
        from heapscope.model.codec import film_from_json

        return film_from_json(form)


def _state(chunk: Chunk) -> str:
    if chunk.state.free:
        return f"free, in {chunk.state}"
    return str(chunk.label if chunk.state is State.UNKNOWN and chunk.label else chunk.state)


def _meaning(data: bytes) -> str:
    """Say what eight bytes may mean: a text or a small number; nothing when they are zero."""
    text = data.split(b"\0")[0]
    if len(text) > 1 and all(32 < b < 127 for b in text) and not data[len(text) :].strip(b"\0"):
        return f" {text.decode()}"
    number = int.from_bytes(data, "little", signed=True)
    return f" {number}" if number and abs(number) < 1 << 32 else ""


@dataclass(slots=True)
class _Life:
    """A block's life in the making."""

    name: str
    born: int
    born_line: int | None
    places: list[Place]
    died: int | None = None
    died_line: int | None = None
    marks: list[Mark] = dataclasses.field(default_factory=list)


class Reel:
    """Takes readings one after another and makes the film of them.

    It keeps the fixed addresses for all frames, so every frame of one reel fits the others.
    """

    def __init__(self) -> None:
        self.canon = Canon()
        self.frames: list[Snapshot] = []
        self.readings: list[Reading] = []
        self._lives: dict[object, _Life] = {}  # by identity, in order of allocation
        self._at: dict[int, object] = {}  # real user address -> identity of the latest block

    def add(self, reading: Reading) -> Snapshot:
        """Decode `reading` as the next frame and return it."""
        from heapscope.glibc.decode import decode  # the model does not need glibc otherwise

        before = self.frames[-1] if self.frames else None
        shot = decode(reading, before, self.canon)
        self.frames.append(shot)
        self.readings.append(reading)
        self._live(reading, shot)
        self._mark(shot, before)
        return shot

    def _live(self, reading: Reading, shot: Snapshot) -> None:
        """Bring the blocks' lives up to date with one frame."""
        number = len(self.frames) - 1
        chunks = {chunk.at: chunk for chunk in shot.chunks}
        for user, asked in sorted(reading.blocks.items(), key=lambda item: item[1].call):
            if asked.internal:
                continue
            identity: object = asked.order if asked.order is not None else (user, asked.call)
            old = self._at.get(user)
            if old is not None and old != identity:
                self._end(old, number, shot.line)  # its free went unseen
            self._at[user] = identity
            moved = self.canon.anywhere(user - HEADER)
            at = user - HEADER if moved is None else moved
            chunk = chunks.get(at)
            life = self._lives.get(identity)
            if life is None:
                place = self._place(number, at, chunk, asked)
                name = (chunk and chunk.name) or asked.name or "?"
                life = self._lives[identity] = _Life(name, number, shot.line, [place])
            if asked.freed is not None:
                self._end(identity, number, shot.line)
                continue
            if chunk is not None and chunk.name is not None:
                life.name = chunk.name
            last = life.places[-1]
            if (last.at, last.requested) != (at, asked.requested):
                life.places.append(self._place(number, at, chunk, asked))

    @staticmethod
    def _place(number: int, at: int, chunk: Chunk | None, asked: Asked) -> Place:
        size = chunk.size if chunk is not None else (asked.requested or 0) + WORD
        return Place(number, at, size, asked.requested)

    def _end(self, identity: object, number: int, line: int | None) -> None:
        life = self._lives.get(identity)
        if life is not None and life.died is None:
            life.died, life.died_line = number, line

    def _mark(self, shot: Snapshot, before: Snapshot | None) -> None:
        """Put faults that are new in this frame on the lanes of the blocks they concern."""
        known = {(f.at, f.text) for f in before.faults} if before is not None else set()
        latest = {life.places[-1].at: life for life in self._lives.values()}
        number = len(self.frames) - 1
        for fault in shot.faults:
            life = latest.get(fault.chunk) if fault.chunk is not None else None
            if life is not None and (fault.at, fault.text) not in known:
                life.marks.append(Mark(number, fault.text))
        for event in shot.events:
            life = latest.get(event.chunk) if event.chunk is not None else None
            if life is not None and event.kind == "fault":
                life.marks.append(Mark(number, event.text))

    def film(self, title: str = "", source: str = "", language: str = "c", file: str = "") -> Film:
        """Return the film so far."""
        caption = ""
        if self.frames:
            shot = self.frames[0]
            caption = f"glibc {shot.glibc} · {shot.arch} · recorded by running this"
            caption += " · addresses moved to a fixed base"
        blocks = tuple(
            Block(
                life.name,
                life.born,
                life.died,
                tuple(life.places),
                life.born_line,
                life.died_line,
                tuple(life.marks),
            )
            for life in self._lives.values()
        )
        raw = tuple(self.readings)
        return Film(tuple(self.frames), title, source, language, file, caption, blocks, raw)

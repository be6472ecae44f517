"""The same facts as the picture, as tables: HTML, plain text and Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from heapscope.model.snapshot import Chunk, Role, Snapshot, State
from heapscope.views import words
from heapscope.views.grid import Grid
from heapscope.views.picture import with_style

MOST_BYTES = 16
"""So many payload bytes are given in a table."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A snapshot in words and tables."""

    words: str
    grids: tuple[Grid, ...]

    def html(self) -> str:
        """Return sentence and tables as HTML."""
        tables = "".join(
            f'<div class="hs-scroll" role="group" tabindex="0" aria-label="{grid.caption}">'
            f"{grid.html()}</div>"
            for grid in self.grids
        )
        return f'<div class="hs-facts"><p>{Grid.escape(self.words)}</p>{tables}</div>'

    def text(self) -> str:
        """Return sentence and tables as plain text."""
        return "\n\n".join([self.words, *(grid.text() for grid in self.grids)])

    def markdown(self) -> str:
        """Return sentence and tables as Markdown."""
        return "\n\n".join([self.words, *(grid.markdown() for grid in self.grids)])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {
            "text/html": with_style(self.html()),
            "text/markdown": self.markdown(),
            "text/plain": self.text(),
        }

    def __repr__(self) -> str:
        return self.text()


def table(snapshot: Snapshot) -> Facts:
    """Return the chunks, free lists, pointers, changes and faults of `snapshot` as tables."""
    grids = [_chunks(snapshot)]
    grids += [
        grid
        for grid in (_lists(snapshot), _pointers(snapshot), _changes(snapshot), _faults(snapshot))
        if grid.rows
    ]
    return Facts(words.sentence(snapshot), tuple(grids))


def _chunks(snapshot: Snapshot) -> Grid:
    head = ("block", "chunk at", "state", "requested", "usable", "chunk", "flags", "content")
    rows = []
    for chunk in snapshot.chunks:
        mine = chunk.state not in words.NOT_BLOCKS
        claims = "" if chunk.claims is None else f" (its size word claims {chunk.claims:,})"
        asked = "not known" if mine else ""
        rows.append(
            (
                words.name(snapshot, chunk),
                words.offset(snapshot, chunk.at),
                words.place(snapshot, chunk),
                asked if chunk.requested is None else f"{chunk.requested:,}",
                f"{chunk.usable:,}" if mine else "",
                f"{chunk.size:,}{claims}",
                words.flags(chunk),
                content(snapshot, chunk),
            )
        )
    base = f"{snapshot.regions[0].base:#x}" if snapshot.regions else "none"
    return Grid(head, tuple(rows), f"Chunks in address order; offsets from {base}, sizes in bytes")


def content(snapshot: Snapshot, chunk: Chunk) -> str:
    """Return what is in a chunk, in words."""
    if chunk.state in (State.TOP, State.FENCE, State.FOLDED):
        return ""
    inside = [w for w in snapshot.words_of(chunk) if w.role is not Role.SIZE]
    if chunk.state is State.TABLE:
        heads = [f"→ {words.target(snapshot, w.target)}" for w in inside if w.target]
        return ", ".join(heads)
    parts = [words.value(snapshot, w) for w in inside if w.role in (Role.LINK, Role.KEY)]
    kept = [w for w in inside if w.role in (Role.PAYLOAD, Role.STALE)]
    data = b"".join(w.data[: w.payload if w.payload is not None else 8] for w in kept)
    if data:
        parts.append(("old bytes: " if chunk.state.free else "") + _bytes(data))
    return ", ".join(parts)


def _bytes(data: bytes) -> str:
    """Return bytes as text or hex, the beginning only."""
    if not any(data):
        return "zeros"
    text = words.text_of(data)
    if text is not None:
        return f"“{text[: 2 * MOST_BYTES]}{'…' if len(text) > 2 * MOST_BYTES else ''}”"
    shown = data.rstrip(b"\0")
    more = " …" if len(shown) > MOST_BYTES or len(shown) < len(data) else ""
    return shown[:MOST_BYTES].hex(" ") + more


def _lists(snapshot: Snapshot) -> Grid:
    rows = []
    for found in snapshot.lists:
        if not found.links and not found.fault:
            continue
        count = "" if found.count is None else str(found.count)
        links = "; ".join(
            f"{link.name or words.target(snapshot, link.at)}: {words.decoded(link)}"
            for link in found.links
        )
        rows.append((words.chain(snapshot, found), count, links, found.fault or ""))
    head = ("list, next out first", "counted", "stored links", "fault")
    return Grid(head, tuple(rows), "Free lists in list order")


def _pointers(snapshot: Snapshot) -> Grid:
    rows = tuple(
        (
            pointer.name,
            pointer.type,
            pointer.text or _value(snapshot, pointer.value),
            pointer.state,
        )
        for pointer in snapshot.pointers
    )
    return Grid(("pointer", "type", "value", "state"), rows, "Pointers of the program")


def _value(snapshot: Snapshot, address: int | None) -> str:
    if address is None:
        return ""
    if address == 0:
        return "NULL"
    chunk = snapshot.chunk_holding(address)
    at = words.offset(snapshot, address)
    return f"{at}, in {words.name(snapshot, chunk)}" if chunk else at


def _changes(snapshot: Snapshot) -> Grid:
    rows = tuple(
        (words.offset(snapshot, word.at), word.why, word.data.hex(" "))
        for word in snapshot.words
        if word.changed and word.why
    )
    return Grid(("word at", "what changed", "bytes now"), rows, "Changed since the frame before")


def _faults(snapshot: Snapshot) -> Grid:
    rows = tuple((words.offset(snapshot, fault.at), fault.text) for fault in snapshot.faults)
    return Grid(("word at", "what is impossible"), rows, "Broken")

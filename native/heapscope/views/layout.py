"""Which rows of a heap a picture shows: 16 bytes each, what is long folded into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from heapscope.model.snapshot import Chunk, Region, Role, Snapshot, State, Word
from heapscope.views import words

ROW = 16
"""Bytes in a row."""
MOST_ROWS = 30
"""So many rows a picture shows unless it is told otherwise."""
WHOLE = 7
"""A block of at most so many rows is shown whole; of a longer one …"""
HEAD_ROWS = 4
"""… the first rows, its size word's included (fewer where they are all zero), the last one, …"""
MOST_CHANGED = 4
"""… and so many of the others that changed or are impossible."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture."""

    kind: str  # words | band (chunks folded into one) | gap (rows left out) | region | torn (top)
    at: int  # canonical address of its first byte
    left: Word | None = None
    right: Word | None = None
    text: str = ""
    chunks: tuple[Chunk, ...] = ()  # what a band or a gap stands for
    changed: bool = False


def rows(
    snapshot: Snapshot, only: Collection[str] | None = None, limit: int = MOST_ROWS
) -> list[Row]:
    """Return the rows of a picture in address order.

    `only` names blocks or regions: all others are folded. `limit` bounds the rows of words; the
    blocks in the middle are folded first, those that changed or are impossible last. Raises
    KeyError when `only` names nothing there is.
    """
    shown = _chosen(snapshot, only)
    wanted = {chunk.at: _chunk_rows(snapshot, chunk) for chunk in snapshot.chunks}
    kept = _within(snapshot, shown, wanted, limit)
    table = {word.at: word for word in snapshot.words}
    result: list[Row] = []
    regions = [r for r in snapshot.regions if any(_inside(r, c) for c in snapshot.chunks)]
    for region in regions:
        mine = [chunk for chunk in snapshot.chunks if _inside(region, chunk)]
        if only is not None and region is not regions[0] and not any(c.at in kept for c in mine):
            continue
        if len(regions) > 1:
            text = f"{region.name} · base {region.base:#x} · {words.bytes_(region.length)}"
            result.append(Row("region", region.base, text=text))
        result += _region(snapshot, mine, kept, wanted, table)
    return result


def _inside(region: Region, chunk: Chunk) -> bool:
    return region.base <= chunk.at < region.end


def _chosen(snapshot: Snapshot, only: Collection[str] | None) -> list[Chunk]:
    """Return the chunks that may be shown word by word."""
    chunks = [c for c in snapshot.chunks if c.state not in (State.TABLE, State.FOLDED, State.FENCE)]
    if only is None:
        return chunks
    names = {only} if isinstance(only, str) else set(only)
    regions = {region.name: region for region in snapshot.regions}
    known = {c.name for c in snapshot.chunks if c.name} | set(regions)
    if names - known:
        missing = ", ".join(sorted(names - known))
        raise KeyError(f"no block or region is called {missing}; there are {', '.join(known)}")
    inside = [regions[name] for name in names if name in regions]
    return [c for c in chunks if c.name in names or any(_inside(r, c) for r in inside)]


def _chunk_rows(snapshot: Snapshot, chunk: Chunk) -> list[int]:
    """Return the addresses of a chunk's rows that are worth showing."""
    if chunk.state is State.TOP:
        return [chunk.at]
    own = snapshot.words_of(chunk)
    every = sorted({word.at & -ROW for word in own} | {chunk.at})
    every = [at for at in every if at < chunk.end]
    if len(every) <= WHOLE:
        return every
    head = every[:HEAD_ROWS]
    boring = {w.at & -ROW for w in own if not w.value and not w.changed and not w.fault}
    boring -= {w.at & -ROW for w in own if w.value or w.changed or w.fault}
    while len(head) > 2 and head[-1] in boring:
        head.pop()
    special = [w.at & -ROW for w in own if w.changed or w.fault]
    middle = [at for at in dict.fromkeys(special) if at not in (*head, every[-1])]
    return sorted({*head, *middle[:MOST_CHANGED], every[-1]})


def _within(
    snapshot: Snapshot, shown: list[Chunk], wanted: dict[int, list[int]], limit: int
) -> set[int]:
    """Return the chunks that fit into `limit` rows: first, last and special ones before others."""
    if sum(len(wanted[chunk.at]) for chunk in shown) <= limit:
        return {chunk.at for chunk in shown}
    special = {word.chunk for word in snapshot.words if word.changed or word.fault}
    special |= {fault.chunk for fault in snapshot.faults}
    ends = [chunk for chunk in shown if chunk.state is State.TOP] + shown[:2] + shown[-2:]
    order = [*ends, *(c for c in shown if c.at in special), *shown]
    kept: set[int] = set()
    used = 0
    for chunk in order:
        need = len(wanted[chunk.at])
        if chunk.at not in kept and (used + need <= limit or not kept):
            kept.add(chunk.at)
            used += need
    return kept


def _region(
    snapshot: Snapshot,
    chunks: list[Chunk],
    kept: set[int],
    wanted: dict[int, list[int]],
    table: dict[int, Word],
) -> list[Row]:
    result: list[Row] = []
    run: list[Chunk] = []
    for chunk in chunks:
        if chunk.at in kept:
            result += _band(snapshot, run)
            run = []
            result += _words(snapshot, chunk, wanted[chunk.at], table)
        elif chunk.state in (State.TABLE, State.FOLDED, State.FENCE):
            result += _band(snapshot, run)
            run = []
            result += _band(snapshot, [chunk])
        else:
            run.append(chunk)
    result += _band(snapshot, run)
    return result


def _band(snapshot: Snapshot, run: list[Chunk]) -> list[Row]:
    """Return one row for chunks that are not shown word by word."""
    if not run:
        return []
    first = run[0]
    own = [word for chunk in run for word in snapshot.words_of(chunk)]
    if len(run) == 1 and first.state in words.NOT_BLOCKS:
        text = f"{first.label or first.state}, {words.bytes_(first.size)}"
        if first.state is State.TABLE:
            heads = [w.target for w in own if w.role is Role.INTERNAL and w.target]
            text += "".join(f" · → {words.target(snapshot, at)}" for at in heads[:3])
    elif len(run) == 1:
        text = f"{words.name(snapshot, first)}, {words.place(snapshot, first)}, "
        text += words.bytes_(first.size)
    else:
        mine = [chunk for chunk in run if chunk.state not in words.NOT_BLOCKS]
        states = Counter("free" if c.state.free else str(c.state) for c in mine)
        counted = ", ".join(f"{n} {state}" for state, n in states.items())
        total = words.bytes_(run[-1].end - first.at)
        if len(states) == 1:
            counted = f"all {next(iter(states))}"
        text = f"⋯ {len(mine)} block{'' if len(mine) == 1 else 's'}, {total}, {counted}"
    return [
        Row("band", first.at, text=text, chunks=tuple(run), changed=any(w.changed for w in own))
    ]


def _words(
    snapshot: Snapshot, chunk: Chunk, addresses: list[int], table: dict[int, Word]
) -> list[Row]:
    result = []
    expected = chunk.at
    for at in addresses:
        if at > expected:
            result.append(_gap(snapshot, chunk, expected, at))
        left = table.get(at) or _missing(snapshot, at)
        result.append(Row("words", at, left, table.get(at + 8) or _missing(snapshot, at + 8)))
        expected = at + ROW
    end = chunk.user + chunk.usable - 8 & -ROW if chunk.state is State.MMAPPED else chunk.end
    if chunk.state is State.TOP:
        left_over = f"top: {words.bytes_(chunk.size)} not handed out yet"
        result.append(Row("torn", chunk.at + ROW, text=left_over, chunks=(chunk,)))
    elif expected < end:
        result.append(_gap(snapshot, chunk, expected, end))
    return result


def _gap(snapshot: Snapshot, chunk: Chunk, start: int, end: int) -> Row:
    region = words.region_of(snapshot, start)
    text = f"⋯ {words.bytes_(end - start)} more of {words.name(snapshot, chunk)}"
    if region is not None and end <= region.end and not any(region.read(start, end - start)):
        text += ", all 0"
    return Row("gap", start, text=text, chunks=(chunk,))


def _missing(snapshot: Snapshot, at: int) -> Word | None:
    """Return a word that the snapshot does not list: the last one of a folded chunk, mostly."""
    region = words.region_of(snapshot, at)
    if region is None or at + 8 > region.end:
        return None
    owner = next((c for c in snapshot.chunks if c.at + 8 <= at < c.end + 8), None)
    if owner is None:
        return None
    return Word(at, region.read(at), Role.INTERNAL, owner.at)

"""From the bytes of a glibc heap to a :class:`~heapscope.model.snapshot.Snapshot`.

``decode`` accepts anything: what is impossible is said in ``Word.fault``, ``FreeList.fault`` and
``Snapshot.faults``; it does not raise on corrupt bytes and does not loop.  Sources: the structures
and checks of glibc's ``malloc/malloc.c`` and ``malloc/arena.c``; numbers are in ``layouts.json``.
"""

from __future__ import annotations

import dataclasses
import re

from heapscope.glibc.chunks import Piece
from heapscope.glibc.judge import judge
from heapscope.glibc.lists import RawList
from heapscope.glibc.reading import RawPointer, Reading
from heapscope.glibc.scene import Scene
from heapscope.glibc.survey import survey
from heapscope.glibc.words import Painted, Painter
from heapscope.model.canonical import Canon
from heapscope.model.snapshot import (
    HEADER,
    WORD,
    Chunk,
    Event,
    FreeList,
    Link,
    Pointer,
    Region,
    Snapshot,
    State,
)


def decode(
    reading: Reading, before: Snapshot | None = None, canon: Canon | None = None
) -> Snapshot:
    """Decode one reading.

    `before` is the snapshot of the frame before (for what changed and why); `canon` holds the fixed
    addresses and must be the same object for all frames of a film.  Without it the reading stands
    alone.
    """
    scene = Scene(reading, before, Canon() if canon is None else canon)
    survey(scene)
    judge(scene)
    _fold(scene)
    painted = {span.base: _paint(scene, span.base) for span in scene.memory.spans}
    regions = sorted((p.region for p in painted.values()), key=lambda region: region.base)
    words = Painter(scene, painted).words()
    chunks = sorted((_chunk(scene, piece) for piece in scene.pieces), key=lambda chunk: chunk.at)
    return Snapshot(
        glibc=reading.glibc,
        arch=reading.arch,
        regions=tuple(regions),
        chunks=tuple(chunks),
        words=words,
        lists=tuple(_list(scene, f) for f in scene.lists if f.entries or f.broken or f.count),
        pointers=tuple(_pointer(scene, pointer) for pointer in reading.pointers),
        events=tuple(_event(scene, event) for event in reading.events),
        faults=tuple(sorted(scene.faults, key=lambda fault: (fault.at, fault.text))),
        line=reading.line,
        stack=reading.stack,
        output=reading.output,
        stop=reading.stop,
        note="; ".join(scene.notes) or None,
        go=dict(reading.go),
    )


def _fold(scene: Scene) -> None:
    """Join neighbouring blocks that the program did not ask for."""
    result: list[Piece] = []
    for piece in scene.pieces:
        asked = scene.asked(piece)
        if asked is not None and asked.freed is not None and piece.free_list is None:
            _move_link(scene, piece)
        used = piece.state is State.IN_USE or piece.state is State.MMAPPED
        strange = used and not piece.lie and piece.free_list is None
        if asked is None or asked.freed is not None:
            strange = strange and scene.reading.complete
        else:
            strange = strange and asked.internal
        if not strange:
            result.append(piece)
            continue
        last = result[-1] if result else None
        joined = last is not None and last.state is State.FOLDED and last.end == piece.at
        if last is not None and joined and piece.span is last.span:
            last.size += piece.size
            last.parts += 1
            last.usable = last.size - WORD
        else:
            piece.state = State.FOLDED
            piece.name = piece.requested = None
            result.append(piece)
    for piece in result:
        if piece.state is State.FOLDED:
            blocks = "1 block" if piece.parts == 1 else f"{piece.parts} blocks"
            piece.label = f"{blocks} the program did not ask for"
            _hide(scene, piece)
        elif piece.state.free and scene.asked(piece) is None:
            former = scene.reading.former
            if former is not None and piece.at + HEADER not in former:
                _hide_stale(scene, piece)
    scene.pieces = result
    scene.settle_starts()


def _move_link(scene: Scene, piece: Piece) -> None:
    """Move the link of a freed block that is on no list we know: another thread's tcache has it."""
    at = piece.at + HEADER
    raw = scene.memory.u64(at)
    if raw and scene.layout.safe_linking:
        moved = scene.canon.protected(raw, at)
        if moved is not None:
            scene.fixed.setdefault(at, moved)


def _hide(scene: Scene, piece: Piece) -> None:
    """Blank a block that is not shown.

    Libraries keep there what differs from run to run: addresses, numbers of processes and threads.
    """
    words, base = piece.span.words, piece.span.base
    for index in range(piece.at + HEADER - base >> 3, min(piece.end - base >> 3, len(words))):
        if words[index]:
            scene.fixed.setdefault(base + index * WORD, 0)


def _hide_stale(scene: Scene, piece: Piece) -> None:
    """Blank the old bytes of a free chunk that was never the program's own.

    Libraries leave behind what differs from run to run: addresses as text, numbers of processes.
    """
    words, base = piece.span.words, piece.span.base
    first = piece.at + HEADER + (4 if piece.state is State.LARGE else 2) * WORD
    for index in range(first - base >> 3, min(piece.end - base >> 3, len(words))):
        if words[index]:
            scene.fixed.setdefault(base + index * WORD, 0)


def _paint(scene: Scene, base: int) -> Painted:
    """Rewrite one span to canonical words, and compare it with the frame before."""
    span = scene.memory.span(base)
    assert span is not None
    place = scene.ranges[base]
    words = scene.canon.rewrite(base, span.words, scene.fixed)
    data = b"".join(word.to_bytes(WORD, "little") for word in words)
    region = Region(place.name, place.to, data, span.end - base)
    if scene.before is None:
        return Painted(span, region, words, words, [])
    same = next((r for r in scene.before.regions if r.base == place.to), None)
    old: list[int] = []
    if same is not None:
        padded = same.data + bytes(-len(same.data) % WORD)
        old = memoryview(padded).cast("Q").tolist()
    changed: list[int] = []
    if words != old:
        common = min(len(words), len(old))
        changed = [i for i in range(common) if words[i] != old[i]]
        longer = words if len(words) > common else old
        changed += [i for i in range(common, len(longer)) if longer[i]]
    return Painted(span, region, words, old, changed)


def _chunk(scene: Scene, piece: Piece) -> Chunk:
    return Chunk(
        at=scene.to(piece.at),
        size=piece.size,
        flags=piece.flags,
        state=piece.state,
        requested=piece.requested,
        usable=piece.usable,
        name=piece.name,
        free_list=piece.free_list,
        claims=scene.value(piece.at + WORD, piece.word) & ~7 if piece.lie else None,
        arena=piece.arena,
        label=piece.label,
    )


def _list(scene: Scene, found: RawList) -> FreeList:
    links = []
    for entry in found.entries:
        start = scene.to(entry.chunk)
        name = scene.names.get(entry.chunk + HEADER)
        raw, target = scene.fixed[entry.slot], scene.targets[entry.slot]
        links.append(Link(scene.to(entry.at), start, raw, target, found.protected, name))
    fault = None
    if found.broken is not None:
        fault = scene.word_faults.get(found.broken.slot // WORD * WORD)
    elif found.count_at is not None and found.count != len(found.entries):
        fault = scene.word_faults.get(found.count_at)
    elif found.wrong_back:
        fault = scene.word_faults.get(found.wrong_back[0][0])
    return FreeList(
        found.name, found.kind, found.size, tuple(links), found.count, fault, found.arena
    )


def _pointer(scene: Scene, raw: RawPointer) -> Pointer:
    value, heap = raw.value, raw.heap
    if value is None:
        state = raw.state or ("value" if raw.text is not None or raw.cells else "unset")
        return Pointer(
            raw.name, raw.type, None, None, state, heap or "none", raw.text, raw.cells, raw.scope
        )
    moved = scene.canon.anywhere(value)
    piece = scene.holding(value)
    gone = scene.canon.gone(value)
    to = None
    state = "ok"
    if value == 0:
        state, heap = "null", heap or "none"
    elif piece is not None:
        to, heap = scene.to(piece.at), heap or "c"
        held = piece.state in (State.IN_USE, State.MMAPPED, State.FOLDED, State.TABLE)
        if not held or _dangled(scene, raw, moved):
            state = "dangling"
    elif gone is not None and gone.name:
        state, heap = "dangling", heap or "c"
    elif scene.memory.span(value) is not None:
        heap = heap or "c"
    else:
        known = scene.canon.range_of(value)
        kinds = {"program": "static", "libc": "static", "stack": "stack"}
        heap = heap or kinds.get(known.kind if known else "", "none")
        state = "ok" if known else "value"
    return Pointer(
        raw.name,
        raw.type,
        value if moved is None else moved,
        to,
        raw.state or state,
        heap,
        raw.text,
        raw.cells,
        raw.scope,
    )


def _dangled(scene: Scene, raw: RawPointer, moved: int | None) -> bool:
    """Whether the variable has dangled since before its block was given to somebody else."""
    if scene.before is None or raw.value is None:
        return False
    was = next(
        (p for p in scene.before.pointers if (p.name, p.scope) == (raw.name, raw.scope)), None
    )
    if was is None or was.state != "dangling" or was.value != moved:
        return False
    if scene.reading.names.get(raw.value) == raw.name:
        return False
    # A call of this frame may have given the variable the same address again.
    given = re.compile(rf"(?<![\w.>]){re.escape(raw.name)}\s*:?=(?!=)")
    return not any(e.result == raw.value and given.search(e.text) for e in scene.reading.events)


def _event(scene: Scene, event: Event) -> Event:
    """Move the addresses of an event."""
    canon = scene.canon
    chunk = event.chunk if event.chunk is not None else event.result
    if chunk is None and event.kind in ("free", "realloc") and event.args:
        chunk = event.args[0]
    piece = scene.holding(chunk) if chunk is not None else None
    args = []
    for arg in event.args:
        moved = canon.anywhere(arg) if arg > 1 << 16 else None
        args.append(arg if moved is None else moved)
    result = event.result
    if result is not None:
        moved = canon.anywhere(result)
        result = result if moved is None else moved
    return dataclasses.replace(
        event,
        args=tuple(args),
        result=result,
        chunk=None if piece is None or piece.state is State.TOP else scene.to(piece.at),
    )

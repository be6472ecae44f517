"""Find the arenas, tcache tables, free lists and chunks of a reading."""

from __future__ import annotations

from heapscope.glibc import chunks as walker
from heapscope.glibc import lists as free_lists
from heapscope.glibc.chunks import Evidence, Piece, chunk_size
from heapscope.glibc.layout import ALIGN, MIN_CHUNK, M
from heapscope.glibc.lists import ArenaView
from heapscope.glibc.memory import Span
from heapscope.glibc.scene import Scene
from heapscope.model.snapshot import HEADER, WORD, State

PAGE = 4096
_GUESSES = 64
"""How many chunks from a heap's start a tcache table is looked for."""


def survey(scene: Scene) -> None:
    """Fill `scene` with what there is; nothing is judged yet."""
    if scene.layout.known:
        _arenas(scene)
        _tables(scene)
        _lists(scene)
    _chunks(scene)


def _arenas(scene: Scene) -> None:
    main = scene.reading.main_arena
    if main is not None and len(main[1]) >= scene.layout.arena.size:
        data = main[1]

        def read_main(offset: int) -> int:
            return int.from_bytes(data[offset : offset + WORD], "little")

        scene.arenas.append(ArenaView("main", main[0], read_main))
    elif any(span.kind == "heap" for span in scene.memory.spans):
        scene.notes.append("main_arena was not found: of its free lists only the tcache is shown")
    for span in scene.memory.spans:
        if span.kind == "thread heap" and _own_arena(scene, span):
            name = scene.ranges[span.base].name.replace("thread heap", "thread")
            scene.arenas.append(_thread_arena(scene, name, span.base + scene.layout.heap_info))


def _thread_arena(scene: Scene, name: str, base: int) -> ArenaView:
    return ArenaView(name, base, lambda offset: scene.memory.u64(base + offset) or 0)


def _own_arena(scene: Scene, span: Span) -> bool:
    """Whether a thread heap is the first of its arena and so holds the malloc_state."""
    layout = scene.layout
    if span.end - span.base < layout.thread_first + MIN_CHUNK:
        return False
    pointer = span.u64(span.base + layout.ar_ptr)
    if pointer == span.base + layout.heap_info:
        return True
    other = scene.memory.span(pointer)
    if other is not None and other.kind == "thread heap" and other is not span:
        return False
    scene.fault(span.base + layout.ar_ptr, "ar_ptr leads to no arena")
    return span.u64(span.base + layout.heap_prev) == 0


def _tables(scene: Scene) -> None:
    """Find the tcache tables, and name each after the arena that it lies in."""
    for address in scene.reading.tcache or _guessed_tables(scene):
        span = scene.memory.span(address)
        if span is None or span.kind == "mmap" or address % ALIGN:
            continue
        if address + scene.layout.tcache.size > span.end:
            continue
        name, number = scene.arena_of(span), 2
        while name in scene.tables.values():
            name = f"{scene.arena_of(span)}, thread {number}"
            number += 1
        scene.tables[address] = name


def _guessed_tables(scene: Scene) -> list[int]:
    """Look for tables where nobody said where they are: the first chunk of a table's size."""
    tables = []
    for span in scene.memory.spans:
        at = first_chunk(scene, span)
        for _ in range(_GUESSES):
            if at is None or at + HEADER > span.end:
                break
            user, size = at + HEADER, span.u64(at + WORD) & ~7
            fits = size in scene.layout.tcache.chunks and user not in scene.reading.blocks
            if fits and _like_table(scene, user):
                tables.append(user)
                break
            if not walker.plausible(size):
                break
            at += size
    return tables


def _like_table(scene: Scene, user: int) -> bool:
    facts = scene.layout.tcache
    heads = [scene.memory.u64(user + facts.entries + WORD * i) for i in range(facts.bins)]
    return all(
        head is not None
        and (not head or (head % ALIGN == 0 and scene.memory.span(head) is not None))
        for head in heads
    )


def first_chunk(scene: Scene, span: Span) -> int | None:
    """Where the first chunk of a heap starts; None for a mapping that is no heap."""
    if span.kind == "heap":
        return -(-(span.base + span.first) // ALIGN) * ALIGN
    if span.kind == "thread heap":
        base = span.base + scene.layout.heap_info
        own = any(arena.base == base for arena in scene.arenas)
        return span.base + scene.layout.thread_first if own else base
    return None


def _lists(scene: Scene) -> None:
    memory, layout = scene.memory, scene.layout
    for table, whose in scene.tables.items():
        count = scene.reading.tcache_count
        scene.lists += free_lists.tcache_lists(memory, layout, table, whose, count)
    for arena in scene.arenas:
        scene.lists += free_lists.fastbin_lists(memory, layout, arena)
        scene.lists += free_lists.bin_lists(memory, layout, arena)


def _chunks(scene: Scene) -> None:
    listed = {entry.chunk for found in scene.lists for entry in found.entries}
    used: dict[int, int] = {}
    starts = {table - HEADER for table in scene.tables}
    for user, asked in scene.reading.blocks.items():
        if asked.freed is None:
            used[user - HEADER] = asked.requested or 0
        elif user - HEADER in listed:
            starts.add(user - HEADER)
    if scene.chunks_before:
        starts |= {at for at in listed if scene.canon.address(at) in scene.chunks_before}
    known = Evidence(used, starts, lambda at: _size_from_elsewhere(scene, at))
    for span in scene.memory.spans:
        first = first_chunk(scene, span)
        if first is None:
            scene.pieces += _mmapped(scene, span)
            continue
        whose = scene.arena_of(span)
        for piece in _heap(scene, span, first, known):
            piece.arena = whose
            scene.pieces.append(piece)
    scene.settle_starts()


def _size_from_elsewhere(scene: Scene, at: int) -> int | None:
    """Size of the chunk at `at` as the frame before, or the request, has it."""
    there = scene.canon.address(at)
    old = scene.chunks_before.get(there) if there is not None else None
    if old is not None and old.state not in (State.TOP, State.FOLDED, State.UNKNOWN):
        return old.size
    asked = scene.reading.blocks.get(at + HEADER)
    if asked is None or asked.requested is None or not 0 <= asked.requested < 1 << 40:
        return None
    return chunk_size(asked.requested)


def _heap(scene: Scene, span: Span, first: int, known: Evidence) -> list[Piece]:
    """Return the chunks of one heap, its top included."""
    offset = scene.layout.arena.top
    for arena in scene.arenas:
        top = arena.read(offset)
        if span.base <= top <= span.end - HEADER:
            break
    else:
        return _without_top(scene, span, first, known)
    word = span.u64(top + WORD)
    size = word & ~7
    honest = walker.plausible(size) and top + size <= span.end
    later = [at for at in known.used if top <= at < span.end]
    sound = top >= first and (top - first) % ALIGN == 0
    if sound and later and (not honest or any(at < top + size for at in later)):
        sound = False
    if sound and not walker.leads(span, first, top) and walker.leads(span, first, span.end):
        sound = False
    if not sound:
        scene.fault(arena.base + offset, f"top leads to {scene.offset(top)}, where no top chunk is")
        pieces = walker.walk(span, first, span.end, known)
        _last_is_top(pieces, span, known)
        return pieces
    piece = Piece(top, size if honest else span.end - top, word, span, lie=not honest)
    piece.state, piece.label = State.TOP, "top"
    scene.tops[top] = arena
    pieces = [*walker.walk(span, first, top, known), piece]
    if piece.end < span.end and walker.plausible(span.u64(piece.end + WORD) & ~7):
        # A mapping that joins two pieces of the main arena goes on behind the top.
        pieces += walker.walk(span, piece.end, span.end, known)
    return pieces


def _without_top(scene: Scene, span: Span, first: int, known: Evidence) -> list[Piece]:
    """Return the chunks of a heap that holds no arena's top, as far as is known."""
    pieces = walker.walk(span, first, span.end, known)
    if not scene.layout.known or (span.kind == "heap" and not scene.knows_main):
        _last_is_top(pieces, span, known)
    return pieces


def _last_is_top(pieces: list[Piece], span: Span, known: Evidence) -> None:
    """Take the last chunk for the top, where it reaches to the end and nobody knows it."""
    last = pieces[-1] if pieces else None
    if last is None or last.end != span.end or last.state is not State.IN_USE:
        return
    if last.at not in known.used and last.at not in known.starts:
        last.state, last.label = State.TOP, "top"


def _mmapped(scene: Scene, span: Span) -> list[Piece]:
    """Return the blocks of one mapping with the M flag (neighbours may have become one mapping)."""
    layout = scene.layout
    live = sorted(
        user - HEADER
        for user, asked in scene.reading.blocks.items()
        if asked.freed is None and span.base <= user - HEADER < span.end
    )
    # Where the mapping of each begins: an aligned block may lie far behind (its prev_size says it).
    begins = {start: start - (span.u64(start) & layout.mmap_offset_mask) for start in live}
    pieces: list[Piece] = []
    begin = span.base
    while begin + HEADER < span.end:
        at = next((start for start in live if begins[start] == begin), None)
        if at is None:
            at = next((start for start in live if begin <= start < begin + PAGE), begin)
        following = next(
            (begins[s] // PAGE * PAGE for s in live if begins[s] >= begin + PAGE), None
        )
        word = span.u64(at + WORD)
        length = at - begin + (word & ~7) + layout.mmap_extra
        right = bool(word & M) and not word & 8 and length >= PAGE and length % PAGE == 0
        right = right and at - begin == span.u64(at) & layout.mmap_offset_mask
        right = right and begin + length <= (span.end if following is None else following)
        if not right and begin > span.base and at not in live:
            break
        end = begin + length if right else (following or span.end)
        size = end - at - layout.mmap_extra
        if size < MIN_CHUNK:
            break
        piece = Piece(at, size, word, span, state=State.MMAPPED, lie=not right)
        piece.usable = size - layout.mmap_usable_less
        pieces.append(piece)
        begin = end
    return pieces

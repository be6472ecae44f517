"""Find the chunks of a heap by its size words, and where those lie, by what else is known.

The walk follows the size words.  A size word that contradicts a block the recorder knows about is
a lie: it is kept as what the chunk *claims*, and the walk goes on where the next known block is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from heapscope.glibc.layout import ALIGN, MIN_CHUNK
from heapscope.glibc.memory import Span
from heapscope.model.snapshot import WORD, State

FENCE = 16
"""The size a fencepost states."""


@dataclass(slots=True)
class Piece:
    """A chunk in the making (real addresses)."""

    at: int
    size: int
    word: int  # its size word
    span: Span
    arena: str = "main"
    state: State = State.IN_USE
    lie: bool = False  # the size word does not state `size`
    name: str | None = None
    requested: int | None = None
    usable: int = 0
    free_list: str | None = None
    label: str | None = None
    parts: int = 1  # how many chunks were folded into it
    walk_fault: str | None = None  # why the walk could not go on here

    @property
    def end(self) -> int:
        """Where the next chunk starts."""
        return self.at + self.size

    @property
    def flags(self) -> int:
        """The three flags of the size word."""
        return self.word & 7

    @property
    def claims(self) -> int:
        """The size that the size word states."""
        return self.word & ~7


@dataclass(slots=True)
class Evidence:
    """What is known about a span besides its size words."""

    used: dict[int, int]  # start of a chunk in use -> bytes asked for (0 when not known)
    starts: set[int]  # further addresses where a chunk certainly starts
    size: Callable[[int], int | None]  # start -> size known from elsewhere (frame before, request)


def chunk_size(requested: int) -> int:
    """Size of the chunk that malloc makes for `requested` bytes."""
    return max(MIN_CHUNK, requested + WORD + ALIGN - 1 & -ALIGN)


def plausible(size: int) -> bool:
    """Whether a chunk can have this size."""
    return size >= MIN_CHUNK and size % ALIGN == 0


def leads(span: Span, first: int, end: int) -> bool:
    """Whether the size words lead from `first` exactly to `end`."""
    return first == end or _follow(span, first, end)[1]


def walk(span: Span, first: int, limit: int, known: Evidence) -> list[Piece]:
    """Return the chunks from `first` to `limit` (the top chunk, or the end of the span)."""
    if first >= limit:
        return []
    pieces, reached = _follow(span, first, limit)
    if reached and _agrees(pieces, known, first, limit):
        return pieces
    edges = {a for a in (*known.used, *known.starts) if first <= a < limit}
    edges = {a for a in edges if (a - first) % ALIGN == 0}
    ordered = [*sorted(edges | {first}), limit]
    result: list[Piece] = []
    for start, end in pairwise(ordered):
        result.extend(_segment(span, start, end, known))
    return result


def _agrees(pieces: list[Piece], known: Evidence, first: int, limit: int) -> bool:
    sizes = {p.at: p.size for p in pieces}
    if any(first <= a < limit and a not in sizes for a in known.starts):
        return False
    return all(
        a in sizes and sizes[a] - WORD >= requested
        for a, requested in known.used.items()
        if first <= a < limit
    )


def _follow(span: Span, start: int, end: int) -> tuple[list[Piece], bool]:
    """Follow the size words from `start`; say whether they lead exactly to `end`."""
    pieces: list[Piece] = []
    words, base, count = span.words, span.base, len(span.words)
    at = start
    while at < end:
        index = (at - base >> 3) + 1
        word = words[index] if index < count else 0
        size = word & ~7
        if size < MIN_CHUNK or size & 15 or at + size > end:
            fence = _fences(span, at, end)
            if not fence:
                return pieces, False
            pieces.extend(fence)
            at = pieces[-1].end  # a mapping may join an old piece with the one after it
            continue
        pieces.append(Piece(at, size, word, span))
        at += size
    return pieces, True


def _fences(span: Span, at: int, end: int) -> list[Piece]:
    """Return the fenceposts at `at`, if that is what stands there.

    An arena that goes on elsewhere closes the old piece with two: sizes 16 and 16 in the main
    arena, 16 and 0 in a thread arena.
    """
    first = span.u64(at + WORD)
    if first & ~7 == 0 and end - at == FENCE and end == span.end:
        return [Piece(at, FENCE, first, span, state=State.FENCE)]
    if first & ~7 != FENCE or at + 2 * FENCE > end:
        return []
    second = span.u64(at + FENCE + WORD)
    if second & ~7 != FENCE and (second & ~7 or at + 2 * FENCE != span.end):
        return []
    return [
        Piece(at, FENCE, first, span, state=State.FENCE),
        Piece(at + FENCE, FENCE, second, span, state=State.FENCE),
    ]


def _segment(span: Span, start: int, end: int, known: Evidence) -> list[Piece]:
    """Divide the bytes between two known starts into chunks."""
    pieces, reached = _follow(span, start, end)
    if reached and (start not in known.used or pieces[0].size - WORD >= known.used[start]):
        return pieces
    for prefer_known in (False, True):
        pieces, reached = _divide(span, start, end, known, prefer_known)
        if reached:
            return pieces
    return pieces


def _divide(
    span: Span, start: int, end: int, known: Evidence, prefer_known: bool
) -> tuple[list[Piece], bool]:
    """Divide with the help of sizes known from elsewhere; say whether nothing was left over."""
    pieces: list[Piece] = []
    at = start
    while at < end:
        word = span.u64(at + WORD)
        claims = word & ~7
        honest = plausible(claims) and at + claims <= end
        if at in known.used and claims - WORD < known.used[at]:
            honest = False
        sure = known.size(at)
        if sure is not None and at + sure > end:
            sure = None
        if sure is not None and (prefer_known or not honest):
            # malloc adds 16 bytes where the rest would be too small for a chunk of its own.
            if end - at == sure + ALIGN and at + sure != end:
                sure += ALIGN
            size = sure
        elif honest:
            size = claims
        else:
            fences = _fences(span, at, end)
            if fences:
                pieces.extend(fences)
                at = pieces[-1].end
                continue
            piece = Piece(at, end - at, word, span, lie=True)
            if at not in known.used:
                piece.state = State.UNKNOWN
                piece.walk_fault = _reason(claims, at, end)
            pieces.append(piece)
            return pieces, at in known.used
        pieces.append(Piece(at, size, word, span, lie=size != claims))
        at += size
    return pieces, True


def _reason(claims: int, at: int, end: int) -> str:
    if claims % ALIGN:
        return "is no multiple of 16"
    if claims < MIN_CHUNK:
        return f"is less than the smallest chunk, {MIN_CHUNK}"
    if at + claims > end:
        return "reaches further than the heap goes on"
    return "leads to no chunk"


def reason(piece: Piece, limit: int, reaches: str | None) -> str:
    """Say in words why the size that `piece` claims is impossible.

    `limit` is where the heap ends, `reaches` the name of the chunk that the claim ends in.
    """
    claims = piece.claims
    if claims % ALIGN or claims < MIN_CHUNK or piece.at + claims > limit:
        text = _reason(claims, piece.at, limit)
        return text.replace("than the heap goes on", "than the heap")
    if claims > piece.size:
        return f"reaches into {reaches}" if reaches else "reaches into the next chunk"
    return "ends inside the chunk itself"

"""A snapshot in sentences: labels, the conclusion, alternative text, the caption."""

from __future__ import annotations

from collections import Counter

from heapscope.model.snapshot import Chunk, FreeList, Link, Region, Role, Snapshot, State, Word

MOST_NAMED = 3
"""So many free blocks are named in a sentence; more are counted."""
MOST_DESCRIBED = 12
"""So many blocks are described in alternative text; the table has all."""
NOT_BLOCKS = (State.TOP, State.TABLE, State.FOLDED, State.FENCE)
"""Chunks that are no block of the program."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


def blocks(snapshot: Snapshot) -> list[Chunk]:
    """Return the program's own blocks, in use and free, in address order."""
    return [chunk for chunk in snapshot.chunks if chunk.state not in NOT_BLOCKS]


def region_of(snapshot: Snapshot, address: int) -> Region | None:
    """Return the region that holds `address`."""
    return next((r for r in snapshot.regions if r.base <= address < r.end), None)


def offset(snapshot: Snapshot, address: int) -> str:
    """Return `address` as an offset from its region's base: ``+0x2a0``, ``mmap 1 +0x10``.

    The region is named when it is not the first one; an address in no region is given whole.
    """
    region = region_of(snapshot, address)
    if region is None:
        return f"{address:#x}"
    first = snapshot.regions[0]
    place = f"+{address - region.base:#x}" if address != region.base else "+0x0"
    return place if region is first else f"{region.name} {place}"


def name(snapshot: Snapshot, chunk: Chunk) -> str:
    """Return what a chunk is called; a block without a name is called after its place."""
    return chunk.name or chunk.label or f"block {offset(snapshot, chunk.user)}"


def target(snapshot: Snapshot, address: int | None) -> str:
    """Return what a link or pointer leads to: a block's name, ``∅``, ``list head``, an offset."""
    if not address:
        return "∅"
    chunk = snapshot.chunk_at(address)
    if chunk is not None:
        return chunk.name or chunk.label or offset(snapshot, address)
    if region_of(snapshot, address) is None and _is_list_end(snapshot, address):
        return "list head"
    return offset(snapshot, address)


def _is_list_end(snapshot: Snapshot, address: int) -> bool:
    """Whether a bin ends at `address`: the last link of one of the bins leads there."""
    bins = (State.UNSORTED, State.SMALL, State.LARGE)
    ends = {
        link.target
        for found in snapshot.lists
        if found.kind in bins and found.fault is None
        for link in found.links[-1:]
    }
    if address in ends:
        return True
    # A bin's head lies in main_arena, which no region shows: one of its words comes back to it.
    heads = (w for w in snapshot.words if w.role is Role.LINK and w.fault is None)
    return any(w.target == address for w in heads)


def bytes_(count: int) -> str:
    """Return a number of bytes in words: ``1 byte``, ``134,416 bytes``."""
    return f"{count:,} byte{'' if count == 1 else 's'}"


def place(snapshot: Snapshot, chunk: Chunk) -> str:
    """Return a chunk's state in words: ``in use``, ``free, first in tcache[0x20]``."""
    if not chunk.state.free:
        if chunk.state is State.MMAPPED:
            return "in use, a mapping of its own"
        return chunk.label or str(chunk.state) if chunk.state is State.UNKNOWN else str(chunk.state)
    for found in snapshot.lists:
        if found.name != chunk.free_list:
            continue
        for number, link in enumerate(found.links):
            if link.chunk == chunk.at:
                rank = _ORDINALS[number] if number < len(_ORDINALS) else f"number {number + 1}"
                # A block that another thread gave back is in that thread's tcache.
                whose = "" if found.arena == chunk.arena else _whose(found)
                return f"free, {rank} in {found.name}{whose}"
    return f"free, {chunk.free_list or chunk.state}"


def _whose(found: FreeList) -> str:
    """Say whose a free list is: `` of thread 1``; the main thread's needs no word in a chain."""
    if found.arena == "main":
        return " of the main thread" if found.kind is State.TCACHE else " of the main arena"
    # An arena is called after the first thread that had it.
    return f" of {found.arena}" if found.kind is State.TCACHE else f" of arena {found.arena}"


def sizes(chunk: Chunk) -> str:
    """Return the three sizes of a chunk: ``requested 10 · usable 24 · chunk 32``."""
    parts = [] if chunk.requested is None else [f"requested {chunk.requested:,}"]
    if chunk.state not in NOT_BLOCKS:
        parts.append(f"usable {chunk.usable:,}")
    return " · ".join([*parts, f"chunk {chunk.size:,}"])


def flags(chunk: Chunk) -> str:
    """Return the flags that are set, as glibc's letters: ``P``, ``M``, ``A P``, or ``none``."""
    letters = [x for x, bit in (("A", 4), ("M", 2), ("P", 1)) if chunk.flags & bit]
    return " ".join(letters) or "none"


def decoded(link: Link) -> str:
    """Return how a stored link leads on: ``0x5… ⊕ (0x5… >> 12) = 0x5…``."""
    if not link.protected:
        return f"{link.raw:#x}"
    end = f"{link.target:#x}" if link.target else "0, the end"
    return f"{link.raw:#x} ⊕ ({link.at:#x} >> 12) = {end}"


def chain(snapshot: Snapshot, found: FreeList) -> str:
    """Return a free list in list order: ``tcache[0x20] → B → A → ∅``."""
    names = [link.name or target(snapshot, link.at) for link in found.links]
    arena = "" if found.arena == "main" else _whose(found)
    end = "✗" if found.fault else "∅"
    return " → ".join([found.name + arena, *names, end])


def text_of(data: bytes) -> str | None:
    """Return bytes as text when they are: two printable characters or more, then only zeros."""
    text = data.rstrip(b"\0")
    if len(text) > 1 and all(32 <= b < 127 for b in text):
        return text.decode("ascii")
    return None


def value(snapshot: Snapshot, word: Word) -> str:
    """Return what a word means, as far as its role and bytes tell; "" when they do not."""
    if word.role is Role.SIZE:
        return f"{word.value:#x}"
    if word.role is Role.LINK:
        return f"→ {target(snapshot, word.target)}"
    if word.role is Role.KEY:
        return "key"
    if word.role is Role.PREV_SIZE and word.value and word.chunk is not None:
        return f"{word.value:#x}"
    if word.value == 0:
        return "0"
    if word.role is Role.INTERNAL and word.target:
        return f"→ {target(snapshot, word.target)}"
    text = text_of(word.data)
    if text is not None:
        return text
    if word.value >> 32 == 0:
        return f"{word.value:,}"
    if region_of(snapshot, word.value) is not None:
        return f"→ {target(snapshot, word.value)}"
    low, high = (int.from_bytes(part, "little", signed=True) for part in _halves(word.data))
    if word.role in (Role.PAYLOAD, Role.STALE) and abs(low) < 1 << 24 and abs(high) < 1 << 24:
        return f"{low:,} | {high:,}"  # two ints, most likely
    return ""


def _halves(data: bytes) -> tuple[bytes, bytes]:
    return data[:4], data[4:]


def sentence(snapshot: Snapshot) -> str:
    """Return the conclusion first: what is broken, how many blocks there are, which are free."""
    mine = blocks(snapshot)
    if not mine:
        top = next((c for c in snapshot.chunks if c.state is State.TOP), None)
        text = "The heap holds no block yet"
        if top is not None:
            text += f": {bytes_(top.size)} of top, none handed out"
        return _with_faults(snapshot, text + ".")
    free = [chunk for chunk in mine if chunk.state.free]
    used = sum(c.state in (State.IN_USE, State.MMAPPED) for c in mine)
    lost = len(mine) - len(free) - used
    count = "1 block" if len(mine) == 1 else f"{len(mine)} blocks"
    if len(mine) == 1:
        text = f"1 block, {name(snapshot, mine[0])}, {place(snapshot, mine[0])}"
        return _with_faults(snapshot, text + ".")
    parts = [f"{count}, {'all' if used == len(mine) else used or 'none'} in use"]
    if lost:
        parts.append(f"{lost} of unknown state")
    if len(free) > MOST_NAMED:
        lists = Counter(chunk.free_list or str(chunk.state) for chunk in free)
        parts.append(", ".join(f"{n} free in {where}" for where, n in lists.items()))
    else:
        where = [place(snapshot, c).removeprefix("free, ") for c in free]
        parts += [f"{name(snapshot, c)} is free, {w}" for c, w in zip(free, where, strict=True)]
    return _with_faults(snapshot, "; ".join(parts) + ".")


def _with_faults(snapshot: Snapshot, text: str) -> str:
    """Put what is broken first."""
    found = [fault.text for fault in snapshot.faults]
    if not found:
        return text
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    first = found[0].rstrip(".")
    return f"Broken: {first}{more}. {text}"


def described(snapshot: Snapshot, chunk: Chunk) -> str:
    """Return one chunk in words: name, place, state, sizes."""
    at = offset(snapshot, chunk.at)
    parts = [f"{name(snapshot, chunk)} at {at}"]
    if chunk.state in NOT_BLOCKS:
        return f"{parts[0]}, {bytes_(chunk.size)}"
    parts += [place(snapshot, chunk), sizes(chunk).replace(" · ", ", ")]
    if chunk.claims is not None:
        parts.append(f"its size word claims {chunk.claims:,}")
    return ", ".join(parts)


def alt(snapshot: Snapshot) -> str:
    """Return the alternative text: the conclusion, then each chunk in address order."""
    shown = snapshot.chunks[:MOST_DESCRIBED]
    texts = [described(snapshot, chunk) for chunk in shown]
    rest = len(snapshot.chunks) - len(shown)
    if rest > 0:
        texts.append(f"{rest} more chunks, listed in the table")
    body = " In address order: " + "; ".join(texts) + "." if texts else ""
    return sentence(snapshot) + body


def caption(snapshot: Snapshot) -> str:
    """Return where a picture comes from."""
    parts = [f"glibc {snapshot.glibc}, {snapshot.arch}", "recorded by running this"]
    parts.append("addresses moved to a fixed base")
    if snapshot.note:
        parts.append(snapshot.note)
    return " · ".join(parts)

"""Decide the state of every chunk, and find what is impossible.

What glibc would do about it is said where its source decides it (checks in ``malloc.c``:
``_int_malloc``, ``_int_free``, ``unlink_chunk``, ``tcache_get``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from heapscope.glibc import chunks as walker
from heapscope.glibc import lists as free_lists
from heapscope.glibc.chunks import Piece, chunk_size
from heapscope.glibc.layout import ALIGN, MIN_CHUNK, A, M, P
from heapscope.glibc.lists import Break, Entry, RawList
from heapscope.glibc.scene import BINNED, Scene
from heapscope.model.snapshot import HEADER, WORD, State

_TCACHE_MAX = 0x400
"""Chunks up to this size go to the tcache by default in every version."""


def judge(scene: Scene) -> None:
    """Settle states, names and requested sizes, and note the faults."""
    for found in scene.lists:
        _place(scene, found)
    for found in scene.lists:
        _fix_links(scene, found)
    for found in scene.lists:
        _judge_list(scene, found)
    key = _settle_key(scene)
    pieces = scene.pieces
    for piece in pieces:
        _settle(scene, piece, scene.by_start.get(piece.end), key)
    for piece in pieces:
        _judge_size(scene, piece)
    previous: Piece | None = None
    for piece in pieces:
        near = previous is not None and previous.end == piece.at
        _judge_flags(scene, piece, previous if near else None)
        previous = piece
    _judge_tops(scene)
    for piece in pieces:
        _attribute(scene, piece)


# ---- lists


def _place(scene: Scene, found: RawList) -> None:
    """Put chunks on a list; a chunk belongs to the first list that holds it."""
    free_lists.cut(found, scene.by_start)
    for index, entry in enumerate(found.entries):
        piece = scene.by_start[entry.chunk]
        bad = None
        if piece.state is State.TOP:
            bad = "the top chunk"
        elif entry.chunk + HEADER in scene.tables:
            bad = "the tcache table"
        elif piece.state in (State.FENCE, State.UNKNOWN):
            bad = free_lists.NO_CHUNK
        if bad is not None:  # it ends the list: its bytes are no link
            slot = found.entries[index - 1].slot if index else found.head
            found.broken = Break(bad, slot, entry.at)
            del found.entries[index:]
            return
        if piece.free_list is not None:
            text = f"{scene.who(piece)} is on two lists: {piece.free_list} and {found.name}"
            scene.fault(entry.slot, text, piece)
            continue
        piece.free_list = found.name
        asked = scene.asked(piece)
        if asked is not None and asked.freed is None:
            text = f"{scene.who(piece)} is in use, and {found.name} holds it: "
            scene.fault(entry.slot, text + "malloc will give it to a second owner", piece)
        else:
            piece.state = found.kind


def _fix_links(scene: Scene, found: RawList) -> None:
    """Work out the canonical form of each link, right or wrong."""
    canon = scene.canon
    for entry in found.entries:
        start = entry.target - HEADER if found.kind is State.TCACHE else entry.target
        good = not entry.target or start in scene.by_start
        good = good or (found.kind in BINNED and scene.bin_at(entry.target) is not None)
        value = None if good else canon.patched(entry.raw, entry.slot)
        if found.protected:
            if value is None:
                value = canon.protected(entry.raw, entry.slot)
            if value is None:
                value = entry.raw
            scene.targets[entry.slot] = value ^ (scene.to(entry.slot) >> scene.layout.link_shift)
        else:
            if value is None:
                value = canon.pointer(entry.raw)
            if not good and value == entry.raw:
                value = _taken_over(scene, entry.slot, entry.raw)
            scene.targets[entry.slot] = value
        scene.fixed[entry.slot] = value
    broken = found.broken
    at_head = broken is not None and broken.slot == found.head
    if broken is not None and at_head and broken.slot not in scene.fixed:
        raw = scene.memory.u64(broken.slot)
        value = raw if raw is None else _taken_over(scene, broken.slot, raw)
        if value is not None and value == raw:
            value = scene.value(broken.slot, raw)
        if value is not None and value != raw:
            scene.fixed[broken.slot] = scene.targets[broken.slot] = value


def _taken_over(scene: Scene, slot: int, raw: int) -> int:
    """Return the canonical form of a list's head that leads to nothing.

    malloc makes it from the link in the block it hands out, by undoing the protection; where that
    link had been overwritten, bits of the block's real address are left in the head.
    """
    canon, shift = scene.canon, scene.layout.link_shift
    was = canon.before(slot)
    if was is None:
        return raw
    if was[0] == raw:
        return was[1]
    link = canon.before(was[0])
    if link is not None and link[0] ^ was[0] >> shift == raw:
        return link[1] ^ was[1] >> shift
    return raw


def _judge_list(scene: Scene, found: RawList) -> None:
    for at, leads, should in found.wrong_back:
        owner = scene.owner(at)
        who = scene.who(owner) if owner else found.name
        text = f"fd of {who} leads to {scene.led(at, leads)}, and should lead to "
        scene.fault(at, f"{text}{scene.where(should)}{_bin_stop(found)}", owner)
    if found.broken is not None:
        _judge_break(scene, found, found.broken)
    elif found.count is not None and found.count != len(found.entries):
        place = found.count_at or found.head
        text = f"{found.name} counts {found.count} blocks and holds {len(found.entries)}"
        scene.fault(place, text, scene.owner(place))
    for entry in found.entries:
        piece = scene.by_start[entry.chunk]
        if found.sizes is None or found.sizes[0] <= piece.size <= found.sizes[1]:
            continue
        text = f"{scene.who(piece)} has {piece.size} bytes and is on {found.name}"
        if found.size is not None and found.size > piece.size:
            more = found.size - WORD
            text += f": the next malloc({more}) gets it and {found.size - piece.size} bytes "
            text += "that belong to others"
        scene.fault(piece.at + WORD, text, piece)


def _judge_break(scene: Scene, found: RawList, broken: Break) -> None:
    slot = broken.slot
    owner = scene.owner(slot)
    torn = scene.targets.get(slot)
    elsewhere = torn is not None and torn != scene.canon.address(broken.target)
    # a torn link: the real one may lead into the heap
    place = f"{torn:#x}" if elsewhere else scene.led(slot, broken.target)
    if owner is not None and owner.at + HEADER not in scene.tables:
        who = f"{'bk' if found.kind in BINNED else 'the link'} of {scene.who(owner)}"
    else:
        who = f"the head of {found.name}"
    if broken.reason == free_lists.LOOP:
        text = f"{who} leads back to {place}: the list never ends"
    elif broken.reason in (free_lists.NO_CHUNK, free_lists.UNALIGNED, free_lists.OUTSIDE):
        text = f"{who} leads to {place}, which is no block"
    else:
        text = f"{who} leads to {broken.reason}"
    if found.kind in BINNED:
        text += _bin_stop(found)
    elif broken.reason != free_lists.LOOP:
        text += _single_stop(found)
    scene.fault(slot, text, owner)


def _bin_stop(found: RawList) -> str:
    """Say what malloc does about a bin whose links do not fit."""
    words = {
        State.UNSORTED: "malloc(): unsorted double linked list corrupted",
        State.SMALL: "malloc(): smallbin double linked list corrupted",
    }.get(found.kind, "corrupted double-linked list")
    return f': malloc stops at this with "{words}"'


def _single_stop(found: RawList) -> str:
    """Say what malloc does about a tcache or fastbin list that leads to no block."""
    if not found.protected:
        return ": malloc will hand it out all the same"
    kind = "tcache" if found.kind is State.TCACHE else "fastbin"
    text = f': malloc stops at an address that is no multiple of 16 ("malloc(): unaligned {kind} '
    return text + 'chunk detected") and hands out any other'


def _settle_key(scene: Scene) -> int | None:
    """Find out the tcache key, and judge the key words of the listed blocks."""
    offset = scene.layout.tcache.key_offset
    held: list[tuple[RawList, Entry]] = [
        (found, entry)
        for found in scene.lists
        if found.kind is State.TCACHE
        for entry in found.entries
    ]
    if scene.layout.tcache.key == "table":
        for found, entry in held:
            _judge_key(scene, entry, found.table)
        return next(iter(scene.tables), None)
    if scene.reading.tcache_key is not None:
        scene.canon.key = scene.reading.tcache_key
    if scene.canon.key is None and held:
        words = Counter(scene.memory.u64(entry.at + offset) or 0 for _, entry in held)
        (value, times), *others = words.most_common(2)
        # A lone word is believed when it looks random; a tie tells nothing.
        if value >> 48 and (not others or others[0][1] < times):
            scene.canon.key = value
    for _, entry in held:
        _judge_key(scene, entry, scene.canon.key)
    return scene.canon.key


def _judge_key(scene: Scene, entry: Entry, key: int | None) -> None:
    piece = scene.by_start[entry.chunk]
    at = entry.at + scene.layout.tcache.key_offset
    if key is None or piece.state is not State.TCACHE or scene.memory.u64(at) == key:
        return
    who = scene.who(piece)
    text = f"the key of {who} was overwritten: glibc would not notice that {who} is freed again"
    scene.fault(at, text, piece)


# ---- states


def _settle(scene: Scene, piece: Piece, following: Piece | None, key: int | None) -> None:
    """Decide the state of a chunk that is on no list."""
    if piece.state not in (State.TOP, State.FENCE, State.MMAPPED):
        piece.usable = piece.size - WORD
    if piece.state is not State.IN_USE or piece.free_list is not None:
        return
    if piece.at + HEADER in scene.tables:
        piece.state, piece.label = State.TABLE, "tcache table"
        return
    asked = scene.asked(piece)
    if asked is not None and asked.freed is None:
        return
    sound = following is not None and following.state is not State.FENCE and not following.lie
    if following is not None and sound and not following.flags & P:
        _free_on_no_list(scene, piece, following)
        return
    if asked is None or key is None or piece.size > _TCACHE_MAX + ALIGN:
        return
    # malloc clears the key when it hands a block out: this one was not handed out.
    if scene.memory.u64(piece.at + HEADER + scene.layout.tcache.key_offset) == key:
        piece.state = State.UNKNOWN
        piece.label = "free, but no list leads to it any more"


def _free_on_no_list(scene: Scene, piece: Piece, following: Piece) -> None:
    """Deal with a chunk that the next one's P flag calls free."""
    piece.state, piece.label = State.UNKNOWN, "free"
    if not scene.layout.known or (piece.arena == "main" and not scene.knows_main):
        return  # the lists that would hold it could not be read
    if any(f.broken and f.kind in BINNED and f.arena == piece.arena for f in scene.lists):
        piece.label = "free, but no list leads to it any more"
        return
    text = f"P of {scene.who(following)} is clear, but {scene.who(piece)} is on no free list"
    scene.fault(following.at + WORD, text, following)


def _attribute(scene: Scene, piece: Piece) -> None:
    """Tell a chunk its name and what was asked for."""
    asked = scene.asked(piece)
    if asked is None or piece.state in (State.TOP, State.FENCE, State.TABLE):
        return
    piece.name = scene.names.get(piece.at + HEADER)
    if asked.requested is None:
        return
    made = chunk_size(asked.requested)
    if asked.freed is None or piece.state is State.MMAPPED or piece.size in (made, made + ALIGN):
        piece.requested = asked.requested  # a free chunk that was merged is another chunk


# ---- headers


def _judge_size(scene: Scene, piece: Piece) -> None:
    at = piece.at + WORD
    word = scene.value(at, piece.word)
    says = f"the size word of {scene.who(piece)} is {word:#x}, {word & ~7} bytes, which "
    if piece.state is State.FENCE or not (piece.lie or piece.walk_fault):
        return
    if piece.walk_fault is not None:
        scene.fault(at, says + piece.walk_fault, piece)
    elif piece.state is State.MMAPPED:
        scene.fault(at, f"{says}does not fit its mapping; it should be {piece.size | M:#x}", piece)
    elif piece.state is State.TOP:
        text = f"{says}is more than is left of the heap, {piece.size} bytes"
        if piece.claims <= piece.size:
            text = f"{says}no top chunk can have; {piece.size} bytes are left of the heap"
        scene.fault(at, f'{text}: malloc stops at this with "malloc(): corrupted top size"', piece)
    else:
        reached = None
        if piece.size < piece.claims < 1 << 47:
            reached = scene.holding(piece.at + piece.claims - 1)
        why = walker.reason(piece, piece.span.end, scene.who(reached) if reached else None)
        right = piece.size | _right_flags(scene, piece)
        scene.fault(at, f"{says}{why}; it should be {right:#x}{_free_says(scene, piece)}", piece)


def _right_flags(scene: Scene, piece: Piece) -> int:
    index = bisect_left(scene.starts, piece.at) - 1
    previous = scene.pieces[index] if index >= 0 else None
    free = previous is not None and previous.end == piece.at and previous.state in BINNED
    thread = piece.arena != "main" and piece.state not in BINNED
    return (0 if free else P) | (A if thread else 0)


def _free_says(scene: Scene, piece: Piece) -> str:
    """Say what free would make of a size word that lies."""
    claims, call = piece.claims, f"free({scene.who(piece)})"
    if piece.state is not State.IN_USE or piece.free_list or piece.flags & M:
        return ""
    if claims % ALIGN or claims < MIN_CHUNK:
        return f': {call} stops at this with "free(): invalid size"'
    if claims <= _TCACHE_MAX:
        return f": {call} would put it among the chunks of {claims} bytes"
    if piece.span.end < piece.at + claims < 1 << 47:
        return f': {call} stops at this with "double free or corruption (out)"'
    return ""


def _judge_flags(scene: Scene, piece: Piece, previous: Piece | None) -> None:
    """Compare the flags, and prev_size, with what the neighbours are."""
    if piece.lie or piece.state in (State.FENCE, State.UNKNOWN, State.MMAPPED):
        return
    who, at = scene.who(piece), piece.at + WORD
    if piece.flags & M:
        scene.fault(at, f"M of {who} is set, but it has no mapping of its own", piece)
    if not scene.layout.known:
        return
    thread = piece.arena != "main"
    if bool(piece.flags & A) != (thread and piece.state not in (*BINNED, State.TOP)):
        says = "set" if piece.flags & A else "clear"
        whose = "in a thread's arena" if thread else "in the main arena"
        scene.fault(at, f"A of {who} is {says}, but it is {piece.state} {whose}", piece)
    if previous is None:
        if not piece.flags & P:
            scene.fault(at, f"P of {who} is clear, but there is no chunk before it", piece)
        return
    before = scene.who(previous)
    if previous.state in BINNED:
        size = piece.span.u64(piece.at)
        if piece.flags & P:
            scene.fault(at, f"P of {who} is set, but {before} before it is free", piece)
        elif size != previous.size and not previous.lie:
            text = f"prev_size of {who} is {size}, but {before} before it has {previous.size} "
            text += 'bytes: glibc stops at this with "corrupted size vs. prev_size"'
            scene.fault(piece.at, text, piece)
    elif not piece.flags & P and previous.state not in (State.FENCE, State.UNKNOWN):
        text = f"P of {who} is clear, but {before} before it is in use"
        if previous.state.free:
            text = f"P of {who} is clear, but {before} before it is in the {previous.state}"
        elif previous.size > _TCACHE_MAX + ALIGN:
            text += f': free({before}) stops at this with "double free or corruption (!prev)"'
        scene.fault(at, text, piece)


def _judge_tops(scene: Scene) -> None:
    """Compare each top's size with what is left of its heap."""
    alone = sum(span.kind == "heap" for span in scene.memory.spans) == 1
    for top, arena in scene.tops.items():
        piece = scene.by_start[top]
        if piece.lie:
            continue
        base, end = piece.span.base, piece.span.end
        if piece.span.kind == "thread heap":
            ends = {end, base + piece.span.u64(base + scene.layout.heap_size)}
        elif alone:
            ends = {end, base + arena.read(scene.layout.arena.system_mem)}
        else:
            continue
        if piece.end not in ends:
            left = min(ends, key=lambda e: abs(e - piece.end)) - top
            word = scene.value(top + WORD, piece.word)
            text = f"the size word of top is {word:#x}, {word & ~7} bytes, but {left} bytes "
            scene.fault(top + WORD, f"{text}are left of the heap", piece)

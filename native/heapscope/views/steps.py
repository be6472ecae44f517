"""What a frame of a film says: the line or call, what came of it, and one or two sentences.

Everything is derived from the events, the snapshot and the one before it; nothing is known about
any program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapscope.model.snapshot import HEADER, Chunk, Event, Role, Snapshot, State, Word
from heapscope.views import words

if TYPE_CHECKING:
    from heapscope.model.film import Film

ALLOCATES = ("malloc", "calloc", "realloc")
MOST_NAMES = 3
"""So many variables or blocks are named in a sentence, and one more; further ones are counted."""
_USED = (State.IN_USE, State.MMAPPED)
_SAID = ("call", "copy", "gc", "cleanup", "pin", "lend")
"""Events that say themselves what happened."""


@dataclass(frozen=True, slots=True)
class Step:
    """One frame in words."""

    call: str  # the source line, or the calls: "b = malloc(24)"
    result: str  # "b at +0x2c0", "NULL"; "" when there is none
    say: str  # what it did, in sentences; what is impossible comes first
    bad: bool  # whether something is wrong that was not wrong in the frame before


def steps(film: Film) -> tuple[Step, ...]:
    """Return every frame of `film` in words."""
    return tuple(step(film, number) for number in range(len(film.frames)))


def step(film: Film, number: int) -> Step:
    """Return frame `number` of `film` in words."""
    shot = film.frames[number]
    before = film.frames[number - 1] if number else None
    faults = _new_faults(shot, before)
    said = [_sentence(e.text) for e in shot.events if e.kind == "fault"][:2]
    said += [_fault(text) for text in faults[:2]]
    if len(faults) > 2:
        said.append(f"{len(faults) - 2} more words are impossible.")
    said += _events(shot, before)
    said += _renamed(shot, before)
    said += _written(shot, before)
    said += _dangling(shot, before)
    said += _output(shot, before)
    said += _ended(film, number)
    said = list(dict.fromkeys(said)) or [_nothing(shot, before)]
    bad = bool(faults) or any(e.kind == "fault" for e in shot.events) or _stopped_badly(shot)
    return Step(call(film, number), _result(shot), " ".join(said), bad)


def call(film: Film, number: int) -> str:
    """Return what happened just before frame `number`: the source line, or the calls."""
    shot = film.frames[number]
    said = film.statement(number)
    if said:
        return said
    if number == 0:
        return "start"
    if shot.stop is not None:
        return "end"
    before = film.frames[number - 1]
    if shot.stack and before.stack and shot.stack[-1] != before.stack[-1]:
        return f"another thread is in {shot.stack[-1]}()"
    return "the program writes" if any(w.changed for w in shot.words) else "nothing changes"


def _fault(text: str) -> str:
    """Make a sentence of what the decoder says about an impossible word."""
    text = text.rstrip(".")
    first = text.split(" ", 1)[0]
    # "the size word of b …" begins a sentence; a block's name is not to be changed
    return (text[0].upper() + text[1:] if first in ("the", "a", "two") else text) + "."


def _new_faults(shot: Snapshot, before: Snapshot | None) -> list[str]:
    def what(at: int, text: str) -> tuple[int | None, str]:
        # Numbers, names and what glibc would do about it may change; and top moves.
        first = " ".join(text.split()[:5])
        return (None if "of top" in first else at), first

    known = {what(f.at, f.text) for f in before.faults} if before is not None else set()
    return [f.text for f in shot.faults if what(f.at, f.text) not in known]


def _result(shot: Snapshot) -> str:
    made = [e for e in shot.events if e.kind in ALLOCATES]
    if len(made) != 1:
        return ""
    if not made[0].result:
        return "" if _frees(made[0]) else "NULL"
    chunk = shot.chunk_at(made[0].result)
    at = words.offset(shot, made[0].result)
    return f"{words.name(shot, chunk)} at {at}" if chunk is not None and chunk.name else at


def _frees(event: Event) -> bool:
    """Whether a call of realloc had size 0, which frees in glibc."""
    return event.kind == "realloc" and len(event.args) > 1 and event.args[1] == 0


# ---- calls


def _events(shot: Snapshot, before: Snapshot | None) -> list[str]:
    said: list[str] = []
    for event in shot.events:
        if event.kind == "realloc":
            said += _reallocated(shot, before, event)
        elif event.kind in ALLOCATES:
            said += _allocated(shot, before, event)
        elif event.kind == "free":
            said += _freed(shot, before, event)
        elif event.kind == "copy":
            said += _copied(shot, before, event)
        elif event.kind in _SAID:
            said.append(_sentence(event.text, event.note))
    if len(said) > 4:  # a line of a loop: count what it did
        kinds = [e.kind for e in shot.events if e.kind in (*ALLOCATES, "free")]
        counted = ", ".join(f"{kinds.count(k)} × {k}" for k in dict.fromkeys(kinds))
        said = [f"{len(kinds)} calls: {counted}.", *said[-1:]] if kinds else said[:3]
    return said


def _renamed(shot: Snapshot, before: Snapshot | None) -> list[str]:
    """Say which block goes by a letter now, because its variable moved on to another one."""
    if before is None:
        return []
    now = {chunk.at: chunk.name for chunk in words.blocks(shot) if chunk.state in _USED}
    said = []
    for old in words.blocks(before):
        name = now.get(old.at)
        if old.state in _USED and old.name and name and name.isupper() and not old.name.isupper():
            said.append(f"The block that {old.name} held before is {name} now.")
    return said[:2]


def _copied(shot: Snapshot, before: Snapshot | None, event: Event) -> list[str]:
    """Say what crossed the border between Go and C, and what block it made."""
    said = [_sentence(event.note or event.text)]
    chunk = shot.chunk_at(event.result) if event.result else None
    if chunk is not None:
        said.append(f"{words.name(shot, chunk)} is a chunk of {words.bytes_(chunk.size)}.")
        said += _origin(shot, before, chunk)
    return said


def _sentence(text: str, note: str | None = None) -> str:
    text = text.rstrip(".") + (f": {note}" if note else "")
    return f"{text}."


def _allocated(shot: Snapshot, before: Snapshot | None, event: Event) -> list[str]:
    if not event.result:
        why = f" with {event.errno}" if event.errno else ""
        return [f"{event.kind} returns NULL{why}: there is no such block."]
    chunk = shot.chunk_at(event.result)
    if chunk is None:
        return []
    who = words.name(shot, chunk)
    said = [f"{who} is a chunk of {words.bytes_(chunk.size)}: {_parts(chunk)}."]
    said += _origin(shot, before, chunk)
    if event.kind == "calloc" and chunk.requested and _zero(shot, chunk):
        said.append(f"All {chunk.requested:,} are zero.")
    return said


def _parts(chunk: Chunk) -> str:
    """Say how a chunk's bytes are divided."""
    head = HEADER if chunk.state is State.MMAPPED else HEADER // 2
    text = f"{head} for its size word, {chunk.usable:,} to use"
    if chunk.state is State.MMAPPED:
        text = f"{head} for its header, {chunk.usable:,} to use"
    if chunk.requested is None:
        return text
    asked = "all of them" if chunk.requested == chunk.usable else f"{chunk.requested:,} of them"
    return f"{text}, {asked} asked for"


def _zero(shot: Snapshot, chunk: Chunk) -> bool:
    region = words.region_of(shot, chunk.user)
    size = chunk.requested or 0
    if region is None or chunk.user + size > region.end:
        return False
    return not any(region.read(chunk.user, size))


def _origin(shot: Snapshot, before: Snapshot | None, chunk: Chunk) -> list[str]:
    """Say where a block came from, as far as the frame before tells."""
    if chunk.state is State.MMAPPED:
        return ["It has a mapping of its own, outside the heap."]
    if before is None or words.region_of(before, chunk.user) is None:
        region = words.region_of(shot, chunk.user)
        if region is None or not shot.regions or region is not shot.regions[0]:
            return []
        return [f"For it the kernel gave the heap its first {words.bytes_(region.length)}."]
    old = next((c for c in before.chunks if c.at <= chunk.at < c.end), None)
    if old is None or not old.state.free:
        return []
    was = words.name(before, old)
    place = words.place(before, old).removeprefix("free, ")
    if old.at == chunk.at and old.size == chunk.size:
        name = "It is a freed block again" if old.name is None else f"It is {was}’s old place"
        return [f"{name}, {place} until now."]
    return [f"It was cut from {was}, a free chunk of {words.bytes_(old.size)}."]


def _reallocated(shot: Snapshot, before: Snapshot | None, event: Event) -> list[str]:
    if not event.result:
        if _frees(event):
            return _freed(shot, before, event)
        why = f" with {event.errno}" if event.errno else ""
        return [f"realloc returns NULL{why}: the old block stays as it is."]
    old_user = event.args[0] if event.args else 0
    chunk = shot.chunk_at(event.result)
    if chunk is None:
        return []
    old = before.chunk_at(old_user) if before is not None and old_user else None
    if old is None:
        return _allocated(shot, before, event)
    who = words.name(shot, chunk)
    if old_user == event.result:
        if old.size == chunk.size:
            return [f"{who} stays where it is: its chunk of {words.bytes_(chunk.size)} is enough."]
        verb = "grew" if chunk.size > old.size else "shrank"
        sizes = f"from {old.size:,} to {words.bytes_(chunk.size)}"
        return [f"{who} {verb} in place: its chunk went {sizes}."]
    kept = min(x for x in (old.requested or old.usable, chunk.requested or chunk.usable))
    was, now = words.offset(before, old_user), words.offset(shot, event.result)  # type: ignore[arg-type]
    said = [f"{who} moved from {was} to {now}, with {words.bytes_(kept)} of content."]
    left = next((c for c in shot.chunks if c.at <= old.at < c.end), None)
    if left is not None and left.state.free:
        said.append(f"The old place is {words.place(shot, left)}.")
    elif left is not None and left.state is State.TOP:
        said.append("The old place is part of top.")
    return said


def _freed(shot: Snapshot, before: Snapshot | None, event: Event) -> list[str]:
    user = event.args[0] if event.args else None
    if user == 0:
        return ["free(NULL) does nothing."]
    if user is None and event.chunk is not None:
        user = event.chunk + HEADER
    if user is None:
        return []
    old = before.chunk_at(user) if before is not None else None
    who = words.name(before, old) if before is not None and old is not None else "the block"
    if words.region_of(shot, user) is None:
        return [f"{who} is gone: its mapping went back to the kernel."]
    chunk = shot.chunk_at(user)
    if chunk is not None and chunk.at == user - HEADER and chunk.state.free:
        if old is not None and old.state.free and old.size == chunk.size:
            return []  # nothing came of it; the fault, or how the program ended, says why
        said = [f"{words.name(shot, chunk)} is {words.place(shot, chunk)}."]
        if old is not None and chunk.size > old.size:
            said = [f"{words.name(shot, chunk)} and its free neighbours are one chunk now: "]
            said[0] += f"{words.bytes_(chunk.size)}, {words.place(shot, chunk)}."
        return said + _left(shot, chunk)
    holder = next((c for c in shot.chunks if c.at <= user - HEADER < c.end), None)
    if holder is None:
        return []
    if holder.state is State.TOP:
        return [f"{who} lay next to top and is part of it now."]
    if holder.state.free and holder.at < user - HEADER:
        name = words.name(shot, holder)
        size, place = words.bytes_(holder.size), words.place(shot, holder)
        return [f"{who} was joined to the free chunk before it: {name}, {size}, {place}."]
    return []


def _left(shot: Snapshot, chunk: Chunk) -> list[str]:
    """Say what the allocator wrote into a block it got back, and what it left."""
    own = shot.words_of(chunk)
    wrote = [w for w in own if w.role in (Role.LINK, Role.KEY) and w.changed]
    if not wrote:
        return []
    kinds = " and ".join(dict.fromkeys(str(w.role) for w in wrote))
    text = f"The allocator wrote its {kinds} into it"
    stale = any(w.role is Role.STALE and w.value for w in own)
    return [f"{text}; the other old bytes are still there." if stale else f"{text}."]


# ---- writes


def _written(shot: Snapshot, before: Snapshot | None) -> list[str]:
    """Say which blocks the program wrote into, on a line that called no allocator."""
    told = (*ALLOCATES, "free", "copy", "fault")
    if before is None or any(e.kind in told for e in shot.events):
        return []
    chunks = {c.at: c for c in shot.chunks}
    groups: dict[int, list[Word]] = {}
    for word in shot.words:
        chunk = chunks.get(word.chunk) if word.chunk is not None else None
        faulty = word.role is Role.SIZE and word.fault is not None  # the fault says it better
        if word.changed and chunk and chunk.state not in words.NOT_BLOCKS and not faulty:
            groups.setdefault(chunk.at, []).append(word)
    said = []
    most = MOST_NAMES if len(groups) > MOST_NAMES + 1 else MOST_NAMES + 1
    for at, changed in list(groups.items())[:most]:
        said.append(_into(shot, chunks[at], changed))
    if len(groups) > most:
        said.append(f"{len(groups) - most} more blocks changed.")
    return said


def _into(shot: Snapshot, chunk: Chunk, changed: list[Word]) -> str:
    """Say what was written into one block."""
    who = words.name(shot, chunk)
    count = sum(len(word.changed) for word in changed)
    roles = {word.role for word in changed}
    if roles == {Role.SIZE}:
        return f"{words.bytes_(count)} of {who}’s size word changed."
    text = f"{words.bytes_(count)} of {who} changed"
    if chunk.state.free:
        text += ", and it is free"
    elif Role.SLACK in roles or any(_past(word) for word in changed):
        asked = "" if chunk.requested is None else f" past the {chunk.requested:,} asked for"
        text += f", some{asked}"
    elif chunk.requested is not None and count == chunk.requested > 1:
        text = f"All {words.bytes_(count)} that were asked for changed in {who}"
    return f"{text}."


def _past(word: Word) -> bool:
    """Whether bytes behind the asked-for part of a word changed."""
    return word.payload is not None and any(place >= word.payload for place in word.changed)


def _dangling(shot: Snapshot, before: Snapshot | None) -> list[str]:
    old = {(p.name, p.scope): p.state for p in before.pointers} if before is not None else {}
    fresh = [
        p
        for p in shot.pointers
        if p.state == "dangling" and old.get((p.name, p.scope)) != "dangling"
    ]
    if not fresh:
        return []
    # Variables of one name in several functions are told apart: p in main(), p in use().
    scopes = {name: {p.scope for p in fresh if p.name == name} for name in {p.name for p in fresh}}
    names = [p.name if len(scopes[p.name]) == 1 else _in_scope(p.name, p.scope) for p in fresh]
    plural = len(set(names)) > 1
    verb = (
        "still hold the address: they dangle" if plural else "still holds the address: it dangles"
    )
    return [f"{_listed(names)} {verb}."]


def _in_scope(name: str, scope: str) -> str:
    """Return ``p in main()``; ``p in walk(), call 2`` in a function that has called itself."""
    function, _, call = scope.partition(" (")
    if not function:
        return f"the global {name}"
    return f"{name} in {function}()" + (f", call {call.rstrip(')')}" if call else "")


def _listed(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) > MOST_NAMES + 1:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# ---- output and end


def _output(shot: Snapshot, before: Snapshot | None) -> list[str]:
    old = before.output if before is not None else ""
    if shot.output == old or not shot.output.startswith(old):
        return []
    new = shot.output[len(old) :].rstrip("\n")
    if not new or (shot.stop is not None and new.endswith(shot.stop.message)):
        return []
    first, *rest = new.split("\n")
    if len(first) > 80:
        first = f"{first[:79]}…"
    more = "" if not rest else f" and {len(rest)} more line{'' if len(rest) == 1 else 's'}"
    return [f"It prints “{first}”{more}."]


def _stopped_badly(shot: Snapshot) -> bool:
    return shot.stop is not None and (shot.stop.kind != "exit" or bool(shot.stop.status))


def _ended(film: Film, number: int) -> list[str]:
    shot = film.frames[number]
    stop = shot.stop
    if stop is None:
        return []
    if stop.kind == "exit":
        said = [f"The program ends with exit status {stop.status or 0}."]
    elif stop.kind == "signal":
        signal = stop.signal or "a signal"
        said = [f"The program is stopped by {signal}{': ' if stop.message else ''}{stop.message}"]
        said[0] = said[0].rstrip(".") + "."
    else:
        said = [_sentence(stop.message or f"stopped: {stop.kind}")]
    if stop.kind == "exit" and number == len(film.frames) - 1:
        lost = [block.name for block in film.blocks if block.leaked]
        if lost:
            said.append(f"{_listed(lost)} {'were' if len(lost) > 1 else 'was'} never freed.")
    return said


def _nothing(shot: Snapshot, before: Snapshot | None) -> str:
    if before is None:
        if not shot.regions:
            return "Before the first line. There is no heap yet."
        if not any(c.name or c.requested for c in words.blocks(shot)) and not shot.events:
            return "Before the first line. Nothing of the program’s is on the heap yet."
        return words.sentence(shot)
    if any(word.changed for word in shot.words):
        return "Only bytes outside the program’s blocks changed."
    return "Nothing changes in the heap."

"""Why a call on a private heap was not made: the block's history, and what glibc does with it.

What glibc does is not foretold: the call is made in a forked child, and the message tells its end.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from heapscope._heap import ffi
from heapscope._heap import lib as C  # noqa: N812 (it is the C side)
from heapscope.model.snapshot import HEADER, Chunk, Role, Snapshot, State, Word

if TYPE_CHECKING:
    from heapscope.recorders.heap import Heap

Arguments = tuple[int, ...]
"""What a call was given: numbers, and addresses as numbers."""

SEE_IT = (
    "To see it happen, let it happen in a process that may die: `with heapscope.child() as c:` and "
    "the same call in its body; then look at c.signal and c.message."
)
_RULES = {
    "free": "C17 7.22.3.3",
    "realloc": "C17 7.22.3.5",
    "reallocarray": "malloc(3)",
    "malloc_usable_size": "malloc_usable_size(3)",
}


def not_live(heap: Heap, function: str, address: int, args: Arguments) -> str:
    """Explain why `function` may not be called with the pointer `address`."""
    calls = heap._calls
    asked = calls.blocks.get(address)
    if asked is not None and asked.freed is not None:
        name = calls.name(address)
        by = "realloc to size 0" if calls.log[asked.freed - 1].function != "free" else "free"
        what = f"{function}({name}) was not run: {name} was freed at call {asked.freed} ({by})"
        what += f" after call {asked.call} had returned it, and nobody was given it since."
    elif address in calls.moved:
        to, number = calls.moved[address]
        name = calls.name(to) if to in calls.blocks else "the block"
        what = f"{function} was not run: realloc moved {name} away from this address at call "
        what += f"{number}; use the pointer that realloc returned."
    else:
        what = f"{function} was not run: {_place(heap, address)}"
    end = _tried(heap, function, args) or _silently(heap, function, address)
    return f"{what} This is undefined behaviour ({_RULES[function]}). {end} {SEE_IT}"


def _tried(heap: Heap, function: str, args: Arguments) -> str | None:
    """Make the call in a child and tell how that ended; None when nothing was noticed."""
    words = [arg & (1 << 64) - 1 for arg in (*args, 0, 0, 0)[:3]]
    said = ffi.new("char[]", 512)
    number = C.hs_attempt(heap._c, function.encode(), *words, said, len(said))
    message = ffi.string(said).decode(errors="replace")
    glibc = f"glibc {heap.glibc}"
    if number == -1:
        return f"What {glibc} would do could not be tried in a child process."
    if number == signal.SIGALRM:
        return f"Tried in a child process, {glibc} did not come back within a second."
    if number:
        end = signal.Signals(number).name
        if message:
            return f'Tried in a child process, {glibc} said "{message}" and ended with {end}.'
        return f"Tried in a child process, {glibc} ended with {end}."
    if function == "malloc_usable_size":
        return (
            f"Tried in a child process, {glibc} did not notice: it took the eight bytes before it "
            f"for a size word and answered {message}."
        )
    return None


def _place(heap: Heap, address: int) -> str:
    """Say where a pointer leads that is no block of the heap."""
    calls = heap._calls
    for user, asked in calls.blocks.items():
        inside = address - user
        if 0 < inside <= (asked.requested or 0):
            name = calls.name(user)
            return f"the pointer is {inside} bytes into {name}; only {name} itself may be passed."
    if heap._knows(address):
        return "the pointer leads into this heap, but no call returned it."
    return "this heap never returned that address: it is of another heap, the stack or Python's."


def _silently(heap: Heap, function: str, address: int) -> str:
    """Say what happens when glibc does not notice."""
    text = f"Tried in a child process, glibc {heap.glibc} did not notice: it "
    if function != "free":
        return f"{text}took the eight bytes before it for the size word of a block in use."
    shot = heap.snapshot()
    at = heap._canon.anywhere(address - HEADER)
    chunk = None if at is None else next((c for c in shot.chunks if c.at == at), None)
    if chunk is None:
        return f"{text}took the eight bytes before it for a size word, and put that on a free list."
    if chunk.state is State.IN_USE:
        return f"{text}freed the block that has the address now, which is somebody else's."
    if chunk.state is State.FASTBIN and not _tcache_takes(heap, shot, chunk):
        return f"{text}tied the list into a loop."
    return f"{text}put the block on a second list: then malloc returns it twice."


def _tcache_takes(heap: Heap, shot: Snapshot, chunk: Chunk) -> bool:
    """Whether the tcache has room for a chunk of this size."""
    facts = heap.layout.tcache
    for index in range(facts.bins):
        low, high = facts.bin_range(index)
        if low <= chunk.size <= high:
            name = facts.bin_name(index)
            full = next((f for f in shot.lists if f.name == name and f.arena == "main"), None)
            return full is None or len(full.links) < facts.default_count
    return False


def spoiled(heap: Heap, function: str, at: int, was: int, args: Arguments) -> str:
    """Explain that a word which only the allocator may write has changed between two calls."""
    shot, held, holds = heap._drawn(at, was)
    where = heap._canon.anywhere(at)
    word = next((w for w in shot.words if w.at == where), None)
    what = _what(heap, shot, word, at)
    text = f"{function} was not run: somebody wrote over {what}. "
    text += f"It held {held:#x} and holds {holds:#x}"
    text += ", with addresses moved to a fixed base, as in the picture." if held != was else "."
    suspect = _suspect(shot, where)
    if suspect is not None and suspect.usable:
        text += f" {suspect.name} ends right before it: were more than its {suspect.usable} usable"
        text += " bytes written?"
    fault = next((f.text for f in shot.faults if f.at == where), None)
    if fault:
        text += f" What is impossible about it: {fault}."
    end = _tried(heap, function, args)
    if end is None:
        end = f"Tried in a child process, glibc {heap.glibc} did not notice, and went on."
    return (
        f"{text} {end} {SEE_IT} This heap can still be drawn and closed; "
        "go on with a new one: heap = Heap()."
    )


def _what(heap: Heap, shot: Snapshot, word: Word | None, at: int) -> str:
    if word is None:
        arena = int(heap._c.main_arena)
        inside = arena <= at < arena + heap.layout.arena.size
        return "a word of main_arena" if inside else "a word that only the allocator may write"
    base = next(r for r in shot.regions if r.base <= word.at < r.end)
    offset = f"at {base.name}+{word.at - base.base:#x}"
    chunk = next((c for c in shot.chunks if c.at == word.chunk), None)
    name = (chunk.name or chunk.label or chunk.state) if chunk is not None else "a chunk"
    said = {
        Role.SIZE: f"the size word of {name}",
        Role.PREV_SIZE: f"the prev_size word of {name}",
        Role.LINK: f"a link of the free block {name}",
        Role.KEY: f"the tcache key of the free block {name}",
        Role.TOP: "the size word of top",
        Role.INTERNAL: "a word of the tcache table",
    }
    return f"{said.get(word.role, f'a word of {name}')} ({offset})"


def _suspect(shot: Snapshot, where: int | None) -> Chunk | None:
    """Return the block whose end lies right before a word, if it is in use."""
    if where is None:
        return None
    for chunk in shot.chunks:
        used = chunk.state is State.IN_USE and chunk.name is not None
        if used and chunk.end <= where <= chunk.end + 8:
            return chunk
    return None

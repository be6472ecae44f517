"""Chapter 15: where bytes should lie that C or the kernel looks at."""

from __future__ import annotations

from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.choices import hints

_WAYS = {
    "go": "Go memory, and no C",
    "lend": "a loan for one call",
    "pin": "a pin",
    "c": "C memory with an owner",
    "library": "the library's own allocate and free",
    "mmap": "`mmap`",
}

# For each situation the right way, and for each other one why it is not.
_TABLE = {
    "a C hash function reads a []byte and returns a number": (
        "lend",
        {
            "go": "it is C that reads the bytes. They are Go's, and for how long does C need them?",
            "pin": "during a call the arguments stay in place anyway. A pin is for an address that "
            "C keeps, and this function keeps none.",
            "c": "that is a block, a copy and a `free` for bytes that C reads once.",
            "library": "it returns a number, and there is nothing to free.",
            "mmap": "that is whole pages and a copy for bytes that C reads once.",
        },
    ),
    "a C thread fills your buffer while your code goes on": (
        "pin",
        {
            "go": "C's thread must have the address, and cgo's rules forbid C to keep one of Go's "
            "just so.",
            "lend": "a loan ends when the call returns, and the thread goes on writing.",
            "c": "the buffer is yours already. A C block needs an owner, and the bytes have to be "
            "copied back. What keeps Go's buffer in place until C is done?",
            "library": "the buffer is yours, no library made it.",
            "mmap": "nobody asks for whole pages, and the bytes would have to be copied back.",
        },
    ),
    "a decoder returns a frame and has frame_free()": (
        "library",
        {
            "go": "the decoder has made the frame, and the collector does not know its memory.",
            "lend": "you lend what is yours. The frame is the decoder's.",
            "pin": "a pin is for Go memory. The frame is not in Go's heap.",
            "c": "the frame exists, and its memory may come from anywhere: a pool, or several "
            "blocks. Only the decoder knows how it is given back.",
            "mmap": "`munmap` is for pages that you have mapped. Who made the frame?",
        },
    ),
    "a cache of a million small Go structs makes collections slow": (
        "go",
        {
            "lend": "no C function is there to borrow it.",
            "pin": "a pinned object is still visited at each collection. It only stays in place.",
            "c": "that is a million frees, and no Go pointer may lie in them. The collector's work "
            "is objects and pointers: one slice of structs without pointers is a single object.",
            "library": "no library has a part in this.",
            "mmap": "nothing with Go pointers may lie there. The collector's work is objects and "
            "pointers: one slice of structs without pointers is a single object.",
        },
    ),
    "a C struct must outlive the call and hold C pointers": (
        "c",
        {
            "go": "C keeps the address beyond the call, and may not keep one of Go's just so.",
            "lend": "a loan ends when the call returns, and the struct is used after that.",
            "library": "no library is mentioned that makes or frees it. You do.",
            "mmap": "a struct is no page. `malloc` gives small blocks.",
        },
    ),
    "two processes share a page": (
        "mmap",
        {
            "go": "Go's heap is this process's alone, and its objects have no page to themselves.",
            "lend": "a loan is for a function in the same process.",
            "pin": "a pinned object stays in place, in this process and in no other.",
            "c": "`malloc`'s blocks are this process's alone.",
            "library": "no library is mentioned. Who gives out pages?",
        },
    ),
}

# What cgo's rules allow as well: a Go struct may hold C pointers, and pinned it may be kept by C.
_ALSO = {
    ("a C struct must outlive the call and hold C pointers", "pin"): "For the C struct a pin is "
    "possible, as long as somebody keeps the `Pinner`. Its C pointers need an owner anyway, and C "
    "memory for the struct can have the same one."
}


@exercise("decide", takes=dict)
def decide(answer: dict[Any, Any]) -> Verdict:
    """Check the table: for each of six situations one of six ways."""
    right = {situation: way for situation, (way, _) in _TABLE.items()}
    allowed = "one of " + ", ".join(f'"{way}"' for way in _WAYS)
    found = hints(answer, right, tuple(_WAYS), _why, allowed=allowed, between="; ")
    if found:
        raise Hint("\n".join(found))
    notes = [
        note for (situation, way), note in _ALSO.items() if answer[situation].strip().lower() == way
    ]
    memory = "None of them needs C" if notes else "Only one of them is C"
    return Right(
        f"All six. {memory} memory of your own. Who holds the bytes, for how long, and who made "
        "them: that decides it." + "".join(f"\n{note}" for note in notes)
    )


def _why(situation: str, said: str) -> str:
    if (situation, said) in _ALSO:
        return ""
    return f"{situation}: not {_WAYS[said]}, because {_TABLE[situation][1][said]}"

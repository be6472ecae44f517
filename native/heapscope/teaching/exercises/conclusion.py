"""Chapter 18: what gives back what a program got hold of."""

from __future__ import annotations

from collections.abc import Mapping

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise

_WAYS = ("C.free", "fclose", "delete[]", "Close", "nothing")
_RIGHT = {
    "C.CString(s)": ("C.free", "the bytes lie in a block from C's malloc"),
    "C.CBytes(b)": ("C.free", "it is a copy in a block from C's malloc"),
    "fopen(name, mode), in C": ("fclose", "the C library made the FILE and knows what hangs on it"),
    "new int[10], in C++": ("delete[]", "C++ has a pair of its own, and [] belongs to []"),
    "unsafe.SliceData(b), lent for a call": ("nothing", "it is Go's memory, and only lent"),
    "a Buf of chapter 11": ("Close", "the type owns the block, and Close is its one way out"),
}


@exercise("release", takes=dict)
def release(answer: Mapping[object, object]) -> Verdict:
    """Compare each answer, and say for a wrong one whose memory it is."""
    hints = []
    for thing, (way, reason) in _RIGHT.items():
        given = answer.get(thing)
        if given is None:
            hints.append(f"There is no answer for `{thing}`.")
        elif given not in _WAYS:
            hints.append(f"`{thing}`: `{given}` is none of {', '.join(_WAYS)}.")
        elif given != way:
            hints.append(f"`{thing}`: not {given}, because {reason}.")
    hints += [f"`{extra}` is none of the six." for extra in answer if extra not in _RIGHT]
    if hints:
        raise Hint("\n".join(hints))
    return Right(
        "Each goes back the way it came. That is the first rule of this book, and the last."
    )

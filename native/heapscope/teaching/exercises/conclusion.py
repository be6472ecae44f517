"""Chapter 18: what gives back what a program got hold of."""

from __future__ import annotations

from collections.abc import Mapping

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.choices import hints

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
    right = {thing: way for thing, (way, _) in _RIGHT.items()}
    allowed = f"one of {', '.join(_WAYS)}"
    found = hints(answer, right, _WAYS, _why, allowed=allowed, between="; ")
    if found:
        raise Hint("\n".join(found))
    return Right(
        "Each goes back the way it came. That is the first rule of this book, and the last."
    )


def _why(thing: str, said: str) -> str:
    return f"`{thing}`: not {said}, because {_RIGHT[thing][1]}."

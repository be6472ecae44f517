"""Chapter 6: who frees what crosses the border between Go and C."""

from __future__ import annotations

from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.choices import hints

_WHO = {"you": "you, with `C.free`", "go": "Go's collector", "c": "the C library that lent it"}

# For each value who frees it, and for each other answer why that one does not.
_TABLE = {
    "the result of C.CString": (
        "you",
        {
            "go": "the bytes lie in a block from `malloc`, which the collector does not know.",
            "c": "`malloc` gave the block to the caller, and no library keeps its address.",
        },
    ),
    "the result of C.GoString": (
        "go",
        {
            "you": "it is a copy in Go's heap. `free` knows only blocks from `malloc`.",
            "c": "C's bytes were copied, and the result lies in Go's heap.",
        },
    ),
    "what C.strdup returned": (
        "you",
        {
            "go": "C allocated it with `malloc`. That Go code called does not make it Go's memory.",
            "c": "`strdup` makes a new block for each caller and forgets it. Whose is it then?",
        },
    ),
    "what C.getenv returned": (
        "c",
        {
            "you": "it points into the environment, and no `malloc` made a block there for you. "
            "To `free` it is undefined behaviour.",
            "go": "it points into the environment of the process, which is not in Go's heap.",
        },
    ),
    "a []byte lent to C for one call": (
        "go",
        {
            "you": "its bytes lie in Go's heap. `free` knows only blocks from `malloc`.",
            "c": "C may look at it while the call lasts. A borrower frees nothing.",
        },
    ),
    "the result of C.CBytes": (
        "you",
        {
            "go": "like `C.CString`, it copies into a block from `malloc`. Go's slice is another.",
            "c": "`malloc` gave the block to the caller, and no library keeps its address.",
        },
    ),
}


@exercise("who-frees", takes=dict)
def who_frees(answer: dict[Any, Any]) -> Verdict:
    """Check the table: for each of six values "you", "go" or "c"."""
    right = {value: way for value, (way, _) in _TABLE.items()}
    found = hints(answer, right, tuple(_WHO), _why, allowed='"you", "go" or "c"')
    if found:
        raise Hint("\n".join(found))
    return Right(
        "All six. What `malloc` made for you is yours to free, what lies in Go's heap is the "
        "collector's, and what was only lent stays the lender's."
    )


def _why(value: str, said: str) -> str:
    return f"{value}: not {_WHO[said]}, because {_TABLE[value][1][said]}"

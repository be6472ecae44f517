"""Chapter 6: who frees what crosses the border between Go and C."""

from __future__ import annotations

import difflib
from typing import Any

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise

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
    hints = [*_keys(answer)]
    for value, (right, why) in _TABLE.items():
        if value not in answer:
            continue
        said = answer[value]
        if not isinstance(said, str) or said.strip().lower() not in _WHO:
            hints.append(f'{value}: the answer is "you", "go" or "c", and not {said!r}.')
        elif (said := said.strip().lower()) != right:
            hints.append(f"{value}: not {_WHO[said]}, because {why[said]}")
    if hints:
        raise Hint("\n".join(hints))
    return Right(
        "All six. What `malloc` made for you is yours to free, what lies in Go's heap is the "
        "collector's, and what was only lent stays the lender's."
    )


def _keys(answer: dict[Any, Any]) -> list[str]:
    """Say which values are missing and which are not asked about."""
    missing = [value for value in _TABLE if value not in answer]
    hints = []
    for key in answer:
        if key in _TABLE:
            continue
        near = difflib.get_close_matches(str(key), missing, n=1)
        hints.append(f"Nobody asked about {key!r}." + (f" Is {near[0]!r} meant?" if near else ""))
    if missing:
        hints.append(f"Missing: {', '.join(missing)}.")
    return hints

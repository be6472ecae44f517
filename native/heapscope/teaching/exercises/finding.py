"""Chapter 14: which fault a complaint speaks of."""

from __future__ import annotations

from collections.abc import Mapping

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise

_KINDS = ("leak", "double free", "use after free", "overflow")
_RIGHT = {
    "Invalid write of size 1 ... 0 bytes after a block of size 24 alloc'd": (
        "overflow",
        "the address lies right behind a block that is in use",
    ),
    "free(): double free detected in tcache 2": (
        "double free",
        "glibc found the block on a free list when it was to be freed",
    ),
    "790 bytes in 100 blocks had not been freed": (
        "leak",
        "nothing was done wrong with these blocks, but for the free that never came",
    ),
    "Invalid read of size 8 ... inside a block of size 40 free'd": (
        "use after free",
        "the address lies inside a block that has been freed",
    ),
}


@exercise("diagnose", takes=dict)
def diagnose(answer: Mapping[object, object]) -> Verdict:
    """Compare each diagnosis, and say for a wrong one what the complaint tells."""
    hints = []
    for complaint, (kind, reason) in _RIGHT.items():
        given = answer.get(complaint)
        if given is None:
            hints.append(f"There is no answer for `{complaint}`.")
        elif given not in _KINDS:
            hints.append(f"`{complaint}`: `{given}` is none of {', '.join(_KINDS)}.")
        elif given != kind:
            hints.append(f"`{complaint}` is no {given}: {reason}.")
    hints += [
        f"`{extra}` is none of the four complaints." for extra in answer if extra not in _RIGHT
    ]
    if hints:
        raise Hint("\n".join(hints))
    return Right("Four complaints, four faults. The kind tells you which two lines to look for.")

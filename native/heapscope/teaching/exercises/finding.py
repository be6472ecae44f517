"""Chapter 14: which fault a complaint speaks of."""

from __future__ import annotations

from collections.abc import Mapping

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.choices import hints

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
    right = {complaint: way for complaint, (way, _) in _RIGHT.items()}
    allowed = f"one of {', '.join(_KINDS)}"
    found = hints(answer, right, _KINDS, _why, allowed=allowed, between="; ")
    if found:
        raise Hint("\n".join(found))
    return Right("Four complaints, four faults. The kind tells you which two lines to look for.")


def _why(complaint: str, said: str) -> str:
    return f"`{complaint}` is no {said}: {_RIGHT[complaint][1]}."

"""Tables that the reader fills in: for each thing one of a few words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any


def hints(
    answer: Mapping[Any, Any],
    right: Mapping[str, str],
    ways: tuple[str, ...],
    why: Callable[[str, str], str],
    *,
    allowed: str,
    between: str = ", ",
) -> list[str]:
    """Return one hint for each entry that is wrong, missing or not asked about.

    `right` has the answer for each thing, `ways` all words that may be answered (upper or lower
    case), and ``why(thing, said)`` the hint for a wrong one. `allowed` names the words in a
    sentence; `between` separates the names of missing things.
    """
    missing = [thing for thing in right if thing not in answer]
    found = []
    for key in answer:
        if key in right:
            continue
        near = difflib.get_close_matches(str(key), missing, n=1)
        found.append(f"Nobody asked about {key!r}." + (f" Is {near[0]!r} meant?" if near else ""))
    if missing:
        found.append(f"Missing: {between.join(missing)}.")
    known = {way.lower(): way for way in ways}
    for thing, way in right.items():
        if thing not in answer:
            continue
        given = answer[thing]
        said = known.get(given.strip().lower()) if isinstance(given, str) else None
        if said is None:
            found.append(f"{thing}: the answer is {allowed}, and not {given!r}.")
        elif said != way and (hint := why(thing, said)):
            found.append(hint)
    return found

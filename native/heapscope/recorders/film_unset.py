"""Find the line that reads a block before anybody has written to it.

Reading leaves no trace in memory, so this goes by the text of the lines that run: it speaks only
when the first use of a block from malloc, by the name of a variable that holds it, is a read.

Not seen: reads through another expression (``v.data[0]``, ``*(p + i)``), by a library's function
that is not in the list below, of a part that no line has written in a block that was written
elsewhere, and all reads in Go. valgrind, which ``heapscope check`` runs, sees those in C.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from heapscope.model.snapshot import HEADER, WORD
from heapscope.recorders.film_faults import Fault

_READERS = r"(?:puts|fputs|strlen|strdup|atoi|atol|strcmp|strchr)"
_NEUTRAL = (
    r"(?:free|if|while|for|switch|return|assert|sizeof|printf|fprintf|puts|malloc_usable_size)"
)


class Untouched:
    """The blocks from malloc that no line has used so far."""

    def __init__(self) -> None:
        self._blocks: dict[int, int] = {}  # user address -> bytes asked for

    def add(self, user: int, size: int) -> None:
        """Take in a block that was just handed out."""
        self._blocks[user] = size

    def drop(self, user: int) -> None:
        """Forget a block that was freed, moved or written."""
        self._blocks.pop(user, None)

    def ran(self, text: str, names: Iterable[tuple[str, int, int]], new: set[int]) -> list[Fault]:
        """Look at a line that ran: its text without literals.

        `names` are the variables: (name, address that it held, bytes of what it leads to); blocks
        in `new` were handed out by this very line.
        """
        faults: list[Fault] = []
        for name, user, each in names:
            size = self._blocks.get(user)
            if size is None or user in new or not re.search(rf"(?<![\w.>]){name}\b", text):
                continue
            kind, index = _use(text, name)
            if kind == "read":
                at = user + index * each if index * each < size else user
                said = f"{name} is read before anything was written to it: "
                said += "these bytes are whatever was there before"
                faults.append(Fault(said, at // WORD * WORD, user - HEADER))
            if kind:
                del self._blocks[user]
        return faults


def _use(text: str, name: str) -> tuple[str, int]:
    """Say what a line does with what `name` leads to: ("read" | "other" | "", index)."""
    place = rf"(?:(?<![\w.>)\]])(?<!\w )\*\s*{name}\b|\b{name}\s*\[([^\]]*)\]|\b{name}\s*->\s*\w+)"
    written = rf"{place}\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)"
    found = re.search(written, text)
    if found is not None:
        plain = re.search(rf"{place}\s*=(?!=)", text) is not None
        return ("other", 0) if plain else ("read", _index(found[1]))
    found = re.search(place, text)
    if found is not None:
        if re.search(rf"&\s*{name}\b", text):
            return "other", 0
        return "read", _index(found[1])
    if re.search(rf"\b{_READERS}\s*\(\s*{name}\s*[,)]", text):
        return "read", 0
    if re.search(rf"\b(?!{_NEUTRAL}\b)\w+\s*\([^;]*\b{name}\b", text):
        return "other", 0
    if re.search(rf"(?<![=!<>])=(?!=)[^;]*\b{name}\b", text):
        return "other", 0
    return "", 0


def _index(text: str | None) -> int:
    return int(text) if text is not None and text.strip().isdigit() else 0

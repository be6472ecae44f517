"""What a tool says about a program, in one form for all tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from heapscope.programs.result import Run
from heapscope.programs.scan import c_items, mask

WHOLE = "whole.go"
"""The file that ``build_go`` puts a completed program in."""


class Kind(StrEnum):
    """What is wrong with a program. The values are the words that pages and JSON show."""

    LEAK = "leak"
    DOUBLE_FREE = "double free"
    USE_AFTER_FREE = "use after free"
    USE_AFTER_RETURN = "use after return"  # of a local variable, or after its block of code
    OVERFLOW = "overflow"  # before or behind a block, on the heap, the stack or among the globals
    INVALID_FREE = "invalid free"
    UNINITIALISED = "uninitialised read"
    MISMATCHED_FREE = "mismatched free"
    NULL = "null dereference"
    INVALID_ACCESS = "invalid access"  # an address that belongs to nobody
    CORRUPTED_HEAP = "corrupted heap"  # glibc met an impossible word; who wrote it, it cannot know
    INTEGER_OVERFLOW = "signed integer overflow"
    RACE = "data race"
    CGO = "cgo pointer violation"
    OTHER = "other fault"  # a failed assertion, a panic, a division by zero, a program without end
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the program: its number from 1, the function it stands in, and its text."""

    line: int
    function: str = ""
    text: str = ""

    def __str__(self) -> str:
        """Return "line 9: `free(p);`"; text that itself holds a back quote is left out."""
        if not self.text or "`" in self.text:
            return f"line {self.line}"
        return f"line {self.line}: `{self.text}`"

    def to_json(self) -> dict[str, Any]:
        """Return the place as JSON."""
        return {"line": self.line, "function": self.function, "text": self.text}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding of one tool.

    Attributes:
        kind: what is wrong.
        text: the tool's own words, without addresses: "attempting double-free".
        tool: "glibc", "asan", "ubsan", "lsan", "valgrind", "go", "race", "system".
        at: where it happened; None for a leak, and where the tool does not say.
        allocated, freed: where the block came from and where it was freed, if the tool knows.
        also: the other one of two accesses that race.
        note: a word about a place that the tool does not give: "freed on another thread".

    """

    kind: Kind
    text: str
    tool: str
    at: Place | None = None
    allocated: Place | None = None
    freed: Place | None = None
    also: Place | None = None
    note: str = ""

    @property
    def fault(self) -> bool:
        """Whether something is wrong."""
        return self.kind is not Kind.NONE

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON; places are null where the tool does not say."""
        form: dict[str, Any] = {"kind": self.kind.value, "text": self.text, "tool": self.tool}
        for name in ("at", "allocated", "freed", "also"):
            place: Place | None = getattr(self, name)
            form[name] = place.to_json() if place else None
        return form | {"note": self.note}


@dataclass(frozen=True, slots=True)
class Report:
    """One way of running the program, and what came of it.

    `name` is "plain", "asan", "valgrind" or "race"; `label` heads its column. The verdicts stand in
    the order in which the tool gave them. `missing` says why it did not run.
    """

    name: str
    label: str
    run: Run | None
    verdicts: tuple[Verdict, ...] = ()
    missing: str = ""

    @property
    def verdict(self) -> Verdict:
        """The first thing that the tool found, or a verdict of kind none."""
        return self.verdicts[0] if self.verdicts else Verdict(Kind.NONE, "", self.name)

    @property
    def fault(self) -> bool:
        """Whether the tool found something."""
        return bool(self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        run = self.run
        return {
            "tool": self.name,
            "label": self.label,
            "kind": self.verdict.kind.value,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "missing": self.missing or None,
            "run": run
            and {
                "ended": run.ended(),
                "exit": run.exit,
                "signal": run.signal,
                "timed_out": run.timed_out,
                "stdout": run.stdout,
                "stderr": run.stderr,
            },
        }


class Source:
    """The program's text, to put words and function names to line numbers."""

    def __init__(self, text: str, file: str) -> None:
        """Take the text; `file` is the name under which tools know it."""
        self.file = file
        self.lines = text.split("\n")
        self._functions: list[tuple[int, int, str]] | None = None
        self._text = text

    def place(self, line: int | str | None, function: str = "") -> Place | None:
        """Return the place of a line; None for a line that the program does not have."""
        number = int(line or 0)
        if not 0 < number <= len(self.lines):
            return None
        text = re.sub(r"\s*(?://.*|/\*.*\*/\s*)$", "", self.lines[number - 1]).strip()
        return Place(number, function or self.function(number), text)

    def mine(self, file: str) -> bool:
        """Tell whether a tool's file name is the program's."""
        name = file.rpartition("/")[2]
        # cgo calls the file after the one that go builds; the lines are the same.
        return name == self.file or (name == WHOLE and self.file.endswith(".go"))

    def calls_of_c(self, name: str) -> list[Place]:
        """Return the lines of a Go program that call a function of C's, by cgo's name for it.

        malloc is ``_Cmalloc`` there, and CString and CBytes call it as well.
        """
        names = "malloc|CString|CBytes" if name == "_Cmalloc" else re.escape(name)
        masked = mask(self._text, raw_strings=True)
        found = re.finditer(rf"(?<![\w.])C\.(?:{names})\s*\(", masked)
        lines = dict.fromkeys(masked.count("\n", 0, call.start()) + 1 for call in found)
        return [place for line in lines if (place := self.place(line)) is not None]

    def function(self, line: int) -> str:
        """Return the name of the C or Go function around a line; "main" outside of all of them."""
        if self._functions is None:
            self._functions = list(_functions(self._text, go=self.file.endswith(".go")))
        for first, last, name in self._functions:
            if first <= line <= last:
                return name
        return "main"


_C_NAME = re.compile(r"[A-Za-z_][\w\s*]*?[\s*](\w+)\s*\([^;{}]*\)\s*\{")
_GO_FUNC = re.compile(
    r"^func\s+(?:\([^)]*\)\s*)?(\w+)[^\n]*?$(?:.*?^\})?", re.MULTILINE | re.DOTALL
)


def _functions(text: str, *, go: bool) -> Sequence[tuple[int, int, str]]:
    """Return (first line, last line, name) of each function."""
    masked = mask(text, raw_strings=go)
    found = []
    if go:
        for match in _GO_FUNC.finditer(masked):
            first = masked.count("\n", 0, match.start()) + 1
            found.append((first, first + match[0].count("\n"), match[1]))
        return found
    for item in c_items(masked):
        piece = masked[item.start : item.stop]
        match_c = _C_NAME.match(piece)
        if match_c and match_c[1] not in ("if", "for", "while", "switch"):
            found.append((item.line, item.line + piece.count("\n"), match_c[1]))
    return found

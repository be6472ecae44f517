"""An exercise whose answer is a program: what a checker is given, and the usual way to judge it.

The first ``%%c --exercise NAME`` cell has ``main`` and one line that is only a comment, such as
``/* str_clone */``: it defines the exercise. Each later one holds what belongs in that place. A
checker is registered like any other, with ``@exercise("NAME")``, and takes an `Attempt`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from heapscope.programs.c import run_c
from heapscope.programs.check import check
from heapscope.programs.checks import Checks
from heapscope.programs.go import run_go
from heapscope.programs.result import Run
from heapscope.programs.verdict import Kind
from heapscope.programs.wrap import has_main
from heapscope.teaching.exercises.base import NotYet, Right, Verdict

_PLACE = re.compile(r"^[ \t]*/\*[ \t]*([\w ().,*-]+?)[ \t]*\*/[ \t]*$", re.MULTILINE)


class Attempt(str):
    """A reader's answer to an exercise, made a whole program: the text of that program.

    A checker that takes a program's text may take it as it is.

    Attributes:
        name: the exercise.
        cell: what the reader wrote.
        language: "c", "c++" or "go".
        options: those of the cell, as `run_c` and `run_go` take them.

    """

    name: str
    cell: str
    language: str
    options: Mapping[str, Any]
    _run: Run | None
    _checks: Checks | None

    def __new__(
        cls,
        text: str,
        *,
        name: str,
        cell: str,
        language: str,
        options: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """Make an attempt of a program's text."""
        self = super().__new__(cls, text)
        self.name, self.cell, self.language = name, cell, language
        self.options = dict(options or {})
        self._run = self._checks = None
        return self

    def run(self, **more: Any) -> Run:
        """Compile and run the program; `more` are further arguments of `run_c` or `run_go`."""
        if more:
            return self._fresh(more)
        if self._run is None:
            self._run = self._fresh({})
        return self._run

    def _fresh(self, more: Mapping[str, Any]) -> Run:
        options = dict(self.options) | dict(more)
        return (
            run_go(str(self), **options) if self.language == "go" else run_c(str(self), **options)
        )

    def __call__(self, **more: Any) -> Run:
        """Do the same as `run`: an answer can be called."""
        return self.run(**more)

    def check(self) -> Checks:
        """Run the program under each tool."""
        if self._checks is None:
            self._checks = check(str(self), self.language, self.options)
        return self._checks


def place_in(start: str) -> str | None:
    """Return the comment that marks the place to fill, "/* str_clone */".

    None when the text is no start of an exercise: it has no main, or not exactly one such line.
    """
    places = [found[0].strip() for found in _PLACE.finditer(start)]
    return places[0] if len(places) == 1 and has_main(start) else None


def fill(start: str, cell: str) -> str:
    """Put the reader's lines into the place that the start marks."""
    return _PLACE.sub(lambda _: cell.rstrip("\n"), start, count=1)


def sound(
    attempt: Attempt,
    *,
    prints: str | None = None,
    hints: Mapping[Kind, str] | None = None,
    right: str = "",
) -> Verdict:
    """Judge by what the program does: it prints `prints`, and no tool finds a fault.

    `hints` says for a kind of fault what to think of; `right` is added to the praise.
    """
    checks = attempt.check()
    if not checks.run.compiled:
        errors = re.findall(
            r"^\S+?:(\d+):(?:\d+:)? (?:error: )?(.*)$", checks.run.diagnostics, re.M
        )
        line, words = errors[0] if errors else ("?", checks.run.diagnostics.strip())
        return NotYet(f"It does not compile: line {line}, {words}")
    for report in sorted(checks.reports, key=lambda report: report.name == "plain"):
        if report.fault:
            verdict = report.verdict
            place = verdict.at or verdict.allocated
            where = f" {place}" if place else ""
            hint = (hints or {}).get(verdict.kind, "")
            said = f"{report.label}: {verdict.text}.{where}"
            return NotYet(f"{said}\n{hint}" if hint else said)
    said = checks.run.stdout
    if prints is not None and said.strip() != prints.strip():
        return NotYet(f"It prints {said.strip()!r}, and {prints.strip()!r} is wanted.")
    if checks.run.exit != 0:
        return NotYet(f"It ends with {checks.run.ended()}; a program that succeeds ends with 0.")
    tools = " and ".join(r.label for r in checks.reports if r.run and r.name != "plain")
    printed = "" if prints is None else f"It prints {prints.strip()!r}. "
    return Right(f"{printed}{tools} found nothing, and every block was freed. {right}".strip())

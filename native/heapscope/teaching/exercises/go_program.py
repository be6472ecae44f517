"""What the checkers of Go programs share: our main behind the reader's, and what came of it."""

from __future__ import annotations

import re

from heapscope.programs.go import FILE
from heapscope.programs.result import Run
from heapscope.programs.scan import mask
from heapscope.programs.wrap import wrap_go
from heapscope.teaching.exercises.base import Hint

FUNC_MAIN = re.compile(r"^func\s+main\s*\(\s*\)\s*\{", re.MULTILINE)
MARK = "@heapscope "
"""A line that our main prints begins so: the mark, the name of a step, a number."""

_STEP = re.compile(rf"\n{MARK}(\S+) (-?\d+)\n")
_ERROR = re.compile(rf"^{re.escape(FILE)}:(\d+):(?:\d+:)? (.*)$", re.MULTILINE)


def renamed(answer: str, preamble: str) -> tuple[str, str]:
    """Return the answer as a whole program whose main is called heapscopeMain, for ours to call.

    The two parts are what stands up to the package clause, with `preamble` behind it, and the rest.
    Hint when there is no package or no main.
    """
    whole = wrap_go(answer, FILE)
    package = re.search(r"^package\s+main\b.*$", mask(whole, raw_strings=True), re.MULTILINE)
    if package is None:
        raise Hint("The program is to be of `package main`.")
    head, rest = whole[: package.end()], whole[package.end() :]
    head += preamble
    if found := re.search(r"^package\b", mask(answer, raw_strings=True), re.MULTILINE):
        # The reader's lines keep their numbers; a blank line keeps this out of cgo's preamble.
        head += f"//line {FILE}:{answer.count(chr(10), 0, found.start()) + 1}:1\n"
    main = FUNC_MAIN.search(mask(rest, raw_strings=True))
    if main is None:
        raise Hint("There is no `func main()` behind the package clause.")
    return head, rest[: main.start()] + "func heapscopeMain() {" + rest[main.end() :]


def steps(stdout: str, before_main: str) -> tuple[dict[str, int], str]:
    """Return the number of each step that was reached, and what the reader's main printed.

    `before_main` is the step behind which our main calls theirs.
    """
    _, *rest = _STEP.split(stdout)
    names, numbers, texts = rest[::3], rest[1::3], rest[2::3]
    seen = {name: int(number) for name, number in zip(names, numbers, strict=True)}
    printed = (text for n, text in zip(names, texts, strict=True) if n == before_main)
    return seen, next(printed, "")


def refused(run: Run) -> str:
    """Return what the compiler said first, with the line."""
    if found := _ERROR.search(run.diagnostics):
        number, message = int(found[1]), found[2].replace("`", "'")
        lines = run.source.split("\n")
        text = lines[number - 1].strip() if number <= len(lines) else ""
        where = f"line {number}: `{text}`" if text and "`" not in text else f"line {number}."
        return f"It does not compile: {message}. See {where}"
    return f"It does not compile. {run.diagnostics.strip()}".replace("`", "'")

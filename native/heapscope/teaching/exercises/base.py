"""What every exercise shares: the register of checkers, the verdicts, the box in the notebook."""

from __future__ import annotations

import difflib
import linecache
import pkgutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import import_module
from typing import Any

from heapscope.teaching.display import inline, show

MIME = "application/vnd.heapscope.exercise+json"


@dataclass(frozen=True, slots=True)
class Right:
    """The answer is right; `text` says what that shows.  Code stands between backticks."""

    text: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """The answer is not right yet; `hint` says what was seen, in words, and where to look."""

    hint: str


Verdict = Right | NotYet
Checker = Callable[[Any], Verdict]

_checkers: dict[str, tuple[Checker, type | None]] = {}

_TAKES: dict[type | None, str] = {
    None: "`check` calls your function itself: give it the function, without parentheses.",
    dict: "`check` takes your table as it is, a dict.",
    str: "`check` takes your program's text, a str, and builds and runs it itself.",
}


class Hint(Exception):  # noqa: N818  it ends a trial, it is no error
    """Ends a trial: what was seen is the hint."""


def exercise(name: str, takes: type | None = None) -> Callable[[Checker], Checker]:
    """Register a checker for an exercise.  ValueError when the name is taken.

    `takes` is what an answer is: dict, str, or None for a function.
    """

    def register(checker: Checker) -> Checker:
        if name in _checkers:
            raise ValueError(
                f"exercise {name} has a checker already: {_checkers[name][0].__module__}"
            )
        _checkers[name] = checker, takes
        return checker

    return register


@cache
def _chapters() -> None:
    """Import each chapter's module, which registers its checkers."""
    package = import_module("heapscope.teaching.exercises")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        import_module(module.name)


def judge(name: str, answer: object) -> Verdict:
    """Try an answer.  LookupError when there is no such exercise."""
    _chapters()
    if name not in _checkers:
        near = difflib.get_close_matches(name, _checkers, n=1, cutoff=0.4)
        known = (
            f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(_checkers))}"
        )
        raise LookupError(f"no exercise is called {name!r}; {known}")
    checker, takes = _checkers[name]
    if not (callable(answer) if takes is None else isinstance(answer, takes)):
        return NotYet(f"{_TAKES[takes]} It was given {_kind(answer)}.")
    try:
        return checker(answer)
    except Hint as seen:
        return NotYet(str(seen))


def check(name: str, answer: object) -> None:
    """Try the reader's answer to an exercise and show the verdict.

    What is wrong with the answer, an exception included, is shown as a hint.  LookupError when
    there is no such exercise.
    """
    verdict = judge(name, answer)
    right = isinstance(verdict, Right)
    text = verdict.text if isinstance(verdict, Right) else verdict.hint
    word, state = ("Right.", "right") if right else ("Not yet.", "not-yet")
    paragraphs = "<br>".join(inline(line) for line in text.split("\n"))
    show(
        {
            MIME: {"id": name, "right": right, "text": text},
            "text/plain": f"{word} {text}",
            "text/html": f'<div class="hs-check hs-check-{state}" id="check-{escape(name)}">'
            f"<p><strong>{'✓' if right else '…'} {word}</strong> {paragraphs}</p></div>",
        }
    )


def ask(answer: Callable[..., object], *args: object, shown: str) -> Any:
    """Call the reader's function; what it raises becomes a hint.

    `shown` is the call in the reader's words: "push(heap, NULL, 0, 7)".
    """
    try:
        return answer(*args)
    except Hint:
        raise
    except Exception as error:
        raise Hint(in_words(error, answer, shown)) from error


def in_words(error: Exception, answer: object, shown: str) -> str:
    """Say what an exception in the reader's function means and on which line it happened."""
    where = ""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == file and frame.lineno is not None:
            line = linecache.getline(frame.filename, frame.lineno).strip()
            where = f", at the line `{line}`" if line and "`" not in line else ""
    what = str(error)
    if not type(error).__module__.startswith("heapscope"):  # our own errors are sentences
        what = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return f"`{shown}` stopped{where}. {what}"


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

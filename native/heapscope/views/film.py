"""A film as `<heap-film>` shows it: stepped through by the reader, all frames in a list without it.

The element (``film.js``, ``film.css``) draws from the film's own JSON. Sentences are not in that
JSON: they are made here from each snapshot, and travel beside it.
"""

from __future__ import annotations

import functools
import hashlib
import html
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapscope.model.snapshot import Role, Snapshot
from heapscope.views import words
from heapscope.views.frames import listing, shown
from heapscope.views.picture import style_sheet
from heapscope.views.steps import steps

if TYPE_CHECKING:
    from heapscope.model.film import Film

_NAME = re.compile(r"[^A-Za-z0-9]+")
_LONE = re.compile("[\ud800-\udfff]")
_BARE = re.compile("[<>&\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


_MINIFY = """import sys, minify
sys.stdout.write(minify.string("application/javascript", sys.stdin.read()))"""


@functools.cache
def script() -> str:
    """Return ``film.js`` as pages and outputs carry it."""
    return minified(Path(__file__).with_name("film.js").read_text(encoding="utf-8"))


def minified(text: str) -> str:
    """Return a script without comments and blanks, with short names for what it keeps to itself.

    The library that does it is written in Go. Its runtime, with threads and signal handlers, has no
    business in a process whose heaps are forked and die of signals: it gets one of its own.
    RuntimeError when it fails.
    """
    command = [sys.executable, "-I", "-X", "utf8", "-c", _MINIFY]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        why = done.stderr.rpartition("MinifyError: ")[2].strip()
        raise RuntimeError(f"a script could not be minified: {why}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Differs:
    """The first place where two films that run in step are not equal."""

    step: int  # number of the step on the common slider
    at: int | None  # canonical address of the word; None: only one of the heaps has a block there
    here: str  # what the first film has there
    there: str  # what the other has


@dataclass(frozen=True, slots=True)
class Player:
    """A film, or two on one slider, ready to be shown."""

    film: Film
    id: str  # of the element: a link to a frame is #ID-FRAME
    other: Film | None = None
    pairs: tuple[tuple[int, int], ...] = ()  # frames of the two films, step by step
    differs: Differs | None = None
    questions: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs) or len(self.film)

    def form(self) -> dict[str, Any]:
        """Return what the element reads: the film's JSON and its sentences."""
        form: dict[str, Any] = {"film": self.film.to_json(), "steps": _steps(self.film)}
        if self.other is not None:
            form["other"] = {"film": self.other.to_json(), "steps": _steps(self.other)}
            form["pairs"] = [list(pair) for pair in self.pairs]
        if self.differs is not None:
            at = None if self.differs.at is None else f"{self.differs.at:#x}"
            form["differs"] = {
                "step": self.differs.step,
                "at": at,
                "here": self.differs.here,
                "there": self.differs.there,
            }
        if self.questions:
            form["questions"] = {str(number): text for number, text in self.questions.items()}
        return form

    def element(self, *, autoplay: bool = False) -> str:
        """Return the ``<heap-film>`` element without style and script.

        With `autoplay` it begins to step by itself, slowly, until the reader touches it; it does
        not where the reader has asked for less motion.
        """
        inner = listing(self.film, self.id)
        if self.other is not None:
            inner += listing(self.other, f"{self.id}-other")
        return (
            f'<heap-film id="{html.escape(self.id, quote=True)}"{" autoplay" * autoplay}>'
            f'<script type="application/json">{_embedded(self.form())}</script>'
            f"{inner}</heap-film>"
        )

    def html(self) -> str:
        """Return the element with its style and script, as a notebook's output needs it."""
        return (
            f'<style class="hs-style">{style_sheet()}{sheet()}</style>{self.element()}'
            f'<script class="hs-film-script">{script()}</script>'
        )

    def page(self) -> str:
        """Return one self-contained HTML page."""
        title = html.escape(shown(self.film.title or self.film.file or "A film of a heap"))
        of = html.escape(shown(self.film.file or "the program"))
        heading = f"The heap of {of}, step by step"
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{title}</title><style>{style_sheet()}{sheet()}"
            "html{color-scheme:light dark}body{margin:0;background:var(--hs-paper)}"
            "main{max-width:1400px;margin:0 auto;padding:16px 12px}"
            "h1{font:650 22px/1.3 var(--hs-sans);color:var(--hs-ink);margin:0}</style></head>"
            f"<body><main><h1>{heading}</h1>{self.element()}</main><script>{script()}</script></body></html>\n"
        )

    def text(self) -> str:
        """Return the film in words."""
        parts = [_said(self.film)]
        if self.other is not None:
            parts.append(_said(self.other))
        if self.differs is not None:
            parts.append(_difference(self.differs))
        return "\n\n".join(parts)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.text()}

    def __repr__(self) -> str:
        return self.text()


@functools.cache
def sheet() -> str:
    """Return ``film.css`` without comments and needless blanks."""
    text = Path(__file__).with_name("film.css").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


def player(
    film: Film, *, name: str | None = None, questions: Mapping[int, str] | None = None
) -> Player:
    """Return `film` ready to be shown.

    `name` becomes part of the links to its frames (``#film-NAME-3``); without it they carry the
    film's title and a hash of its content. `questions` asks before a frame shows what changed:
    number of the frame → the question. ValueError when there is no such frame.
    """
    asked = dict(questions or {})
    wrong = [number for number in asked if not 0 < number < len(film)]
    if wrong:
        raise ValueError(
            f"a question belongs to a frame from 1 to {len(film) - 1}; there is no {wrong[0]}"
        )
    return Player(film, _id(name, film), questions=asked)


def compare(film: Film, other: Film, *, name: str | None = None) -> Player:
    """Return two films on one slider: the faulty program and the fixed one.

    Frames whose lines read the same go together; where one program has a line more, the other
    waits. The first word in which their heaps differ is marked.
    """
    pairs = _paired(film, other)
    return Player(film, _id(name, film, other), other, pairs, _first_difference(film, other, pairs))


# ---- the parts


def _id(name: str | None, *films: Film) -> str:
    if name is not None:
        return f"film-{_NAME.sub('-', name).strip('-').lower() or 'of-a-heap'}"
    content = json.dumps([film.to_json() for film in films], sort_keys=True)
    mark = hashlib.sha256(content.encode("ascii")).hexdigest()[:6]
    title = _NAME.sub("-", films[0].title or films[0].file).strip("-").lower()[:32].strip("-")
    return f"film-{title}-{mark}" if title else f"film-{mark}"


def _steps(film: Film) -> list[list[Any]]:
    """Return the sentences as the element reads them: call, result, sentence, bad."""
    return [[s.call, s.result, s.say, int(s.bad)] for s in steps(film)]


def _embedded(form: dict[str, Any]) -> str:
    """Return JSON that may stand in a ``<script>``: nothing in it ends the element."""
    text = json.dumps(form, ensure_ascii=False, separators=(",", ":"))
    text = _LONE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)  # such bytes are no UTF-8
    # a carriage return or a NUL never stands bare in JSON; these may
    return _BARE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def _said(film: Film) -> str:
    lines = [shown(film.title)] if film.title else []
    for number, step in enumerate(steps(film)):
        result = f" → {step.result}" if step.result else ""
        lines.append(f"{number}. {shown(step.call)}{shown(result)}: {shown(step.say)}")
    if film.caption:
        lines.append(shown(film.caption))
    return "\n".join(lines)


def _difference(found: Differs) -> str:
    where = "" if found.at is None else f" at {found.at:#x}"
    return (
        f"The two heaps first differ in step {found.step}{where}: "
        f"{found.here} here, {found.there} there."
    )


# ---- two films


def _paired(film: Film, other: Film) -> tuple[tuple[int, int], ...]:
    """Put the frames of two films side by side, by what their lines say."""
    mine = [step.call for step in steps(film)]
    theirs = [step.call for step in steps(other)]
    pairs: list[tuple[int, int]] = []
    i = j = 0
    for a, b, size in SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks():
        # what stands between two matches: lines of one, lines of the other, or changed lines
        while i < a or j < b:
            ahead = (i < a, j < b)
            i, j = i + ahead[0], j + ahead[1]
            pairs.append((max(i - 1, 0), max(j - 1, 0)))
        for _ in range(size):
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return tuple(pairs)


def _first_difference(
    film: Film, other: Film, pairs: tuple[tuple[int, int], ...]
) -> Differs | None:
    """Find the first word in which the two heaps differ; the allocator's own tables count less."""
    for number, (i, j) in enumerate(pairs):
        here, there = film.frames[i], other.frames[j]
        found = _different_word(here, there)
        if found is not None:
            at, mine, theirs = found
            return Differs(number, at, mine, theirs)
    return None


def _different_word(here: Snapshot, there: Snapshot) -> tuple[int, str, str] | None:
    mine = {w.at: w for w in here.words}
    theirs = {w.at: w for w in there.words}
    different = [
        at for at in sorted(mine.keys() & theirs.keys()) if mine[at].data != theirs[at].data
    ]
    if not different:
        return None
    plain = [at for at in different if Role.INTERNAL not in (mine[at].role, theirs[at].role)]
    at = (plain or different)[0]
    return at, _told(here, at), _told(there, at)


def _told(shot: Snapshot, at: int) -> str:
    word = next(w for w in shot.words if w.at == at)
    return words.value(shot, word) or word.data.hex(" ")

"""A film without JavaScript: its frames one below the other, drawn or in words."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapscope.model.snapshot import Snapshot
from heapscope.views import words
from heapscope.views.figure import figure, small
from heapscope.views.grid import Grid
from heapscope.views.layout import rows
from heapscope.views.picture import Picture, with_style
from heapscope.views.steps import Step, call, steps

if TYPE_CHECKING:
    from heapscope.model.film import Film

MOST_FRAMES = 12
"""Of a longer film the events are listed, and the last frame is drawn."""
FRAME_ROWS = 14
"""So many rows of 16 bytes a frame shows; what changed comes first."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A film as a page without scripts, or paper, shows it."""

    title: str
    steps: Grid
    parts: tuple[str, ...]  # HTML of each frame; none for a long film
    last: Picture | None
    caption: str

    def html(self) -> str:
        """Return the film as HTML, without a style sheet."""
        title = f'<div class="hs-title">{html.escape(self.title)}</div>' if self.title else ""
        caption = f'<p class="hs-caption">{html.escape(self.caption)}</p>' if self.caption else ""
        if self.parts:
            frames = "".join(self.parts)
            twin = (
                '<details class="hs-words"><summary>The same in words</summary>'
                f"{_scrolling(self.steps)}</details>"
            )
            body = f'<ol class="hs-frames">{frames}</ol>{caption}{twin}'
        else:
            end = self.last.figure() if self.last is not None else ""
            body = f"{_scrolling(self.steps)}{end}"
        return f'<div class="hs-film">{title}{body}</div>'

    def text(self) -> str:
        """Return the film in words."""
        return "\n\n".join(part for part in (self.title, self.steps.text(), self.caption) if part)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": with_style(self.html()), "text/plain": self.text()}

    def __repr__(self) -> str:
        return self.text()


def film_frames(film: Film) -> Frames:
    """Return all frames of `film` one below the other, each with its event in words.

    A film of more than 12 frames is a table of its events and a picture of the last frame.
    """
    steps = Grid(
        ("step", "what was called", "what came of it", "the heap then"),
        tuple(
            (str(n), event(film, n), came(shot), words.sentence(shot))
            for n, shot in enumerate(film.frames)
        ),
        film.title or "Film",
    )
    long = len(film.frames) > MOST_FRAMES
    parts = () if long else tuple(_frame(film, n) for n in range(len(film.frames)))
    last = figure(film.frames[-1], title="The last frame") if long else None
    return Frames(film.title, steps, parts, last, film.caption)


def event(film: Film, number: int) -> str:
    """Return what happened just before frame `number`: the source line, or the calls."""
    return call(film, number)


def came(shot: Snapshot) -> str:
    """Return what a frame changed, in words."""
    notes = [e.note for e in shot.events if e.note]
    whys = [w.why for w in shot.words if w.changed and w.why]
    return "; ".join(dict.fromkeys([*notes, *whys]))


def _frame(film: Film, number: int) -> str:
    shot = film.frames[number]
    broken = " hs-broken" if shot.faults else ""
    call = html.escape(event(film, number))
    line = f" · line {shot.line}" if shot.line is not None else ""
    changes = came(shot)
    why = f'<p class="hs-dim">{html.escape(changes)}</p>' if changes else ""
    chains = "".join(
        f'<p class="hs-chain">{html.escape(words.chain(shot, found))}</p>'
        for found in shot.lists
        if found.links or found.fault
    )
    drawing = small(shot, FRAME_ROWS) if rows(shot) else ""
    stop = f'<p class="hs-bad">{html.escape(shot.stop.message)}</p>' if shot.stop else ""
    return (
        f'<li class="hs-figure"><p class="hs-dim">{number + 1} of {len(film.frames)}{line}</p>'
        f'<p class="hs-call"><code>{call}</code></p>'
        f'<p class="hs-say{broken}">{html.escape(words.sentence(shot))}</p>{why}{stop}'
        f'<div class="hs-scroll" role="group" tabindex="0" aria-label="Heap after {call}">'
        f"{drawing}</div>{chains}</li>"
    )


def _scrolling(grid: Grid) -> str:
    name = Grid.escape(grid.caption or "Table")
    return (
        f'<div class="hs-scroll" role="group" tabindex="0" aria-label="{name}">{grid.html()}</div>'
    )


# ---- in words, as <heap-film> carries them for readers without scripts

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONE = re.compile("[\ud800-\udfff]")


def shown(text: str) -> str:
    """Return `text` so that every character is seen: ␛ for the byte 0x1b, � for what is no text."""
    text = _CONTROL.sub(lambda m: chr(0x2400 + ord(m[0])) if ord(m[0]) < 32 else "�", text)
    return _LONE.sub("�", text)


def listing(film: Film, name: str) -> str:
    """Return all frames of `film` in words, one below the other, and a picture of the last.

    The frame's number is its place in a link: ``#NAME-3`` leads to the fourth.
    """
    said = steps(film)
    items = "".join(
        _item(film, number, made, f"{name}-{number}") for number, made in enumerate(said)
    )
    title = f'<div class="hs-title">{_text(film.title)}</div>' if film.title else ""
    caption = f'<p class="hs-caption">{_text(film.caption)}</p>' if film.caption else ""
    return (
        f'<div class="hs-film hs-listing">{title}<ol class="hs-steps">{items}</ol>'
        f"{_end(film)}{caption}</div>"
    )


def _text(text: str) -> str:
    return html.escape(shown(text))


def _item(film: Film, number: int, made: Step, anchor: str) -> str:
    shot = film.frames[number]
    line = f" · line {shot.line}" if shot.line is not None else ""
    result = f" → {_text(made.result)}" if made.result else ""
    bad = ' class="hs-broken"' if made.bad else ""
    changes = "".join(
        f"<li><code>{words.offset(shot, w.at)}: {w.data.hex(' ')}</code> {_text(w.why or '')}</li>"
        for w in shot.words
        if w.changed and w.why
    )
    lists = "".join(
        f"<li><code>{_text(words.chain(shot, found))}</code></li>"
        for found in shot.lists
        if found.links or found.fault
    )
    inner = f"<ul>{changes}{lists}</ul>" if changes or lists else ""
    return (
        f'<li id="{html.escape(anchor, quote=True)}"><p{bad}><small>{number}{line}</small> '
        f"<code><b>{_text(made.call)}</b>{result}</code><br>{_text(made.say)}</p>{inner}</li>"
    )


def _end(film: Film) -> str:
    """Draw the heap as it is at the end."""
    if not film.frames or not rows(film.frames[-1]):
        return ""
    drawing = small(film.frames[-1], FRAME_ROWS)
    return (
        '<div class="hs-figure"><p class="hs-dim">The heap after the last step</p>'
        '<div class="hs-scroll" role="group" tabindex="0" aria-label="The heap after the last '
        f'step">{drawing}</div></div>'
    )

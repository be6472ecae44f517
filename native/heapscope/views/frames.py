"""A film without JavaScript: its frames one below the other."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapscope.model.snapshot import Snapshot
from heapscope.views import words
from heapscope.views.figure import figure, small
from heapscope.views.grid import Grid
from heapscope.views.layout import rows
from heapscope.views.picture import Picture, with_style

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
    said = film.statement(number)
    if said:
        return said
    if number == 0:
        return "start"
    wrote = any(word.changed for word in film.frames[number].words)
    return "the program writes" if wrote else "nothing changes"


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

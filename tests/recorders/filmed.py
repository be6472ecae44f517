"""What the tests of films share: how to look at a film."""

from __future__ import annotations

from heapscope.model.film import Film
from heapscope.model.snapshot import Pointer, Snapshot, Word
from heapscope.views.steps import step


def after(film: Film, line: int, time: int = 1) -> Snapshot:
    """Return the frame after `line` ran for the `time`-th time."""
    found = [shot for shot in film.frames if shot.line == line]
    assert len(found) >= time, f"line {line} ran {len(found)} times: {lines(film)}"
    return found[time - 1]


def lines(film: Film) -> list[int | None]:
    """Return the line of each frame."""
    return [shot.line for shot in film.frames]


def events(shot: Snapshot) -> list[str]:
    """Return the events of a frame in words."""
    return [event.text for event in shot.events]


def said(film: Film, number: int) -> str:
    """Return what frame `number` says in words."""
    return step(film, number).say


def kinds(film: Film) -> list[str]:
    """Return the kinds of all events of a film."""
    return [event.kind for shot in film.frames for event in shot.events]


def variable(shot: Snapshot, name: str, scope: str = "main") -> Pointer:
    """Return a variable."""
    return next(p for p in shot.pointers if (p.name, p.scope) == (name, scope))


def value(shot: Snapshot, name: str, scope: str = "main") -> str | None:
    """Return how a variable that is no pointer is shown."""
    return variable(shot, name, scope).text


def faulty(shot: Snapshot) -> list[Word]:
    """Return the words with something wrong about them."""
    return [word for word in shot.words if word.fault is not None]


def faults(film: Film) -> dict[int | None, list[str]]:
    """Return what was called a fault, by line."""
    found: dict[int | None, list[str]] = {}
    for shot in film.frames:
        for event in shot.events:
            if event.kind == "fault":
                found.setdefault(shot.line, []).append(event.text)
    return found


def ended(film: Film) -> str:
    """Say how the program ended."""
    stop = film.frames[-1].stop
    assert stop is not None
    return stop.signal or (f"exit {stop.status}" if stop.kind == "exit" else stop.message)

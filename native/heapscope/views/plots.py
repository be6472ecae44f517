"""Pictures for decisions: measured ratios with their spread, lives of owners, and a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

from heapscope.views import theme
from heapscope.views.grid import Grid
from heapscope.views.pen import Pen
from heapscope.views.picture import Picture, picture
from heapscope.views.pictures import RECORDED, WIDTH, plot, some

Tree: TypeAlias = "Mapping[str, str | tuple[str, Tree]]"
"""Answers to a question: each leads to a word of advice, or to another question with answers."""

_LOOKS = (
    ("header", "o", "-"),
    ("fault-text", "s", (0, (6, 2))),
    ("go", "^", (0, (2, 2))),
    ("ink", "D", "-."),
)


def spread(
    measured: Mapping[float, Mapping[str, Sequence[float]]], *, x: str, title: str
) -> Picture:
    """Draw ratios that were measured several times: medians as a line, all values as a range.

    `measured` gives for each x the values of each curve. Both axes are logarithmic, and the line
    at 1 is where both sides of a ratio are equal. ValueError when there is nothing to draw or a
    ratio is not positive.
    """
    some(measured, "measurements")
    places = sorted(measured)
    names = list(measured[places[0]])
    if any(value <= 0 for row in measured.values() for values in row.values() for value in values):
        raise ValueError("a ratio must be more than 0")
    fig, ax = plot(360)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=10)
    for name, (role, mark, dash) in zip(names, _LOOKS, strict=False):
        colour = theme.COLOUR[role]
        middle = [median(measured[place][name]) for place in places]
        ax.plot(places, middle, color=colour, marker=mark, markersize=6, linestyle=dash, label=name)
        for place in places:
            values = measured[place][name]
            ax.plot((place, place), (min(values), max(values)), color=colour, linewidth=2)
    ax.axhline(1, color=theme.COLOUR["faint"], linewidth=1)
    ax.set_xticks(places, [_size(place) for place in places])
    ax.minorticks_off()
    low, high = ax.get_ylim()
    ticks = [t for t in (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 100, 500, 1000) if low <= t <= high]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_xlabel(x)
    ax.set_ylabel("ratio")
    ax.legend(loc="best", fontsize=11, labelcolor=theme.ink, frameon=False)
    first, last = places[0], places[-1]
    said = "; ".join(
        f"{name} goes from {_ratio(median(measured[first][name]))} at {_size(first)} to "
        f"{_ratio(median(measured[last][name]))} at {_size(last)}"
        for name in names
    )
    rows = [[_size(place), *(_range(measured[place][name]) for name in names)] for place in places]
    table = Grid.of((x, *names), rows, "Median, and smallest to largest")
    return picture(
        fig,
        title=title,
        alt=f"{said}.",
        table=table,
        caption=f"{RECORDED} · medians, bars from the smallest to the largest value · log scales",
    )


def _size(value: float) -> str:
    """Write a number of bytes or elements briefly: 65536 is 64K."""
    for step, unit in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if value >= step and value % step == 0:
            return f"{value / step:.0f}{unit}"
    return f"{value:g}"


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


@dataclass(slots=True)
class _Life:
    """What happened to one owner, and when; None: it did not happen."""

    made: float
    dropped: float | None = None
    freed: float | None = None
    by: str = "nobody"


_ENDS = {"Close": ("header", "s"), "cleanup": ("go", "o")}
"""How a block may be freed: colour and mark of its end."""


def lifetimes(events: Sequence[tuple[str, str, float]], *, title: str, unit: str = "ms") -> Picture:
    """Draw when owners were made, when they were used last, and what freed them.

    Each event is (what, whose, when in `unit`). What is ``made``, ``dropped`` (the last use), the
    ends ``Close`` and ``cleanup``, and ``collection``, which is nobody's. ValueError for another
    word, an event of an owner that was not made, and an owner that is made or freed twice.
    """
    lives, collections = _lives(events)
    some(lives, "owners")
    end = max(when for _, _, when in events)
    row = 20.0
    fig, ax = plot(150 + row * len(lives), left=72)
    colour = theme.COLOUR
    for when in collections:
        ax.plot(
            (when, when), (-0.8, len(lives) - 0.4),
            color=colour["fault-text"], linewidth=1.6, linestyle=(0, (4, 2)),
        )  # fmt: skip
        ax.annotate("GC", (when, -0.9), ha="center", va="bottom", color=colour["fault-text"])
    for number, life in enumerate(lives.values()):
        until = end if life.freed is None else life.freed
        used = until if life.dropped is None else life.dropped
        ax.plot((life.made, used), (number, number), color=colour["ink"], linewidth=4)
        if used < until:
            ax.plot(
                (used, until), (number, number), color=colour["faint"], linewidth=2, linestyle=":"
            )
        if life.freed is None:
            ax.annotate("never freed", (until, number), (5, -4), textcoords="offset points")
        else:
            role, mark = _ENDS[life.by]
            ax.plot(life.freed, number, color=colour[role], marker=mark, markersize=8)
    for how, (role, mark) in _ENDS.items():
        ax.plot([], [], color=colour[role], marker=mark, linestyle="", label=how)
    ax.plot([], [], color=colour["ink"], linewidth=4, label="in use")
    ax.plot([], [], color=colour["faint"], linewidth=2, linestyle=":", label="dropped")
    ax.legend(loc="upper right", ncols=4, fontsize=11, labelcolor=theme.ink, frameon=False)
    ax.set_yticks(range(len(lives)), list(lives))
    ax.set_ylim(len(lives) - 0.4, -3.0)  # room for the legend above the first
    ax.set_xlim(0, end * 1.14)
    ax.set_xlabel(unit)
    rows = [
        (name, _at(life.made), _at(life.dropped), _at(life.freed), life.by)
        for name, life in lives.items()
    ]
    table = Grid.of(
        ("owner", f"made, {unit}", f"dropped, {unit}", f"freed, {unit}", "by"),
        rows,
        "Collections began at " + (", ".join(map(_at, collections)) or "no time") + f" {unit}",
    )
    return picture(fig, title=title, alt=_fates(lives, unit), table=table, caption=RECORDED)


def _lives(events: Sequence[tuple[str, str, float]]) -> tuple[dict[str, _Life], list[float]]:
    lives: dict[str, _Life] = {}
    collections: list[float] = []
    for what, whose, when in sorted(events, key=lambda event: event[2]):
        if what == "collection":
            collections.append(when)
        elif what == "made":
            if whose in lives:
                raise ValueError(f"{whose} is made twice")
            lives[whose] = _Life(when)
        elif whose not in lives:
            raise ValueError(f"{what} of {whose}, which was not made before")
        elif what == "dropped":
            lives[whose].dropped = when
        elif what not in _ENDS:
            known = ", ".join(("made", "dropped", *_ENDS, "collection"))
            raise ValueError(f"{what} is no event of an owner: they are {known}")
        elif lives[whose].freed is not None:
            raise ValueError(f"{whose} is freed twice")
        else:
            lives[whose].freed, lives[whose].by = when, what
    return lives, collections


def _fates(lives: Mapping[str, _Life], unit: str) -> str:
    """Say how many owners ended in which way, and how long the dropped ones waited."""
    said = []
    for how in _ENDS:
        ended = [life for life in lives.values() if life.by == how and life.freed is not None]
        waits = [
            life.freed - life.dropped
            for life in ended
            if life.freed is not None and life.dropped is not None
        ]
        words = f"{len(ended)} freed by {how}"
        if waits:
            low, high = _at(min(waits)), _at(max(waits))
            span = low if low == high else f"{low} to {high}"
            words += f", {span} {unit} after the last use"
        said.append(words)
    left = sum(life.freed is None for life in lives.values())
    return f"{len(lives)} owners: {'; '.join(said)}; {left} never freed."


def _at(when: float | None) -> str:
    return "" if when is None else f"{when:,.1f}"


def pixels(data: Any, width: int, height: int, *, title: str) -> Picture:
    """Draw `width` × `height` pixels of four bytes (red, green, blue, alpha), row by row.

    `data` is a buffer over them, which is not copied: memory of C's is drawn as it is now.
    ValueError when it is too short.
    """
    import numpy as np

    if len(data) < width * height * 4:
        raise ValueError(
            f"{width} × {height} pixels are {width * height * 4} bytes, not {len(data)}"
        )
    grid = np.frombuffer(data, dtype=np.uint8, count=width * height * 4)
    grid = grid.reshape(height, width, 4)
    fig = theme.canvas(256, 256)
    with theme.style():
        ax = fig.add_axes((0, 0, 1, 1))
    ax.axis("off")
    ax.imshow(grid, interpolation="nearest")
    parts = [(name, grid[rows]) for name, rows in _thirds(height)]
    rows = [(name, *(f"{value:.0f}" for value in part.mean(axis=(0, 1)))) for name, part in parts]
    table = Grid.of(("third", "red", "green", "blue", "alpha"), rows, "Mean of each colour")
    zero = int((grid == 0).all(axis=2).sum())
    alt = f"{width} by {height} pixels drawn from {width * height * 4:,} bytes of C memory: " + (
        "; ".join(f"{name} third, mean red {r}, green {g}, blue {b}" for name, r, g, b, _ in rows)
    )
    return picture(
        fig, title=title, alt=f"{alt}. {zero} are wholly zero.", table=table, caption=RECORDED
    )


def _thirds(height: int) -> list[tuple[str, slice]]:
    cut = (0, height // 3, 2 * height // 3, height)
    return [(n, slice(cut[i], cut[i + 1])) for i, n in enumerate(("upper", "middle", "lower"))]


def decision(question: str, answers: Tree) -> Picture:
    """Draw a tree of questions; each answer leads to advice or to a further question.

    ``decision("Who reads it?", {"C": "lend", "nobody": ("Why keep it?", {...})})``
    """
    some(answers, "answers")
    lines = _lines(question, answers, 0)
    row, step = 34.0, 30.0
    pen = Pen(WIDTH, len(lines) * row + 12)
    open_at: dict[int, float] = {}
    for number, (depth, kind, answer, text) in enumerate(lines):
        x, y = 10 + depth * step, 8 + number * row
        middle = y + row / 2 - 4
        if kind == "question":
            pen.text(x, middle + 4, text, size=14, bold=True)
            open_at[depth] = y + row - 8
            continue
        stem = x - step + 8
        pen.path([[(stem, open_at[depth - 1]), (stem, middle), (x - 4, middle)]], edge="faint")
        open_at[depth - 1] = middle
        pen.text(x, middle + 4, f"{answer}:", size=13)
        if kind == "advice":
            at = x + 8 + 7.4 * (len(answer) + 1)
            pen.box(at, y + 1, 14 + 7.6 * len(text), row - 10, fill="payload", edge="edge")
            pen.text(at + 7, middle + 4, text, size=13, colour="on-light")
    leaves = _leaves(answers, ())
    alt = f"{question} " + "; ".join(f"{' → '.join(path)}: {leaf}" for path, leaf in leaves) + "."
    table = Grid.of(("if", "then"), [(" → ".join(path), leaf) for path, leaf in leaves])
    return Picture(
        "A way to decide", alt, (pen.svg(alt),), "model: the forks are tried on this page", (table,)
    )


def _lines(question: str, answers: Tree, depth: int) -> list[tuple[int, str, str, str]]:
    found: list[tuple[int, str, str, str]] = [(depth, "question", "", question)]
    for answer, then in answers.items():
        if isinstance(then, str):
            found.append((depth + 1, "advice", answer, then))
        else:
            found.append((depth + 1, "fork", answer, ""))
            found += _lines(then[0], then[1], depth + 2)
    return found


def _leaves(answers: Tree, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    for answer, then in answers.items():
        if isinstance(then, str):
            found.append(((*path, answer), then))
        else:
            found += _leaves(then[1], (*path, answer, then[0]))
    return found

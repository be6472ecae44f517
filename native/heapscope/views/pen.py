"""Drawing in CSS pixels: the few shapes the pictures of a heap are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heapscope.views import theme

Point = tuple[float, float]


class Pen:
    """Draws on a figure of fixed size; the origin is the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path
        from matplotlib.text import Text

        self._patch, self._path, self._text = PathPatch, Path, Text
        self.fig, self.ax = theme.axes(width, height)
        self._level = 0.0

    def path(
        self,
        parts: Sequence[Sequence[Point]],
        *,
        fill: str | None = None,
        edge: str | None = None,
        width: float = 1.0,
        dash: tuple[float, ...] | None = None,
        closed: bool = False,
        cap: str = "butt",
    ) -> None:
        """Draw polygons or lines as one path; each part is a sequence of points."""
        points: list[Point] = []
        codes: list[Any] = []
        for part in parts:
            points += part
            codes += [self._path.MOVETO, *[self._path.LINETO] * (len(part) - 1)]
            if closed:
                points.append(part[0])
                codes.append(self._path.CLOSEPOLY)
        self._level += 0.001  # what is drawn later lies above
        patch = self._patch(
            self._path(points, codes),
            facecolor=theme.COLOUR[fill] if fill else "none",
            edgecolor=theme.COLOUR[edge] if edge else "none",
            linewidth=width if edge else 0,
            linestyle=(0, dash) if dash else "-",
            capstyle=cap,
            joinstyle="miter",
            clip_on=False,
            zorder=1 + self._level,
        )
        self.ax.add_artist(patch)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str | None = None,
        edge: str | None = None,
        line: float = 1.0,
        dash: tuple[float, ...] | None = None,
    ) -> None:
        """Draw a rectangle from its top left corner."""
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        self.path([corners], fill=fill, edge=edge, width=line, dash=dash, closed=True)

    def hatch(self, x: float, y: float, width: float, height: float, step: float = 7.0) -> None:
        """Fill a rectangle with diagonal lines: old bytes of a free chunk."""
        lines = []
        reach = step / 2
        while reach < width + height:
            start = (x + min(reach, width), y + max(0.0, reach - width))
            end = (x + max(0.0, reach - height), y + min(reach, height))
            lines.append([start, end])
            reach += step
        self.path(lines, edge="hatch", width=1.2)

    def dots(self, x: float, y: float, width: float, height: float, step: float = 8.0) -> None:
        """Fill a rectangle with dots: nobody asked for these bytes."""
        if width < step / 2:
            return
        rows = []
        down = step / 2
        while down < height - 1:
            rows.append([(x + step / 2, y + down), (x + width - 1, y + down)])
            down += step
        self.path(rows, edge="dots", width=1.5, dash=(0.1, step - 0.1), cap="round")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12.0,
        colour: str = "ink",
        mono: bool = False,
        bold: bool = False,
        align: str = "left",
        columns: Sequence[float] | None = None,
    ) -> None:
        """Write `text` with its baseline at `y`.

        With `columns` (the x of each character) every character keeps its place whatever font the
        page has.
        """
        self._level += 0.001
        if columns is not None:
            text = text.replace(" ", "")
        artist = self._text(
            x,
            y,
            text,
            fontsize=size,
            color=theme.COLOUR[colour],
            family=theme.MONO if mono else theme.SANS,
            weight=700 if bold else 400,
            ha=align,
            va="baseline",
            clip_on=False,
            zorder=1 + self._level,
            parse_math=False,
        )
        if columns is not None:
            artist.set_gid(theme.COLUMNS + ",".join(f"{c:.1f}" for c in columns))
        self.ax.add_artist(artist)

    def svg(self, label: str) -> str:
        """Return what was drawn as an SVG element; `label` is its alternative text."""
        return theme.svg(self.fig, label)

"""What every view returns: a picture with its caption and the same facts in words."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapscope.views import theme
from heapscope.views.grid import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Grid | Sequence[Grid] | tuple[Iterable[Any], Iterable[Iterable[Any]]]
"""What may be given as a picture's table: grids, or a head and rows."""


@functools.cache
def style_sheet() -> str:
    """Return ``views.css`` without comments and needless blanks."""
    text = Path(__file__).with_name("views.css").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


def with_style(body: str) -> str:
    """Return HTML with the style sheet before it: an output must look right in any notebook."""
    return f'<style class="hs-style">{style_sheet()}</style>{body}'


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a notebook or a page shows it."""

    title: str
    alt: str  # the conclusion first
    drawings: tuple[str, ...]  # SVG; with two, the second is for narrow columns
    caption: str = ""  # where it comes from
    tables: tuple[Grid, ...] = ()
    words: str = ""  # plain sentences that stand before the tables
    above: str = ""  # HTML between the title and the drawing
    below: str = ""  # HTML between the drawing and the caption

    def figure(self) -> str:
        """Return the ``<figure>`` element, without a style sheet."""
        shapes = (" hs-wide", " hs-narrow") if len(self.drawings) == 2 else ("",)
        boxes = "".join(
            f'<div class="hs-scroll{shape}" role="group" tabindex="0" '
            f'aria-label="{html.escape(self.title or "Picture", quote=True)}">{drawing}</div>'
            for shape, drawing in zip(shapes, self.drawings, strict=False)
        )
        title = f'<div class="hs-title">{html.escape(self.title)}</div>' if self.title else ""
        return (
            f'<figure class="hs-figure">{title}{self.above}{boxes}{self.below}'
            f"<figcaption>{self._caption()}{self._twin()}</figcaption></figure>"
        )

    def _caption(self) -> str:
        return f'<p class="hs-caption">{html.escape(self.caption)}</p>' if self.caption else ""

    def _twin(self) -> str:
        if not self.tables and not self.words:
            return ""
        words = f"<p>{html.escape(self.words)}</p>" if self.words else ""
        tables = "".join(
            f'<div class="hs-scroll" role="group" tabindex="0" '
            f'aria-label="{html.escape(grid.caption or "Table", quote=True)}">{grid.html()}</div>'
            for grid in self.tables
        )
        return (
            '<details class="hs-words"><summary>The same in words</summary>'
            f"{words}{tables}</details>"
        )

    def text(self) -> str:
        """Return the picture in words."""
        parts = [self.title, self.alt, *(grid.text() for grid in self.tables), self.caption]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        return with_style(self.figure())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.text()}

    def __repr__(self) -> str:
        return self.text()


def picture(
    fig: Figure,
    *,
    title: str,
    alt: str,
    table: Rows | None = None,
    caption: str = "",
) -> Picture:
    """Wrap a matplotlib figure: SVG that follows the theme, alternative text, a table twin.

    `alt` states the conclusion first. `table` is a :class:`Grid`, a sequence of them, or a head
    and rows. Colours of :data:`heapscope.views.theme.COLOUR` and matplotlib's black become the
    page's; draw on :func:`heapscope.views.theme.axes` or inside ``with theme.style():``.
    Raises ValueError when `alt` is empty: a picture without words is no use to some readers.
    """
    if not alt.strip():
        raise ValueError("a picture needs its alternative text: say in `alt` what it shows")
    return Picture(title, alt, (theme.svg(fig, alt),), caption, grids(table))


def grids(table: Rows | None) -> tuple[Grid, ...]:
    """Return what was given as a table as grids."""
    if table is None:
        return ()
    if isinstance(table, Grid):
        return (table,)
    if all(isinstance(part, Grid) for part in table):
        return tuple(part for part in table if isinstance(part, Grid))
    head, rows = table
    return (Grid.of(head, rows),)

"""Colours, fonts and sizes of the pictures, and SVG that follows the page's light or dark theme.

A picture is drawn by matplotlib with fixed colours.  :func:`svg` then replaces each of them by a
CSS variable of ``views.css`` with that colour as its fallback, so one SVG serves both themes, and
a page without the style sheet shows the light one.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR: dict[str, str] = {
    "header": "#0072b2",
    "payload": "#a6d8f2",
    "link": "#e69f00",
    "slack": "#f5ea84",
    "stale": "#fdfdfe",
    "top": "#b8b8b8",
    "fault": "#b23a00",
    "go": "#882e8c",
    # what is written on the roles
    "on-dark": "#fffffe",  # on header, fault and go
    "on-dark-dim": "#edf5fa",
    "on-light": "#111112",  # on payload, link, slack and top, which are light in both themes
    "on-light-dim": "#2f383f",
    "on-stale": "#121212",
    "on-stale-dim": "#565d66",
    "hatch": "#c6c9cd",
    "dots": "#989898",
    # everything around the cells
    "edge": "#101011",
    "ink": "#222832",
    "faint": "#5a6270",
    "line": "#c9c9ca",
    "paper": "#fffeff",
    "soft": "#f4f4f6",
    "accent": "#176de8",
    "good": "#1a7f37",
    "fault-text": "#b23a01",
    "go-text": "#882e8d",
}
"""Role → colour in the light theme.  No two are equal, since the colour tells the role in the SVG:
``views.css`` has a variable ``--hs-ROLE`` for each, with its values for light and dark."""

ink = COLOUR["ink"]
"""Text and axes on the page's own background."""
faint = COLOUR["faint"]
"""Less important text (still 4.5:1 against the background)."""

SANS = "DejaVu Sans"
MONO = "DejaVu Sans Mono"
"""Families to name in matplotlib; the SVG gets the page's own fonts in their stead."""

COLUMNS = "columns:"
"""A text whose gid starts so gives the x of each of its characters: SVG can place them one by one,
matplotlib cannot (see :class:`heapscope.views.pen.Pen`)."""

_VARIABLE = {colour: f"var(--hs-{role},{colour})" for role, colour in COLOUR.items()}
# matplotlib's own defaults, as a chapter's plot has them when it names no colours
_VARIABLE["#000000"] = _VARIABLE[ink]
_VARIABLE["#b0b0b0"] = _VARIABLE[COLOUR["line"]]  # grid

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "heapscope",
    "font.family": SANS,
    "font.size": 12.0,
    "text.color": ink,
    "text.usetex": False,
    "text.parse_math": False,
    "axes.edgecolor": faint,
    "axes.facecolor": "none",
    "axes.labelcolor": ink,
    "axes.labelsize": 12.0,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "figure.dpi": 72.0,
    "savefig.facecolor": "none",
    "grid.color": COLOUR["line"],
    "grid.linewidth": 0.8,
    "hatch.linewidth": 1.2,
    "legend.frameon": False,
    "xtick.color": faint,
    "ytick.color": faint,
    "xtick.labelcolor": ink,
    "ytick.labelcolor": ink,
    "xtick.labelsize": 12.0,
    "ytick.labelsize": 12.0,
    "path.simplify": False,
}
"""matplotlib settings of all pictures."""


@contextmanager
def style() -> Iterator[None]:
    """Draw with the book's settings inside a ``with`` block."""
    import matplotlib as mpl  # half a second: only when something is drawn

    with mpl.rc_context(STYLE):
        yield


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of `width` × `height` CSS pixels, with its own SVG canvas."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with style():
        fig = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(fig)
    return fig


def axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of `width` × `height` CSS pixels and axes that fill it.

    Coordinates are pixels with the origin at the top left; the axes themselves are not drawn.
    """
    fig = canvas(width, height)
    with style():
        ax = fig.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.axis("off")
    return fig, ax


def svg(fig: Figure, label: str) -> str:
    """Return `fig` as an SVG element that follows the theme, with `label` as its alternative text.

    Width and height are CSS pixels. The same figure gives the same bytes. Ids that something in
    the SVG refers to start with a hash of its content, so two figures on a page cannot clash; all
    others are dropped.
    """
    from matplotlib.text import Text

    for words in fig.findobj(Text):
        words.set_parse_math(False)  # a dollar is a dollar; math would place letters one by one
    text = io.StringIO()
    with style(), warnings.catch_warnings():
        # Fonts are the browser's: a sign that DejaVu does not have is no loss.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        fig.savefig(text, format="svg", dpi=72, metadata={"Date": None, "Creator": None})
    return _themed(text.getvalue(), label)


def _themed(text: str, label: str) -> str:
    match = re.search(r"<svg [^>]*?width=\"([\d.]+)pt\"[^>]*>|<svg [^>]*>", text)
    if match is None:
        raise ValueError("matplotlib wrote no <svg> element")
    size = re.search(r"viewBox=\"0 0 ([\d.]+) ([\d.]+)\"", match.group())
    if size is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    width, height = (_short(x) for x in size.groups())
    body = text[match.end() : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S)
    # Its style sheet reads `*{stroke-linejoin: …}`, and in a page `*` would be everything.
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.S)
    body = re.sub(r"<defs>\s*</defs>", "", body)
    body = re.sub(r"#[0-9a-fA-F]{6}\b", lambda m: _VARIABLE.get(m[0].lower(), m[0]), body)
    body = re.sub(r"(font(?:-family)?:)([^;\"]*)", _fonts, body)
    body = re.sub(r"<path d=\"([^\"]*)\"", lambda m: f'<path d="{_path(m[1])}"', body)
    body = re.sub(r" transform=\"rotate\(-?0 [^)]*\)\"", "", body).replace(
        "; text-anchor: start", ""
    )
    body = _columns(body)
    body = _ids(body)
    body = re.sub(r">\s*\n\s*<", "><", body).strip()
    count = 1
    while count:  # groups without attributes say nothing
        body, count = re.subn(r"<g>((?:(?!</?g[ >]).)*)</g>", r"\1", body, flags=re.S)
    name = html.escape(label, quote=True)
    return (
        f'<svg class="hs-svg" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{name}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'stroke-linejoin="round" fill="{_VARIABLE[ink]}">{body}</svg>'
    )


def _short(number: str) -> str:
    """Write a number with at most two decimals."""
    return f"{float(number):.2f}".rstrip("0").rstrip(".")


def _path(data: str) -> str:
    """Shorten a path: one line, two decimals."""
    data = re.sub(r"-?\d+\.\d+", lambda m: _short(m[0]), data)
    return re.sub(r"\s*\n\s*", " ", data).strip()


def _fonts(match: re.Match[str]) -> str:
    """Put the page's fonts in the place of matplotlib's list of families."""
    declared = match[2]
    stack = "var(--hs-mono,monospace)" if "Mono" in declared else "var(--hs-sans,sans-serif)"
    shorthand = re.match(r"\s*((?:[\w.%-]+\s+)*?[\d.]+px(?:/[\d.]+)?)\s", declared)
    return f"{match[1]} {shorthand[1] + ' ' if shorthand else ''}{stack}"


def _columns(body: str) -> str:
    """Give each character of the texts that ask for it its own place."""
    return re.sub(
        rf"<g id=\"{COLUMNS}([^\"]*)\">\s*<text ([^>]*?)\bx=\"[^\"]*\"",
        lambda m: f'<g>\n<text {m[2]}x="{m[1].replace(",", " ")}"',
        body,
    )


def _ids(body: str) -> str:
    """Drop the ids nobody refers to and make the others unique to this content."""
    body = re.sub(r"\s*\n\s*(?=[a-z:]+=\")", " ", body)
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", body))
    names = {a or b for a, b in used}
    plain = re.sub(r" id=\"([^\"]*)\"", lambda m: m[0] if m[1] in names else "", body)
    prefix = "hs" + hashlib.sha256(plain.encode()).hexdigest()[:10]
    order = {name: f"{prefix}-{n}" for n, name in enumerate(sorted(names))}
    plain = re.sub(r" id=\"([^\"]*)\"", lambda m: f' id="{order[m[1]]}"', plain)
    plain = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{order.get(m[1], m[1])})", plain)
    return re.sub(r"href=\"#([^\"]+)\"", lambda m: f'href="#{order.get(m[1], m[1])}"', plain)

"""The film on the cover and the picture of the README, both of a real heap.

The film is recorded anew in each build, from the C program in the page.

``python -m heapscope.sphinx.cover book/assets/heap.svg`` writes the file.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from heapscope.sphinx import build

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from heapscope.model.snapshot import Snapshot

_MARGIN = 12  # pixels round the drawing in the file
_VARIABLE = re.compile(r"var\((--hs-[\w-]+),\s*([^()]+)\)")


def register(app: Sphinx) -> None:
    """Register the two directives."""
    app.add_directive("heap-picture", HeapPicture)
    app.add_directive("heap-film", HeapFilm)


@cache
def example() -> Snapshot:
    """Return a heap with a full block, one with slack and a freed one."""
    from heapscope import Heap

    with Heap() as heap:
        lib, ffi = heap.lib, heap.ffi
        a, b, c = lib.malloc(24), lib.malloc(10), lib.malloc(24)
        heap.name(a=a, b=b, c=c)
        ffi.buffer(a, 24)[:] = b"the other heap, in bytes"
        ffi.buffer(b, 10)[:] = b"ten bytes."
        ffi.buffer(c, 24)[:] = b"this block will be freed"
        lib.free(c)
        return heap.snapshot()


class HeapPicture(SphinxDirective):
    """Draw the example in the page; ``:only: a`` shows one block of it."""

    option_spec: ClassVar[dict[str, Any]] = {"only": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the figure with its words."""
        from heapscope.views import figure

        build.note_live(self.env)  # another glibc draws another heap
        try:
            picture = figure(example(), only=self.options.get("only"))
        except Exception as error:  # a red page that says why, and all other pages
            raise self.error(f"no heap could be drawn: {error}") from error
        return [nodes.raw("", picture.figure(), format="html")]


class HeapFilm(SphinxDirective):
    """Record the C program in the directive and show its film, which begins to move by itself.

    The argument is the film's title.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the film with its list of steps."""
        from heapscope.programs.filming import record
        from heapscope.views.film import player

        build.note_live(self.env)
        title = self.arguments[0]
        try:
            film = replace(record("\n".join(self.content), "c", {}), title=title)
        except (RuntimeError, ValueError) as error:  # no gdb, or a program that does not compile
            raise self.error(f"no film could be recorded: {error}") from error
        element = player(film, name="cover").element(autoplay=True)
        return [nodes.raw("", element, format="html")]


def standalone(drawing: str, colours: str) -> str:
    """Return a drawing as an SVG file with a background of its own, for light and dark.

    `colours` is the style sheet that defines the variables used in `drawing`.
    """
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)
    if size is None:
        raise ValueError("the drawing does not say how large it is")
    width, height = (float(number) + 2 * _MARGIN for number in size.groups())
    used = dict(_VARIABLE.findall(drawing)) | {"--hs-paper": "#fff", "--hs-line": "#c9c9c9"}
    dark = dict(re.findall(r"(--hs-[\w-]+):\s*([^;}]+)", _dark(colours)))
    light_css = ";".join(f"{name}:{value}" for name, value in sorted(used.items()))
    dark_css = ";".join(f"{name}:{dark[name]}" for name in sorted(used) if name in dark)
    style = (
        f"svg{{{light_css};--hs-sans:sans-serif;--hs-mono:monospace}}"
        f"@media (prefers-color-scheme:dark){{svg{{{dark_css}}}}}"
        ".hs-svg{font-family:var(--hs-sans);font-variant-numeric:tabular-nums}"
    )
    inner = drawing.replace("<svg ", f'<svg x="{_MARGIN}" y="{_MARGIN}" ', 1)
    if "xmlns=" not in inner.split(">", 1)[0]:
        inner = inner.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    inner = re.sub(
        r"<svg ([^>]*)>",
        lambda m: f'<svg width="{size[1]}" height="{size[2]}" {_without_size(m[1])}>',
        inner,
        count=1,
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}"><style>{style}</style>'
        f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8" '
        f'fill="var(--hs-paper)" stroke="var(--hs-line)"/>{inner}</svg>\n'
    )


def _without_size(attributes: str) -> str:
    return re.sub(r'\s*\b(?:width|height)="[^"]*"|\s*style="[^"]*"', "", attributes)


def _dark(colours: str) -> str:
    """Return the block of the style sheet that holds the dark theme's colours."""
    found = re.search(r'data-theme="dark"\][^{]*\{([^}]*)\}', colours)
    if found is None:
        raise ValueError("the style sheet has no colours for the dark theme")
    return found[1]


def main(path: str) -> None:
    """Write the picture to a file."""
    from heapscope.views import figure
    from heapscope.views.picture import style_sheet

    picture = figure(example())
    Path(path).write_text(standalone(picture.drawings[0], style_sheet()), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

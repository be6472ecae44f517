"""Two lists for the plain pages: the chapters with their questions, and the tools of this build."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from heapscope.sphinx import build, execute, fingerprint

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_log = logging.getLogger(__name__)

Row = tuple[list[nodes.Node], ...]  # of a table, each cell as its inline parts

_WORDS_A_MINUTE = 180  # technical prose, read to be understood
_MINUTES_A_CELL = 0.4  # reading a few lines of code and what they print
_QUESTION = re.compile(r"^\*\*(.+?\?)\*\*", re.MULTILINE)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)


def register(app: Sphinx) -> None:
    """Register the two directives."""
    app.add_directive("chapters", Chapters)
    app.add_directive("toolset", Toolset)


def minutes(nb: Any) -> int:
    """Return how long a chapter takes to read, rounded up to five; folded text is left out."""
    words: int = sum(
        len(_FOLDED.sub("", str(cell.source)).split())
        for cell in nb.cells
        if cell.cell_type == "markdown"
    )
    cells: int = sum(cell.cell_type == "code" for cell in nb.cells)
    exact = words / _WORDS_A_MINUTE + cells * _MINUTES_A_CELL
    return 5 * math.ceil(exact / 5)


def opening(nb: Any) -> tuple[str, str]:
    """Return a chapter's title and the question it opens with, "" where there is none."""
    text = "\n\n".join(str(cell.source) for cell in nb.cells if cell.cell_type == "markdown")
    title, question = _TITLE.search(text), _QUESTION.search(text)
    return (title[1] if title else "", question[1] if question else "")


class Chapters(SphinxDirective):
    """Write a table of the notebooks in the book's order: title, question, minutes."""

    def run(self) -> list[nodes.Node]:
        """Return the table; the page is read again when a notebook changes."""
        rows: list[Row] = []
        toc = self.config.external_site_map
        for docname in [name for name in toc if str(self.env.doc2path(name)).endswith(".ipynb")]:
            path = Path(self.env.doc2path(docname))
            self.env.note_dependency(str(path))
            try:
                nb = execute.read(path)
            except (OSError, ValueError) as error:
                _log.warning("%s", error, location=self.env.docname, type="heapscope")
                continue
            title, question = opening(nb)
            uri = self.env.app.builder.get_relative_uri(self.env.docname, docname)
            asked, messages = self.state.inline_text(question, self.lineno)
            link = nodes.reference("", title, internal=True, refuri=uri)
            rows.append(([link], [*asked, *messages], [nodes.Text(f"{minutes(nb)} min")]))
        if not rows:
            return [nodes.paragraph("", "The chapters are on their way.")]
        return [table(("Chapter", "What it answers", "Time"), rows)]


class Toolset(SphinxDirective):
    """Write the versions of the tools and libraries that this build used."""

    def run(self) -> list[nodes.Node]:
        """Return a table of names and versions."""
        build.note_live(self.env)  # they may change without any file of the book
        rows: list[Row] = [
            ([nodes.Text(name)], [nodes.literal("", version)])
            for name, version in fingerprint.tools().items()
            if version[:1].isdigit()
        ]
        return [table(("Tool", "Version"), rows)]


def table(head: tuple[str, ...], rows: list[Row]) -> nodes.table:
    """Return a docutils table of inline content."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    top = nodes.row("", *(nodes.entry("", nodes.paragraph("", name)) for name in head))
    group += nodes.thead("", top)
    body = nodes.tbody()
    for row in rows:
        cells = (nodes.entry("", nodes.paragraph("", "", *parts)) for parts in row)
        body += nodes.row("", *cells)
    group += body
    return nodes.table("", group, classes=["colwidths-auto"])

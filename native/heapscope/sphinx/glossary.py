"""Link the first use of each term in each chapter to the glossary.

The glossary is a plain page: a level-two heading for each term.  A comment below the heading may
name the forms under which the text uses it (``<!-- forms: leak, leaks -->``); without one it is
the term and its plural.  ``none`` stands for a term that is too common a word to be linked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_TERM = re.compile(r"^## (.+)\n(?:<!-- forms: (.+?) -->\n)?", re.MULTILINE)
_EMPHASIZED = re.compile(r"\*(.+)\*")
_NOT_IN = (nodes.reference, nodes.literal, nodes.title, nodes.table, nodes.caption)


@dataclass(frozen=True)
class Term:
    """A heading of the glossary and what to look for in the chapters."""

    name: str
    forms: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """The heading's id on the glossary's page."""
        return nodes.make_id(self.name)


def register(app: Sphinx) -> None:
    """Look at the chapters when all pages have been read."""
    app.add_config_value("heapscope_glossary", "book/glossary", "env", types=[str])
    app.connect("doctree-read", _depend)
    app.connect("doctree-resolved", _link)


def terms(page: str) -> list[Term]:
    """Read the terms of a glossary's Markdown."""
    found = []
    for name, forms in _TERM.findall(page):
        if forms == "none":
            continue
        listed = tuple(part.strip() for part in forms.split(",")) if forms else (name, f"{name}s")
        found.append(Term(name, listed))
    return found


def _page(app: Sphinx) -> Path:
    return Path(app.srcdir) / f"{app.config.heapscope_glossary}.md"


def _is_chapter(app: Sphinx, docname: str) -> bool:
    return str(app.env.doc2path(docname)).endswith(".ipynb") and _page(app).is_file()


def _depend(app: Sphinx, _doctree: nodes.document) -> None:
    if _is_chapter(app, app.env.docname):
        app.env.note_dependency(str(_page(app)))


def _link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    glossary = app.config.heapscope_glossary
    if (
        app.builder.format != "html"
        or glossary not in app.env.found_docs
        or not _is_chapter(app, docname)
    ):
        return
    page = app.builder.get_relative_uri(docname, glossary)
    link_first_uses(doctree, terms(_page(app).read_text("utf-8")), page)


def link_first_uses(doctree: nodes.document, wanted: list[Term], page: str) -> None:
    """Make the first use of each term in running text a link to `page`."""
    missing = {term.name: term for term in wanted}
    for text in list(doctree.findall(nodes.Text)):
        if missing and _is_prose(text):
            _link_in(text, missing, page)


def _is_prose(text: nodes.Text) -> bool:
    inside: nodes.Node | None = text.parent
    prose = False
    while inside is not None:
        if isinstance(inside, _NOT_IN):
            return False
        if isinstance(inside, nodes.paragraph):
            # a paragraph that is all bold asks a question
            bold = len(inside) == 1 and isinstance(inside[0], nodes.strong)
            prose = not bold
        inside = inside.parent
    return prose


def _link_in(text: nodes.Text, missing: dict[str, Term], page: str) -> None:
    """Split one piece of text at the terms that it is the first to use."""
    content = str(text)
    slanted = isinstance(text.parent, nodes.emphasis | nodes.strong)
    found: list[tuple[int, int, Term]] = []
    for term in list(missing.values()):
        place = _first(term, content, slanted)
        if place is None or any(place[0] < end and start < place[1] for start, end, _ in found):
            continue
        found.append((*place, term))
        del missing[term.name]
    if not found:
        return
    parts: list[nodes.Node] = []
    at = 0
    for start, end, term in sorted(found, key=lambda one: one[0]):
        parts.append(nodes.Text(content[at:start]))
        parts.append(
            nodes.reference(
                "",
                content[start:end],
                internal=True,
                refuri=f"{page}#{term.anchor}",
                classes=["hs-term"],
            )
        )
        at = end
    parts.append(nodes.Text(content[at:]))
    text.parent.replace(text, [part for part in parts if part.astext()])


def _first(term: Term, content: str, slanted: bool) -> tuple[int, int] | None:
    """Return where `content` uses the term; a form between stars has to be emphasized."""
    places = []
    for form in term.forms:
        starred = _EMPHASIZED.fullmatch(form)
        if starred and not slanted:
            continue
        words = re.escape(starred[1] if starred else form)
        match = re.search(rf"(?<![\w-]){words}(?![\w-])", content, re.IGNORECASE)
        if match:
            places.append(match.span())
    return min(places, default=None, key=lambda place: (place[0], -place[1]))

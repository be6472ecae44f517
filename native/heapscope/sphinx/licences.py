"""What the site ships, and under which licence: a table, and a check that nothing is left out.

``{licences}`` writes the table from the installed packages' own metadata. When the pages stand,
every file of the site is laid to a package by its content, or by its name where a build makes it;
a file that belongs to nobody is a warning, which ``make book`` takes for an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import heapscope
from heapscope.playground.source import LICENCE as GLIBC
from heapscope.sphinx import build, front

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_log = logging.getLogger(__name__)
_PACKAGE = Path(heapscope.__file__).parent
OWN = "this book"
WASM = "playground-wasm.js"
FILMS = "playground-films.js"

SHIPPED: Mapping[str, str] = {
    "Sphinx": "frame of the pages, search",
    "sphinx-book-theme": "look of the pages",
    "pydata-sphinx-theme": "look of the pages, theme button",
    "sphinx-copybutton": "buttons that copy code",
    "sphinx_design": "style sheet for boxes",
    "sphinx-thebe": "files that no page uses",
    "sphinx-togglebutton": "parts that fold",
    "myst-nb": "style sheet for notebooks",
    "Pygments": "colours of code",
}
"""Packages whose files the site carries, and what of them."""

MADE: Mapping[str, str] = {
    ".buildinfo": "Sphinx",
    "objects.inv": "Sphinx",
    "searchindex.js": "Sphinx",
    "_static/basic.css": "Sphinx",
    "_static/documentation_options.js": "Sphinx",
    "_static/language_data.js": "Sphinx",
    "_static/copybutton.js": "sphinx-copybutton",
    "_static/pygments.css": "Pygments",
    "_static/webpack-macros.html": "pydata-sphinx-theme",
}
"""Files that a build writes from a package's template: no file of the package is equal to them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A work of others that a package carries with it; `evidence` must stand in its `notice`."""

    name: str
    package: str
    notice: str  # how the path of the file with the notice ends
    evidence: re.Pattern[str]
    licence: str
    where: str


PARTS = (
    Part(
        "Bootstrap",
        "pydata-sphinx-theme",
        "static/scripts/bootstrap.js.LICENSE.txt",
        re.compile(r"Bootstrap v.*under MIT", re.DOTALL),
        "MIT",
        "layout and dialogs",
    ),
    Part(
        "Font Awesome Free",
        "pydata-sphinx-theme",
        "LICENSE.txt",
        re.compile(r"Icons.*CC BY 4\.0.*Fonts.*SIL OFL 1\.1.*Code.*MIT", re.DOTALL),
        "icons CC BY 4.0, fonts SIL OFL 1.1, code MIT",
        "icons of the buttons",
    ),
    Part(
        "clipboard.js",
        "sphinx-copybutton",
        "clipboard.min.js",
        re.compile(r"Licensed MIT"),
        "MIT",
        "copying",
    ),
)


def register(app: Sphinx) -> None:
    """Register the directive and the check."""
    app.add_directive("licences", Licences)
    app.connect("build-finished", _finish, priority=950)  # when the others have written theirs


def licence(package: str) -> str:
    """Return a licence's name as the installed package states it. ValueError if it does not."""
    about = metadata.metadata(package)
    for expression in about.get_all("License-Expression") or ():
        return str(expression)
    first = "".join(about.get_all("License") or ()).strip().partition("\n")[0].strip()
    if first and len(first) < 60:
        return first
    marks = [c for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    if not marks:
        raise ValueError(f"{package} does not state a licence: name one by hand, or drop it")
    return " and ".join(mark.rpartition(":: ")[2] for mark in marks)


def notice(part: Part) -> Path:
    """Return the file in which a part states its licence. ValueError if it is not there."""
    for file in metadata.files(part.package) or ():
        path = Path(str(file.locate()))
        named = str(file).endswith(part.notice) and path.is_file()
        if named and part.evidence.search(path.read_text("utf-8", errors="replace")):
            return path
    raise ValueError(
        f"{part.package} has no notice that {part.name} is under {part.licence}: "
        f"look what its {part.notice} says now"
    )


@cache
def _contents() -> Mapping[str, str]:
    """Return the package of each file that packages bring, by the hash of its bytes."""
    found: dict[str, str] = {}
    for package in SHIPPED:
        for file in metadata.files(package) or ():
            path = Path(str(file.locate()))
            if path.suffix not in (".py", ".pyc") and path.is_file() and path.stat().st_size:
                found.setdefault(_hash(path), package)
    return found


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _own_names(source: Path) -> frozenset[str]:
    """Return the names of the book's own static files; scripts lose their comments on the way."""
    folders = (source / "book" / "assets", _PACKAGE / "views", _PACKAGE / "sphinx" / "static")
    return frozenset(
        path.name for folder in folders for path in folder.glob("*") if path.suffix != ".py"
    )


def owner(path: Path, out: Path, own: frozenset[str], pages: frozenset[str]) -> str | None:
    """Return whose a file of the site is: a package, OWN, "glibc", or None for nobody known.

    `own` is names of the book's static files, `pages` the docnames of its pages.
    """
    name = path.relative_to(out).as_posix()
    top, _, rest = name.partition("/")
    if name in MADE:
        return MADE[name]
    if name == f"_static/{WASM}":
        return "glibc"
    package = _contents().get(_hash(path))
    if package is not None:
        return package
    if top == "_static" and rest in {*own, FILMS}:
        return OWN
    if top == "_sources" and re.sub(r"(\.txt|\.ipynb|\.md)+$", "", rest) in pages:
        return OWN
    if name.endswith(".html") and name.removesuffix(".html") in {*pages, "index", "search"}:
        return OWN
    return None


def shipped(out: Path, source: Path, pages: Iterable[str]) -> dict[str, str | None]:
    """Return the owner of each file below `out`, by its path there."""
    own, known = _own_names(source), frozenset(pages)
    return {
        path.relative_to(out).as_posix(): owner(path, out, own, known)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def _finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for name, whose in shipped(Path(app.outdir), Path(app.srcdir), app.env.found_docs).items():
        if whose is None:
            _log.warning(
                "%s is shipped, and nobody knows under which licence: add its package to SHIPPED "
                "in heapscope/sphinx/licences.py, or put it into book/assets if it is ours; "
                "a page left from an older build goes with make clean",
                name,
                type="heapscope",
            )


class Licences(SphinxDirective):
    """Write the table: what, version, licence, what for."""

    def run(self) -> list[nodes.Node]:
        """Return the table; the page is written again when packages change."""
        build.note_live(self.env)
        try:
            rows = [
                (package, metadata.version(package), licence(package), what)
                for package, what in SHIPPED.items()
            ]
            for part in PARTS:
                notice(part)
                rows.append((part.name, f"in {part.package}", part.licence, part.where))
        except ValueError as error:
            _log.warning("%s", error, location=self.env.docname, type="heapscope")
            return []
        rows.append(
            ("malloc of glibc", "of the build", GLIBC, "the playground, where there is one")
        )
        inline: list[front.Row] = [tuple([nodes.Text(text)] for text in row) for row in rows]
        return [front.table(("What", "Version", "Licence", "What for"), inline)]

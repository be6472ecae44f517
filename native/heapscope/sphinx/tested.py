"""What was tested: tables made from the files that the checks in ``tests/trust`` wrote.

Written as ``{tested} NAME`` in a page, for the file ``tests/trust/figures/NAME.json``;
``tests/trust/__init__.py`` describes it. Nothing is shown that does not stand in the file, and a
file that is not there is said to be missing. ``{tested}`` alone counts the figures of all files.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from heapscope.sphinx import front

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_log = logging.getLogger(__name__)

FOLDER = "tests/trust/figures"
MET = {True: "met", False: "not met", None: "not tried"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `met` is None when it was not tried."""

    what: str
    value: str
    aim: str
    met: bool | None
    command: str


@dataclass(frozen=True, slots=True)
class Tested:
    """What one check wrote."""

    title: str
    command: str
    date: datetime.date
    versions: Mapping[str, str]
    figures: tuple[Figure, ...]


def load(path: Path) -> Tested:
    """Read a check's file. Raises ValueError with a sentence when it is not as described."""
    try:
        form = json.loads(path.read_text("utf-8"))
        _exactly(form, {"title", "command", "measured", "figures"})
        _exactly(form["measured"], {"date", "versions"})
        figures = []
        for one in form["figures"]:
            _exactly(one, {"what", "value", "aim", "met", "command"})
            if one["met"] not in (True, False, None):
                raise ValueError(f"met is {one['met']!r}")
            _texts({name: text for name, text in one.items() if name != "met"})
            figures.append(Figure(**one))
        if not figures:
            raise ValueError("there is no figure")
        _texts({"title": form["title"], "command": form["command"]})
        _texts(form["measured"]["versions"])
        date = datetime.date.fromisoformat(form["measured"]["date"])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is not a file of figures: {error}") from error
    versions = form["measured"]["versions"]
    return Tested(form["title"], form["command"], date, versions, tuple(figures))


def _exactly(form: Mapping[str, Any], keys: set[str]) -> None:
    if set(form) != keys:
        raise ValueError(f"its keys are {sorted(form)}, not {sorted(keys)}")


def _texts(form: Mapping[str, Any]) -> None:
    for name, text in form.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} is {text!r}, not text")


def register(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("tested", Table)
    app.connect("env-get-outdated", _outdated)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)


def _docs(env: Any) -> dict[str, str]:
    """Return the pages that show figures, with a hash of the figures that they show."""
    if not hasattr(env, "heapscope_tested_docs"):
        env.heapscope_tested_docs = {}
    docs: dict[str, str] = env.heapscope_tested_docs
    return docs


def _purge(_app: Sphinx, env: Any, docname: str) -> None:
    _docs(env).pop(docname, None)


def _merge(_app: Sphinx, env: Any, _docnames: Iterable[str], other: Any) -> None:
    _docs(env).update(_docs(other))


def _state(folder: Path) -> str:
    """Hash the figures; note_dependency would not see a file that comes later."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.json")):
        total.update(f"{path.name}\0".encode() + path.read_bytes())
    return total.hexdigest()


def _outdated(app: Sphinx, env: Any, *_: Any) -> list[str]:
    now = _state(Path(app.srcdir) / FOLDER)
    return [docname for docname, then in _docs(env).items() if then != now]


def common_aim(figures: Iterable[Figure]) -> str | None:
    """Return the aim of more than half the figures, None if there is no such aim."""
    aims = Counter(figure.aim for figure in figures)
    aim, count = aims.most_common(1)[0]
    return aim if 2 * count > aims.total() else None


class Table(SphinxDirective):
    """Write one check's figures as a table, and the command that shows them."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table, or the sentence that there is nothing to show."""
        folder = Path(self.env.srcdir) / FOLDER
        _docs(self.env)[self.env.docname] = _state(folder)
        try:
            if not self.arguments:
                return [self._counted([load(path) for path in sorted(folder.glob("*.json"))])]
            path = folder / f"{self.arguments[0]}.json"
            return self._table(load(path)) if path.exists() else [self._missing(path.stem)]
        except ValueError as error:
            _log.warning("%s", error, location=self.env.docname, type="heapscope")
            return []

    def _counted(self, found: Iterable[Tested]) -> nodes.Node:
        """Return how many figures there are, and how many of them are met."""
        counts = Counter(figure.met for one in found for figure in one.figures)
        said = ", ".join(f"{counts[met]} {name}" for met, name in MET.items())
        return nodes.paragraph("", f"{counts.total()} figures stand here: {said}.")

    def _missing(self, name: str) -> nodes.Node:
        """Return the sentence that no figures were recorded."""
        command = nodes.literal("", f"python -m tests.trust.{name}")
        text = nodes.strong("", "Missing.")
        rest = nodes.Text(" No figures were recorded. The command would be ")
        return nodes.paragraph("", "", text, rest, command, nodes.Text("."))

    def _table(self, found: Tested) -> list[nodes.Node]:
        """Return the table with what stands above and below it.

        An aim that most figures share is said once, above, and the column of aims is left out.
        """
        shared = common_aim(found.figures)
        above: list[nodes.Node] = []
        if shared is not None:
            others = any(figure.aim != shared for figure in found.figures)
            aim = f" {shared}{', unless a row has its own' if others else ''}."
            above = [nodes.paragraph("", "", nodes.strong("", "Aim:"), nodes.Text(aim))]
        rows: list[front.Row] = []
        for figure in found.figures:
            own = "" if shared in (None, figure.aim) else f" (aim: {figure.aim})"
            cells = [figure.what + own, figure.value, figure.aim, MET[figure.met]]
            rows.append(tuple([nodes.Text(text)] for text in cells))
        head: tuple[str, ...] = ("What was tried", "What came of it", "Aim", "Is it met?")
        if shared is not None:
            head, rows = head[:2] + head[3:], [row[:2] + row[3:] for row in rows]
        return [*above, front.table(head, rows), *self._shown_by(found)]

    def _shown_by(self, found: Tested) -> list[nodes.Node]:
        """Return the commands, the date and the versions."""
        commands = dict.fromkeys([found.command, *(figure.command for figure in found.figures)])
        line = nodes.paragraph("", "", nodes.Text("Shown by "))
        for number, command in enumerate(commands):
            line += [nodes.Text(", ")] if number else []
            line += nodes.literal("", command)
        date = f"{found.date.day} {found.date:%B %Y}"
        versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
        line += nodes.Text(f"; run on {date} with {versions}.")
        return [line]

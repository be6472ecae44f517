"""The ledger: every claim, what a run said about it, and where.

Written as ``{ledger}`` in a page.  It is made from the records of this build and claims.yml, never
by hand.  The filter is a small script; without it the page is the whole list.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from heapscope.sphinx import build
from heapscope.sphinx.records import Checked
from heapscope.teaching.statements import Statement
from heapscope.teaching.versions import TOOLS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_log = logging.getLogger(__name__)

VERDICTS = {
    "holds": "is right",
    "caveat": "needs a caveat",
    "wrong": "is wrong or out of date",
    "omitted": "does not say it",
}
STATES = {
    "holds": "checked here",
    "fails": "fails here",
    "differs": "differs here",
    "open": "not yet checked",
}
_LONGEST_OBSERVED = 160  # characters of an observed value that the page shows


def anchor(claim: str) -> str:
    """Return the id of a claim's row in the ledger."""
    return f"ledger-{claim}"


def register(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("ledger", Ledger)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)


def _docs(env: Any) -> set[str]:
    if not hasattr(env, "heapscope_ledger_docs"):
        env.heapscope_ledger_docs = set()
    docs: set[str] = env.heapscope_ledger_docs
    return docs


def _purge(_app: Sphinx, env: Any, docname: str) -> None:
    _docs(env).discard(docname)


def _merge(_app: Sphinx, env: Any, _docnames: Iterable[str], other: Any) -> None:
    _docs(env).update(_docs(other))


def state_of(found: Iterable[Checked]) -> str:
    """Return the worst state of a claim's records; "open" when there is none."""
    states = {one.state for one in found}
    return next((s for s in ("fails", "differs", "holds") if s in states), "open")


class Ledger(SphinxDirective):
    """Write the list of claims, in sections as claims.yml has them."""

    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Return a summary and one section of rows for each section of the article."""
        _docs(self.env).add(self.env.docname)
        build.note_live(self.env, records=True)
        claims = build.claims(self.env)
        found: dict[str, list[Checked]] = {name: [] for name in claims}
        for one in build.checked(self.env):
            found.setdefault(one.id, []).append(one)
        states = {name: state_of(found[name]) for name in claims}
        if self.config.ledger_complete:
            for name, state in states.items():
                if state == "open":
                    _log.warning(
                        "claim %r is checked by no chapter",
                        name,
                        location=self.env.docname,
                        type="heapscope",
                    )
        sections: dict[str, list[Statement]] = {}
        for claim in claims.values():
            sections.setdefault(claim.section, []).append(claim)
        result: list[nodes.Node] = [self._summary(states)]
        for title, entries in sections.items():
            result.append(self._section(title, entries, found, states))
        return result

    def _summary(self, states: Mapping[str, str]) -> nodes.Node:
        count = Counter(states.values())
        parts = [f"{count[s]} {STATES[s]}" for s in STATES if count[s]]
        text = f"{len(states)} claims: {', '.join(parts)}." if states else "No claims yet."
        box = nodes.container(classes=["hs-ledger-summary"])
        box += nodes.paragraph("", text)
        return box

    def _section(
        self,
        title: str,
        entries: Iterable[Statement],
        found: Mapping[str, list[Checked]],
        states: Mapping[str, str],
    ) -> nodes.Node:
        section = nodes.section(ids=[nodes.make_id(f"section {title}")], classes=["hs-ledger"])
        section += nodes.title("", title)
        for claim in entries:
            section += self._row(claim, found[claim.id], states[claim.id])
        return section

    def _row(self, claim: Statement, found: list[Checked], state: str) -> nodes.Node:
        name, verdict = claim.id, claim.verdict
        classes = ["hs-ledger-row", f"hs-state-{state}", f"hs-verdict-{verdict}"]
        row = nodes.container(ids=[anchor(name)], classes=classes)
        statement, messages = self.state.inline_text(claim.statement, self.lineno)
        row += nodes.paragraph("", "", *statement, classes=["hs-ledger-statement"])
        row += messages
        facts = nodes.bullet_list(classes=["hs-ledger-facts"])
        row += facts

        def fact(label: str, *parts: nodes.Node) -> None:
            line = nodes.paragraph("", "", nodes.strong("", label), nodes.Text(" "), *parts)
            facts.append(nodes.list_item("", line))

        here = nodes.inline("", STATES[state], classes=["hs-badge", f"hs-badge-{state}"])
        fact("Here:", here, *self._where(name, found))
        observed = [shown for one in found if (shown := _observed(one.record.get("observed")))]
        if observed:
            fact("Observed:", *_joined([nodes.literal("", text) for text in observed]))
        versions = _versions([one.record.get("versions", {}) for one in found])
        if versions:
            fact("With:", nodes.Text(versions))
        lines = claim.article_lines
        where = f" (line{'s' if '-' in lines or ',' in lines else ''} {lines})" if lines else ""
        fact("Article:", nodes.Text(VERDICTS[verdict] + where))
        cited: list[nodes.Node] = []
        for source in claim.source:
            inline, messages = self.state.inline_text(source, self.lineno)
            cited.append(nodes.inline("", "", *inline))
            row += messages
        if cited:
            fact("Source:" if len(cited) == 1 else "Sources:", *_joined(cited))
        return row

    def _where(self, name: str, found: list[Checked]) -> list[nodes.Node]:
        """Return links to the cells that checked the claim."""
        parts: list[nodes.Node] = []
        for one in found:
            uri = self.env.app.builder.get_relative_uri(self.env.docname, one.docname)
            parts.append(nodes.Text(", " if parts else " in "))
            label = one.docname.rsplit("/", 1)[-1]
            link = nodes.reference(
                "", label, internal=True, refuri=f"{uri}#claim-{name}", classes=["hs-ledger-cell"]
            )
            parts.append(link)
        return parts


def _joined(parts: list[Any]) -> list[nodes.Node]:
    joined: list[nodes.Node] = []
    for part in parts:
        if joined:
            joined.append(nodes.Text("; "))
        joined.append(part)
    return joined


def _observed(value: Any) -> str:
    """Return an observed value as a short line."""
    if value is None or value in ("", {}, []):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_OBSERVED else text[: _LONGEST_OBSERVED - 1] + "…"


def _versions(found: Iterable[Mapping[str, Any]]) -> str:
    """Return "glibc 2.36, gcc 12.2.0", each once, in the order of TOOLS."""
    seen = {
        (TOOLS.index(tool), number): f"{tool} {number}"
        for versions in found
        for tool, number in versions.items()
        if number
    }
    return ", ".join(seen[key] for key in sorted(seen))

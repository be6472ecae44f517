"""What executed notebooks recorded: checked claims and answered questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heapscope.teaching import claims, questions


@dataclass(frozen=True, slots=True)
class Checked:
    """One claim record, with the page it stands on."""

    docname: str
    record: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The claim's id."""
        return str(self.record["id"])

    @property
    def state(self) -> str:
        """One of "holds", "fails", "differs" (other versions than the claim was tried on)."""
        if self.record.get("holds"):
            return "holds"
        return "differs" if self.record.get("differs") else "fails"

    @property
    def failed(self) -> list[str]:
        """The conditions that did not hold, as they stand in the cell."""
        return [
            str(check.get("source", "?"))
            for check in self.record.get("checks", ())
            if not check.get("holds")
        ]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that makes the build red."""

    docname: str
    text: str


def _payloads(nb: Any, mime: str) -> Iterator[Mapping[str, Any]]:
    for cell in nb.cells:
        for output in cell.get("outputs", ()):
            payload = output.get("data", {}).get(mime)
            if isinstance(payload, Mapping):
                yield payload


def claims_in(docname: str, nb: Any) -> list[Checked]:
    """Return the claim records of an executed notebook, in page order."""
    return [Checked(docname, dict(record)) for record in _payloads(nb, claims.MIME)]


def claim_problems(checked: Iterable[Checked], known: Mapping[str, Any]) -> Iterator[Problem]:
    """Say which records are red: a failed check, an unknown claim, one recorded twice on a page."""
    seen: set[tuple[str, str]] = set()
    for one in checked:
        if one.id not in known:
            yield Problem(one.docname, f"claim {one.id!r} is not in claims.yml")
        if (one.docname, one.id) in seen:
            yield Problem(one.docname, f"claim {one.id!r} is recorded twice on this page")
        seen.add((one.docname, one.id))
        if one.state == "fails":
            conditions = "; ".join(one.failed) or "no condition was recorded"
            yield Problem(one.docname, f"claim {one.id!r} fails: {conditions}")


def question_problems(docname: str, nb: Any) -> Iterator[Problem]:
    """Compare the choices marked "Yes." in Markdown with the letters that cells computed."""
    try:
        marked = questions.keys_of(nb)
    except ValueError as error:
        yield Problem(docname, str(error))
        return
    for name, letters in marked.items():
        if len(letters) != 1:
            yield Problem(
                docname,
                f'question {name!r}: one explanation begins with "Yes.", not {len(letters)}',
            )
    for record in _payloads(nb, questions.MIME):
        name, right = str(record.get("id")), str(record.get("right"))
        if name not in marked:
            yield Problem(docname, f"question {name!r} is computed, but not asked on this page")
        elif marked[name] != (right,):
            yield Problem(
                docname,
                f"question {name!r}: the run says {right}, the text marks "
                f"{', '.join(marked[name]) or 'nothing'}",
            )

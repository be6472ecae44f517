"""What executed notebooks recorded: checked claims and answered questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CLAIM = "application/vnd.heapscope.claim+json"
QUESTION = "application/vnd.heapscope.question+json"

_QUESTION = re.compile(r"<!--\s*question:\s*(\S+)\s*-->")
_CHOICE = re.compile(
    r"<summary>\s*([a-z])\.\s.*?</summary>(?P<why>.*?)</details>", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[^>]*>")


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


def load_claims(path: Path) -> dict[str, dict[str, Any]]:
    """Read claims.yml as a mapping by id, in its order; {} when there is no such file.

    ValueError says which entry is not as it should be.
    """
    if not path.is_file():
        return {}
    entries = yaml.safe_load(path.read_text("utf-8")) or []
    if not isinstance(entries, list):
        raise ValueError(f"{path.name}: a list of claims is expected")
    claims: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise ValueError(f"{path.name}: an entry has no id: {str(entry)[:60]}")
        if entry["id"] in claims:
            raise ValueError(f"{path.name}: {entry['id']} stands there twice")
        claims[entry["id"]] = entry
    return claims


def _payloads(nb: Any, mime: str) -> Iterator[Mapping[str, Any]]:
    for cell in nb.cells:
        for output in cell.get("outputs", ()):
            payload = output.get("data", {}).get(mime)
            if isinstance(payload, Mapping):
                yield payload


def claims_in(docname: str, nb: Any) -> list[Checked]:
    """Return the claim records of an executed notebook, in page order."""
    return [Checked(docname, dict(record)) for record in _payloads(nb, CLAIM)]


def claim_problems(checked: Iterable[Checked], claims: Mapping[str, Any]) -> Iterator[Problem]:
    """Say which records are red: a failed check, an unknown claim, one recorded twice on a page."""
    seen: set[tuple[str, str]] = set()
    for one in checked:
        if one.id not in claims:
            yield Problem(one.docname, f"claim {one.id!r} is not in claims.yml")
        if (one.docname, one.id) in seen:
            yield Problem(one.docname, f"claim {one.id!r} is recorded twice on this page")
        seen.add((one.docname, one.id))
        if one.state == "fails":
            conditions = "; ".join(one.failed) or "no condition was recorded"
            yield Problem(one.docname, f"claim {one.id!r} fails: {conditions}")


def question_problems(docname: str, nb: Any) -> Iterator[Problem]:
    """Compare the choices marked "Yes." in Markdown with the letters that cells computed."""
    marked: dict[str, list[str]] = {}
    for cell in nb.cells:
        if cell.cell_type != "markdown":
            continue
        parts = _QUESTION.split(str(cell.source))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in marked:
                yield Problem(docname, f"question {name!r} stands twice on this page")
            marked[name] = []
            for choice in _CHOICE.finditer(text):
                why = _TAG.sub("", choice["why"]).strip(" \n*_")
                if why.startswith("Yes."):
                    marked[name].append(choice[1].lower())
                elif not why.startswith("No."):
                    yield Problem(
                        docname,
                        f"question {name!r}: the explanation of {choice[1]} begins with neither "
                        '"Yes." nor "No."',
                    )
            if len(marked[name]) != 1:
                yield Problem(
                    docname,
                    f'question {name!r}: one explanation begins with "Yes.", '
                    f"not {len(marked[name])}",
                )
    for record in _payloads(nb, QUESTION):
        name, right = str(record.get("id")), str(record.get("right"))
        if name not in marked:
            yield Problem(docname, f"question {name!r} is computed, but not asked on this page")
        elif marked[name] != [right]:
            yield Problem(
                docname,
                f"question {name!r}: the run says {right}, the text marks "
                f"{', '.join(marked[name]) or 'nothing'}",
            )

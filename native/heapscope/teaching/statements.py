"""notebooks/claims.yml: every statement of fact that the book checks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from heapscope.teaching.versions import TOOLS, covers

NAME = "claims.yml"
VERDICTS = ("holds", "caveat", "wrong", "omitted")
_KEYS = {"id", "statement", "section", "verdict", "source", "versions", "article_lines"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One entry of claims.yml."""

    id: str
    statement: str  # what is true, in one or two sentences
    section: str  # the chapter that checks it
    verdict: str  # on the article: one of VERDICTS
    source: tuple[str, ...]  # standard, glibc, cgo documentation; "measured" where a run decides
    versions: Mapping[str, str | list[str]]  # tool → ranges it was tried on; only those that matter
    article_lines: str  # "35-57"; "" where the article says nothing

    def elsewhere(self, running: Mapping[str, str | None]) -> dict[str, str]:
        """Return the running versions that this claim was not tried on, by tool.

        A tool that is not there has no version to differ by.
        """
        return {
            tool: here
            for tool, ranges in self.versions.items()
            if (here := running.get(tool)) is not None and not covers(ranges, here)
        }


def find(start: Path | None = None) -> Path:
    """Return the claims.yml beside or above `start` (default: the current folder).

    Each folder on the way up is asked for ``claims.yml`` and for ``notebooks/claims.yml``.
    FileNotFoundError says where it was looked for.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        for path in (folder / NAME, folder / "notebooks" / NAME):
            if path.is_file():
                return path
    raise FileNotFoundError(
        f"no {NAME} in {start}, its folder notebooks or the folders above: "
        "run the notebook from inside the book, where its claims are listed"
    )


def load(path: Path) -> Mapping[str, Statement]:
    """Return the statements of a claims.yml by id, in the file's order.

    ValueError names the entry that is not as it should be.  A file that has not changed is read
    once.
    """
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(path: Path, _changed: int) -> Mapping[str, Statement]:
    entries = yaml.safe_load(path.read_text("utf-8")) or []
    if not isinstance(entries, list):
        raise ValueError(f"{path}: a list of claims is expected")
    found: dict[str, Statement] = {}
    for entry in entries:
        try:
            one = _statement(entry)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if one.id in found:
            raise ValueError(f"{path}: {one.id} stands there twice")
        found[one.id] = one
    return found


def _statement(entry: Any) -> Statement:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise ValueError(f"an entry has no id: {str(entry)[:60]}")
    name = entry["id"]
    if extra := set(entry) - _KEYS:
        raise ValueError(f"{name}: unknown key {', '.join(sorted(extra))}")
    for key in ("statement", "section", "verdict"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ValueError(f"{name}: {key} is missing")
    if entry["verdict"] not in VERDICTS:
        raise ValueError(f"{name}: the verdict is one of {', '.join(VERDICTS)}")
    source = entry.get("source") or []
    if not isinstance(source, list) or not all(isinstance(s, str) for s in source):
        raise ValueError(f"{name}: source is a list of texts")
    versions = entry.get("versions") or {}
    if not isinstance(versions, dict):
        raise ValueError(f"{name}: versions is a mapping from tool to range")
    for tool, ranges in versions.items():
        if tool not in TOOLS:
            raise ValueError(f"{name}: {tool} is none of {', '.join(TOOLS)}")
        parts = ranges if isinstance(ranges, list) else [ranges]
        if not parts or not all(isinstance(part, str) for part in parts):
            raise ValueError(f'{name}: write the range of {tool} in quotes: "2.36", not 2.36')
        covers(parts, "0")  # says what is no range
    lines = entry.get("article_lines", "")
    if not isinstance(lines, str):
        raise ValueError(f'{name}: write article_lines in quotes: "10", not 10')
    return Statement(
        name, entry["statement"], entry["section"], entry["verdict"], tuple(source), versions, lines
    )


def near(name: str, known: Mapping[str, Statement], most: int = 3) -> list[str]:
    """Return up to `most` known ids that look like `name`, the nearest first."""
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5)
    words = set(name.split("-"))
    shared = [one for one in known if one not in close and words & set(one.split("-"))]
    return (close + shared)[:most]

"""A real IPython shell in a folder with a small claims.yml."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from notebook_shell import Shell

CLAIMS = [
    {
        "id": "two-and-two",
        "statement": "Two and two are `4`.",
        "section": "Sums",
        "verdict": "holds",
        "source": ["measured"],
        "article_lines": "1-2",
    },
    {
        "id": "only-on-old-glibc",
        "statement": "An old library does it.",
        "section": "Sums",
        "verdict": "caveat",
        "source": ["glibc malloc/malloc.c"],
        "versions": {"glibc": "<2.1"},
    },
    {
        "id": "on-this-glibc",
        "statement": "Any library does it.",
        "section": "Sums",
        "verdict": "caveat",
        "source": ["glibc malloc/malloc.c"],
        "versions": {"glibc": ">=2.1", "python": [">=3.11"]},
    },
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book's folder: notebooks/claims.yml, and the current folder below it."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    (notebooks / "claims.yml").write_text(yaml.safe_dump(CLAIMS))
    monkeypatch.chdir(notebooks)
    return tmp_path


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    """A shell that has imported claim in an earlier cell, as chapters do."""
    InteractiveShell.clear_instance()
    before = sys.displayhook
    one = Shell()
    InteractiveShell._instance = one.ip  # type: ignore[assignment]  # get_ipython() finds it
    from heapscope.teaching import claims

    claims.watch(one.ip)
    one.run("from heapscope.teaching.claims import claim")
    yield one
    InteractiveShell.clear_instance()
    InteractiveShell._instance = None
    sys.displayhook = before

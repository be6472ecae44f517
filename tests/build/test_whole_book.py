"""The real book, built twice from nothing: equal but for what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache

from tests.trust.reproducible import TWO, build, differences


@pytest.mark.long
def test_two_cold_builds_of_the_book_are_equal(root: Path, tmp_path: Path) -> None:
    one, two = (build(root, tmp_path, here) for here in TWO)
    assert differences(one, two) == []


def test_no_output_names_a_place_or_a_process(root: Path, notebook_path: Path) -> None:
    """Paths of this machine have no place on a page."""
    cache = get_cache(str(root / "_build" / ".jupyter_cache"))
    stored = nbformat.reads(notebook_path.read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    _, nb = cache.merge_match_into_notebook(stored)
    here = re.compile(re.escape(str(root)) + r"|/tmp/[\w.-]+|==\d{2,}==")
    found = []
    for cell in nb.cells:
        for output in cell.get("outputs", ()):
            said = [output.get("text", ""), *map(str, output.get("data", {}).values())]
            found += [place for text in said for place in here.findall(text)]
    assert found == []

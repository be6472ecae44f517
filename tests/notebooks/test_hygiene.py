"""Notebooks are kept without anything that a run leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

from executed import stored, tags

LONGEST_CELL = 20  # lines
KNOWN_TAGS = {"exercise", "hide-cell", "measured"}
NOTEBOOK_METADATA = {"kernelspec", "language_info", "heapscope"}


def test_no_outputs_and_no_counts(notebook_path: Path) -> None:
    for cell in stored(notebook_path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id


def test_ids_are_there_and_unique(notebook_path: Path) -> None:
    raw = json.loads(notebook_path.read_text("utf-8"))
    ids = [cell.get("id") for cell in raw["cells"]]
    assert all(ids)
    assert sorted({one for one in ids if ids.count(one) > 1}) == []
    assert (raw["nbformat"], raw["nbformat_minor"]) >= (4, 5)


def test_cells_are_short(notebook_path: Path) -> None:
    long = {
        cell.id: lines
        for cell in stored(notebook_path).cells
        if cell.cell_type == "code" and (lines := len(cell.source.splitlines())) > LONGEST_CELL
    }
    assert long == {}


def test_no_empty_cell(notebook_path: Path) -> None:
    assert [cell.id for cell in stored(notebook_path).cells if not cell.source.strip()] == []


def test_no_stray_metadata(notebook_path: Path) -> None:
    nb = stored(notebook_path)
    assert set(nb.metadata) <= NOTEBOOK_METADATA
    assert nb.metadata.kernelspec.name == "python3"
    assert set(nb.metadata.language_info) == {"name"}, "it names the version of somebody's Python"
    for cell in nb.cells:
        assert set(cell.metadata) <= {"tags"}, cell.id
        assert set(tags(cell)) <= KNOWN_TAGS, cell.id
        assert not cell.get("attachments"), cell.id


def test_markdown_is_plain(notebook_path: Path) -> None:
    """It must read well where MyST is not known: GitHub, JupyterLab, VS Code."""
    for cell in stored(notebook_path).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"^(:::|```+\{)|\{[a-z-]+\}`", cell.source, re.MULTILINE), cell.id


def test_one_title_and_no_number_in_a_heading(notebook_path: Path) -> None:
    headings = [
        line
        for cell in stored(notebook_path).cells
        if cell.cell_type == "markdown"
        for line in re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL).splitlines()
        if re.match(r"#{1,6} ", line)
    ]
    assert [h for h in headings if h.startswith("# ")] == headings[:1]
    assert [h for h in headings if re.match(r"#+ \d", h)] == []


def test_notebook_is_in_the_book(notebook_path: Path, root: Path) -> None:
    assert f"notebooks/{notebook_path.stem}\n" in (root / "_toc.yml").read_text("utf-8") + "\n"
    assert re.fullmatch(r"\d\d(-[a-z]+)+", notebook_path.stem)

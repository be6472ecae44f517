"""Each notebook is executed once more: exercises are tried, and a page must come again."""

from __future__ import annotations

import json
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
from executed import again, built, solutions, stored, tags
from heapscope.teaching.exercises.base import MIME

TRIVIAL = ("--", "++", "@@")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("again")


def verdicts(cell: Any) -> list[bool]:
    records = (output.get("data", {}).get(MIME) for output in cell.outputs)
    return [bool(record["right"]) for record in records if record]


def test_each_exercise_has_a_start_and_a_solution(notebook_path: Path) -> None:
    nb = stored(notebook_path)
    starts = [cell for cell in nb.cells if "exercise" in tags(cell)]
    assert starts, "a chapter has an exercise"
    assert len(solutions(nb)) == len(starts)


def test_start_does_not_pass_and_solution_does(notebook_path: Path, folder: Path) -> None:
    nb = again(notebook_path, folder)
    for cell in nb.cells:
        if "exercise" in tags(cell):
            assert verdicts(cell), cell.source
            assert not any(verdicts(cell)), cell.source
        if "solution" in tags(cell):
            assert verdicts(cell), cell.source
            assert all(verdicts(cell)), cell.outputs


def test_what_a_page_shows_comes_again(notebook_path: Path, folder: Path) -> None:
    first = {cell.id: cell for cell in built(notebook_path).cells if cell.cell_type == "code"}
    differ = []
    for cell in again(notebook_path, folder).cells:
        if cell.cell_type != "code" or {"measured", "solution"} & set(tags(cell)):
            continue
        before, now = shown(first[cell.id]), shown(cell)
        if before != now:
            differ.append(cell.source.splitlines()[0])
            differ += [line for line in unified_diff(before, now, n=0) if line[:2] not in TRIVIAL]
    if differ:
        pytest.fail("a second run shows something else:\n" + "\n".join(differ))


def shown(cell: Any) -> list[str]:
    """Return what a reader gets of a cell's outputs, in lines."""
    parts: list[list[Any]] = []
    for output in cell.outputs:
        text = output.get("text")
        data = {k: v for k, v in output.get("data", {}).items() if "vnd.heapscope" not in k}
        if text is None:
            parts.append(["data", json.dumps(data, indent=1, sort_keys=True)])
        elif parts and parts[-1][0] == output["name"]:
            parts[-1][1] += text  # the kernel may send one text in pieces
        else:
            parts.append([output["name"], text])
    return [line for name, text in parts for line in (name, *text.splitlines())]

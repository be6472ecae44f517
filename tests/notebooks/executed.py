"""Notebooks as they stand in the repository, as the build executed them, and executed once more."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from heapscope.sphinx.execute import Notebook, execute
from jupyter_cache import get_cache

ROOT = Path(__file__).resolve().parents[2]

_SOLUTION = re.compile(
    r"<summary>Solution</summary>(?:(?!</details>).)*?```python\n(.*?)```", re.DOTALL
)


@cache
def stored(path: Path) -> Any:
    """Read a notebook as it is kept."""
    return nbformat.reads(path.read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]


@cache
def built(path: Path) -> Any:
    """Return a notebook with the outputs that the pages show."""
    cache_path = ROOT / "_build" / ".jupyter_cache"
    assert cache_path.is_dir(), "the book is not built: make book"
    try:
        _, nb = get_cache(str(cache_path)).merge_match_into_notebook(stored(path))
    except KeyError as error:
        raise AssertionError(f"{path.name} has changed since the book was built: make book") from (
            error
        )
    return nb


def solutions(nb: Any) -> list[str]:
    """Return the folded solutions of a notebook, in order."""
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    return _SOLUTION.findall(text)


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", ()))


@cache
def again(path: Path, folder: Path) -> Any:
    """Execute a notebook once more, with each solution as a cell behind the exercise's start.

    The added cells carry the tag "solution".  Whatever a cell shows that a second run shows
    otherwise depends on the run.
    """
    source = path.read_text("utf-8")
    nb: Any = nbformat.reads(source, as_version=4)  # type: ignore[no-untyped-call]
    answers = iter(solutions(nb))
    cells = []
    for cell in nb.cells:
        cells.append(cell)
        if "exercise" in tags(cell):
            answer = nbformat.v4.new_code_cell(next(answers))  # type: ignore[no-untyped-call]
            answer.metadata["tags"] = ["solution"]
            cells.append(answer)
    nb.cells = cells
    book = Notebook(path=path, name=path.stem, key="again", nb=nb)
    # In a thread of its own: browser tests in this process keep an event loop running.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(
            execute, [book], folder / path.stem, timeout=300, workers=1, say=lambda _: None
        ).result()
    assert book.error is None, book.error
    return book.nb

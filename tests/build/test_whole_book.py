"""The real book, built twice from nothing: equal but for what was measured."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_cache import get_cache

LEFT_OUT = shutil.ignore_patterns(".*", "_build", "build", "*.egg-info", "__pycache__", "tests")


def build(root: Path, folder: Path) -> Path:
    """Build a copy of the book without a cache and return its pages."""
    shutil.copytree(root, folder, ignore=LEFT_OUT)
    tool = Path(sys.executable).parent / "jupyter-book"
    run = subprocess.run(
        [str(tool), "build", "-W", "-n", "--keep-going", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "_build" / "html"


def measured(root: Path) -> dict[str, set[int]]:
    """Return which code cells of each page are tagged `measured`, by their number on the page."""
    return {
        path.stem: {
            number
            for number, cell in enumerate(
                c
                for c in nbformat.reads(path.read_text("utf-8"), as_version=4).cells  # type: ignore[no-untyped-call]
                if c.cell_type == "code"
            )
            if "measured" in cell.metadata.get("tags", ())
        }
        for path in (root / "notebooks").glob("*.ipynb")
    }


def comparable(page: Path, loose: set[int]) -> str:
    """Return a page without what measured cells put out, and without what the ledger observed."""
    soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
    cells = soup.find_all("div", class_="cell")
    for number in loose:
        for output in cells[number].find_all("div", class_="cell_output"):
            output.decompose()
    for fact in soup.select(".hs-ledger-facts li"):
        if fact.get_text().startswith("Observed:"):
            fact.decompose()
    return str(soup)


@pytest.mark.long
def test_two_cold_builds_of_the_book_are_equal(root: Path, tmp_path: Path) -> None:
    one, two = build(root, tmp_path / "one"), build(root, tmp_path / "elsewhere" / "two")
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(two)) for p in two.rglob("*") if p.is_file())
    loose = measured(root)
    differ = []
    for name in names:
        if name == "searchindex.js":  # has the words of all pages, of measured cells too
            continue
        if name.endswith(".html"):
            tagged = loose.get(Path(name).stem, set())
            equal = comparable(one / name, tagged) == comparable(two / name, tagged)
        else:
            equal = (one / name).read_bytes() == (two / name).read_bytes()
        if not equal:
            differ.append(name)
    assert differ == []


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

"""Two builds in different surroundings are equal, and the comparison would see if not.

The sample has a film, a figure, a claim that is measured, and the page of licences, whose check
of the shipped files runs with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sample import CLAIM, ROOT, SUM, SampleBook, code

from tests.trust import licences as shipped
from tests.trust import reproducible
from tests.trust.reproducible import TWO, comparable, comparable_index, differences

HEAP = "%%c --film\n#include <stdlib.h>\nint main(void) { free(malloc(24)); return 0; }"
FIGURE = "from heapscope import Heap\nheap = Heap()\np = heap.lib.malloc(24)\nheap"
CLOCK = (
    "import time\nfrom heapscope import claim\n"
    "print('it is', time.perf_counter_ns(), id(object()), {'a', 'b', 'c'})\n"
    "now = time.perf_counter_ns()\nclaim('clock', now > 0, observed=now)"
)
LOAD = code("%load_ext heapscope")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sample, built in two surroundings."""
    folder = tmp_path_factory.mktemp("reproducible")
    book = SampleBook(folder / "book")
    book.claims([CLAIM, {**CLAIM, "id": "clock", "statement": "Time goes by."}])
    shutil.copy(ROOT / "book" / "licences.md", book.folder / "book" / "licences.md")
    book.notebook("sums", SUM)
    book.notebook("heap", LOAD, code(HEAP), code(FIGURE))
    book.notebook("clock", code(CLOCK, tags=["measured"]))
    toc = book.folder / "_toc.yml"
    toc.write_text(toc.read_text() + "- file: book/licences\n")
    one, two = (reproducible.build(book.folder, folder, here) for here in TWO)
    return one, two


def test_builds_in_different_surroundings_are_equal(sites: tuple[Path, Path]) -> None:
    one, two = sites
    clock = "notebooks/clock.html"
    assert (one / clock).read_bytes() != (two / clock).read_bytes()  # else nothing is tried here
    assert differences(one, two) == []


CHANGES = {
    "notebooks/clock.html": ("Clock", "Clocks"),
    "notebooks/heap.html": ("malloc", "mallok"),
    "book/ledger.html": ("Time goes by", "Time goes"),
    "searchindex.js": ("sampl", "sumpl"),
    "_static/book.css": (":root", ":rood"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_change_is_seen(sites: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    one, two = sites
    changed = tmp_path / "changed"
    shutil.copytree(two, changed)
    text = (changed / name).read_text("utf-8")
    before, after = CHANGES[name]
    assert before in text
    (changed / name).write_text(text.replace(before, after), "utf-8")
    assert differences(one, changed) == [name]


def test_what_the_ledger_observed_elsewhere_is_compared(
    sites: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two = sites
    changed = tmp_path / "changed"
    shutil.copytree(two, changed)
    ledger = changed / "book" / "ledger.html"
    text = ledger.read_text("utf-8")
    observed = '<span class="pre">4</span>'
    assert observed in text
    ledger.write_text(text.replace(observed, '<span class="pre">5</span>'), "utf-8")
    assert differences(one, changed) == ["book/ledger.html"]


def test_a_missing_and_a_new_file_are_seen(sites: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = sites
    changed = tmp_path / "changed"
    shutil.copytree(two, changed)
    (changed / "objects.inv").rename(changed / "other.inv")
    assert differences(one, changed) == ["objects.inv", "other.inv"]


PAGE = (
    '<div class="cell tag_measured"><div class="cell_input">a</div>'
    '<div class="cell_output">7</div></div><div class="cell"><div class="cell_output">8</div></div>'
)


@pytest.mark.parametrize(
    ("before", "after", "hidden"),
    [
        ('output">7', 'output">9', True),
        ('output">8', 'output">9', False),
        (">a<", ">b<", False),
        (' tag_measured"', '"', False),
        ('<div class="cell_output">7</div>', "", False),
    ],
)
def test_only_a_measured_output_is_left_out(before: str, after: str, hidden: bool) -> None:
    assert before in PAGE
    assert (comparable(PAGE.replace(before, after)) == comparable(PAGE)) is hidden


def test_only_words_of_measured_pages_are_left_out_of_the_index() -> None:
    index = 'Search.setIndex({"docnames":["a","b"],"terms":{"x":0,"y":[0,1]}})'
    assert comparable_index(index, {"a"}) == comparable_index(index.replace('"x":0,', ""), {"a"})
    assert comparable_index(index, {"b"}) != comparable_index(index.replace('"x":0,', ""), {"b"})


def test_each_shipped_file_has_an_owner(sites: tuple[Path, Path]) -> None:
    found = shipped.licences.shipped(sites[0], ROOT, shipped.pages(sites[0]))
    assert [name for name, whose in found.items() if whose is None] == []
    page = (sites[0] / "book" / "licences.html").read_text("utf-8")
    for package in shipped.licences.SHIPPED:
        assert package in page


def test_a_foreign_file_is_found(sites: tuple[Path, Path]) -> None:
    assert shipped.strangers_found(sites[0]) == 5

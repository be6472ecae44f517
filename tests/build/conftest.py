"""A sample book for each test that wants one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample import ASKED, SUM, SampleBook, code


def sample(folder: Path) -> SampleBook:
    """Return a book of one notebook with a claim, and one with a question."""
    made = SampleBook(folder)
    made.notebook("sums", SUM)
    made.notebook(
        "why", ASKED, code("from heapscope import question\nquestion('why-four', right='b')")
    )
    return made


@pytest.fixture
def book(tmp_path: Path) -> SampleBook:
    """The sample, not built yet."""
    return sample(tmp_path / "book")


@pytest.fixture
def pages_only(book: SampleBook) -> SampleBook:
    """The sample for tests of a page that needs no notebook executed."""
    book.config("execute_notebooks: cache", "execute_notebooks: off")
    return book


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SampleBook:
    """The sample, built once for all tests of a module.  Each of them leaves it built and green."""
    made = sample(tmp_path_factory.mktemp("built") / "book")
    first = made.build()
    assert not first.red, first.log
    assert first.executed == 2
    return made

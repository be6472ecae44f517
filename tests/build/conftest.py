"""A sample book for each test that wants one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample import ASKED, SUM, SampleBook, code


@pytest.fixture
def book(tmp_path: Path) -> SampleBook:
    """A book of one notebook with a claim, and one with a question."""
    made = SampleBook(tmp_path / "book")
    made.notebook("sums", SUM)
    made.notebook(
        "why", ASKED, code("from heapscope import question\nquestion('why-four', right='b')")
    )
    return made

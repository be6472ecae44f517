"""The page "How fast is it": what the benchmarks write, and what a partial run keeps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.__main__ import BENCHMARKS, PAGE, parts, written

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_benchmarks_write() -> None:
    page = PAGE.read_text(encoding="utf-8")
    known = parts(page)
    assert list(known) == [b.title for b in BENCHMARKS]
    assert written(known) == page


def test_one_part_is_replaced_and_the_others_stay() -> None:
    known = parts(PAGE.read_text(encoding="utf-8"))
    new = known | {"A film": "```text\n1 (0 to 2)\n```\n\nMeasured on: another machine."}
    assert parts(written(new)) == new != known


def test_an_unknown_name_measures_nothing() -> None:
    command = [sys.executable, "-m", "bench", "films"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no benchmark films: there are heap_call, film, trace" in done.stderr

"""What a build executes, keeps and writes when nothing is wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bs4 import BeautifulSoup
from sample import CLAIM, SUM, SampleBook, code


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_second_build_executes_nothing_and_keeps_the_pages(built: SampleBook) -> None:
    pages = files(built.html)
    second = built.build()
    assert not second.red, second.log
    assert second.executed == 0
    assert files(built.html) == pages


def test_results_from_the_cache_give_the_same_pages(book: SampleBook) -> None:
    observed = SUM["source"].replace("observed=four", "observed={'two': 2, 'four': four}")
    book.notebook("sums", code(observed))
    first = book.build()
    assert not first.red, first.log
    pages = files(book.html)
    for name in ("html", ".doctrees"):
        shutil.rmtree(book.folder / "_build" / name)
    second = book.build()
    assert not second.red, second.log
    assert second.executed == 0
    assert files(book.html) == pages


def test_no_kernel_outlives_a_killed_build(book: SampleBook) -> None:
    # Killed while the kernel starts, before it can look after its parent.
    slow = book.folder / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'ipykernel_launcher' in sys.orig_argv:\n"
        f"    with open({str(slow / 'new')!r}, 'w') as file:\n"
        "        file.write(str(os.getpid()))\n"
        f"    os.rename({str(slow / 'new')!r}, {str(slow / 'pid')!r})\n"
        "    time.sleep(600)\n"
    )
    tool = Path(sys.executable).parent / "jupyter-book"
    command = [str(tool), "build", str(book.folder)]
    env = {**os.environ, "PYTHONPATH": str(slow)}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as b:
        wait_for((slow / "pid").exists)
        kernel = int((slow / "pid").read_text())
        b.kill()
    wait_for(lambda: not alive(kernel))


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_only_a_changed_notebook_is_executed_again(built: SampleBook) -> None:
    page = built.html / "notebooks" / "sums.html"
    assert "one line more" not in page.read_text()
    built.notebook("sums", SUM, code("print('one line more')"))
    again = built.build()
    assert not again.red, again.log
    assert again.executed == 1
    assert "one line more" in page.read_text()


def test_changed_statement_executes_the_notebook_that_checks_it(built: SampleBook) -> None:
    page = built.html / "book" / "ledger.html"
    assert "make" not in page.read_text()
    built.claims([{**CLAIM, "statement": "Two and two make `4`."}])
    again = built.build()
    assert not again.red, again.log
    assert again.executed == 1
    assert "make" in page.read_text()


def test_changed_instrument_empties_the_cache(built: SampleBook) -> None:
    (built.folder / "native" / "src").mkdir(parents=True)
    (built.folder / "native" / "src" / "heap.c").write_text("/* another instrument */\n")
    again = built.build()
    assert not again.red, again.log
    assert again.executed == 2


def test_half_written_cache_is_made_anew(built: SampleBook) -> None:
    cache = built.folder / "_build" / ".jupyter_cache"
    (cache / "heapscope.json").write_text('{"half a')
    again = built.build()
    assert not again.red, again.log
    assert again.executed == 2


def test_ledger_links_to_the_cell_and_the_cell_to_the_ledger(book: SampleBook) -> None:
    book.claims([CLAIM, {**CLAIM, "id": "product", "statement": "Two times two is four."}])
    built = book.build()
    assert not built.red, built.log
    ledger = BeautifulSoup((book.html / "book" / "ledger.html").read_text(), "html.parser")
    row = ledger.find(id="ledger-sum")
    assert row is not None
    assert "checked here" in row.text
    assert "Observed: 4" in " ".join(row.text.split())
    link = row.find("a", class_="hs-ledger-cell")
    assert link is not None
    assert link["href"] == "../notebooks/sums.html#claim-sum"
    page = BeautifulSoup((book.html / "notebooks" / "sums.html").read_text(), "html.parser")
    cell = page.find(id="claim-sum")
    assert cell is not None
    back = cell.find("a")
    assert back is not None
    assert back["href"] == "../book/ledger.html#ledger-sum"
    unreached = ledger.find(id="ledger-product")
    assert unreached is not None
    assert "not yet checked" in unreached.text


def test_claim_that_fails_on_other_versions_is_a_notice(book: SampleBook) -> None:
    book.claims([{**CLAIM, "versions": {"python": "<3"}}])
    book.notebook(
        "sums", code("from heapscope import claim\nfour = 2 + 3\nclaim('sum', four == 4)")
    )
    built = book.build()
    assert not built.red, built.log
    ledger = (book.html / "book" / "ledger.html").read_text()
    assert "differs here" in ledger


def test_chapters_are_listed_with_question_and_time(pages_only: SampleBook) -> None:
    book = pages_only
    book.page("cover", "# A sample\n\n```{chapters}\n```\n\n```{toolset}\n```")
    book.notebook(
        "sums",
        {**SUM},
        title="# Sums\n\n**What is two and two?** It can be computed.",
    )
    built = book.build()
    assert not built.red, built.log
    cover = BeautifulSoup((book.html / "book" / "cover.html").read_text(), "html.parser")
    rows = [[cell.text.strip() for cell in row.find_all("td")] for row in cover.find_all("tr")]
    assert ["Sums", "What is two and two?", "5 min"] in rows
    assert any(row[:1] == ["cffi"] for row in rows)


def test_c_and_go_cells_are_coloured_as_c_and_go(pages_only: SampleBook) -> None:
    book = pages_only
    book.notebook("c", code("%%c ten\nint *arr = malloc(4);"), code("%%go one\nfmt.Println(1)"))
    built = book.build()
    assert not built.red, built.log
    page = BeautifulSoup((book.html / "notebooks" / "c.html").read_text(), "html.parser")
    for language, magic in (("c", "%%c ten"), ("go", "%%go one")):
        cell = page.find(class_=f"highlight-heapscope-{language}")
        assert cell is not None
        first = cell.find("span", class_="cp")
        assert first is not None
        assert first.text.strip() == magic
    kind = page.find("span", class_="kt")
    assert kind is not None
    assert kind.text == "int"

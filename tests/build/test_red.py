"""What must turn a build red: each is tried."""

from __future__ import annotations

from sample import ASKED, CLAIM, SUM, Build, SampleBook, code, text


def assert_red(built: Build, *words: str) -> None:
    assert built.red, built.log
    for one in words:
        assert one in built.log, built.log


def test_wrong_claim(book: SampleBook) -> None:
    book.notebook(
        "sums", code("from heapscope import claim\nfour = 2 + 3\nclaim('sum', four == 4)")
    )
    built = book.build()
    assert_red(built, "sum: false", "four == 4")
    assert "fails here" in (book.html / "book" / "ledger.html").read_text()


def test_unknown_claim(book: SampleBook) -> None:
    book.claims([{**CLAIM, "id": "product"}])
    assert_red(book.build(), "no claim is called 'sum'")


def test_claim_that_no_chapter_checks_when_the_ledger_must_be_complete(book: SampleBook) -> None:
    # That this is green where it need not be complete: test_green, the ledger's links.
    book.claims([CLAIM, {**CLAIM, "id": "product"}])
    book.config("ledger_complete: false", "ledger_complete: true")
    assert_red(book.build(), "claim 'product' is checked by no chapter")


def test_broken_claims_file(book: SampleBook) -> None:
    book.claims([{**CLAIM, "verdict": "perhaps"}])
    assert_red(book.build(), "the verdict is one of")


def test_notebook_error(book: SampleBook) -> None:
    book.notebook("broken", code("print('fine')"), code("1 / 0", name="the-cell"))
    built = book.build()
    assert_red(built, "ZeroDivisionError", "the-cell", "broken")
    again = book.build()
    assert_red(again, "ZeroDivisionError")  # an error is never kept in the cache


def test_dead_kernel_is_one_notebooks_error(book: SampleBook) -> None:
    book.notebook("dies", code("import os\nos.write(2, b'last words\\n')\nos.abort()"))
    built = book.build()
    assert_red(built, "killed the kernel", "last words")
    assert (book.html / "notebooks" / "sums.html").exists()


def test_cell_that_does_not_end(book: SampleBook) -> None:
    book.config("timeout: 300", "timeout: 2")
    book.notebook("slow", code("import time\ntime.sleep(60)"))
    assert_red(book.build(), "took longer than 2 seconds")


def test_wrong_key_of_a_question(book: SampleBook) -> None:
    book.notebook(
        "why", ASKED, code("from heapscope import question\nquestion('why-four', right='a')")
    )
    assert_red(book.build(), "the run says a, the text marks b")


def test_broken_links(book: SampleBook) -> None:
    broken = ("nowhere.md", "#no-such-heading", "why.ipynb#nor-this-one", "nowhere/at-all")
    links = "\n".join(f"- [gone]({link})" for link in broken)
    book.notebook("sums", SUM, text(f"{links}\n\n![gone](nowhere.svg)"))
    assert_red(
        book.build(), "nowhere.md", "no-such-heading", "nor-this-one", "at-all", "nowhere.svg"
    )


def test_output_on_stderr(book: SampleBook) -> None:
    book.notebook("noisy", code("import sys\nprint('careful', file=sys.stderr)"))
    assert_red(book.build(), "stderr")

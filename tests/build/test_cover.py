"""The picture on the cover and in the README is a real heap."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from heapscope.sphinx import cover
from heapscope.teaching import versions
from heapscope.views import figure
from heapscope.views.picture import style_sheet
from sample import SampleBook


def test_the_file_is_what_the_heap_gives(root: Path) -> None:
    if versions.running()["glibc"] != "2.36":
        pytest.skip("the README's picture was drawn with glibc 2.36")
    drawn = cover.standalone(figure(cover.example()).drawings[0], style_sheet())
    assert (root / "book" / "assets" / "heap.svg").read_text("utf-8") == drawn, "make picture"


def test_the_file_stands_alone_and_knows_light_and_dark(root: Path) -> None:
    text = (root / "book" / "assets" / "heap.svg").read_text("utf-8")
    ElementTree.fromstring(text)
    assert "prefers-color-scheme:dark" in text
    assert 'href="http' not in text


def test_the_page_has_picture_and_words(pages_only: SampleBook) -> None:
    book = pages_only
    book.page("cover", "# A sample\n\n```{heap-picture}\n```\n\n```{heap-picture}\n:only: b\n```")
    built = book.build()
    assert not built.red, built.log
    page = (book.html / "book" / "cover.html").read_text("utf-8")
    assert page.count('<figure class="hs-figure">') == 2
    assert page.count("The same in words") == 2
    assert page.count('<style class="hs-style">') == 0


def test_the_film_is_recorded_from_the_program_in_the_page(pages_only: SampleBook) -> None:
    book = pages_only
    program = "char *p = malloc(24);\nfree(p);"
    book.page("cover", f"# A sample\n\n```{{heap-film}} Two lines\n{program}\n```")
    built = book.build()
    assert not built.red, built.log
    page = (book.html / "book" / "cover.html").read_text("utf-8")
    assert page.count('<heap-film id="film-cover" autoplay>') == 1
    assert '"title": "Two lines"' in page or '"title":"Two lines"' in page
    assert "free(p)" in page
    assert "film.js" in page


def test_a_program_that_does_not_compile_makes_the_build_red(pages_only: SampleBook) -> None:
    book = pages_only
    book.page("cover", "# A sample\n\n```{heap-film} One line\nchar *p = malloc(\n```")
    built = book.build()
    assert built.red
    assert "no film could be recorded" in built.log

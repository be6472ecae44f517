"""Every page as a reader gets it: from disk and server, wide and narrow, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import problems, served, visit
from playwright.sync_api import Browser

SAMPLE = ("book/cover.html", "notebooks/02-malloc.html", "book/ledger.html")
FORMS = [("light", 1400), ("dark", 1400), ("light", 360), ("dark", 360)]


def test_page_from_the_disk(browser: Browser, html: Path, page_name: str) -> None:
    assert problems(browser, (html / page_name).as_uri(), contrast=False) == []


@pytest.mark.parametrize(
    ("name", "form"),
    # The ledger is long, and the same at all widths but for its table.
    [(name, form) for name in SAMPLE[:2] for form in FORMS[1:]] + [(SAMPLE[2], FORMS[3])],
)
def test_sample_in_every_form(
    browser: Browser, html: Path, name: str, form: tuple[str, int]
) -> None:
    theme, width = form
    assert problems(browser, (html / name).as_uri(), theme=theme, width=width) == []


@pytest.mark.long
@pytest.mark.parametrize(("theme", "width"), [*FORMS[:3], ("light", 780)])
def test_page_in_every_form(
    browser: Browser, html: Path, page_name: str, theme: str, width: int
) -> None:
    assert problems(browser, (html / page_name).as_uri(), theme=theme, width=width) == []


@pytest.mark.parametrize("name", SAMPLE)
def test_sample_from_a_server(browser: Browser, html: Path, name: str) -> None:
    with served(html) as address:
        assert problems(browser, f"{address}/{name}", inner=address, contrast=False) == []


@pytest.mark.long
def test_page_from_a_server(browser: Browser, html: Path, page_name: str) -> None:
    with served(html) as address:
        assert problems(browser, f"{address}/{page_name}", inner=address) == []


def test_theme_follows_the_reader(browser: Browser, html: Path) -> None:
    def background(theme: str) -> int:
        with visit(browser, (html / SAMPLE[0]).as_uri(), theme=theme) as seen:
            colour = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(int(n) for n in re.findall(r"\d+", colour)[:3])

    assert background("light") > 600
    assert background("dark") < 150


def test_a_question_opens_by_keyboard(browser: Browser, html: Path) -> None:
    with visit(browser, (html / "notebooks" / "02-malloc.html").as_uri()) as seen:
        page = seen.page
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('article summary')"):
                break
        else:
            pytest.fail("Tab does not reach a question")
        is_open = "document.activeElement.parentElement.open"
        assert not page.evaluate(is_open)
        page.keyboard.press("Enter")
        assert page.evaluate(is_open)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "focus is not to be seen"


def test_long_code_lines_scroll_by_keyboard(browser: Browser, html: Path) -> None:
    address = (html / "notebooks" / "02-malloc.html").as_uri()
    with visit(browser, address, width=360) as seen:
        stops = seen.page.evaluate("""() => [...document.querySelectorAll('article pre')].map(
            p => [p.scrollWidth > p.clientWidth + 1, p.tabIndex === 0])""")
        assert any(scrolls for scrolls, _ in stops)
        assert all(scrolls == stop for scrolls, stop in stops)


def test_link_to_a_folded_place_opens_it(browser: Browser, html: Path) -> None:
    address = (html / "notebooks" / "02-malloc.html").as_uri()
    with visit(browser, address) as seen:
        seen.page.evaluate("""() => {
            const place = document.querySelector('article details p');
            place.id = 'folded';
            location.hash = '#folded';
        }""")
        seen.page.wait_for_timeout(100)
        assert seen.page.evaluate("document.getElementById('folded').closest('details').open")


def test_print_opens_what_is_folded(browser: Browser, html: Path) -> None:
    count = "document.querySelectorAll('details:not([open])').length"
    with visit(browser, (html / "notebooks" / "02-malloc.html").as_uri()) as seen:
        closed = seen.page.evaluate(count)
        assert closed > 0
        seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert seen.page.evaluate(count) == 0
        seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert seen.page.evaluate(count) == closed


def test_ledger_filter(browser: Browser, html: Path) -> None:
    shown = "document.querySelectorAll('.hs-ledger-row:not([hidden])').length"
    with visit(browser, (html / "book" / "ledger.html").as_uri()) as seen:
        page = seen.page
        total = page.evaluate(shown)
        page.get_by_label("The article:").select_option("wrong")
        wrong = page.evaluate(shown)
        assert 0 < wrong < total
        assert f"{wrong} of {total} shown" in page.locator(".hs-ledger-filter").inner_text()
        page.get_by_label("The article:").select_option("")
        assert page.evaluate(shown) == total


def test_search_from_the_disk(browser: Browser, html: Path) -> None:
    address = (html / "search.html").as_uri() + "?q=realloc"
    with visit(browser, address) as seen:
        seen.page.wait_for_selector("#search-results li a", timeout=5000)
        links = seen.page.locator("#search-results li a").all_inner_texts()
        assert any("realloc" in text for text in links)
        assert seen.problems == []

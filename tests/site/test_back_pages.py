"""Questions as radio buttons, the failure index, the glossary's links, and the cheat sheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import _AXE, _RUN_AXE, _TOO_WIDE, CHROMIUM, visit
from heapscope.teaching.questions import keys_of
from playwright.sync_api import Browser, Error, Page
from test_links import parsed

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MESSAGES = re.findall(
    r"^### `(.+)`$", (ROOT / "book" / "failure-index.md").read_text("utf-8"), re.MULTILINE
)
ANSWER = ".hs-quiz >> nth=0 >> [role=status]"


@pytest.fixture
def chapter(browser: Browser, html: Path) -> Iterator[Page]:
    with visit(browser, (html / "notebooks" / "02-malloc.html").as_uri()) as seen:
        yield seen.page


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_question_has_the_answer_of_its_key(browser: Browser, html: Path, name: str) -> None:
    """The site shows what the notebook says, letter by letter."""
    keys = keys_of(ROOT / "notebooks" / f"{name}.ipynb")
    with visit(browser, (html / "notebooks" / f"{name}.html").as_uri()) as seen:
        found: dict[str, Any] = seen.page.evaluate("""() => Object.fromEntries(
            [...document.querySelectorAll('fieldset.hs-quiz')].map(box => [
                box.id.replace('question-', ''),
                [...box.querySelectorAll('input[type=radio]')].filter(button => {
                    button.click();
                    const said = box.querySelector('[role=status]').textContent.trim();
                    if (!/^(Yes|No)\\./.test(said)) throw new Error(said);
                    return said.startsWith('Yes.');
                }).map(button => button.labels[0].textContent.trim()[0])]))""")
        assert seen.problems == []
    assert {name: tuple(letters) for name, letters in found.items()} == keys


def test_a_question_is_answered_by_keyboard(chapter: Page) -> None:
    box = chapter.locator(".hs-quiz").first
    assert box.locator("legend").inner_text().endswith("?")
    answer = box.locator("[role=status]")
    assert answer.get_attribute("aria-live") == "polite"
    assert answer.inner_text() == ""
    box.locator("input").first.focus()
    chapter.keyboard.press("Space")
    first = answer.inner_text()
    assert first.startswith(("Yes.", "No."))
    chapter.keyboard.press("ArrowDown")
    second = answer.inner_text()
    assert second.startswith(("Yes.", "No."))
    assert second != first
    assert box.locator("input").nth(1).is_checked()
    outline = chapter.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "focus is not to be seen"


def test_without_a_script_the_choices_are_folded(browser: Browser, html: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto((html / "notebooks" / "02-malloc.html").as_uri())
        assert page.locator(".hs-quiz").count() == 0
        choice = page.locator("summary", has_text=re.compile(r"^a\. ")).first
        assert choice.is_visible()
        choice.click()
        why = choice.locator("xpath=..").locator("p").first
        assert why.is_visible()
    finally:
        context.close()


def test_on_paper_the_explanations_stand(chapter: Page) -> None:
    assert chapter.locator("details.hs-quiz-source").first.is_hidden()
    chapter.emulate_media(media="print")
    assert chapter.locator(".hs-quiz").first.is_hidden()
    assert chapter.locator("p.hs-quiz-source").first.is_visible()
    assert chapter.locator("details.hs-quiz-source").first.is_visible()


@pytest.mark.parametrize(
    ("theme", "width", "right"), [("light", 1400, True), ("dark", 1400, False), ("dark", 360, True)]
)
def test_an_answered_question_is_accessible(
    browser: Browser, html: Path, theme: str, width: int, right: bool
) -> None:
    address = (html / "notebooks" / "02-malloc.html").as_uri()
    with visit(browser, address, theme=theme, width=width) as seen:
        seen.page.evaluate(
            """right => document.querySelectorAll('.hs-quiz').forEach(box => {
                for (const button of box.querySelectorAll('input')) {
                    button.click();
                    const said = box.querySelector('[role=status]').textContent.trim();
                    if (said.startsWith('Yes.') === right) break;
                }
            })""",
            right,
        )
        seen.page.evaluate(_AXE)
        found = seen.page.evaluate(_TOO_WIDE) + seen.page.evaluate(_RUN_AXE)
        assert seen.problems + found == []


def test_a_link_leads_to_a_question(browser: Browser, html: Path) -> None:
    address = (html / "notebooks" / "02-malloc.html").as_uri()
    with visit(browser, f"{address}#question-malloc-one-byte") as seen:
        box = seen.page.locator("fieldset#question-malloc-one-byte")
        assert box.is_visible()
        assert seen.page.locator("[id=question-malloc-one-byte]").count() == 1


# ------------------------------------------------------------------ the failure index


def test_a_pasted_message_leads_to_its_entry(browser: Browser, html: Path) -> None:
    lost = []
    with visit(browser, (html / "book" / "failure-index.html").as_uri()) as seen:
        field = seen.page.get_by_label("Your message")
        for message in MESSAGES:
            field.fill(f"prog[4711]: ==42== {message.replace('…', '0x55d0')} at 0xdeadbeef\n")
            links = seen.page.locator(".hs-finder [role=status] a")
            if message not in links.all_inner_texts():
                lost.append(message)
        field.fill("the printer is on fire")
        assert "No entry" in seen.page.locator(".hs-finder [role=status]").inner_text()
        field.fill("free(): invalid size")
        seen.page.locator(".hs-finder [role=status] a").first.click()
        assert seen.page.url.endswith("#free-invalid-size")
        assert seen.problems == []
    assert lost == []


def test_the_search_finds_each_message(browser: Browser, html: Path) -> None:
    lost = []
    with visit(browser, (html / "search.html").as_uri()) as seen:
        for message in MESSAGES:
            seen.page.evaluate(
                """text => {
                    document.querySelector('#search-results').replaceChildren();
                    Search.performSearch(text);
                }""",
                message.replace("…", "").replace("  ", " "),
            )
            try:
                seen.page.wait_for_selector(
                    "#search-results li a[href*='failure-index']", timeout=4000
                )
            except Error:  # whatever came instead
                lost.append(message)
    assert lost == []


# ------------------------------------------------------------------ the glossary


@pytest.mark.parametrize("name", CHAPTERS)
def test_terms_lead_to_the_glossary(html: Path, name: str) -> None:
    glossary, chapter = (
        parsed(html / page) for page in ("book/glossary.html", f"notebooks/{name}.html")
    )
    anchors = {section["id"] for section in glossary.select("article section section")}
    links = [str(link["href"]) for link in chapter.select("article a.hs-term")]
    targets = [link.split("#")[1] for link in links]
    assert targets, "no term is linked"
    assert all(link.startswith("../book/glossary.html#") for link in links)
    assert len(targets) == len(set(targets)), "only the first use is linked"
    assert set(targets) <= anchors


# ------------------------------------------------------------------ the cheat sheet


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("paper", ["A4", "Letter"])
@pytest.mark.parametrize("margin", ["0", "10mm"])
def test_the_cheat_sheet_is_one_page(
    browser: Browser, html: Path, theme: str, paper: str, margin: str
) -> None:
    assert CHROMIUM  # printing needs this very browser
    address = (html / "book" / "cheat-sheet.html").as_uri()
    with visit(browser, address, theme=theme) as seen:
        sides: Any = dict.fromkeys(("top", "right", "bottom", "left"), margin)
        printed = seen.page.pdf(format=paper, margin=sides)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == 1


def test_the_cheat_sheet_fits_its_columns(browser: Browser, html: Path) -> None:
    """On the smaller width of the two papers nothing is cut off."""
    address = (html / "book" / "cheat-sheet.html").as_uri()
    with visit(browser, address, width=720) as seen:
        seen.page.emulate_media(media="print")
        wide = seen.page.evaluate("""() =>
            [...document.querySelectorAll('#cheat-sheet :is(table, pre)')]
                .filter(e => e.scrollWidth > e.parentElement.clientWidth + 1)
                .map(e => e.textContent)""")
        assert wide == []

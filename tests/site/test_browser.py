"""What looks at the pages sees each kind of fault: a page with that fault is tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import problems, served
from playwright.sync_api import Browser

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,"></head><body><main><h1>A page</h1>{}</main></body></html>"""


def found(browser: Browser, tmp_path: Path, body: str) -> str:
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(body), "utf-8")
    return "\n".join(problems(browser, page.as_uri()))


def test_a_good_page_has_no_problem(browser: Browser, tmp_path: Path) -> None:
    assert found(browser, tmp_path, "<p>Nothing is wrong.</p>") == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<img alt="" src="https://example.invalid/a.png">', "asks for https://example.invalid"),
        ("<script>fetch('https://example.invalid/')</script>", "asks for https://example.invalid"),
        ('<img alt="" src="nowhere.png">', "does not get"),
        ("<script>throw new Error('oh')</script>", "error: oh"),
        ("<script>console.error('oh')</script>", "console error: oh"),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "axe image-alt"),
        ('<p style="color:#ccc">Hard to read.</p>', "axe color-contrast"),
        ('<p style="width:3000px">Wide.</p>', "wider than the window"),
    ],
)
def test_a_fault_is_found(browser: Browser, tmp_path: Path, body: str, words: str) -> None:
    assert words in found(browser, tmp_path, body)


def test_a_missing_file_on_a_server_is_found(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE.format('<img alt="" src="nowhere.png">'), "utf-8")
    with served(tmp_path) as address:
        assert any(
            "404 for" in one for one in problems(browser, f"{address}/page.html", inner=address)
        )

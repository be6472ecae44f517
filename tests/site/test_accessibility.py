"""A chapter without a mouse and with a large font, and that the checks see a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import visit
from playwright.sync_api import Browser

from tests.trust.accessibility import WALKED, ZOOMED, moving, structure, walk, wider


@pytest.mark.parametrize("name", [pytest.param(WALKED[0], marks=pytest.mark.long), WALKED[1]])
def test_tab_reaches_everything_in_order_and_is_seen(
    browser: Browser, html: Path, name: str
) -> None:
    with visit(browser, (html / name).as_uri()) as seen:
        done = walk(seen.page)
        assert structure(seen.page) == []
    assert done.stops > 50
    assert (done.reached, done.trapped) == (done.stops, False)
    assert (done.missed, done.unseen, done.back) == ([], [], [])


@pytest.mark.parametrize("width", ZOOMED.values(), ids=ZOOMED)
def test_a_large_font_needs_no_scrolling_sideways(browser: Browser, html: Path, width: int) -> None:
    assert wider(browser, (html / WALKED[1]).as_uri(), width) == 0


FAULTS = """<!DOCTYPE html><html><head><title>A page</title><link rel="icon" href="data:,"><style>
#plain:focus{outline:none}@keyframes k{to{opacity:0}}#moves{animation:k 9s infinite}</style></head>
<body><main><h1>A</h1><h3>B</h3><img src="data:," alt=""><a href="#1" id="plain">one</a>
<a href="#2" tabindex="1">two</a><button id="moves">three</button></main></body></html>"""


def test_faults_are_found(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(FAULTS, "utf-8")
    with visit(browser, page.as_uri()) as seen:
        assert structure(seen.page) == ["no language", "h3 after h1: B"]
        done = walk(seen.page)
    assert [one for one in done.unseen if "plain" in one]
    assert done.back
    assert moving(browser, page.as_uri())

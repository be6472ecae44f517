"""A chapter without a mouse, with a large font and other colours, and that faults are seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import visit
from playwright.sync_api import Browser

from tests.trust.access import colours, contrast, keyboard, layout, words
from tests.trust.accessibility import WALKED, forced, paper, structure

SHORT = WALKED[2]
LONG = [pytest.param(n, marks=() if n == SHORT else pytest.mark.long) for n in WALKED]


@pytest.mark.parametrize("name", LONG)
def test_everything_works_with_the_keys_alone(browser: Browser, html: Path, name: str) -> None:
    with visit(browser, (html / name).as_uri()) as seen:
        done = keyboard.walk(seen.page)
        assert structure(seen.page) == []
    assert done.stops > 50
    assert done.reached == done.stops
    assert done.wrong() == []
    with visit(browser, (html / name).as_uri()) as seen:
        used = keyboard.use(seen.page)
    assert used.steps > 2
    assert used.wrong == []


def test_the_words_of_films_are_those_of_the_snapshots(browser: Browser, html: Path) -> None:
    with visit(browser, (html / SHORT).as_uri()) as seen:
        done = words.compare(seen.page)
        assert done.blocks > 50
        assert done.wrong == []
        # a snapshot that says something else is seen
        seen.page.evaluate("""() => {
            const data = document.querySelector('heap-film script');
            data.textContent = data.textContent.replaceAll('"size":48,', '"size":64,');
        }""")
        assert words.compare(seen.page).wrong


@pytest.mark.parametrize("width", layout.ZOOMED.values(), ids=layout.ZOOMED)
def test_a_large_font_needs_no_scrolling_sideways(browser: Browser, html: Path, width: int) -> None:
    with visit(browser, (html / SHORT).as_uri(), width=width) as seen:
        assert layout.narrow(seen.page) == []


def test_other_colours_and_paper(browser: Browser, html: Path) -> None:
    address = (html / SHORT).as_uri()
    with visit(browser, address) as seen:
        pairs, _, wrong = colours.confused(seen.page)
    assert pairs > 50
    assert wrong == []
    for read in (lambda: forced(browser, address, "dark"), lambda: paper(browser, address)):
        total, wrong = read()
        assert total > 500
        assert wrong == []


@pytest.mark.parametrize(
    ("one", "two", "differ"),  # from the data of Sharma, Wu and Dalal
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_of_colours(
    one: tuple[float, ...], two: tuple[float, ...], differ: float
) -> None:
    assert colours.ciede2000(one, two) == pytest.approx(differ, abs=5e-5)


FAULTS = """<!DOCTYPE html><html><head><title>A page</title><link rel="icon" href="data:,"><style>
#plain:focus{outline:none}#pale:focus{outline:3px solid #eee}@keyframes k{to{opacity:0}}
#moves{animation:k 9s infinite}.hs-legend i{color:transparent}</style></head>
<body><main><article><h1>A</h1><h3>B</h3><img src="data:," alt=""><a href="#1" id="plain">one</a>
<a href="#3" id="pale">pale</a><a href="#2" tabindex="1">two</a><button id="moves">three</button>
<ul class="hs-legend"><li><b class="hs-swatch" style="background:#c66"></b>red</li>
<li><b class="hs-swatch" style="background:#a85"></b>brown</li></ul>
<div class="hs-figure" style="forced-color-adjust:none;background:#000;color:#333">dark</div>
<p style="width:900px;white-space:nowrap">wide</p>
<p style="width:9px;overflow:hidden;white-space:nowrap">cut off</p>
</article></main></body></html>"""


def test_faults_are_found(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(FAULTS, "utf-8")
    address = file.as_uri()
    with visit(browser, address) as seen:
        assert structure(seen.page) == ["no language", "h3 after h1: B"]
        done = keyboard.walk(seen.page)
    assert [[name in one for name in ("plain", "pale")] for one in done.unseen] == [
        [True, False],
        [False, True],
    ]
    assert done.back
    with visit(browser, address) as seen:
        assert layout.moving(seen.page)
    with visit(browser, address, width=640) as seen:
        found = layout.narrow(seen.page)
    assert {one.split(":")[0] for one in found} >= {"scrolls sideways by 268 px", "cut off"}
    with visit(browser, address) as seen:
        assert [one.split(":")[0] for one in colours.confused(seen.page)[2]]
    assert forced(browser, address, "light")[1]
    assert [one for one in paper(browser, address)[1] if one.startswith("dark")]
    assert contrast.TEXT == 4.5

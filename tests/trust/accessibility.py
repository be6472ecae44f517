"""A reader without a mouse, with a large font, without motion, or with colours of their own.

Every page of the built book is opened in Chromium. The chapters 1 and 8 are walked through with
the Tab key alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "site"))  # browser.py, as its tests import it

from browser import chromium, problems, visit  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

from .record import Check  # noqa: E402

COMMAND = "python -m tests.trust.accessibility"
HTML = ROOT / "_build" / "html"
WALKED = ("notebooks/01-the-four-functions.html", "notebooks/08-double-free.html")
ZOOMED = {"200 %": 640, "400 %": 320}  # CSS pixels of a window that is 1280 wide

# Elements that Tab must reach: visible, enabled, and the chosen one of a group of radio buttons.
_STOPS = """() => {
    const all = [...document.querySelectorAll(
        'a[href], button, summary, input, select, textarea, [tabindex]')];
    const seen = new Set();
    window.stops = all.filter(e => {
        if (e.tabIndex < 0 || e.disabled || e.type === 'hidden') return false;
        if (!e.checkVisibility({visibilityProperty: true}) || e.closest('[inert]')) return false;
        const closed = e.closest('dialog:not([open])');
        if (closed) return false;
        if (e.type === 'radio') {
            if (seen.has(e.name)) return false;
            seen.add(e.name);
        }
        return true;
    });
    const name = e => e.outerHTML.slice(0, 90).replace(/\\s+/g, ' ');
    window.nameOf = name;
    window.looks = e => {
        const found = [];
        const parts = [e, e.parentElement, e.nextElementSibling].filter(Boolean);
        for (const part of parts) {
            const s = getComputedStyle(part);
            found.push(s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow);
        }
        return found.join();
    };
    window.calm = new Map(window.stops.map(e => [e, window.looks(e)]));
    return window.stops.length;
}"""
_FOCUSED = """() => {
    const e = document.activeElement;
    if (!e || e === document.body) return null;
    const radio = e.type === 'radio';
    const index = window.stops.findIndex(s => s === e || radio && s.name && s.name === e.name);
    const before = window.calm.get(e);
    const seen = before === undefined || before !== window.looks(e);
    return {index, seen, name: window.nameOf(e)};
}"""
_TOO_WIDE = """() => {
    const page = document.documentElement;
    return Math.max(0, page.scrollWidth - page.clientWidth);
}"""
_MOVING = """() => [...document.querySelectorAll('*')].filter(e => {
    const s = getComputedStyle(e);
    return s.animationName !== 'none' || s.transitionDuration.split(',').some(
        d => parseFloat(d) > 0);
}).slice(0, 3).map(e => e.outerHTML.slice(0, 90))"""
_STRUCTURE = """() => {
    const found = [];
    if (!document.documentElement.lang) found.push('no language');
    const shown = e => e.checkVisibility();
    const heads = [...document.querySelectorAll('main :is(h1,h2,h3,h4,h5,h6)')].filter(shown);
    if (heads.filter(h => h.tagName === 'H1').length !== 1) found.push('not one h1');
    let last = 0;
    for (const head of heads) {
        const level = +head.tagName[1];
        if (level > last + 1) found.push(`h${level} after h${last}: ${head.textContent.trim()}`);
        last = level;
    }
    if (document.querySelectorAll('main, [role=main]').length !== 1) found.push('not one main');
    for (const image of document.querySelectorAll('img:not([alt])'))
        found.push('no alt: ' + image.outerHTML.slice(0, 90));
    for (const table of document.querySelectorAll('article table'))
        if (!table.querySelector('th')) found.push('no th: ' + table.outerHTML.slice(0, 90));
    for (const link of document.querySelectorAll('article a[href]'))
        if (shown(link) && !(link.textContent.trim() || link.getAttribute('aria-label')))
            found.push('a link without words: ' + link.outerHTML.slice(0, 90));
    return found;
}"""


@dataclass
class Walk:
    """What Tab reached on one page."""

    stops: int
    reached: int = 0
    missed: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    trapped: bool = False


def walk(page: Page) -> Walk:
    """Press Tab from the first to the last stop of a page."""
    page.emulate_media(reduced_motion="reduce")  # a style on its way would be read half-way
    page.evaluate("document.activeElement?.blur()")
    done = Walk(page.evaluate(_STOPS))
    reached: set[int] = set()
    last = -1
    same = 0
    previous = ""
    for _ in range(2 * done.stops + 20):
        page.keyboard.press("Tab")
        now = page.evaluate(_FOCUSED)
        if now is None:  # past the last stop: the browser's own bar
            break
        if now["index"] in reached and now["index"] == 0:
            break
        same = same + 1 if now["name"] == previous and now["index"] == last else 0
        previous = now["name"]
        if same > 2:
            done.trapped = True
            break
        if not now["seen"] and now["index"] not in reached:
            done.unseen.append(now["name"])
        if 0 <= now["index"] < last:
            done.back.append(now["name"])
        if now["index"] >= 0:
            last = now["index"]
            reached.add(last)
    names = page.evaluate("window.stops.map(window.nameOf)")
    done.reached = len(reached)
    done.missed = [name for number, name in enumerate(names) if number not in reached]
    return done


def wider(browser: Browser, address: str, width: int) -> int:
    """Return by how many CSS pixels a page is wider than a window of `width`."""
    with visit(browser, address, width=width) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        return int(seen.page.evaluate(_TOO_WIDE))


def moving(browser: Browser, address: str) -> list[str]:
    """Return what still moves for a reader who asked for less motion."""
    with visit(browser, address) as seen:
        seen.page.emulate_media(reduced_motion="reduce")
        return list(seen.page.evaluate(_MOVING))


def structure(page: Page) -> list[str]:
    """Return what is wrong with headings, landmarks, language, tables, pictures and links."""
    return list(page.evaluate(_STRUCTURE))


def main(html: Path = HTML) -> int:
    """Try all pages."""
    if not (html / "index.html").is_file():
        print("the book is not built: make book")
        return 1
    check = Check("accessibility", "Accessibility", COMMAND)
    pages = sorted(
        path
        for path in html.rglob("*.html")
        if "_static" not in path.parts and path.name != "index.html"
    )

    def count(what: str, aim: str, bad: dict[str, Any], total: int) -> None:
        for name, why in bad.items():
            print(f"    {name}: {why}")
        check.figure(what, f"{total - len(bad)} of {total}", aim, not bad)

    with chromium() as browser:
        for name in WALKED:
            with visit(browser, (html / name).as_uri()) as seen:
                done = walk(seen.page)
            bad = done.missed or done.unseen or done.back or done.trapped
            for text in (*done.missed, *done.unseen, *done.back):
                print("   ", text)
            check.figure(
                f"Tab through {name}",
                f"{done.reached} of {done.stops} stops reached, {len(done.unseen)} without a "
                f"visible focus, {len(done.back)} out of order",
                "all reached, all visible, in order",
                not bad,
            )
        for zoom, width in ZOOMED.items():
            wide = {p.name: w for p in pages if (w := wider(browser, p.as_uri(), width))}
            count(f"pages at {zoom} that do not scroll sideways", "all", wide, len(pages))
        still = {p.name: m for p in pages if (m := moving(browser, p.as_uri()))}
        count("pages where nothing moves if less motion is asked for", "all", still, len(pages))
        wrong: dict[str, Any] = {}
        for path in pages:
            with visit(browser, path.as_uri()) as seen:
                if found := structure(seen.page):
                    wrong[path.name] = found
        count("pages with headings in order, landmarks, alt, th", "all", wrong, len(pages))
        for theme in ("light", "dark"):
            for width in (360, 1400):
                axe = {
                    p.name: found
                    for p in pages
                    if (found := problems(browser, p.as_uri(), theme=theme, width=width))
                }
                count(
                    f"pages without a finding of axe, {theme}, {width} px", "all", axe, len(pages)
                )
    check.figure(
        "the same with a screen reader",
        "untested: no screen reader runs here; axe and the pages' own text stand in for it",
        "none",
        None,
    )
    return check.finish(axe="axe-core-python 0.1.0")


if __name__ == "__main__":
    sys.exit(main())

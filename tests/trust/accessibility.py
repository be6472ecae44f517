"""A reader without a mouse, with a large font, without motion, or with colours of their own.

Every page of the built book is opened in Chromium, two pages at a time. What is tried on a page is
in the package ``access``. ``python -m tests.trust.accessibility FOLDER`` tries another built book.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "site"))  # browser.py, as its tests import it

from browser import chromium, problems, visit  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

from .access import colours, contrast, keyboard, layout, words  # noqa: E402
from .record import Check  # noqa: E402

COMMAND = "python -m tests.trust.accessibility"
HTML = ROOT / "_build" / "html"
WALKED = (
    "notebooks/01-the-four-functions.html",
    "notebooks/06-cgo-strings.html",
    "notebooks/08-double-free.html",
    "book/playground.html",
)
OTHER = {"light": "dark", "dark": "light"}

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


def structure(page: Page) -> list[str]:
    """Return what is wrong with headings, landmarks, language, tables, pictures and links."""
    return list(page.evaluate(_STRUCTURE))


def forced(browser: Browser, address: str, palette: str) -> tuple[int, list[str]]:
    """Read a page with a light or dark palette of the system, and the book's other theme."""
    with visit(browser, address, theme=palette) as seen:
        seen.page.evaluate("t => { document.documentElement.dataset.theme = t; }", OTHER[palette])
        return contrast.forced(seen.page)


def paper(browser: Browser, address: str) -> tuple[int, list[str]]:
    """Print a page of the dark theme."""
    with visit(browser, address, theme="dark", width=800) as seen:
        return contrast.paper(seen.page)


@dataclass
class Looked:
    """What was found on pages: sentences by kind, and how much was looked at."""

    wrong: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # kind → page → sentences
    tried: Counter[str] = field(default_factory=Counter)  # pages by kind
    count: Counter[str] = field(default_factory=Counter)
    walks: dict[str, keyboard.Walk] = field(default_factory=dict)

    def take(self, kind: str, page: str, found: Sequence[str]) -> None:
        """Note what one page had wrong of one kind."""
        self.tried[kind] += 1
        if found:
            self.wrong.setdefault(kind, {})[page] = list(found)

    def add(self, other: Looked) -> None:
        """Add what another process looked at."""
        for kind, pages in other.wrong.items():
            self.wrong.setdefault(kind, {}).update(pages)
        self.tried += other.tried
        self.count += other.count
        self.walks |= other.walks


def look(html: Path, name: str) -> Looked:
    """Try everything on one page, `name` below `html`."""
    found = Looked()
    address = (html / name).as_uri()
    with chromium() as browser:
        with visit(browser, address) as seen:
            found.take("structure", name, structure(seen.page))
            films = seen.page.locator("heap-film:has(> script)").count()
            drawn = seen.page.locator(contrast.PARTS).count()
            meant = seen.page.locator(".hs-legend, .hs-quiz, .hs-badge").count()
            done = words.compare(seen.page) if films else words.Compared()
        if films:
            found.take("words", name, done.wrong)
            found.count.update(films=done.films, frames=done.frames, blocks=done.blocks)
        for zoom, width in layout.ZOOMED.items():
            with visit(browser, address, width=width) as seen:
                found.take(zoom, name, layout.narrow(seen.page))
        with visit(browser, address) as seen:
            found.take("motion", name, layout.moving(seen.page))
        total, bad = paper(browser, address)
        found.count["printed"] += total
        found.take("paper", name, bad)
        for theme in OTHER:
            if drawn:
                total, bad = forced(browser, address, theme)
                found.count["forced"] += total
                found.take(f"forced {theme}", name, bad)
            if meant:
                with visit(browser, address, theme=theme) as seen:
                    pairs, alone, bad = colours.confused(seen.page)
                found.count.update(pairs=pairs, alone=alone)
                found.take(f"colours {theme}", name, bad)
            for width in (360, 1400):
                bad = problems(browser, address, theme=theme, width=width)
                found.take(f"axe {theme} {width}", name, bad)
        if name in WALKED:
            _walked(browser, address, name, found)
    return found


def _walked(browser: Browser, address: str, name: str, found: Looked) -> None:
    for theme in OTHER:
        with visit(browser, address, theme=theme) as seen:
            walk = keyboard.walk(seen.page)
        found.take(f"walk {name}", theme, walk.wrong())
        if name in found.walks:
            walk.least = min(walk.least, found.walks[name].least)
        found.walks[name] = walk
    with visit(browser, address) as seen:
        used = keyboard.use(seen.page)
    found.take("use", name, used.wrong)
    found.count.update(steps=used.steps, questions=used.questions, folded=used.folded)


def report(check: Check, found: Looked) -> None:
    """Turn what was found into figures; what is wrong is printed."""
    for kind, pages in found.wrong.items():
        for page, said in pages.items():
            print(f"    {kind}: {page}: {len(said)}: {' | '.join(said[:4])}")

    def figure(kind: str, what: str, how: Callable[[int, int], str], aim: str = "all") -> None:
        total, bad = found.tried[kind], len(found.wrong.get(kind, {}))
        check.figure(what, how(total - bad, total), aim, total > 0 and not bad)

    def plain(good: int, total: int) -> str:
        return f"{good} of {total}"

    n = found.count
    for name, walk in sorted(found.walks.items()):
        check.figure(
            f"Tab through {name}",
            f"{walk.reached} of {walk.stops} stops reached, {len(walk.unseen)} without a focus "
            f"that is seen, {len(walk.back)} out of order; least contrast of the focus "
            f"{walk.least:.1f}:1",
            f"all reached, in order, at least {keyboard.SEEN:g}:1 in both themes",
            not found.wrong.get(f"walk {name}"),
        )
    used = f"{n['steps']} steps of films, {n['questions']} questions, {n['folded']} folded parts"
    figure("use", "pages used with the keys alone", lambda g, t: f"{g} of {t}: {used}")
    figure(
        "words",
        "pages with films where every block's address, size and state is said in words",
        lambda g, t: (
            f"{g} of {t}: {n['films']} films, {n['frames']:,} frames, {n['blocks']:,} blocks"
        ),
    )
    for zoom in layout.ZOOMED:
        figure(zoom, f"pages at {zoom} that scroll only downwards, with nothing cut off", plain)
    for theme in OTHER:
        figure(
            f"colours {theme}",
            f"pages whose colours stay apart for {len(colours.EYES) - 1} kinds of colour "
            f"vision, {theme}",
            plain,
            f"all: CIEDE2000 of {colours.APART:g}, or another sign or pattern",
        )
    check.figure(
        "pairs of meanings that were compared",
        f"{n['pairs']:,}, {n['alone']:,} of them told apart by colour alone",
        "more than none",
        n["pairs"] > 0,
    )
    figure("motion", "pages where nothing moves if less motion is asked for", plain)
    for theme in OTHER:
        figure(
            f"forced {theme}",
            f"pages read with forced colours, a {theme} palette and the book's other theme",
            plain,
            f"all: text {contrast.TEXT:g}:1, edges 3:1",
        )
    figure(
        "paper",
        "pages printed: all steps, nothing folded, nothing dark",
        lambda g, t: f"{g} of {t}: {n['printed']:,} texts",
        f"all: text and links {contrast.TEXT:g}:1",
    )
    figure("structure", "pages with headings in order, landmarks, alt, th", plain)
    for theme in OTHER:
        for width in (360, 1400):
            figure(
                f"axe {theme} {width}",
                f"pages without a finding of axe, {theme}, {width} px",
                plain,
            )
    check.figure(
        "the same with a screen reader",
        "untested: no screen reader runs here; axe and the pages' own text stand in for it",
        "none",
        None,
    )


def main(arguments: Sequence[str] = ()) -> int:
    """Try all pages."""
    html = Path(arguments[0]).resolve() if arguments else HTML
    if not (html / "index.html").is_file():
        print("the book is not built: make book")
        return 1
    names = sorted(
        str(path.relative_to(html))
        for path in html.rglob("*.html")
        if "_static" not in path.parts and path.name != "index.html"
    )
    total = Looked()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for name, one in zip(names, pool.map(look, [html] * len(names), names), strict=True):
            total.add(one)
            print(f"  {name}", flush=True)
    check = Check("accessibility", "Accessibility", COMMAND)
    report(check, total)
    return check.finish(axe="axe-core-python 0.1.0")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

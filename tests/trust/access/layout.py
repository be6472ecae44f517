"""A page in a narrow window, which is what zoom makes of a wide one, and one without motion."""

from __future__ import annotations

from playwright.sync_api import Page

ZOOMED = {"200 %": 640, "400 %": 320}
"""CSS pixels of a window that is 1280 wide."""

_NARROW = """() => {
    const page = document.documentElement, found = [], scrolls = new Map();
    document.querySelectorAll('details').forEach(d => { d.open = true; });
    const wide = page.scrollWidth - page.clientWidth;
    if (wide > 0) found.push(`scrolls sideways by ${wide} px`);
    const scrolling = e => {  // a part that the reader can scroll
        if (!e || e === page) return false;
        if (!scrolls.has(e))
            scrolls.set(e, /auto|scroll/.test(getComputedStyle(e).overflowX) ||
                        scrolling(e.parentElement));
        return scrolls.get(e);
    };
    for (const e of document.querySelectorAll('main *')) {
        // what a picture cuts, its words say; see words.py
        if (e instanceof SVGElement || e.closest('.hf-stages, .hf-time, .hp-status')) continue;
        if (e.matches('.visually-hidden, .sr-only') || !e.checkVisibility()) continue;
        const s = getComputedStyle(e), words = e.textContent.trim();
        const box = e.getBoundingClientRect();
        if (!words || box.width < 2 || s.position === 'fixed') continue;
        const cut = /hidden|clip/.test(s.overflowX) && e.scrollWidth > e.clientWidth + 1 ||
            /hidden|clip/.test(s.overflowY) && e.scrollHeight > e.clientHeight + 2;
        if (cut && !e.matches('[title]') && !e.querySelector('[title]'))
            found.push(`cut off: ${e.outerHTML.slice(0, 100)}`);
        else if ((box.right > page.clientWidth + 1 || box.left < -1) && !scrolling(e))
            found.push(`beyond the edge: ${e.outerHTML.slice(0, 100)}`);
    }
    return found.slice(0, 6);
}"""
_MOVING = """async () => {
    const found = [...document.querySelectorAll('*')].filter(e => {
        const s = getComputedStyle(e), long = t => t.split(',').some(
            d => parseFloat(d) * (d.trim().endsWith('ms') ? 0.001 : 1) > 0.01);
        return s.animationName !== 'none' && long(s.animationDuration) ||
            long(s.transitionDuration) || s.scrollBehavior === 'smooth';
    }).slice(0, 3).map(e => e.outerHTML.slice(0, 90));
    for (const film of document.querySelectorAll('heap-film'))
        if (film.timer || film.step > 0 && !location.hash && film.hasAttribute('autoplay'))
            found.push(`plays by itself: ${film.id}`);
    return found;
}"""


def narrow(page: Page) -> list[str]:
    """Return what scrolls sideways or is cut off; every folded part is opened."""
    return list(page.evaluate(_NARROW))


def moving(page: Page) -> list[str]:
    """Return what still moves on a page that was opened by a reader who wants less motion.

    ``reload`` is part of it: a film decides when the page is opened whether it begins by itself.
    """
    page.emulate_media(reduced_motion="reduce")
    page.reload(wait_until="load")
    page.wait_for_timeout(50)
    return list(page.evaluate(_MOVING))

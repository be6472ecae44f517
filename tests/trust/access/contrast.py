"""Contrast of text as it is painted, with forced colours and on paper.

What lies behind a text is asked of the browser at the text's middle: in a cell of a film that is
another element, in a picture a shape of the SVG. Ratios are those of WCAG 2.2, 1.4.3.
"""

from __future__ import annotations

from playwright.sync_api import Page

TEXT = 4.5
"""Least contrast of text."""
PARTS = ".hf, .hs-figure, heap-playground, .hs-quiz"

# window.rgb reads any colour that getComputedStyle returns; window.ratio compares two of them.
TOOLS = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const known = new Map();
    window.rgb = text => {
        if (!known.has(text)) {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = 'transparent';
            canvas.fillStyle = text;
            canvas.fillRect(0, 0, 1, 1);
            known.set(text, [...canvas.getImageData(0, 0, 1, 1).data]);
        }
        return known.get(text);
    };
    const light = c => c.slice(0, 3).map(x => x / 255).map(
        x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4).reduce(
        (sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    window.luminance = light;
    window.ratio = (a, b) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05);
    };
    window.paint = e => {  // the opaque colour that an element paints, or null
        const s = getComputedStyle(e);
        const shape = e instanceof SVGElement && !(e instanceof SVGSVGElement);
        if (shape && (e.tagName === 'text' || e.tagName === 'tspan')) return null;
        const c = window.rgb(shape ? s.fill : s.backgroundColor);
        return c[3] > 250 ? c : null;
    };
    window.ground = e => {  // of an element and all that is around it
        for (; e; e = e.parentElement) {
            const c = window.paint(e);
            if (c) return c;
        }
        // with forced colours or in the dark the page's own ground is the system's
        return window.rgb(matchMedia('print').matches ? '#fff' : 'Canvas');
    };
}"""
_FAINT = """([least, parts]) => {
    const found = [], seen = new Set();
    let total = 0;
    for (const part of document.querySelectorAll(parts)) {
        const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node; node = walker.nextNode()) {
            const e = node.parentElement;
            if (!node.data.trim() || /^(script|style|option)$/i.test(e.tagName)) continue;
            if (!e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
            const range = document.createRange();
            range.selectNodeContents(node);
            const box = range.getBoundingClientRect();
            const x = box.left + box.width / 2, y = box.top + box.height / 2;
            if (box.width < 2 || x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
            const stack = document.elementsFromPoint(x, y), at = stack.indexOf(e);
            if (at < 0) continue;  // cut off, or under something else
            const behind = stack.slice(at).map(window.paint).find(Boolean) || window.ground(e);
            const style = getComputedStyle(e);
            const own = window.rgb(e instanceof SVGElement ? style.fill : style.color);
            total++;
            const ratio = window.ratio(own, behind);
            if (ratio >= least) continue;
            const said = `${ratio.toFixed(2)}:1 ${own.slice(0, 3)} on ${behind.slice(0, 3)}: ` +
                `${e.tagName}.${e.className.baseVal ?? e.className}`;
            if (!seen.has(said)) found.push(`${said}: ${node.data.trim().slice(0, 40)}`);
            seen.add(said);
        }
    }
    return [total, found];
}"""
_BORDERS = """() => {
    // a control whose edge is not to be seen, and a cell that runs into the next
    const found = [];
    const q = 'heap-playground :is(textarea, select, button), .hf-btns button, .hs-quiz, .hf-bx';
    for (const e of document.querySelectorAll(q)) {
        if (!e.checkVisibility() || e.getAttribute('aria-disabled') === 'true') continue;
        const s = getComputedStyle(e), around = window.ground(e.parentElement.closest(
            '.hf-stages, .hf-btns, heap-playground, .bd-article, body'));
        const c = window.rgb(s.borderTopColor), none = e.parentElement.matches('.none, .torn');
        if (none) continue;
        if (s.borderTopStyle === 'none' || parseFloat(s.borderTopWidth) < 1 ||
            window.ratio(c, around) < 3)
            found.push(`no edge: ${e.outerHTML.slice(0, 90)}`);
    }
    return found.slice(0, 5);
}"""
_DARK = """() => {
    const found = [];
    for (const e of document.querySelectorAll('body, body *')) {
        if (e instanceof SVGElement || !e.checkVisibility()) continue;
        if (e.closest('.hf-stages, .hs-swatch')) continue;  // colours that mean something
        const c = window.rgb(getComputedStyle(e).backgroundColor), box = e.getBoundingClientRect();
        if (c[3] > 200 && window.luminance(c) < 0.6 && box.width * box.height > 100)
            found.push(`dark: ${c.slice(0, 3)} ${e.outerHTML.slice(0, 90)}`);
    }
    for (const e of document.querySelectorAll('article details'))
        if (!e.open && e.checkVisibility())
            found.push(`folded: ${e.textContent.trim().slice(0, 60)}`);
    for (const film of document.querySelectorAll('heap-film')) {
        const sheets = film.querySelectorAll('.hf-sheet').length;
        const listed = film.querySelectorAll('.hs-steps > li').length;
        if (sheets !== film.n && listed < film.n)
            found.push(`${film.id}: ${sheets || listed} of ${film.n} steps`);
    }
    return found;
}"""
_PALE = """least => {  // text and links outside the cells, whose colours are the same on paper
    const found = new Map();
    let total = 0;
    const walker = document.createTreeWalker(
        document.querySelector('article, #search-results'), NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const e = node.parentElement;
        if (!node.data.trim() || /^(script|style|option)$/i.test(e.tagName)) continue;
        if (e.closest('svg, .hf-stages, .hs-swatch') || !e.checkVisibility()) continue;
        total++;
        const own = window.rgb(getComputedStyle(e).color);
        const ratio = window.ratio(own, window.ground(e));
        if (ratio < least)
            found.set(`${ratio.toFixed(2)}:1 ${own.slice(0, 3)} ${e.tagName}.${e.className}`,
                      node.data.trim().slice(0, 40));
    }
    return [total, [...found].map(x => x.join(': '))];
}"""


def _tall(page: Page) -> None:
    """Make the window as high as the page: only what is in the window can be asked for."""
    width = page.viewport_size["width"] if page.viewport_size else 1400
    for _ in range(2):
        height = int(page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": width, "height": min(height, 60000)})


def faint(page: Page, least: float = TEXT, parts: str = PARTS) -> tuple[int, list[str]]:
    """Return how many texts of `parts` were looked at, and those with less contrast."""
    page.evaluate(TOOLS)
    _tall(page)
    total, found = page.evaluate(_FAINT, [least, parts])
    return int(total), list(found)


def forced(page: Page) -> tuple[int, list[str]]:
    """Read a page with forced colours: the texts that were looked at, and what is wrong."""
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    page.evaluate("""() => {
        for (const f of document.querySelectorAll('heap-film')) if (f.n) f.show(f.n >> 1);
        document.querySelectorAll('.hs-quiz').forEach(q => q.querySelector('input').click());
    }""")
    total, found = faint(page)
    return total, found + list(page.evaluate(_BORDERS))


def paper(page: Page) -> tuple[int, list[str]]:
    """Read a page as it is printed: the texts that were looked at, and what is wrong."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.evaluate(TOOLS)
    total, found = page.evaluate(_PALE, TEXT)
    return int(total), list(found) + list(page.evaluate(_DARK))

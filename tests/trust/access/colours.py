"""Colours that mean something, as other eyes see them.

Chromium paints the legend's swatches as it does for four kinds of colour vision; the colours are
read from the picture. The difference is CIEDE2000 (CIE 142-2001, formulae after Sharma, Wu and
Dalal, 2005). Two meanings are apart when their colours are, or when a sign or a pattern tells them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from playwright.sync_api import Page

EYES = ("none", "protanopia", "deuteranopia", "tritanopia", "achromatopsia")
"""Names of Chromium's simulations."""
APART = 10.0
"""Least CIEDE2000 of two colours: ten times what is only just seen side by side."""

_MEANT = """() => {
    // colour, then what tells it apart without colour: a sign, a pattern, a border
    const found = [];
    const box = document.createElement('div');
    box.id = 'eyes';
    box.style.cssText = 'position:fixed;inset:0 auto auto 0;z-index:99999;display:flex';
    const swatch = colour => {
        const e = document.createElement('i');
        e.style.cssText = `width:16px;height:16px;background:${colour}`;
        box.append(e);
    };
    const take = (group, name, colour, mark) => {
        if (found.some(f => f.group === group && f.name === name)) return;
        found.push({group, name, mark});
        swatch(colour);
    };
    for (const e of document.querySelectorAll('.hs-legend .hs-swatch')) {
        const s = getComputedStyle(e), pattern = s.backgroundImage.split('(')[0];
        const name = e.parentElement.textContent.replace(e.textContent, '').trim()
            .replace(/^top, /, '');  // one meaning: the allocator's own, where only top has it
        take('block', name, s.backgroundColor === 'rgba(0, 0, 0, 0)' ? s.borderColor :
             s.backgroundColor, [e.textContent.trim(), pattern, s.borderTopStyle,
             parseFloat(s.borderTopWidth) > 2 ? 'thick' : ''].join());
    }
    const sign = (e, p) => {
        const c = getComputedStyle(e, p).content;
        return c === 'none' || c === 'normal' ? '' : c;
    };
    for (const input of document.querySelectorAll('.hs-quiz input')) {
        input.click();
        const row = input.closest('.hs-quiz-choice'), label = row.querySelector('label');
        const name = row.classList.contains('hs-right') ? 'right' : 'wrong';
        take('quiz', name, getComputedStyle(row).backgroundColor, sign(label, '::after'));
    }
    for (const e of document.querySelectorAll('.hs-badge'))
        take('badge', e.className, getComputedStyle(e).color,
             sign(e, '::before') + e.textContent.trim());
    for (const film of document.querySelectorAll('heap-film')) {
        for (let i = 0; i < film.n; i++) {
            film.show(i);
            for (const g of film.querySelectorAll('.hf-arrows g')) {
                const line = g.querySelector('path');
                if (!line) continue;
                const kind = ['a-dead', 'a-go', 'a-copy'].find(k => g.classList.contains(k));
                const s = getComputedStyle(g.querySelector('.line') || line);
                take('arrow', kind || 'plain', s.stroke,
                     [s.strokeDasharray, kind === 'a-copy' ? 'double' : ''].join());
            }
        }
    }
    document.body.append(box);
    return found;
}"""


_TO_XYZ = (  # of linear sRGB, IEC 61966-2-1
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def lab(rgb: Sequence[float]) -> tuple[float, float, float]:
    """Return L*, a*, b* (D65) of sRGB values from 0 to 255."""
    linear = [
        x / 12.92 if (x := v / 255) <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for v in rgb[:3]
    ]
    to_xyz = np.array(_TO_XYZ)
    white = to_xyz.sum(axis=1)
    f = [
        t ** (1 / 3) if t > (6 / 29) ** 3 else t * (29 / 6) ** 2 / 3 + 4 / 29
        for t in to_xyz @ np.array(linear) / white
    ]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def ciede2000(one: Sequence[float], two: Sequence[float]) -> float:
    """Return the difference of two colours given as L*, a*, b*."""
    (l1, a1, b1), (l2, a2, b2) = one, two
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean**7 / (mean**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if not c1 * c2 else (h2 - h1 + 180) % 360 - 180
    if c1 * c2 and h2 - h1 == 180:
        turn = 180.0
    dh = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    middle = h1 + h2 if not c1 * c2 else (h1 + h2) / 2
    if c1 * c2 and abs(h1 - h2) > 180:
        middle += 180 if h1 + h2 < 360 else -180
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * math.cos(math.radians(middle - 30))
        + 0.24 * math.cos(math.radians(2 * middle))
        + 0.32 * math.cos(math.radians(3 * middle + 6))
        - 0.20 * math.cos(math.radians(4 * middle - 63))
    )
    sl = 1 + 0.015 * (lm - 50) ** 2 / math.sqrt(20 + (lm - 50) ** 2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    rt = -2 * math.sqrt(cm**7 / (cm**7 + 25**7))
    rt *= math.sin(math.radians(60 * math.exp(-(((middle - 275) / 25) ** 2))))
    dl, dc, dh = (l2 - l1) / sl, (c2 - c1) / sc, dh / sh
    return math.sqrt(dl**2 + dc**2 + dh**2 + rt * dc * dh)


def confused(page: Page) -> tuple[int, int, list[str]]:
    """Return pairs compared, pairs told by colour alone, and pairs that nothing tells apart."""
    page.emulate_media(reduced_motion="reduce")
    meant = page.evaluate(_MEANT)
    pairs, by_colour, wrong = 0, 0, []
    if not meant:
        return 0, 0, []
    session = page.context.new_cdp_session(page)
    for eyes in EYES:
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": eyes})
        width = 16 * len(meant)
        shot = page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": 16})
        image = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=float)
        seen = [lab(image[8, 16 * n + 8]) for n in range(len(meant))]
        for (a, first), (b, second) in combinations(enumerate(meant), 2):
            if first["group"] != second["group"]:
                continue
            pairs += 1
            differ = ciede2000(seen[a], seen[b])
            if first["mark"] == second["mark"]:
                by_colour += 1
                if differ < APART:
                    wrong.append(
                        f"{eyes}: {first['group']}: {first['name']!r} and {second['name']!r} "
                        f"differ by {differ:.1f}"
                    )
    session.detach()
    return pairs, by_colour, wrong

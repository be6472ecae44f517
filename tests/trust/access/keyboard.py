"""A chapter without a mouse: every stop is reached, its focus is seen, everything works."""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.sync_api import Page

from .contrast import TOOLS

SEEN = 3.0
"""Least contrast of what shows the focus (WCAG 2.2, 1.4.11)."""

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
    window.nameOf = e => e.outerHTML.slice(0, 90).replace(/\\s+/g, ' ');
    const parts = e => [e, e.parentElement, e.nextElementSibling].filter(Boolean);
    const drawn = s => [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow].join();
    window.calm = new Map();
    window.stops.forEach(e => parts(e).forEach(p => {
        window.calm.set(p, drawn(getComputedStyle(p)));
    }));
    window.focusRatio = e => {  // of the best of what came with the focus; 0: nothing came
        let best = 0;
        for (const part of parts(e)) {
            const s = getComputedStyle(part);
            if (window.calm.get(part) === drawn(s)) continue;
            const around = window.ground(part.parentElement), take = c => {
                const colour = window.rgb(c);
                if (colour[3] > 100) best = Math.max(best, window.ratio(colour, around));
            };
            if (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1) take(s.outlineColor);
            for (const c of s.boxShadow.match(/rgba?\\([^)]*\\)/g) || []) take(c);
        }
        return best;
    };
    return window.stops.length;
}"""
_FOCUSED = """() => {
    const e = document.activeElement;
    if (!e || e === document.body) return null;
    const radio = e.type === 'radio';
    const index = window.stops.findIndex(s => s === e || radio && s.name && s.name === e.name);
    return {index, ratio: window.focusRatio(e), name: window.nameOf(e)};
}"""
_FILM = "document.querySelector('heap-film')"
_PLAYED = "document.querySelector('heap-playground heap-film')"


@dataclass
class Walk:
    """What Tab reached on one page."""

    stops: int
    reached: int = 0
    least: float = 21.0  # contrast of the focus that is seen worst
    missed: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    trapped: bool = False

    def wrong(self) -> list[str]:
        """Return everything that is wrong, in words."""
        return [
            *(f"not reached: {name}" for name in self.missed),
            *(f"focus not seen: {name}" for name in self.unseen),
            *(f"out of order: {name}" for name in self.back),
            *(["the focus is trapped"] if self.trapped else []),
        ]


def walk(page: Page) -> Walk:
    """Press Tab from the first to the last stop of a page."""
    page.emulate_media(reduced_motion="reduce")  # a style on its way would be read half-way
    page.evaluate(TOOLS)
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
        if now["index"] not in reached:
            done.least = min(done.least, now["ratio"])
            if now["ratio"] < SEEN:
                done.unseen.append(f"{now['ratio']:.2f}:1 {now['name']}")
        if 0 <= now["index"] < last:
            done.back.append(now["name"])
        if now["index"] >= 0:
            last = now["index"]
            reached.add(last)
    names = page.evaluate("window.stops.map(window.nameOf)")
    done.reached = len(reached)
    done.missed = [name for number, name in enumerate(names) if number not in reached]
    return done


def _film(page: Page) -> list[str]:
    """Step the first film of a page through all frames with the arrow keys."""
    wrong: list[str] = []
    page.focus("heap-film input[type=range]")
    last = int(page.evaluate(f"{_FILM}.n")) - 1
    page.keyboard.press("Home")
    for step in range(1, last + 1):
        page.keyboard.press("ArrowRight")
        if page.locator("heap-film").first.locator(".hf-ask button").count():
            page.keyboard.press("Enter")  # a question that hides the step
        at, said, asks = page.evaluate(
            f"[{_FILM}.step, {_FILM}.range.getAttribute('aria-valuetext'),"
            f" {_FILM}.fig.classList.contains('asks')]"
        )
        if at != step or f"step {step} of {last}" not in said or asks:
            wrong.append(f"ArrowRight leads to step {at}, not {step}: {said}")
    for key, want in (("ArrowLeft", last - 1), ("Home", 0), ("End", last)):
        page.keyboard.press(key)
        if (at := page.evaluate(f"{_FILM}.step")) != max(0, want):
            wrong.append(f"{key} leads to step {at}, not {want}")
    page.focus("heap-film .hf-btns [data-icon=first]")
    for key, name, want in (("Enter", "first", 0), ("Space", "next", 1)):
        page.focus(f"heap-film .hf-btns [data-icon={name}]")
        page.keyboard.press(key)
        if (at := page.evaluate(f"{_FILM}.step")) != want:
            wrong.append(f"{key} on {name} leads to step {at}, not {want}")
    page.focus("heap-film [data-icon=play]")
    page.keyboard.press("Space")
    if page.evaluate("document.activeElement.getAttribute('aria-label')") != "Pause":
        wrong.append("Space on Play does not play")
    page.keyboard.press("Space")
    if page.evaluate(f"Boolean({_FILM}.timer)"):
        wrong.append("Space on Pause does not stop the film")
    page.focus("heap-film details summary")
    page.keyboard.press("Enter")
    page.wait_for_timeout(50)
    if not page.locator("heap-film").first.locator(".hf-twin table").count():
        wrong.append("Enter does not open the film's words")
    return wrong


def _quiz(page: Page, number: int) -> list[str]:
    """Answer a question with Space, then change the answer with an arrow key."""
    box = page.locator(".hs-quiz").nth(number)
    box.locator("input").first.focus()
    wrong = []
    for key in ("Space", "ArrowDown"):
        page.keyboard.press(key)
        verdict = box.locator(".hs-quiz-choice:is(.hs-right, .hs-wrong) input:checked").count()
        if verdict != 1 or not box.locator(".hs-quiz-answer").inner_text().strip():
            wrong.append(f"{key} answers nothing in question {number + 1}")
    return wrong


def _folded(page: Page, number: int) -> list[str]:
    """Open and close a folded part."""
    summary = page.locator("article summary:visible").nth(number)
    summary.focus()
    wrong = []
    for key in ("Enter", "Space"):
        before = summary.evaluate("e => e.parentElement.open")
        page.keyboard.press(key)
        if summary.evaluate("e => e.parentElement.open") is before:
            wrong.append(f"{key} does not turn {summary.inner_text()[:60]!r}")
    return wrong


def _playground(page: Page) -> list[str]:
    """Write two calls and run them: with Enter, and with the button that Tab leads to."""
    wrong = []
    page.wait_for_selector("heap-playground textarea:not([disabled])")
    page.locator("heap-playground button", has_text="Start again").last.focus()
    page.keyboard.press("Enter")  # where the program has ended, nothing else runs
    page.wait_for_timeout(100)
    for by_button in (False, True):
        before = int(page.evaluate(f"{_PLAYED}.n"))
        page.focus("heap-playground textarea")
        page.keyboard.press("Control+A")
        page.keyboard.type(f"more{int(by_button)} = malloc(24)")
        page.keyboard.press("Tab" if by_button else "Enter")
        if by_button:
            page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        if (after := page.evaluate(f"{_PLAYED}.n")) != before + 1:
            how = "the button" if by_button else "Enter"
            wrong.append(f"a call run with {how} leaves {after} steps of {before}")
    return wrong


@dataclass
class Used:
    """How many films, questions and folded parts were used with the keyboard, and what failed."""

    steps: int = 0
    questions: int = 0
    folded: int = 0
    wrong: list[str] = field(default_factory=list)


def use(page: Page) -> Used:
    """Use everything on a page with the keyboard."""
    page.emulate_media(reduced_motion="reduce")
    done = Used()
    if page.locator("heap-playground").count():
        done.wrong += _playground(page)
    if page.locator("heap-film").count():
        done.steps = int(page.evaluate(f"{_FILM}.n"))
        done.wrong += _film(page)
    done.questions = page.locator(".hs-quiz").count()
    for number in range(done.questions):
        done.wrong += _quiz(page, number)
    done.folded = page.locator("article summary:visible").count()
    for number in range(done.folded):
        done.wrong += _folded(page, number)
    return done

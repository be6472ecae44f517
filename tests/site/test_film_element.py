"""`<heap-film>` in Chromium: every step, keyboard, links, themes, paper, no scripts."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import problems, visit
from playwright.sync_api import Browser, Page

sys.path.insert(0, str(Path(__file__).parents[1] / "views"))

import films
from heapscope.model.film import Film
from heapscope.model.snapshot import State
from heapscope.views import words
from heapscope.views.film import compare, player
from heapscope.views.steps import steps

# What the element draws of one step, read back from the page.
_DRAWN = """() => {
    const film = document.querySelector('heap-film'), all = q => [...film.querySelectorAll(q)];
    const text = q => all(q).map(e => e.textContent);
    return {
        say: text('.hf-say')[0],
        call: text('.hf-cur code')[0],
        line: text('.hf-src .on > :first-child')[0] ?? null,
        source: text('.hf-src .on code')[0] ?? null,
        now: film.querySelector('input').getAttribute('aria-valuetext'),
        alt: film.querySelector('.hf-mem')?.getAttribute('aria-label') ?? null,
        words: all('.hf-w[data-at]').map(w => ({
            at: Number(w.dataset.at),
            bytes: [...w.querySelectorAll('.hf-by i')].map(i => i.textContent).join(''),
            changed: [...w.querySelectorAll('.hf-by i')].flatMap(
                (i, n) => i.classList.contains('c') ? [n] : []),
            flags: [...w.querySelectorAll('.hf-fl .yes')].map(i => i.textContent).join(''),
            fault: w.classList.contains('p-fault'),
            paint: [...w.classList].find(c => c.startsWith('p-')),
        })),
        cards: text('.hf-card'),
        lists: text('.hf-chain'),
        decoded: text('.hf-dec'),
        variables: all('.hf-var').map(v => [
            v.querySelector('b').textContent, v.classList.contains('dangling'),
            v.dataset.to ? Number(v.dataset.to) : null]),
        dead: all('.hf-arrows .a-dead').length,
        live: all('.hf-arrows .a-prog').length,
        out: text('.hf-out pre')[0] ?? '',
    };
}"""


@pytest.fixture(scope="module")
def overflow() -> Film:
    return films.overflow()


@pytest.fixture(scope="module")
def all_films(overflow: Film) -> dict[str, Film]:
    return {"overflow": overflow, "greeting": films.greeting(), "busy": films.busy()}


@contextmanager
def opened(browser: Browser, folder: Path, page: str, link: str = "", **how: Any) -> Iterator[Page]:
    target = folder / "film.html"
    target.write_text(page, "utf-8")
    with visit(browser, f"file://{target}{link}", **how) as seen:
        yield seen.page
        assert seen.problems == []


def squeezed(text: str) -> str:
    """Text as it is compared: blanks that are there to keep words together are blanks."""
    return " ".join(text.replace("\u00a0", " ").split())


@pytest.mark.parametrize("name", ["overflow", "greeting", "busy"])
def test_every_step_shows_what_its_snapshot_says(
    browser: Browser, tmp_path: Path, all_films: dict[str, Film], name: str
) -> None:
    film = all_films[name]
    with opened(browser, tmp_path, player(film).page()) as page:
        for number, said in enumerate(steps(film)):
            page.evaluate("n => document.querySelector('heap-film').show(n)", number)
            drawn = page.evaluate(_DRAWN)
            shot = film[number]
            assert drawn["say"] == said.say
            assert drawn["call"] == said.call + (f" → {said.result}" if said.result else "")
            assert drawn["now"] == f"step {number} of {len(film) - 1}: {said.call}"
            if shot.line is not None:
                assert drawn["line"] == str(shot.line)
                assert drawn["source"] == film.source.splitlines()[shot.line - 1]
            assert drawn["out"].strip() == shot.output.strip()
            if shot.regions:
                assert drawn["alt"].startswith(said.say)
            known = {w.at: w for w in shot.words}
            seen = {w["at"]: w for w in drawn["words"]}
            for at, word in seen.items():
                region = next(r for r in shot.regions if r.base <= at < r.end)
                assert word["bytes"] == region.read(at).hex()
                if at in known:
                    assert tuple(word["changed"]) == known[at].changed
                    assert word["fault"] == (known[at].fault is not None)
                    if known[at].role == "size":
                        flags = (
                            f"{'A' * bool(known[at].value & 4)}{'M' * bool(known[at].value & 2)}"
                        )
                        assert word["flags"] == flags + "P" * (known[at].value & 1)
            blocks = [c for c in words.blocks(shot) if c.name]
            changed = {w.chunk for w in shot.words if w.changed or w.fault}
            for chunk in blocks:
                if chunk.at in changed or len(blocks) <= 3:  # the others may be folded
                    card = f"{chunk.name} {words.place(shot, chunk)}"
                    assert any(squeezed(c).startswith(card) for c in drawn["cards"]), card
                    sizes = squeezed(words.sizes(chunk))
                    assert any(sizes in squeezed(c) for c in drawn["cards"])
            for word in known.values():
                block = next((c for c in blocks if c.at == word.chunk), None)
                if word.fault or (word.changed and block and word.role in ("size", "link")):
                    assert word.at in seen
            chains = [words.chain(shot, x) for x in shot.lists if x.links or x.fault]
            assert [squeezed(x) for x in drawn["lists"]] == chains[:8]
            for found in shot.lists[:8]:
                for link in (x for x in found.links[:4] if x.protected):
                    assert any(x.endswith(words.decoded(link)) for x in drawn["decoded"])
            for pointer in shot.pointers:
                dangling = pointer.state == "dangling"
                assert any(v[:2] == [pointer.name, dangling] for v in drawn["variables"])
            assert drawn["dead"] == sum(p.state == "dangling" for p in shot.pointers)


def test_the_word_that_the_bug_changes(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    with opened(browser, tmp_path, player(overflow, name="x").page(), "#film-x-6") as page:
        drawn = page.evaluate(_DRAWN)
        b = overflow[6].block("b")
        broken = [w for w in drawn["words"] if w["fault"]]
        assert [(w["at"], w["changed"], w["bytes"]) for w in broken] == [
            (b.at + 8, [0], "4100000000000000")
        ]
        assert any("claims 64, is 32" in card for card in drawn["cards"])
        # nothing that did not change moves
        places = "() => [...document.querySelectorAll('.hf-w')].map(w => w.offsetTop)"
        before = page.evaluate(places)
        page.evaluate("document.querySelector('heap-film').show(9)")
        assert page.evaluate(places) == before


def test_keyboard(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    with opened(browser, tmp_path, player(overflow).page()) as page:
        step = "document.querySelector('heap-film').step"
        page.focus("input[type=range]")
        for key, want in (
            ("ArrowRight", 1),
            ("ArrowRight", 2),
            ("ArrowLeft", 1),
            ("End", 11),
            ("Home", 0),
        ):
            page.keyboard.press(key)
            assert page.evaluate(step) == want
        # Tab goes through the film and out of it
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<a id=end href=#>end</a>')")
        page.evaluate("document.querySelector('heap-film button').focus()")
        visited = []
        for _ in range(30):
            page.keyboard.press("Tab")
            visited.append(
                page.evaluate(
                    """[document.activeElement].map(e => e.id || e.getAttribute('aria-label')
                        || e.tagName)[0]"""
                )
            )
            if visited[-1] == "end":
                break
        assert visited[-1] == "end"
        assert {"First step", "Previous step", "Play", "Next step", "Last step"} <= {
            *visited,
            "First step",
        }
        # at the ends a button keeps the focus
        page.evaluate("document.querySelector('[aria-label=\"Last step\"]').focus()")
        page.keyboard.press("Enter")
        assert page.evaluate(step) == 11
        assert page.evaluate("document.activeElement.getAttribute('aria-disabled')") == "true"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


def test_links(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    made = player(overflow, name="x")
    with opened(browser, tmp_path, made.page(), "#film-x-7") as page:
        film = "document.querySelector('heap-film')"
        assert page.evaluate(f"{film}.step") == 7
        page.evaluate("location.hash = '#film-x-3'")
        page.wait_for_function(f"{film}.step === 3")
        assert page.get_attribute(".hf-link", "href") == "#film-x-3"
        page.click(".hf-src li a:text-is('15')")
        page.wait_for_function(f"{film}.step === 8")
        for wrong in ("#film-x-99", "#film-x--1", "#film-x-1e1", "#film-x-%E0%A4%A"):
            page.evaluate(f"location.hash = '{wrong}'")
        page.wait_for_timeout(50)
        assert page.evaluate(f"{film}.step") == 8


def test_play_stops_at_the_end(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    with opened(browser, tmp_path, player(overflow, name="x").page(), "#film-x-10") as page:
        page.click("[aria-label=Play]")
        assert page.get_attribute(".hf-cur", "aria-live") == "off"
        page.wait_for_function("document.querySelector('heap-film').step === 11", timeout=5000)
        page.wait_for_selector("[aria-label=Play]", timeout=5000)
        assert page.get_attribute(".hf-cur", "aria-live") == "polite"


def by_itself(film: Film) -> str:
    made = player(film, name="x")
    return made.page().replace(made.element(), made.element(autoplay=True))


RUNS = "Boolean(document.querySelector('heap-film').timer)"


def test_a_film_that_begins_by_itself_steps_slowly(
    browser: Browser, tmp_path: Path, overflow: Film
) -> None:
    with opened(browser, tmp_path, by_itself(overflow)) as page:
        assert page.get_attribute(".hf-cur", "aria-live") == "off"
        assert page.evaluate("document.querySelector('heap-film').step") == 0
        page.wait_for_function("document.querySelector('heap-film').step === 1", timeout=5000)


@pytest.mark.parametrize("touch", ["[aria-label=Pause]", ".hf-stages", ".hf-slide input", "key"])
def test_it_stops_when_touched(
    browser: Browser, tmp_path: Path, overflow: Film, touch: str
) -> None:
    with opened(browser, tmp_path, by_itself(overflow)) as page:
        assert page.evaluate(RUNS)
        if touch == "key":
            page.focus(".hf-btns button")
            assert page.evaluate(RUNS)
            page.keyboard.press("Shift")
        else:
            page.locator(touch).first.click(position={"x": 4, "y": 4})
        assert not page.evaluate(RUNS)
        assert page.locator("[aria-label=Play]").count() == 1


def test_it_does_not_begin_where_it_would_disturb(
    browser: Browser, tmp_path: Path, overflow: Film
) -> None:
    with opened(browser, tmp_path, by_itself(overflow), "#film-x-4") as page:
        assert not page.evaluate(RUNS)  # the reader has come for this step
    with opened(browser, tmp_path, by_itself(overflow)) as page:
        page.emulate_media(reduced_motion="reduce")
        page.reload()
        assert not page.evaluate(RUNS)
        assert page.locator("[aria-label=Play]").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 720, 1000, 1400])
def test_axe_and_width(
    browser: Browser, tmp_path: Path, all_films: dict[str, Film], theme: str, width: int
) -> None:
    target = tmp_path / "film.html"
    for name, number in (("overflow", 10), ("greeting", 4), ("busy", 18)):
        target.write_text(player(all_films[name], name="x").page(), "utf-8")
        address = f"file://{target}#film-x-{number}"
        full = width in (360, 1400)  # colours do not depend on the width; what is shown does
        assert problems(browser, address, theme=theme, width=width, contrast=full) == []


@pytest.mark.parametrize(("name", "number"), [("overflow", 9), ("greeting", 4), ("busy", 12)])
def test_nothing_overlaps_at_any_width(
    browser: Browser, tmp_path: Path, all_films: dict[str, Film], name: str, number: int
) -> None:
    overlaps = """() => {
        const out = [], box = e => e.getBoundingClientRect();
        const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 &&
            a.top < b.bottom - 1 && b.top < a.bottom - 1;
        for (const q of ['.hf-card', '.hf-var', '.hf-grid > section', '.hf-off', '.hf-obj']) {
            const all = [...document.querySelectorAll(q)].filter(e => box(e).width);
            all.forEach((a, i) => all.slice(i + 1).forEach(b => {
                if (meet(box(a), box(b))) out.push([q, a.textContent, b.textContent].join(' | '));
            }));
        }
        for (const word of document.querySelectorAll('.hf-w')) {
            const value = word.querySelector('.hf-m'), bytes = word.querySelector('.hf-by');
            if (!value) continue;
            const cut = value.scrollHeight > value.clientHeight;
            if (cut || box(value).bottom > box(bytes).top + 1) out.push(word.textContent);
        }
        const page = document.documentElement;
        if (page.scrollWidth > page.clientWidth) out.push('wider than the window');
        return out;
    }"""
    theme = (
        "document.head.insertAdjacentHTML('beforeend', '<style>*{box-sizing:border-box}</style>')"
    )
    made = player(all_films[name], name="x")
    with opened(browser, tmp_path, made.page(), f"#film-x-{number}", width=1400) as page:
        for width in (1400, *range(1320, 359, -80), 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(50)
            assert page.evaluate(overlaps) == [], width
        page.evaluate(theme)  # as the book's theme has it
        for width in (360, 760, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(50)
            assert page.evaluate(overlaps) == [], f"{width} in the book's theme"


def test_text_stays_text(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    nasty = "</script><img src=x onerror=alert(1)> \" ' & <b>bold</b> \x1b[31m\x00 \udcff"
    frames = tuple(
        dataclasses.replace(
            f,
            output=nasty,
            stack=(nasty,),
            pointers=tuple(dataclasses.replace(p, type=nasty, scope=nasty) for p in f.pointers),
        )
        for f in overflow.frames
    )
    source = "\n".join(f"{nasty} {n}" for n in range(20))
    film = dataclasses.replace(
        overflow, frames=frames, source=source, title=nasty, file=nasty, caption=nasty
    )
    with opened(browser, tmp_path, player(film, name="x").page(), "#film-x-6") as page:
        page.click("summary")
        assert page.locator("heap-film img, heap-film b:text-is('bold')").count() == 0
        seen = nasty.replace("\x1b", "␛").replace("\x00", "␀").replace("\udcff", "�")
        title = page.text_content(".hf-head .hf-title")
        assert title is not None
        assert title.replace("\udcff", "�") == seen
        out = page.text_content(".hf-out pre")
        assert out is not None
        assert out.replace("\udcff", "�") == seen


def test_without_scripts(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    target = tmp_path / "film.html"
    target.write_text(player(overflow, name="x").page(), "utf-8")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 800, "height": 900})
    try:
        page = context.new_page()
        page.goto(f"file://{target}#film-x-6")
        text = page.inner_text("heap-film")
        for said in steps(overflow):
            assert said.say in text
        assert page.locator("heap-film svg").is_visible()
        assert page.locator(".hf").count() == 0
    finally:
        context.close()


def test_paper_has_all_steps(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    with opened(browser, tmp_path, player(overflow).page(), width=1000) as page:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        shown = page.locator("figure.hf:visible")
        assert shown.count() == len(overflow)
        for number, said in enumerate(steps(overflow)):
            assert said.say in shown.nth(number).inner_text()
        assert page.locator("input[type=range]:visible").count() == 0
        page.emulate_media(media="screen")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("figure.hf").count() == 1
        assert page.pdf()[:5] == b"%PDF-"


def test_motion_and_contrast_settings(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    with opened(browser, tmp_path, player(overflow).page()) as page:
        page.emulate_media(reduced_motion="reduce")
        moving = """() => [...document.querySelectorAll('heap-film *')].filter(e => {
            const s = getComputedStyle(e);
            return s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0;
        }).length"""
        assert page.evaluate(moving) == 0
        page.emulate_media(forced_colors="active")
        page.evaluate("document.querySelector('heap-film').show(6)")
        paint = "getComputedStyle(document.querySelector('.p-fault .hf-bx')).backgroundColor"
        assert page.evaluate(paint) == "rgb(178, 58, 0)"


def test_two_films_on_one_slider(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    made = compare(overflow, films.overflow(fixed=True), name="x")
    with opened(browser, tmp_path, made.page()) as page:
        say = "document.querySelector('.hf-say').textContent"
        marked = "[...document.querySelectorAll('.hf-w.dif')].map(w => Number(w.dataset.at))"
        assert page.evaluate(say) == "The two heaps are equal so far."
        assert page.evaluate(marked) == []
        page.evaluate("document.querySelector('heap-film').show(6)")
        assert "differ for the first time" in page.evaluate(say)
        assert made.differs is not None
        assert page.evaluate(marked) == [made.differs.at] * 2
        assert page.locator(".hf-stage").count() == 2
        assert page.locator(".hf-tick.dif").count() == 1


def test_a_question_hides_the_step(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    made = player(overflow, name="x", questions={6: "Which byte changes?"})
    with opened(browser, tmp_path, made.page(), "#film-x-6") as page:
        assert "Which byte changes?" in page.inner_text(".hf-ask")
        assert page.locator(".p-fault").count() == 0
        assert not page.locator(".hf-say").is_visible()
        page.click(".hf-ask button")
        assert page.locator(".p-fault").count() == 1
        assert "size word of b" in page.inner_text(".hf-say")


def test_a_question_is_answered_with_the_keyboard(
    browser: Browser, tmp_path: Path, overflow: Film
) -> None:
    made = player(overflow, name="x", questions={6: "Which byte changes?"})
    with opened(browser, tmp_path, made.page(), "#film-x-5") as page:
        page.focus("input[type=range]")
        page.keyboard.press("ArrowRight")
        assert "Which byte changes?" in page.inner_text("[role=status]")
        assert page.locator(".hf-x:visible").count() == 0  # the lanes do not give it away
        page.keyboard.press("Enter")
        assert "size word of b" in page.inner_text(".hf-say")
        assert page.evaluate("document.activeElement.type") == "range"
        assert page.locator(".hf-x:visible").count() > 0


def test_the_same_film_twice(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    made = player(overflow, name="x")
    page_text = made.page().replace("</main>", made.element() + "</main>")
    with opened(browser, tmp_path, page_text, "#film-x-4") as page:
        found = page.evaluate(
            "[...document.querySelectorAll('heap-film')].map(f => [f.id, f.step])"
        )
        assert found == [["film-x", 4], ["film-x-2x", 0]]
        assert page.evaluate(
            "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
        ) == (page.locator("[id]").count())


def test_an_output_put_in_later(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    """JupyterLab and VS Code put an output's HTML into a page that is there already."""
    inner = player(overflow, name="x").html()
    with opened(
        browser, tmp_path, "<!doctype html><html lang=en><title>t</title><main></main>"
    ) as page:
        for _ in range(2):
            page.evaluate(
                """inner => {
                    const box = document.createElement('div');
                    box.innerHTML = inner;
                    document.querySelector('main').append(box);
                    for (const old of [...box.querySelectorAll('script')]) {
                        if (!old.parentNode) continue;
                        const fresh = document.createElement('script');
                        for (const a of old.attributes) fresh.setAttribute(a.name, a.value);
                        fresh.textContent = old.textContent;
                        old.parentNode.replaceChild(fresh, old);
                    }
                }""",
                inner,
            )
        assert page.locator("figure.hf:visible").count() == 2
        assert page.evaluate("document.querySelectorAll('heap-film')[1].step") == 0


def test_top_is_never_painted_as_a_block(browser: Browser, tmp_path: Path, overflow: Film) -> None:
    with opened(browser, tmp_path, player(overflow).page()) as page:
        page.evaluate("document.querySelector('heap-film').show(1)")
        drawn = page.evaluate(_DRAWN)
        top = next(c for c in overflow[1].chunks if c.state is State.TOP)
        beyond = [w for w in drawn["words"] if w["at"] >= top.at + 8]
        assert beyond
        assert {w["paint"] for w in beyond} == {"p-top"}

"""`<heap-playground>` in Chromium: what is typed, clicked, linked, saved, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from browser import problems, served, visit
from heapscope.model.codec import schema
from heapscope.model.film import Film
from heapscope.playground import build, find
from heapscope.recorders.gdb_recorder import record_c
from heapscope.sphinx.playground import FILMS, recordings, script
from heapscope.views import film
from heapscope.views.picture import style_sheet
from heapscope.views.steps import steps as film_steps
from playwright.sync_api import Browser, Page

VIEWS = Path(film.__file__).parent
_STEPS = "document.querySelector('heap-playground').run.steps"
_PASTE = """text => {
    const field = document.querySelector('.hp-input'), clipboardData = new DataTransfer();
    field.value = '';
    clipboardData.setData('text/plain', text);
    field.dispatchEvent(new ClipboardEvent('paste', {clipboardData, cancelable: true}));
}"""
_ERROR = "document.querySelector('.hp-err').textContent"


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a full playground, one with a small one, and one without a module."""
    made = tmp_path_factory.mktemp("playground")
    cache = root / "_build" / ".playground"
    recorded = recordings(("malloc", "double-free"), cache)
    (made / FILMS).write_text(recorded, "utf-8")
    module = script(build(find(), cache), recorded)
    style = f"{style_sheet()}{film.sheet()}{(VIEWS / 'playground.css').read_text('utf-8')}"
    parts = [film.script()]
    for name in ("decoder.js", "playground.js"):
        parts.append(film.minified((VIEWS / name).read_text("utf-8")))
    for name, inner, about in (
        ("full", '<heap-playground full preset="wrong-size">', module),
        ("small", '<heap-playground preset="malloc">', module),
        ("second", '<heap-playground full preset="double-free">', module),
        (
            "none",
            '<heap-playground preset="malloc">',
            'window.heapscopePlayground={missing:"No."};',
        ),
    ):
        scripts = "".join(f"<script>{text}</script>" for text in (parts[0], about, *parts[1:]))
        (made / f"{name}.html").write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Playground</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<style>{style}html{{color-scheme:light dark}}body{{background:var(--hs-paper)}}"
            f'</style></head><body><main><h1>Try</h1>{inner}<p>See <a href="full.html#playground">'
            f"the playground</a>.</p></heap-playground></main>{scripts}</body></html>",
            "utf-8",
        )
    return made


@contextmanager
def opened(browser: Browser, folder: Path, name: str = "full", **how: Any) -> Iterator[Page]:
    link = how.pop("link", "")
    with visit(browser, f"{(folder / f'{name}.html').as_uri()}{link}", **how) as seen:
        seen.page.wait_for_selector(".hp-form, .hp-no")
        yield seen.page
        assert seen.problems == []


def typed(page: Page, text: str) -> list[list[Any]]:
    """Start again, run `text`, and return the steps' sentences."""
    page.get_by_role("button", name="Start again").first.click()
    if len(text) < 2000:
        page.get_by_label("Your calls, in C").fill(text)
    else:
        page.evaluate(_PASTE, text)
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("!document.querySelector('heap-playground').busy")
    steps: list[list[Any]] = page.evaluate(_STEPS)
    return steps


@pytest.fixture(scope="module")
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    with opened(browser, folder) as page:
        yield page


def test_calls_and_writes(page: Page) -> None:
    steps = typed(
        page,
        "a = malloc(24); memset(a, 'A', 24)\nb = malloc(100); *(long *)(b + 8) = 70000\n"
        'strcpy(a, "hi\\n"); b = realloc(b, 300); n = malloc_usable_size(b); free(a)\n'
        "int *p = malloc(40); p[3] = -1; x = p[3]; y = (char)0x1ff + 1",
    )
    assert [step[0] for step in steps][1:4] == [
        "a = malloc(24)",
        "memset(a, 'A', 24)",
        "b = malloc(100)",
    ]
    assert steps[1][1] == "a at +0x2a0"
    assert steps[6][2].startswith("b grew in place")
    values = page.evaluate(
        "[...document.querySelector('heap-playground').run.machine.variables].map("
        "([name, x]) => [name, x.t.star ? '' : String(x.v)])"
    )
    assert values == [["a", ""], ["b", ""], ["n", "312"], ["p", ""], ["x", "-1"], ["y", "0"]]


@pytest.mark.parametrize(
    ("calls", "blocks"),
    [
        # the variable moves on, and the block that it leaves gets a letter
        ("p = malloc(24); p = malloc(24); free(p); p = NULL", ["A", "p"]),
        ("p = malloc(24); q = p; p = malloc(24); free(p); free(q)", ["q", "p"]),
        ("p = malloc(24); free(p); p = malloc(100); p = malloc(50); free(p)", ["p", "B", "p"]),
        ("p = malloc(24); q = malloc(24); p = q; free(q)", ["A", "q"]),
    ],
)
def test_names_and_sentences_are_those_of_a_film(page: Page, calls: str, blocks: list[str]) -> None:
    steps = typed(page, calls)
    names = page.evaluate("[...document.querySelector('heap-playground').run.reel.lives.values()]")
    assert [block["name"] for block in names] == blocks
    lines = calls.split("; ")
    declared = "".join(f"char *{name};\n" for name in sorted({line[0] for line in lines} - {"f"}))
    film = record_c(declared + "".join(f"{line};\n" for line in lines))
    assert [block.name for block in film.blocks] == blocks
    said = [step.say for step in film_steps(film) if step.call.rstrip(";") in lines]
    assert [step[2] for step in steps[1:]] == said


def test_a_stored_address_is_shown_as_one(page: Page) -> None:
    typed(
        page,
        "a = malloc(40); *(long *)a = (long)(a + 16); x = (long)a; *(long *)(a + 8) = x + 32\n"
        "*(long *)(a + 16) = 0x5555555592a0; *(long *)(a + 24) = 340000",
    )
    words = page.evaluate(
        "document.querySelector('heap-playground').run.reel.shots.at(-1).words"
        ".filter(w => w.role === 'payload').map(w => String(w.value))"
    )
    assert words[:4] == [str(0x5555555592B0), str(0x5555555592C0), str(0x5555555592A0), "340000"]


def test_sizeof_reads_nothing(page: Page) -> None:
    typed(
        page,
        "short x; int *p; a = sizeof(x); b = sizeof(p); c = sizeof(*p); d = sizeof(p[3])\n"
        "e = sizeof(int); f = sizeof(malloc(3)); q = NULL; g = sizeof(*q)",
    )
    assert page.evaluate(_ERROR) == ""
    values = page.evaluate(
        "[...document.querySelector('heap-playground').run.machine.variables].map("
        "([name, x]) => name + String(x.v))"
    )
    assert values == ["xnull", "pnull", "a2", "b8", "c4", "d4", "e4", "f8", "q0", "g1"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = malloc(24", "Column 14: “)” is missing"),
        ("a = mallok(24)", "Column 5: mallok is not known here"),
        ("a = malloc(24)\nfree(a) free(a)", "Line 2, column 9: "),
        ("a = malloc(24); a[0] = $", "Column 24: “$” has no meaning here"),
        ("free(q)", "Column 6: q is not known yet"),
        ("for (;;) free(0)", "Column 1: loops are not known here"),
        ("malloc(1, 2)", "Column 1: malloc takes 1 argument, not 2"),
        ("a = 'no", "Column 5: this character does not end on its line"),
        ("3 = 4", "Column 1: nothing can be stored here"),
        ("x = 1 / 0", "Column 7: a division by zero"),
    ],
)
def test_errors_name_the_column(page: Page, text: str, where: str) -> None:
    typed(page, text)
    assert where in page.evaluate(_ERROR)
    assert page.get_by_label("Your calls, in C").input_value() == text


def test_presets_run(page: Page) -> None:
    names = page.evaluate("Object.keys(customElements.get('heap-playground').presets)")
    assert len(names) >= 8
    ends = {}
    for name in names:
        page.get_by_label("Start from").select_option(name)
        assert page.evaluate(_ERROR) == ""
        ends[name] = page.evaluate(f"{_STEPS}.at(-1)")
    assert "double free detected in tcache 2" in ends["double-free"][2]
    assert "malloc(): unaligned tcache chunk detected" in ends["broken-link"][2]
    assert "double free or corruption (out)" in ends["stopped"][2]
    assert "reaches into c" in ends["wrong-size"][2]
    assert [name for name, end in ends.items() if not end[2]] == []


def test_undo_and_start_again(page: Page) -> None:
    steps = typed(page, "a = malloc(24)\nfree(a)\nfree(a)")
    assert steps[-1][3] == 1
    page.get_by_label("Your calls, in C").fill("b = malloc(24)")
    page.get_by_role("button", name="Run", exact=True).click()
    assert "The program has ended" in page.evaluate(_ERROR)
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate(_STEPS) == steps[:-1]
    page.get_by_role("button", name="Start again").first.click()
    assert len(page.evaluate(_STEPS)) == 1


def test_link_carries_the_calls(page: Page, browser: Browser, folder: Path) -> None:
    steps = typed(page, 'a = malloc(24); strcpy(a, "é #&;%"); free(a)')
    link = page.get_by_role("link", name="Link to these calls").get_attribute("href") or ""
    assert link.startswith((folder / "full.html").as_uri() + "#play=")
    with opened(browser, folder, link=link[link.index("#") :]) as other:
        assert other.evaluate(_STEPS) == steps


def test_small_one_links_to_the_page(browser: Browser, folder: Path) -> None:
    with opened(browser, folder, "small") as page:
        link = page.get_by_role("link", name="Link to these calls").get_attribute("href") or ""
        assert link.startswith((folder / "full.html").as_uri() + "#play=a%20%3D%20malloc")


def test_saved_film_is_a_film(page: Page) -> None:
    page.get_by_label("Start from").select_option("wrong-size")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as JSON").click()
    form = json.loads(waiting.value.path().read_text("utf-8"))
    jsonschema.validate(form, schema())
    made = Film.from_json(form)
    assert made.frames[-1].block("d").claims == 0x40
    assert made.to_json()["frames"] == form["frames"]


def test_hostile_input(page: Page) -> None:
    huge = typed(page, "a = malloc(18446744073709551615); b = malloc(100000000)")
    assert [step[1] for step in huge[1:]] == ["NULL", "NULL"]
    page.evaluate(_PASTE, "a = malloc(8)\n" * 10_000)
    assert "140,000 characters long" in page.evaluate(_ERROR)
    many = typed(page, "free(0)\n" * 4000)
    assert len(many) == 401
    assert "Line 401, column 1: The page keeps 400 statements" in page.evaluate(_ERROR)
    page.get_by_label("Your calls, in C").fill("a = malloc(24)")
    page.get_by_role("button", name="Run", exact=True).click()
    assert "keeps 400 statements" in page.evaluate(_ERROR)
    typed(page, "<img src=x onerror=alert(1)>")
    assert "Column 1" in page.evaluate(_ERROR)
    typed(page, 'a = malloc(99); strcpy(a, "<img src=x onerror=alert(1)>")')
    assert page.locator("heap-playground img").count() == 0
    assert "Segmentation fault" in typed(page, "a = malloc(8); a[10000000] = 1")[-1][2]
    assert "SIGSEGV" in typed(page, "a = NULL; *a = 1")[-1][2]
    assert "nested" in (typed(page, "x = " + "(" * 5000) and page.evaluate(_ERROR))


def test_a_ring_without_end_ends(page: Page) -> None:
    steps = typed(
        page,
        "a = malloc(1100); b = malloc(24); c = malloc(1120); d = malloc(24); free(a); free(c)\n"
        "e = malloc(5000); *(long *)(a + 24) = (long)(a - 16); f = malloc(1120)",
    )
    assert steps[-1][2].startswith("This call never ends: the list goes round.")
    assert steps[-1][3] == 1
    stop = page.evaluate("document.querySelector('heap-playground').run.shown.at(-1).stop")
    assert stop["kind"] == "limit"
    assert "The program has ended" in page.locator(".hp-quick").inner_text()


def test_keyboard_only(page: Page) -> None:
    typed(page, "")
    page.keyboard.press("Escape")
    page.get_by_label("Your calls, in C").focus()
    page.keyboard.type("a = malloc(24)")
    page.keyboard.press("Enter")
    assert page.evaluate(_STEPS)[-1][0] == "a = malloc(24)"
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    assert "free(a)" in names
    assert "Undo" in names
    page.locator(".hp-quick button", has_text="free(a)").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(_STEPS)[-1][0] == "free(a)"
    assert page.evaluate("document.activeElement.closest('.hp-quick') !== null")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wrong_with_the_page(
    browser: Browser, folder: Path, theme: str, width: int
) -> None:
    address = (folder / "full.html").as_uri()
    assert problems(browser, address, theme=theme, width=width) == []


def test_over_http(browser: Browser, folder: Path) -> None:
    with served(folder) as site, visit(browser, f"{site}/full.html", inner=site) as seen:
        seen.page.wait_for_selector(".hp-form")
        assert len(seen.page.evaluate(_STEPS)) == 8
        assert [p for p in seen.problems if "favicon" not in p and "404" not in p] == []


def test_without_a_module_the_text_stays(browser: Browser, folder: Path) -> None:
    with opened(browser, folder, "none") as page:
        assert "No." in page.locator("heap-playground").inner_text()
        assert page.get_by_role("link", name="the playground").is_visible()


_WITHOUT_64_BITS = """
    const validate = WebAssembly.validate;
    WebAssembly.validate = bytes => bytes[11] !== 4 && validate(bytes);
"""


@pytest.mark.parametrize("name", ["small", "second"])
def test_without_64_bit_memory_there_is_a_recorded_film(
    browser: Browser, folder: Path, name: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(_WITHOUT_64_BITS)
    page.goto((folder / f"{name}.html").as_uri())
    page.wait_for_selector("heap-playground heap-film figure")
    text = page.locator("heap-playground").inner_text()
    assert "no WebAssembly with 64-bit memory" in text
    assert "recorded from a real run" in text
    assert page.locator("heap-playground .hp-form").count() == 0
    for _ in range(4):
        page.get_by_role("button", name="Next step").click()
    said = page.locator(".hf-cur").inner_text()
    assert ("double free detected in tcache 2" if name == "second" else "free(a)") in said
    if name == "second":
        page.get_by_label("Calls").select_option("malloc")
        page.wait_for_selector("#play-malloc figure")
        assert "Chapter 2" in page.locator(".hp-about").inner_text()
    assert [url for url in asked if not url.startswith("file:")] == []
    assert sum(FILMS in url for url in asked) == 1
    context.close()


def test_the_films_are_loaded_only_where_they_are_needed(browser: Browser, folder: Path) -> None:
    with opened(browser, folder, "small") as page:
        assert page.evaluate("typeof window.heapscopeFilms") == "undefined"

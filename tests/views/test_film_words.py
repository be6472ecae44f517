"""What a film says of each step, its page and its weight."""

from __future__ import annotations

import dataclasses
import gzip
import html
import json
import re
import subprocess
import sys

import films
import jsonschema
import pytest
from heapscope.model.codec import schema
from heapscope.model.film import Film
from heapscope.model.snapshot import Event, Snapshot, Stop
from heapscope.views import words
from heapscope.views.film import compare, minified, player, script, sheet
from heapscope.views.frames import listing, shown
from heapscope.views.steps import step, steps


@pytest.fixture(scope="module")
def overflow() -> Film:
    return films.overflow()


@pytest.fixture(scope="module")
def busy() -> Film:
    return films.busy()


def weight(text: str) -> int:
    return len(gzip.compress(text.encode(), 9))


# ---- sentences


def test_a_malloc_tells_sizes_and_where_the_block_is(overflow: Film) -> None:
    said = step(overflow, 3)
    chunk = overflow[3].block("c")
    assert said.call == "char *c = malloc(10);"
    assert said.result == f"c at {words.offset(overflow[3], chunk.user)}"
    assert f"a chunk of {chunk.size} bytes" in said.say
    assert f"{chunk.usable} to use, 10 of them asked for" in said.say
    assert not said.bad


def test_the_step_that_breaks_the_heap_says_so_first(overflow: Film) -> None:
    bad = [number for number, said in enumerate(steps(overflow)) if said.bad]
    assert bad == [6, 9, 10, 11]
    said = step(overflow, 6).say
    assert said.lower().startswith(overflow[6].faults[0].text[:40])
    assert "size word of b" in said


def test_a_fault_is_told_once(overflow: Film) -> None:
    first = overflow[6].faults[0].text.split(";")[0]
    told = [first.lower() in said.say.lower() for said in steps(overflow)]
    assert told == [number == 6 for number in range(len(overflow))]


def test_a_free_names_the_list_and_the_pointers_left(overflow: Film) -> None:
    said = step(overflow, 8).say
    assert "first in tcache[0x20]" in said
    assert "a still holds the address: it dangles" in said
    assert "old bytes are still there" in said


def test_a_signal_ends_with_the_librarys_words(overflow: Film) -> None:
    stop = overflow[11].stop
    assert stop is not None
    assert step(overflow, 11).say == f"The program is stopped by SIGABRT: {stop.message}."


def test_what_was_never_freed_is_named_at_the_end() -> None:
    film = films.greeting()
    assert step(film, len(film) - 1).say.endswith("in was never freed.")
    assert "from Go to C" in step(film, 1).say


def test_calls_of_a_session(busy: Film) -> None:
    said = {made.call: made.say for made in steps(busy)}
    moved = next(say for call, say in said.items() if call.startswith("grown = realloc"))
    assert "moved from +0x2c0 to" in moved
    assert "40 bytes of content" in moved
    assert "The old place is free" in moved
    zeroed = next(say for call, say in said.items() if "calloc" in call)
    assert "All 32 are zero." in zeroed


def test_every_step_says_something(overflow: Film, busy: Film) -> None:
    for film in (overflow, busy, films.greeting()):
        for said in steps(film):
            assert said.call
            assert said.say.endswith(".")


def test_a_failed_call_and_a_null_pointer() -> None:
    empty = Snapshot("2.36", "x86-64")
    failed = Event("malloc", "malloc(1)", (1,), None, "ENOMEM")
    nothing = Event("free", "free(NULL)", (0,))
    film = Film((empty, *(dataclasses.replace(empty, events=(e,)) for e in (failed, nothing))))
    assert step(film, 1).say == "malloc returns NULL with ENOMEM: there is no such block."
    assert step(film, 1).result == "NULL"
    assert step(film, 2).say == "free(NULL) does nothing."
    limit = dataclasses.replace(empty, stop=Stop("limit", message="stopped after 400 steps"))
    assert step(Film((empty, limit)), 1).say == "stopped after 400 steps."
    assert step(Film((empty, limit)), 1).bad


# ---- what a page carries


def embedded(element: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json">(.*?)</script>', element, re.DOTALL)
    assert found
    form = json.loads(found[1])
    assert isinstance(form, dict)
    return form


def test_the_element_carries_the_film_itself(overflow: Film) -> None:
    form = embedded(player(overflow).element())
    jsonschema.validate(form["film"], schema())
    assert Film.from_json(form["film"]) == overflow  # type: ignore[arg-type]
    assert [made[2] for made in form["steps"]] == [s.say for s in steps(overflow)]  # type: ignore


def test_nothing_a_program_writes_becomes_markup(overflow: Film) -> None:
    nasty = "</script><script>alert(1)</script><!-- \" ' & \x1b[31m \x00 \udcff \u2028"
    frames = tuple(dataclasses.replace(f, output=nasty) for f in overflow.frames)
    film = dataclasses.replace(overflow, frames=frames, source=nasty, title=nasty, file=nasty)
    element = player(film, name=nasty).element()
    assert element.count("<script") == 1
    assert element.count("</script") == 1
    assert "<!--" not in element
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", element)
    element.encode("utf-8")
    form = embedded(element)
    assert form["film"]["frames"][0]["output"] == nasty  # type: ignore[index]


def test_control_characters_are_seen() -> None:
    assert shown("a\x1b[0m\x00\n\udc80") == "a␛[0m␀\n�"


def test_without_scripts_each_step_stands_there(overflow: Film) -> None:
    page = listing(overflow, "film-x")
    for number, said in enumerate(steps(overflow)):
        assert f'id="film-x-{number}"' in page
        assert html.escape(said.say) in page
    assert page.count("<svg") == 1
    assert "41 00 00 00 00 00 00 00" in page  # the word that the bug changes


def test_links_do_not_depend_on_the_run(overflow: Film) -> None:
    assert player(overflow).id == player(films.overflow()).id
    assert player(overflow, name="One byte!").id == "film-one-byte"


def test_questions_belong_to_frames(overflow: Film) -> None:
    form = embedded(player(overflow, questions={6: "Which byte changes?"}).element())
    assert form["questions"] == {"6": "Which byte changes?"}
    with pytest.raises(ValueError, match="from 1 to 11; there is no 12"):
        player(overflow, questions={12: "?"})


def test_page_weight(busy: Film) -> None:
    assert 15 <= len(busy) <= 25
    assert weight(player(busy).element()) < 15_000
    assert weight(script()) < 15_000
    assert weight(sheet()) < 7_000


def test_the_minifier_stays_out_of_the_process() -> None:
    """Its library is Go's: the runtime would put threads and signal handlers beside the heap."""
    code = """import sys
from pathlib import Path
from heapscope import Heap
heap = Heap()
heap.lib.malloc(24)
assert "<script" in heap.film()._repr_mimebundle_()["text/html"]
print("minify" in sys.modules, "minify" in Path("/proc/self/maps").read_text())"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False False\n", "")


def test_a_script_that_cannot_be_minified_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="could not be minified: expected Identifier"):
        minified("function (")


# ---- two films


def test_the_first_word_that_differs(overflow: Film) -> None:
    both = compare(overflow, films.overflow(fixed=True))
    assert both.pairs == tuple((n, n) for n in range(12))
    assert both.differs is not None
    assert both.differs.step == 6
    b = overflow[6].block("b")
    # the last word that a may use is b's prev_size: the fixed program writes into it
    assert both.differs.at == b.at
    assert (both.differs.here, both.differs.there) == ("AAAAAAAA", "AAAAAAAZ")
    assert "first differ in step 6" in both.text()


def test_equal_films_never_differ(overflow: Film) -> None:
    assert compare(overflow, films.overflow()).differs is None


def test_a_line_more_waits(overflow: Film) -> None:
    shorter = dataclasses.replace(overflow, frames=overflow.frames[:5] + overflow.frames[7:])
    pairs = compare(overflow, shorter).pairs
    assert pairs[4] == (4, 4)
    assert pairs[5:7] == ((5, 4), (6, 4))
    assert pairs[-1] == (11, 9)

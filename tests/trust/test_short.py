"""A few seconds of each check; the volume is marked long, or is the check's own command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trust import fuzz, hostile, interrupted, programs, text
from trust.around import around
from trust.record import Check

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check("short", "Short", "pytest", tmp_path)


def wrong(check: Check) -> list[str]:
    return [figure["value"] for figure in check.figures if figure["met"] is False]


@pytest.mark.parametrize(
    "name", ["a mount in its folder", "a file in its folder's place", "closes all descriptors"]
)
def test_a_program_that_means_no_good(name: str) -> None:
    program = next(one for one in programs.C if one.name == name)
    tally = hostile.Tally()
    with around() as place:
        tally.take(place, program, lambda: hostile.through_run(program, "c"))
    assert tally.wrong == []


def test_what_is_left_is_seen(check: Check) -> None:
    # The check itself: a process, a file and nothing else are found, and go again.
    with around() as place:
        assert place.left(0) == []
        (place.folder / "file").touch()
        with subprocess.Popen(["sleep", "60"]) as sleeping:
            found = place.left(0)
            sleeping.kill()
        assert [one.split()[0] for one in found] == ["process", "file"]


def test_damaged_input(tmp_path: Path) -> None:
    for target in fuzz.targets(tmp_path):
        found = target.run(60, most=15)
        assert found.inputs == 15
        assert found.wrong == [], target.name


def test_the_fuzzer_sees_a_crash_and_a_refusal_without_words() -> None:
    def crash(_: object) -> None:
        raise KeyError("x")

    one = fuzz.Target("crash", lambda d: d.random(), crash, ValueError)
    assert "KeyError" in one.run(60, most=1).wrong[0]
    two = fuzz.Target("no words", lambda d: d.random(), crash, KeyError)
    assert "no sentence" in two.run(60, most=1).wrong[0]


def test_a_killed_film_leaves_nothing(check: Check) -> None:
    with around() as place:
        interrupted.commands(check, place, 1, groups=(False,))
    assert wrong(check) in ([], *[[v] for v in wrong(check) if v.startswith("0 of")])


def test_handlers_are_found() -> None:
    page = (
        '<a href="java\tscript:x()">a</a><b onclick=x>b</b><p>onclick=x</p><a href="/javascript:">'
    )
    assert len(text.handlers(page)) == 2
    assert text.in_sources()[1] == []


def test_built_pages_have_no_handlers(html: Path) -> None:
    found = {p.name: text.handlers(p.read_text("utf-8")) for p in html.rglob("*.html")}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_a_hostile_program_in_a_cell_is_shown_as_text(tmp_path: Path) -> None:
    pages = [text.cell_page(tmp_path)]
    assert [wrong for page in pages for wrong in text.in_file(page)] == []
    assert text.in_browser(pages) == []


@pytest.mark.long
@pytest.mark.parametrize("words", [["hostile", "--long"], ["fuzz"], ["interrupted"], ["text"]])
def test_the_whole_check(words: list[str], tmp_path: Path) -> None:
    # In a copy, so that the repository's figures stay what they are.
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.trust import record\n"
        f"record.Check.__init__.__defaults__ = (Path({str(tmp_path)!r}),)\n"
        f"from tests.trust import {words[0]} as check\n"
        f"sys.exit(check.main({'' if words[0] == 'text' else repr(words[1:])}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr

"""The figures: what is not met is an error, and the page shows what the files say."""

from __future__ import annotations

import html as markup
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from heapscope.sphinx import tested

from trust import CHECKS
from trust.record import FIGURES, Check

ROOT = Path(__file__).resolve().parents[2]


def written(folder: Path, met: bool | None) -> int:
    check = Check("one", "One", "python -m tests.trust.one", folder)
    check.figure("<b>programs</b>", "3 of 4", "all", met)
    return check.finish(gcc="12")


@pytest.mark.parametrize(("met", "status"), [(True, 0), (False, 1), (None, 0)])
def test_what_is_not_met_is_an_error(tmp_path: Path, met: bool | None, status: int) -> None:
    assert written(tmp_path, met) == status
    found = tested.load(tmp_path / "one.json")
    assert [(f.what, f.value, f.aim, f.met) for f in found.figures] == [
        ("<b>programs</b>", "3 of 4", "all", met)
    ]


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {package!r}]
from tests.trust import __main__ as command
said = command.run({name!r}, Path({figures!r}), "checks")
print(said)
sys.exit(bool(said))
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("check.figure('a', 'b', 'c', True); sys.exit(check.finish())", ""),
        ("check.figure('a', 'b', 'c', False); sys.exit(check.finish())", "one: not met: a"),
        ("check.figure('a', 'b', 'c', False); check.finish()", "one: not met: a"),
        ("sys.exit(3)", "one ended with status 3 and wrote no figures"),
        (None, "there is no check one: its figures are missing"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, body: str | None, said: str) -> None:
    package = tmp_path / "checks"
    package.mkdir()
    (package / "__init__.py").touch()
    figures = tmp_path / "figures"
    if body is not None:
        head = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
        head += "from tests.trust.record import Check\n"
        head += f"check = Check('one', 'One', 'x', Path({str(figures)!r}))\n"
        (package / "one.py").write_text(head + body)
    code = PROGRAM.format(root=str(ROOT), package=str(tmp_path), name="one", figures=str(figures))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.stdout.splitlines()[-1:] == [said] or (said == "" and run.stdout.endswith("\n\n"))
    assert bool(run.returncode) is bool(said), run.stderr


@pytest.mark.parametrize(
    "change",
    [{"met": "yes"}, {"value": ""}, {"value": 3}, {"more": "x"}],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    written(tmp_path, True)
    form = json.loads((tmp_path / "one.json").read_text())
    form["figures"][0] |= change
    (tmp_path / "one.json").write_text(json.dumps(form))
    with pytest.raises(ValueError, match=r"one\.json is not a file of figures"):
        tested.load(tmp_path / "one.json")


def test_the_page_shows_the_figures_of_the_files(html: Path) -> None:
    page = (html / "book" / "what-we-tested.html").read_text("utf-8")
    rows = [
        [_plain(cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    ]
    shown = [row for row in rows if row]
    wanted, missing = [], 0
    for name in CHECKS:
        path = FIGURES / f"{name}.json"
        missing += not path.exists()
        figures = tested.load(path).figures if path.exists() else ()
        aims = [f.aim for f in figures]
        shared = next((aim for aim in aims if aims.count(aim) > len(aims) / 2), None)
        assert shared is None or f"Aim: {_words(shared)}" in _plain(page)
        for f in figures:
            what = f.what if shared in (None, f.aim) else f"{f.what} (aim: {f.aim})"
            texts = [what, f.value, *([] if shared else [f.aim]), tested.MET[f.met]]
            wanted.append([_words(text) for text in texts])
    assert shown == wanted
    assert page.count("<strong>Missing.</strong>") == missing
    assert f"{len(wanted)} figures stand here: " in _plain(page)


def _plain(text: str) -> str:
    return _words(markup.unescape(re.sub(r"<[^>]+>", "", text)))


def _words(text: str) -> str:
    return " ".join(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())


def test_every_check_has_its_place_on_the_page() -> None:
    text = (ROOT / "book" / "what-we-tested.md").read_text("utf-8")
    assert tuple(re.findall(r"^```\{tested\} (\w+)$", text, re.MULTILINE)) == CHECKS
    assert {path.stem for path in FIGURES.glob("*.json")} <= set(CHECKS)

"""The book's own claims, questions and exercises, read from its notebooks."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from heapscope.teaching import statements
from heapscope.teaching.conditions import Condition
from heapscope.teaching.exercises import NotYet, Right, judge
from heapscope.teaching.questions import keys_of

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = ROOT / "notebooks" / "claims.yml"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALL = 107
VERDICTS = {"holds": 17, "caveat": 30, "wrong": 25, "omitted": 35}


def cells(path: Path, kind: str = "code") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the source and the cell of each code cell."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == kind:
            yield "".join(cell["source"]), cell


def python(source: str) -> str:
    """Return a cell without what is IPython's; "" for a cell that is another language's."""
    if source.lstrip().startswith("%%"):
        return ""
    return "\n".join(
        "pass" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()
    )


def calls(path: Path, function: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield the text and the tree of each call of a function in a notebook."""
    for source, _ in cells(path):
        text = python(source)
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == function
            ):
                yield text, node


def name_of(call: ast.Call) -> str:
    first = call.args[0]
    assert isinstance(first, ast.Constant), f"{ast.unparse(call)}: write the id out"
    return str(first.value)


CONDITIONS = [
    pytest.param(Condition(arg, text), id=f"{path.stem}:{name_of(call)}:{n}")
    for path in NOTEBOOKS
    for text, call in calls(path, "claim")
    for n, arg in enumerate(call.args[1:])
]


# ---------------------------------------------------------------- claims.yml


def test_claims_yml_has_all_of_them_and_each_is_well_formed() -> None:
    known = statements.load(CLAIMS)
    assert len(known) == ALL
    assert Counter(one.verdict for one in known.values()) == VERDICTS
    for one in known.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.id), one.id
        assert one.source, f"{one.id}: where does it come from?"


def test_ids_and_statements_are_unique() -> None:
    entries = yaml.safe_load(CLAIMS.read_text("utf-8"))
    for key in ("id", "statement"):
        twice = [v for v, n in Counter(entry[key] for entry in entries).items() if n > 1]
        assert not twice


def test_each_statement_is_one_to_three_short_sentences() -> None:
    for one in statements.load(CLAIMS).values():
        text = one.statement
        assert text.endswith("."), one.id
        assert text.count("`") % 2 == 0, one.id
        assert len(text.split()) <= 50, f"{one.id}: {len(text.split())} words"
        assert "article" not in text.lower(), f"{one.id}: the statement stands on its own"


def test_lines_of_the_article_are_given_unless_it_leaves_the_point_out() -> None:
    for one in statements.load(CLAIMS).values():
        if one.verdict != "omitted":
            assert re.fullmatch(r"\d+(-\d+)?(, \d+(-\d+)?)*", one.article_lines), one.id


def test_sections_stand_together_and_in_order() -> None:
    sections = [one.section for one in statements.load(CLAIMS).values()]
    numbers = [int(section.split(".")[0]) for section in sections]
    assert numbers == sorted(numbers)
    assert len(set(sections)) == len(set(numbers))


# ---------------------------------------------------------------- the notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_checks_the_claims_of_its_chapter_and_knows_them_all(path: Path) -> None:
    known = statements.load(CLAIMS)
    used = [name_of(call) for _, call in calls(path, "claim")]
    unknown = [
        f"{name} (near: {statements.near(name, known)})" for name in used if name not in known
    ]
    assert not unknown
    twice = [name for name, n in Counter(used).items() if n > 1]
    assert not twice
    chapter = int(path.stem.split("-")[0])
    own = {one.id for one in known.values() if one.section.startswith(f"{chapter}.")}
    capstone = chapter == 17  # it applies what the others checked
    assert own or capstone, f"no claim belongs to chapter {chapter}"
    assert own <= set(used), f"not checked: {own - set(used)}"


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_takes_a_value_from_the_run_and_another_value_makes_it_false(
    condition: Condition,
) -> None:
    assert condition.from_run(), f"only literals: {condition.source}"
    assert condition.counterexample() is not None, f"this cannot fail: {condition.source}"


def test_every_notebook_with_claims_gives_conditions() -> None:
    for path in NOTEBOOKS:
        written = sum(source.count("claim(") for source, _ in cells(path))
        assert written == len(list(calls(path, "claim"))), f"{path.name}: a claim was not read"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_question_has_one_key_and_is_computed_only_where_it_is_asked(path: Path) -> None:
    keys = keys_of(path)
    assert all(len(letters) == 1 for letters in keys.values()), keys
    computed = [name_of(call) for _, call in calls(path, "question")]
    assert len(set(computed)) == len(computed)
    assert set(computed) <= set(keys)
    letters = {"a", "b", "c", "d", "e"}
    for _, call in calls(path, "question"):
        given = next(k.value for k in call.keywords if k.arg == "right")
        can_be = {n.value for n in ast.walk(given) if isinstance(n, ast.Constant)} & letters
        assert len(can_be) > 1, f"{name_of(call)}: the run has no say in {ast.unparse(given)}"
        assert keys[name_of(call)][0] in can_be


# ---------------------------------------------------------------- exercises

SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\s*```python\n(.*?)```.*?</details>", re.DOTALL
)


def definitions(path: Path) -> dict[str, Any]:
    """Run what a notebook defines (functions, classes, methods), and nothing else of it."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for source, cell in cells(path):
        if "exercise" in cell["metadata"].get("tags", []):
            continue
        kept: list[ast.stmt] = [
            node
            for node in ast.parse(python(source)).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            or (
                isinstance(node, ast.Assign)
                and all(
                    isinstance(part, ast.Attribute | ast.Tuple | ast.Name | ast.expr_context)
                    for part in ast.walk(node)
                    if part is not node
                )
                and any(isinstance(part, ast.Attribute) for part in ast.walk(node.targets[0]))
            )
        ]
        exec(compile(ast.Module(kept, []), path.name, "exec"), space)
    return space


def verdicts(path: Path, source: str) -> list[tuple[str, Right | NotYet]]:
    """Run an answer in the notebook's own definitions; return what check says of it."""
    found: list[tuple[str, Right | NotYet]] = []

    def check(name: str, answer: object) -> None:
        found.append((name, judge(name, answer)))

    with contextlib.chdir(path.parent):  # as in a kernel
        exec(source, {**definitions(path), "check": check})
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_start_of_each_exercise_is_not_right_and_its_solution_is(path: Path) -> None:
    starts = [
        source
        for source, cell in cells(path)
        if "exercise" in cell["metadata"].get("tags", []) and "check(" in source
    ]
    solutions = [
        match[1] for source, _ in cells(path, "markdown") for match in SOLUTION.finditer(source)
    ]
    assert len(starts) == len(solutions), "each exercise has one solution, each solution its start"
    for start, solution in zip(starts, solutions, strict=True):
        ((name, first),) = verdicts(path, start)
        ((same, last),) = verdicts(path, solution)
        assert name == same
        assert isinstance(first, NotYet), name
        assert isinstance(last, Right), last

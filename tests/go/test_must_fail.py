"""Programs that must fail, each in the stated way and with the stated words."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from gotool import Go, Said

FOLDER = Path(__file__).resolve().parents[2] / "native" / "examples" / "go-must-fail"
TABLE: list[dict[str, Any]] = tomllib.loads((FOLDER / "expect.toml").read_text("utf-8"))["run"]
FLAGS: dict[str, list[str]] = {"plain": [], "race": ["-race"], "asan": ["-asan"], "cgocheck2": []}


def _name(entry: dict[str, Any]) -> str:
    extra = [*entry.get("args", []), *(f"{k}={v}" for k, v in entry.get("env", {}).items())]
    return "-".join([entry["program"], entry["mode"], *extra])


@pytest.fixture(scope="module")
def built(go: Go, root: Path) -> Callable[[str], Path]:
    """Return a function that builds the programs of a mode, all at once, and names their folder."""
    done: dict[str, Path] = {}

    def build(mode: str) -> Path:
        if mode not in done:
            # Kept from one run to the next: go links anew only what has changed.
            target = root / "_build" / "go-must-fail" / mode
            target.mkdir(parents=True, exist_ok=True)
            programs = sorted({f"./{e['program']}" for e in TABLE if e["mode"] == mode})
            env = {"GOEXPERIMENT": "cgocheck2"} if mode == "cgocheck2" else {}
            said = go(["build", *FLAGS[mode], "-o", f"{target}/", *programs], FOLDER, env)
            assert said == Said(0, ""), said.text
            done[mode] = target
        return done[mode]

    return build


@pytest.mark.parametrize("entry", TABLE, ids=_name)
def test_fails_as_stated(entry: dict[str, Any], go: Go, built: Callable[[str], Path]) -> None:
    program, mode, env = entry["program"], entry["mode"], entry.get("env", {})
    if mode in FLAGS:
        said = go.run([str(built(mode) / program), *entry.get("args", [])], FOLDER, env)
    elif mode == "vet":
        said = go(["vet", f"./{program}"], FOLDER, env)
    else:
        output = ["-o", "/dev/null"] if mode == "build" else []
        said = go([mode, "-tags", "mustfail", *output, f"./{program}"], FOLDER, env)
    missing = [words for words in entry["words"] if words not in said.text]
    unwanted = [words for words in entry.get("not", []) if words in said.text]
    assert (said.exit, missing, unwanted) == (entry["exit"], [], []), said.text


def test_every_program_is_in_the_table() -> None:
    programs = {path.parent.name for path in FOLDER.glob("*/*.go")}
    assert programs == {entry["program"] for entry in TABLE}


def test_every_entry_names_a_claim_of_the_book(root: Path) -> None:
    claims = yaml.safe_load((root / "notebooks" / "claims.yml").read_text("utf-8"))
    assert {entry["claim"] for entry in TABLE} <= {claim["id"] for claim in claims}


def test_gofmt(go: Go) -> None:
    assert go.run([str(go.command.with_name("gofmt")), "-l", "."], FOLDER) == Said(0, "")

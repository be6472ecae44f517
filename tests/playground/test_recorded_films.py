"""The presets as films of real runs: what a browser without 64-bit memories gets."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from heapscope.model.codec import schema
from heapscope.playground import films as recording
from heapscope.programs.runner import MissingToolError
from heapscope.sphinx.playground import presets, recordings


def test_program_of_calls() -> None:
    calls = ["a = malloc(24)", "a = realloc(a, 100)", "*(long *)a = 7", "b = a", "free(b)"]
    assert recording.program(calls) == (
        "char *a = malloc(24);\na = realloc(a, 100);\n*(long *)a = 7;\nchar *b = a;\nfree(b);\n"
    )


def test_film_of_a_preset(cache: Path, tmp_path: Path) -> None:
    made = recording.films(presets(), ["double-free", "no such"], cache)
    assert list(made) == ["double-free"]
    film = made["double-free"]["film"]
    jsonschema.validate(film, schema())
    assert film["title"] == "Freed twice"
    assert film["frames"][-1]["stop"]["message"] == "free(): double free detected in tcache 2"
    again = recording.films(presets(), ["double-free"], tmp_path)
    assert again == made


@pytest.mark.long
def test_every_preset_can_be_filmed(cache: Path) -> None:
    made = recording.films(presets(), presets(), cache)
    for name, preset in presets().items():
        assert len(made[name]["film"]["frames"]) >= len(preset["calls"]) + 1


def test_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = recordings(["double-free"], cache)
    monkeypatch.setattr(recording, "record_c", lambda *_: pytest.fail("it is filmed again"))
    assert recordings(["double-free"], cache) == first


def test_without_gdb_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingToolError("gdb is not installed")

    monkeypatch.setattr(recording, "record_c", missing)
    assert recordings(["double-free"], tmp_path) == ""

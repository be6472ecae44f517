"""Heaps recorded with other versions of glibc: decoded, and compared with glibc's own types."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from heapscope.glibc.decode import decode
from heapscope.glibc.reading import Reading
from heapscope.model.canonical import Canon

from . import compare, record

RECORDINGS = sorted(record.RECORDED.glob("*.json.xz"))


@pytest.fixture(
    params=RECORDINGS, scope="module", ids=lambda path: path.name.removesuffix(".json.xz")
)
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    return record.load(request.param)


def test_there_is_a_recording_of_each_version() -> None:
    names = {path.name.removesuffix(".json.xz") for path in RECORDINGS}
    assert names >= {"2.31", "2.36", "2.41", "2.43"}
    assert all(path.stat().st_size < 60_000 for path in RECORDINGS)


def test_decoding_agrees_with_glibc(recording: dict[str, Any]) -> None:
    result = compare.compare(recording)
    assert result.differences == []
    assert result.states > 50
    assert result.corrupted >= 9
    assert result.chunks > 4000
    assert result.lists > 1000
    assert result.usable > 1000


def test_the_states_are_what_they_should_be(recording: dict[str, Any]) -> None:
    """What the program does reaches every kind of list that its glibc has."""
    names = set()
    for state in recording["states"]:
        for found in decode(Reading.from_json(state["reading"])).lists:
            names.add((found.name.split("[")[0], found.arena == "main"))
    kinds = {"tcache", "fastbin", "unsorted", "small", "large"}
    if recording["glibc"] == "2.43":
        kinds.remove("fastbin")
    assert {kind for kind, main in names if main} == kinds
    assert ("tcache", False) in names


def test_a_difference_is_found(recording: dict[str, Any]) -> None:
    """The comparison itself: one thing that glibc's types said is changed at a time."""
    state = next(s for s in recording["states"] if s["name"] == "sorted into large bins")

    def differences(change: Any) -> list[str]:
        form = copy.deepcopy(state)
        change(form["independent"])
        small = {**recording, "states": [form]}
        return compare.compare(small).differences

    def longer(other: dict[str, Any]) -> None:
        other["heaps"][0]["chunks"][3][1] += 16

    def flagged(other: dict[str, Any]) -> None:
        other["heaps"][0]["chunks"][3][2] ^= 1

    def counted(other: dict[str, Any]) -> None:
        next(found for found in other["lists"] if found[0] == "tcache")[5] += 1

    def turned(other: dict[str, Any]) -> None:
        next(found for found in other["lists"] if len(found[3]) > 1)[3].reverse()

    def lost(other: dict[str, Any]) -> None:
        other["lists"].pop()

    def higher(other: dict[str, Any]) -> None:
        other["heaps"][0]["top"] += 16

    assert differences(lambda other: None) == []
    for change in (longer, flagged, counted, turned, lost, higher):
        assert differences(change), change.__name__


def test_a_version_that_is_not_known_shows_sizes_and_flags(recording: dict[str, Any]) -> None:
    state = next(s for s in recording["states"] if s["name"] == "200 calls, seed 1")
    canon = Canon()
    reading = dataclasses.replace(Reading.from_json(state["reading"]), glibc="2.99")
    shot = decode(reading, canon=canon)
    assert "found 2.99: showing sizes and flags only" in (shot.note or "")
    assert shot.lists == ()
    got = {chunk.at: (chunk.size, chunk.flags) for chunk in shot.chunks}
    main = state["independent"]["heaps"][0]
    for at, size, flags in main["chunks"]:
        assert got[canon.address(at) or 0] == (size, flags)


def test_a_recording_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "2.36.json.xz"
    record.save({"recording": 2}, path)
    with pytest.raises(ValueError, match="no recording of version 1"):
        record.load(path)

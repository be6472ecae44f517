"""The picture of owners' lives: drawing, table and words say what the events say."""

from __future__ import annotations

import re

import pytest
from heapscope.views import Picture, lifetimes
from heapscope.views.plots import _ENDS

EVENTS = [
    ("made", "a", 0.0),
    ("made", "b", 10.0),
    ("Close", "a", 20.0),
    ("dropped", "b", 25.0),
    ("collection", "", 40.0),
    ("cleanup", "b", 41.5),
    ("made", "c", 50.0),
    ("dropped", "c", 60.0),
    ("collection", "", 55.0),
    ("made", "d", 61.0),
]


def drawn() -> Picture:
    return lifetimes(EVENTS, title="Four owners")


def test_the_table_has_each_owner_and_what_freed_it() -> None:
    (grid,) = drawn().tables
    assert [tuple(row) for row in grid.rows] == [
        ("a", "0.0", "", "20.0", "Close"),
        ("b", "10.0", "25.0", "41.5", "cleanup"),
        ("c", "50.0", "60.0", "", "nobody"),
        ("d", "61.0", "", "", "nobody"),
    ]
    assert "40.0, 55.0 ms" in drawn().text()


def test_the_words_count_the_ends_and_tell_the_wait() -> None:
    assert drawn().alt == (
        "4 owners: 1 freed by Close; 1 freed by cleanup, 16.5 ms after the last use; 2 never freed."
    )


def test_the_drawing_has_a_line_for_each_collection_and_a_name_for_each_owner() -> None:
    svg = drawn().drawings[0]
    assert svg.count(">GC<") == 2
    assert svg.count(">never freed<") == 2
    for name in ("a", "b", "c", "d", *_ENDS, "in use", "dropped"):
        assert f">{name}<" in svg, name
    assert not re.search(r"#[0-9a-f]{6}\b(?![^<]*var)", re.sub(r"var\([^)]*\)", "", svg))


def test_the_order_of_the_events_does_not_matter() -> None:
    assert lifetimes(EVENTS[::-1], title="Four owners").alt == drawn().alt


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "no owners"),
        ([("Close", "a", 1.0)], "Close of a, which was not made"),
        ([("made", "a", 1.0), ("made", "a", 2.0)], "a is made twice"),
        ([("made", "a", 1.0), ("Close", "a", 2.0), ("cleanup", "a", 3.0)], "a is freed twice"),
        ([("made", "a", 1.0), ("closed", "a", 2.0)], "closed is no event of an owner"),
    ],
)
def test_what_cannot_be_is_refused(events: list[tuple[str, str, float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lifetimes(events, title="none")

"""The module answers as the system's malloc does: the same offsets, the same chunks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from calls import MAPPED, Call, Machine, Record, natively, random_calls


def _differences(program: Path, machine: Machine, records: Iterable[Record]) -> list[str]:
    listed = list(records)
    native, here = natively(program, listed), machine.heap().run(listed)
    assert (native.message, here.message) == ("", "")
    assert len(native.results) == len(here.results) == len(listed)
    return [
        f"{number}: {record}: {one:#x}, here {other:#x}"
        for number, (record, one, other) in enumerate(
            zip(listed, native.comparable(), here.comparable(), strict=True)
        )
        if one != other
    ]


def test_ten_thousand_calls(program: Path, machine: Machine) -> None:
    assert _differences(program, machine, random_calls(1, 10_000)) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_calls(program: Path, machine: Machine, seed: int) -> None:
    assert _differences(program, machine, random_calls(seed, 100_000)) == []


@pytest.mark.parametrize("seed", range(2))
def test_calls_with_mappings(program: Path, machine: Machine, seed: int) -> None:
    records = list(random_calls(seed, 2_000, largest=600_000))
    assert any(result & MAPPED for result in machine.heap().run(records).results)
    assert _differences(program, machine, records) == []


SETTINGS = {
    "M_MXFAST 0": (1, 0),
    "M_MXFAST 160": (1, 160),
    "M_TRIM_THRESHOLD 8192": (-1, 8192),
    "M_TOP_PAD 0": (-2, 0),
    "M_MMAP_THRESHOLD 4096": (-3, 4096),
    "M_MMAP_MAX 0": (-4, 0),
    "M_PERTURB 165": (-6, 165),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_calls_after_mallopt(program: Path, machine: Machine, name: str) -> None:
    setting, value = SETTINGS[name]
    first = Record(Call.MALLOPT, 0, setting, value)
    more = [
        Record(Call.MALLOC, 500, 100),
        Record(Call.LOAD, 500, 80),
        Record(Call.FREE, 500),
        Record(Call.LOAD, 500, 80),
    ]
    calls = [first, *more, *random_calls(7, 1_500, largest=300_000)]
    assert _differences(program, machine, calls) == []


def test_what_no_program_should_ask_for(program: Path, machine: Machine) -> None:
    huge = (1 << 63) - 1
    odd = [
        Record(Call.MALLOC, 0, 0),
        Record(Call.MALLOC, 1, huge),
        Record(Call.ERRNO),
        Record(Call.MALLOC, 1, -1),
        Record(Call.CALLOC, 1, 1 << 33, 1 << 33),
        Record(Call.ERRNO),
        Record(Call.REALLOC, 0, huge),
        Record(Call.REALLOC, 0, 0),
        Record(Call.MEMALIGN, 2, 3, 24),
        Record(Call.MEMALIGN, 3, 1 << 62, 24),
        Record(Call.ALIGNED_ALLOC, 4, 24, 24),
        Record(Call.ALIGNED_ALLOC, 5, 64, 100),
        Record(Call.MALLOPT, 0, 1, 1000),
        Record(Call.MALLOPT, 0, 99, 1),
        Record(Call.FREE, 9),
        Record(Call.USABLE, 9),
        Record(Call.TRIM),
        Record(Call.WALK),
    ]
    assert _differences(program, machine, odd) == []


def test_a_link_that_somebody_forged(program: Path, machine: Machine) -> None:
    """The tcache hands out what its list says: here the middle of a block in use."""
    poisoned = [
        *(Record(Call.MALLOC, slot, 24) for slot in (0, 1)),
        Record(Call.MALLOC, 2, 200),
        *(Record(Call.FREE, slot) for slot in (0, 1)),
        Record(Call.LINK, 1, 0, 2, 64 << 1 | 1),
        *(Record(Call.MALLOC, slot, 24) for slot in (3, 4)),
    ]
    results = machine.heap().run(poisoned).results
    assert results[-1] == results[2] + 64
    assert _differences(program, machine, poisoned) == []

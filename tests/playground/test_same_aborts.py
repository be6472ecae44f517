"""Where glibc ends the program, the module ends with the same text."""

from __future__ import annotations

from pathlib import Path

import pytest
from calls import Machine, natively
from corruptions import CORRUPTIONS, FAULTS


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_text(program: Path, machine: Machine, name: str) -> None:
    native, here = natively(program, CORRUPTIONS[name]), machine.heap().run(CORRUPTIONS[name])
    assert native.signal == 6, native
    assert native.message
    assert here == native


def test_the_list_is_of_many_kinds(machine: Machine) -> None:
    texts = {machine.heap().run(records).message for records in CORRUPTIONS.values()}
    assert len(texts) >= 20
    assert any("assertion" in text for text in texts)


@pytest.mark.parametrize("name", FAULTS)
def test_same_fault(program: Path, machine: Machine, name: str) -> None:
    native, here = natively(program, FAULTS[name]), machine.heap().run(FAULTS[name])
    assert native == here
    assert (here.signal, here.message) == (11, "")

"""Random sequences of calls: a snapshot agrees with independent readings of the same heap.

gdb reads libc's structures with the debug symbols of Debian's libc6-dbg; the private libc itself
tells of malloc_usable_size and malloc_info.  Neither goes through heapscope.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
LIBC = Path(f"/lib/{platform.machine()}-linux-gnu/libc.so.6")
MASK = ~7

small = st.integers(0, 300)
medium = st.one_of(st.integers(300, 1200), st.sampled_from([1000, 1032, 1033, 1040, 1048, 1100]))
large = st.integers(1200, 60_000)
mapped = st.integers(1_100_000, 3_000_000)
sizes = st.one_of(small, small, small, medium, medium, large, mapped)
place = st.integers(0, 40)
calls = st.one_of(
    st.tuples(st.just("malloc"), sizes),
    st.tuples(st.just("malloc"), small),
    st.tuples(st.just("calloc"), st.integers(0, 5), sizes),
    st.tuples(st.just("realloc"), place, sizes),
    st.tuples(st.just("aligned_alloc"), st.integers(4, 13).map(lambda n: 1 << n), sizes),
    st.tuples(st.just("free"), place),
    st.tuples(st.just("free"), place),
)
# A run of equal sizes fills a list of the tcache, and what follows goes to a bin.
runs = st.tuples(st.one_of(small, medium), st.integers(7, 12), st.integers(0, 12)).map(
    lambda run: [("malloc", run[0])] * run[1] + [("free", 0)] * run[2]
)
sequences = st.lists(st.one_of(calls.map(lambda call: [call]), runs), min_size=10, max_size=60).map(
    lambda parts: [list(call) for part in parts for call in part]
)


class Readers:
    """The process with the heap, and gdb."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.runner = subprocess.Popen(
            [sys.executable, str(HERE / "heap_runner.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.gdb = subprocess.Popen(
            ["gdb", "-batch", "-nx", "-x", str(HERE / "heap_gdb.py"), str(LIBC)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        for process in (self.gdb, self.runner):
            process.kill()
            process.communicate()

    def run(self, steps: list[list[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the process says of its heap, and what gdb says."""
        ours = json.loads(self.tell(self.runner, json.dumps(steps)))
        self.tell(self.gdb, f"{ours['pid']} {ours['malloc']} {ours['tls']}", answer=False)
        said = ""
        assert self.gdb.stdout
        for line in self.gdb.stdout:
            if line.startswith("HEAP "):
                theirs = json.loads(line[5:])
                assert "error" not in theirs, theirs["error"]
                return ours, theirs
            said += line
        pytest.fail(f"gdb did not read the heap:\n{said}")

    @staticmethod
    def tell(process: subprocess.Popen[str], line: str, answer: bool = True) -> str:
        assert process.stdin
        assert process.stdout
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline() if answer else ""


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    if shutil.which("gdb") is None:
        pytest.fail("gdb is not installed: apt-get install gdb libc6-dbg")
    opened = Readers()
    yield opened
    opened.close()


class Comparison:
    """One sequence's two readings, in the snapshot's addresses."""

    def __init__(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        self.ours, self.theirs = ours, theirs
        self.shot = ours["snapshot"]
        self.chunks = {c[0]: c for c in self.shot["chunks"]}
        self.lists = {f[0]: f for f in self.shot["lists"] if f[2] or f[3]}

    def moved(self, address: int) -> int:
        """Canonical address of a real one."""
        for low, high, to in self.ours["places"]:
            if low <= address < high:
                return int(address - low + to)
        raise AssertionError(f"{address:#x} is nowhere in the snapshot")

    def all(self) -> None:
        assert self.theirs["malloc"], "gdb's symbols are those of another libc"
        assert self.shot["faults"] == []
        assert not [f for f in self.shot["lists"] if f[4]]
        self.chunks_agree()
        self.lists_agree()
        self.states_agree()
        self.usable_agrees()
        self.malloc_info_agrees()

    def chunks_agree(self) -> None:
        """Sizes and flags, from the first chunk up to top."""
        walked = self.theirs["chunks"]
        if self.theirs["tcache"] and self.theirs["tcache"]["table"] % 4096 == 16:
            assert walked[-1][0] == self.theirs["top"] or len(self.ours["places"]) > 1
        for address, word in walked:
            at, size, flags, *_ = self.chunks[self.moved(address)]
            assert (at, size, flags) == (self.moved(address), word & MASK, word & 7)
        if walked and walked[-1][0] == self.theirs["top"]:
            first, last = self.moved(walked[0][0]), self.moved(walked[-1][0])
            assert [at for at in self.chunks if first <= at <= last] == [
                self.moved(address) for address, _ in walked
            ]
        if self.theirs["tcache"]:
            assert self.chunks[self.moved(self.theirs["top"])][3] == "top"
        mapped = [c for c in self.chunks.values() if c[3] == "mmapped"]
        assert len(mapped) == self.theirs["mapped"]
        lengths = sum(high - low for low, high, _ in self.ours["places"])
        pieces = self.theirs["system_mem"]
        assert lengths - pieces == self.theirs["mapped_bytes"]

    def their_lists(self) -> dict[str, list[int]]:
        """Their lists under the snapshot's names, in list order."""
        lists: dict[str, list[int]] = {}
        if self.theirs["tcache"]:
            for name, (found, count) in self.theirs["tcache"]["lists"].items():
                lists[name] = [self.moved(user) for user in found]
                assert len(found) == count
        for name, found in self.theirs["fastbins"].items():
            lists[name] = [self.moved(at) for at in found]
        for number, found in self.theirs["bins"].items():
            lists[bin_name(int(number))] = [self.moved(at) for at in found]
        return lists

    def lists_agree(self) -> None:
        """Names, members and their order; the tcache's own counters."""
        assert {name: f[2] for name, f in self.lists.items()} == self.their_lists()
        for name, f in self.lists.items():
            assert f[1] == "main"
            if name.startswith("tcache"):
                assert f[3] == self.theirs["tcache"]["lists"][name][1]

    def states_agree(self) -> None:
        """A chunk on a list is in that list's state; all others are in use, or of the allocator."""
        expected = {}
        for name, found in self.their_lists().items():
            kind = re.sub(r"\[.*", "", name)
            state = kind if kind in ("tcache", "fastbin", "unsorted") else f"{kind} bin"
            for at in found:
                expected[at - 16 if kind == "tcache" else at] = state
        live = {self.moved(user) - 16 for user, _ in self.ours["usable"]}
        for at, chunk in self.chunks.items():
            if at in expected:
                assert chunk[3] == expected[at]
                assert at not in live
            elif at in live:
                assert chunk[3] in ("in use", "mmapped")
            else:
                assert chunk[3] in ("tcache table", "top", "fencepost"), chunk
        assert live <= set(self.chunks)

    def usable_agrees(self) -> None:
        for user, usable in self.ours["usable"]:
            _, _, _, _, said, requested = self.chunks[self.moved(user) - 16]
            assert said == usable
            assert requested is not None
            assert requested <= usable

    def malloc_info_agrees(self) -> None:
        """Its totals for fastbins, for the bins with top, and what it took from the kernel."""
        heap = ElementTree.fromstring(self.ours["info"]).find("heap")
        assert heap is not None
        totals = {
            t.attrib["type"]: (int(t.attrib["count"]), int(t.attrib["size"]))
            for t in heap.findall("total")
        }
        kinds: dict[str, list[int]] = {"fast": [], "rest": []}
        for chunk in self.chunks.values():
            if chunk[3] == "fastbin":
                kinds["fast"].append(chunk[1])
            elif chunk[3] in ("unsorted", "small bin", "large bin", "top"):
                # malloc_info adds whole size words, flags and all, but for top.
                kinds["rest"].append(chunk[1] + (chunk[2] if chunk[3] != "top" else 0))
        if self.theirs["tcache"] or self.theirs["system_mem"]:
            assert totals == {kind: (len(all_), sum(all_)) for kind, all_ in kinds.items()}
        system = heap.find("system")
        assert system is not None
        assert int(system.attrib["size"]) == self.theirs["system_mem"]


def bin_name(number: int) -> str:
    """As in malloc.c: 1 is unsorted, small bins 16 bytes apart, large ones in five ranges."""
    if number == 1:
        return "unsorted"
    if number < 64:
        return f"small[{number * 16:#x}]"
    for shift, add, first in ((6, 48, 64), (9, 91, 97), (12, 110, 112), (15, 119, 120)):
        following = {64: 97, 97: 112, 112: 120, 120: 124}[first]
        if number < following:
            lowest = max(
                (number - add) << shift, {64: 0x400, 97: 0xC40, 112: 0x2A00, 120: 0xA000}[first]
            )
            return f"large[{lowest:#x}]"
    return f"large[{max((number - 124) << 18, 0x28000):#x}]"


@given(steps=sequences)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_sequences(readers: Readers, steps: list[list[Any]]) -> None:
    Comparison(*readers.run(steps)).all()


@pytest.mark.long
@given(steps=sequences)
@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_1000_sequences(readers: Readers, steps: list[list[Any]]) -> None:
    Comparison(*readers.run(steps)).all()


def test_the_readings_can_differ(readers: Readers) -> None:
    """So that the tests above cannot pass by comparing nothing."""
    steps = [["malloc", 24], ["malloc", 24], ["malloc", 2000], ["malloc", 24]]
    ours, theirs = readers.run([*steps, ["free", 0], ["free", 0], ["free", 0]])
    assert set(Comparison(ours, theirs).their_lists()) == {"tcache[0x20]", "unsorted"}
    Comparison(ours, theirs).all()
    theirs["tcache"]["lists"]["tcache[0x20]"][0].reverse()
    with pytest.raises(AssertionError):
        Comparison(ours, theirs).lists_agree()
    theirs["chunks"][1][1] ^= 16
    with pytest.raises((AssertionError, KeyError)):
        Comparison(ours, theirs).chunks_agree()

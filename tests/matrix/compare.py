"""Decode a recording and compare it with what glibc's own types said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heapscope.glibc.decode import decode
from heapscope.glibc.layout import Layout
from heapscope.glibc.reading import Reading
from heapscope.model.canonical import Canon
from heapscope.model.snapshot import Snapshot, State

BINS = {1: State.UNSORTED}


@dataclass(slots=True)
class Result:
    """How often was compared, and what differed."""

    states: int = 0
    chunks: int = 0
    lists: int = 0
    usable: int = 0
    corrupted: int = 0
    differences: list[str] = field(default_factory=list)


def compare(recording: dict[str, Any]) -> Result:
    """Compare each state of a recording; nothing is compared twice, nothing is left out."""
    result = Result()
    for state in recording["states"]:
        result.states += 1
        result.corrupted += state["corrupted"]
        said = State_(state)
        for text in said.compare(result):
            result.differences.append(f"{recording['glibc']}, {state['name']}: {text}")
    return result


class State_:  # noqa: N801  (State is the snapshot's)
    """One state, decoded."""

    def __init__(self, form: dict[str, Any]) -> None:
        self.form = form
        self.other = form["independent"]
        self.reading = Reading.from_json(form["reading"])
        self.layout = Layout.for_version(self.reading.glibc)
        self.canon = Canon()
        self.shot: Snapshot = decode(self.reading, canon=self.canon)
        self.at = {chunk.at: chunk for chunk in self.shot.chunks}
        self.lists = {(found.name, found.arena): found for found in self.shot.lists}

    def compare(self, result: Result) -> list[str]:
        """Return what differs; count in `result` what was compared."""
        wrong = []
        arena = self.reading.main_arena
        if arena is not None and arena[0] != self.other["arena"]:
            wrong.append(f"main_arena at {arena[0]:#x}, glibc says {self.other['arena']:#x}")
        if self.layout.arena.size != self.other["arena_size"]:
            wrong.append(f"malloc_state has {self.other['arena_size']} bytes")
        wrong += self._chunks(result)
        wrong += self._lists(result)
        wrong += self._usable(result)
        healthy = all(h["whole"] for h in self.other["heaps"])
        healthy = healthy and all(whole for *_, whole, _ in self.other["lists"])
        if self.form["corrupted"] and not self.shot.faults:
            wrong.append("no fault was found in a destroyed heap")
        if not self.form["corrupted"]:
            wrong += [f"a fault that is none: {fault.text}" for fault in self.shot.faults]
            if not healthy:
                wrong.append("the heap could not be followed through glibc's types")
        return wrong

    def _to(self, real: int) -> int:
        return self.canon.address(real) or real

    def _states(self) -> dict[int, State]:
        """Return chunk -> state of everything that glibc's own structures name."""
        found: dict[int, State] = {}
        for kind, index, _, members, _, _ in self.other["lists"]:
            state = State.TCACHE if kind == "tcache" else State.FASTBIN
            if kind == "bin":
                small = State.SMALL if index < self.layout.bins.first_large else State.LARGE
                state = BINS.get(index, small)
            found |= dict.fromkeys(members, state)
        found |= {heap["top"]: State.TOP for heap in self.other["heaps"]}
        found |= {table - 16: State.TABLE for _, table in self.other["tables"]}
        return found

    def _chunks(self, result: Result) -> list[str]:
        wrong = []
        states = self._states()
        expected = [(*c, State.MMAPPED) for c in self.other["mapped"]]
        for heap in self.other["heaps"]:
            for at, size, flags in heap["chunks"]:
                expected.append((at, size, flags, states.get(at, State.IN_USE)))
        for at, size, flags, state in expected:
            result.chunks += 1
            chunk = self.at.get(self._to(at))
            if chunk is None:
                wrong.append(f"no chunk at {at:#x}, where glibc has one of {size}")
                continue
            got = (chunk.size, chunk.flags)
            if got != (size, flags):
                wrong.append(f"the chunk at {at:#x} is {got}, glibc says {(size, flags)}")
            # In a destroyed heap the recorded calls tell more than the lists that are cut short.
            if chunk.state is not state and not self.form["corrupted"]:
                wrong.append(f"the chunk at {at:#x} is {chunk.state}, glibc says {state}")
        if all(heap["whole"] for heap in self.other["heaps"]) and len(expected) != len(self.at):
            wrong.append(f"{len(self.at)} chunks, glibc has {len(expected)}")
        return wrong

    def _name(self, kind: str, index: int) -> str:
        if kind == "tcache":
            return self.layout.tcache.bin_name(index)
        return (
            f"fastbin[{32 + 16 * index:#x}]" if kind == "fastbin" else self.layout.bins.name(index)
        )

    def _lists(self, result: Result) -> list[str]:
        wrong, seen = [], set()
        for kind, index, whose, members, whole, count in self.other["lists"]:
            result.lists += 1
            key = (self._name(kind, index), "main" if whose == "main" else "thread 1")
            seen.add(key)
            found = self.lists.get(key)
            if found is None:
                wrong.append(f"no list {key}, glibc has one of {len(members)}")
                continue
            got = [link.chunk for link in found.links]
            want = [self._to(at) for at in members]
            if got != want if whole else got[: len(want)] != want:
                wrong.append(f"{key} holds {got}, glibc says {want}")
            if found.count != count:
                wrong.append(f"{key} counts {found.count}, glibc says {count}")
            if not whole and not (found.fault or self.shot.faults):
                wrong.append(f"{key} is broken, and nothing says so")
        wrong += [f"{key} is no list of glibc's" for key in self.lists.keys() - seen]
        return wrong

    def _usable(self, result: Result) -> list[str]:
        wrong = []
        for user, size in self.form["usable"]:
            result.usable += 1
            chunk = self.at.get(self._to(user - 16))
            if chunk is None or chunk.usable != size:
                got = None if chunk is None else chunk.usable
                wrong.append(f"the block at {user:#x} has {got} usable bytes, glibc says {size}")
        return wrong


def summary(recording: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what two recordings of one version must have in common, state by state."""
    result = []
    for state in recording["states"]:
        shot = decode(Reading.from_json(state["reading"]))
        chunks = [(c.at, c.size, c.flags, c.state, c.name) for c in shot.chunks]
        lists = [(f.name, f.arena, [link.at for link in f.links], f.count) for f in shot.lists]
        result.append((state["name"], (chunks, lists, [f.text for f in shot.faults])))
    return result

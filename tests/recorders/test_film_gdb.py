"""Films of random programs agree with what a plain gdb sees: every frame, every word."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from film_programs import program
from heapscope.model.film import Film
from heapscope.model.snapshot import Role, Snapshot, State
from heapscope.programs.c import compile_c, find_compiler
from heapscope.recorders.gdb_recorder import record_c

SCRIPT = Path(__file__).with_name("film_gdb.py")
DEBUG = Path("/usr/lib/debug/.build-id")
ELSEWHERE = 0x7E0000000000
"""From here on lie libraries, mappings and the stack, which a film moves to fixed places."""

Stops = list[dict[str, Any]]
Moved = dict[int, tuple[int, int]]
"""A word's address: what the film had there one stop before, and what gdb had."""


def stepped(programs: list[Path]) -> list[dict[str, Any]]:
    """Step programs in one gdb; return what it saw."""
    command = ["gdb", "-nx", "-q", "-batch", "-x", str(SCRIPT)]
    said = "".join(f"{path}\n" for path in programs)
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
    found = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("RUN ")]
    assert len(found) == len(programs), done.stdout[-2000:] + done.stderr
    return found


def ran(before: list[Any], now: list[Any]) -> int:
    """Return the line that ran between two stops: that of the innermost call that goes on."""
    known = {(name, base): line for name, line, base, _ in before}
    lines = [known[name, base] for name, _, base, _ in now if (name, base) in known]
    return int(lines[0] if lines else before[0][1])


def differences(film: Film, stops: Stops) -> list[str]:
    """Say where a film differs from what gdb saw."""
    if len(film.frames) != len(stops) + 1:  # the last frame is that of the end
        return [f"{len(film.frames)} frames, {len(stops)} stops in gdb"]
    found: list[str] = []
    moved: Moved = {}
    for number, (shot, seen) in enumerate(zip(film.frames, stops, strict=False)):
        line = ran(stops[number - 1]["frames"], seen["frames"]) if number else None
        if shot.line != line:
            found.append(f"line {shot.line}, in gdb {line}")
        if list(shot.stack) != [frame[0] for frame in seen["frames"]]:
            found.append(f"stack {shot.stack}")
        found += _variables(shot, seen)
        found += _heap(shot, seen["heap"], moved)
        if found:
            return [f"frame {number}: {text}" for text in found]
    return []


def moves(address: int, heap: dict[str, Any]) -> bool:
    """Whether a film has an address somewhere else: all but NULL and those of the heap."""
    low = heap["base"]
    return address != 0 and not (low and low <= address < low + heap["size"])


def _variables(shot: Snapshot, seen: dict[str, Any]) -> list[str]:
    found = []
    here = {(p.scope, p.name): p for p in shot.pointers}
    expected: dict[tuple[str, str], list[Any]] = {("", "calls"): ["number", str(seen["calls"])]}
    for scope, _, _, variables in seen["frames"]:
        expected |= {(scope, name): value for name, value in variables.items()}
    if here.keys() != expected.keys():
        found.append(f"variables {sorted(here.keys() ^ expected.keys())}")
    for key in here.keys() & expected.keys():
        variable, (kind, value) = here[key], expected[key]
        if variable.state == "unset":
            continue
        if kind == "number" and variable.text != value:
            found.append(f"{key} is {variable.text}, in gdb {value}")
        if kind == "pointer" and moves(value, seen["heap"]):
            continue
        if kind == "pointer" and (variable.value or 0) != value:
            found.append(f"{key} is {variable.value}, in gdb {value:#x}")
    return found


def _heap(shot: Snapshot, seen: dict[str, Any], moved: Moved) -> list[str]:
    region = next((r for r in shot.regions if r.name == "heap"), None)
    if not seen["base"] or region is None:
        return [] if not seen["base"] and region is None else ["a heap on one side only"]
    if (region.base, region.length) != (seen["base"], seen["size"]):
        return [f"heap {region.base:#x} {region.length}, in gdb {seen['base']:#x} {seen['size']}"]
    found = _words(shot, seen, moved)
    found += _chunks(shot, seen)
    if not any(entry.fault for entry in shot.lists):
        found += _lists(shot, seen)
    return found


def torn(mine: int, word: int, before: tuple[int, int] | None) -> bool:
    """Whether a part of an address that a film moves was written over, alike on both sides."""
    if before is None:
        return False
    bytes_of = [number.to_bytes(8, "little") for number in (mine, word, *before)]
    return all(m == w or [m, w] == was for m, w, *was in zip(*bytes_of, strict=True))


def _words(shot: Snapshot, seen: dict[str, Any], moved: Moved) -> list[str]:
    region = next(r for r in shot.regions if r.name == "heap")
    keys = {word.at for word in shot.words if word.role is Role.KEY}
    theirs = {int(at): word for at, word in seen["words"].items()}
    found = []
    for at in range(region.base, seen["top"] + 16, 8):
        mine, word = int.from_bytes(region.read(at), "little"), theirs.get(at, 0)
        # A block from the middle of its life may hold an old key: it is a random number.
        same = mine == word or (mine >= ELSEWHERE and word >= ELSEWHERE) or at in keys
        same = same or torn(mine, word, moved.get(at))
        moved[at] = (mine, word)
        if not same:
            found.append(f"{mine:#x} at {at:#x}, in gdb {word:#x}")
    return found[:3]


def _chunks(shot: Snapshot, seen: dict[str, Any]) -> list[str]:
    """Compare chunk by chunk, as far as size words can be followed."""
    walked = {at: (size, flags) for at, size, flags in seen["chunks"]}
    found = []
    for chunk in shot.chunks:
        if not seen["base"] <= chunk.at <= seen["top"]:
            continue
        if chunk.claims is not None:
            if walked.get(chunk.at, (chunk.claims,))[0] != chunk.claims:
                found.append(
                    f"chunk {chunk.at:#x} claims {chunk.claims}, in gdb {walked[chunk.at]}"
                )
            return found  # a plain walk goes astray here
        if chunk.state is State.FOLDED:
            inside = [at for at in walked if chunk.at <= at < chunk.end]
            if sum(walked[at][0] for at in inside) != chunk.size:
                found.append(f"folded {chunk.at:#x} {chunk.size}, in gdb {inside}")
        elif walked.get(chunk.at) != (chunk.size, chunk.flags):
            real = walked.get(chunk.at)
            found.append(f"chunk {chunk.at:#x} {chunk.size} {chunk.flags}, in gdb {real}")
        if chunk.state is State.TOP and chunk.at != seen["top"]:
            found.append(f"top {chunk.at:#x}, in gdb {seen['top']:#x}")
    free = {c.at for c in shot.chunks if c.state.free and c.at <= seen["top"]}
    listed = {at - 16 for chain in seen["tcache"].values() for at in chain}
    for kind in ("fast", "bins"):
        listed |= {at for chain in seen[kind].values() for at in chain}
    clean = not shot.faults
    if clean and free != listed:
        found.append(f"free {sorted(map(hex, free ^ listed))} on one side only")
    return found


def _lists(shot: Snapshot, seen: dict[str, Any]) -> list[str]:
    mine = {e.name: [link.at for link in e.links] for e in shot.lists if e.links}
    theirs = {f"tcache[{int(size):#x}]": chain for size, chain in seen["tcache"].items()}
    theirs |= {f"fastbin[{int(size):#x}]": chain for size, chain in seen["fast"].items()}
    sizes = {at: size for at, size, _ in seen["chunks"]}
    for number, chain in seen["bins"].items():
        name = "unsorted" if int(number) == 1 else f"small[{16 * int(number):#x}]"
        if int(number) >= 64:  # by the size of a chunk in it
            bins = [e.name for e in shot.lists if e.kind is State.LARGE]
            name = next((n for n in bins if mine.get(n) == chain), f"large for {sizes[chain[0]]}")
        theirs[name] = chain
    return [] if mine == theirs else [f"lists {mine}, in gdb {theirs}"]


def one(seed: int, folder: Path) -> tuple[Film, Path]:
    """Film a program, and compile it once more for gdb."""
    text = program(seed)
    own = folder / str(seed)
    own.mkdir()
    run = compile_c(text, own, find_compiler("gcc", "c"), [])
    assert run.compiled, run.diagnostics
    return record_c(text), own / "program"


def compared(seeds: Sequence[int], folder: Path) -> dict[int, list[str]]:
    """Return the differences by program."""
    made = [one(seed, folder) for seed in seeds]
    seen = stepped([path for _, path in made])
    found: dict[int, list[str]] = {}
    for seed, (film, _), run in zip(seeds, made, seen, strict=True):
        wrong = [run["error"]] if "error" in run else differences(film, run["stops"])
        stop = film.frames[-1].stop
        ended = (stop.signal or stop.kind) if stop is not None else None
        if not wrong and ended != run["ended"]:
            wrong = [f"ended by {ended}, in gdb {run['ended']}"]
        if wrong:
            found[seed] = wrong
    return found


def in_two(seeds: Sequence[int], folder: Path) -> dict[int, list[str]]:
    """Compare half of the programs beside the other half."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(compared, (seeds[::2], seeds[1::2]), (folder, folder)))
    return parts[0] | parts[1]


pytestmark = pytest.mark.skipif(
    not DEBUG.is_dir(), reason="plain gdb needs libc's debugging symbols: apt-get install libc6-dbg"
)


def test_random_programs(tmp_path: Path) -> None:
    assert in_two(range(20), tmp_path) == {}


def test_programs_are_various() -> None:
    """What the comparison goes through: all calls, blocks of all kinds, faults."""
    texts = [program(seed) for seed in range(40)]
    for call in ("malloc(", "calloc(", "realloc(", "free(", "push(", "pop(", "sum(", "memset("):
        assert sum(call in text.split("main(void)")[1] for text in texts) > 4, call
    assert len(set(texts)) == 40
    assert program(7) == program(7)


def test_the_comparison_sees_a_difference(tmp_path: Path) -> None:
    film, path = one(3, tmp_path)
    (run,) = stepped([path])
    assert differences(film, run["stops"]) == []
    last = run["stops"][-1]
    last["heap"]["chunks"][-2][1] += 16
    assert "in gdb" in differences(film, run["stops"])[0]
    last["heap"]["chunks"][-2][1] -= 16
    last["frames"][0][1] += 1
    last["frames"][0][3]["n"][1] = "77"
    assert "in gdb 77" in differences(film, run["stops"])[0]


@pytest.mark.long
def test_a_thousand_random_programs(tmp_path: Path) -> None:
    found: dict[int, list[str]] = {}
    for first in range(1000, 2000, 50):
        found |= in_two(range(first, first + 50), tmp_path)
    assert found == {}

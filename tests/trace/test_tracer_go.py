"""Behind each C allocation of a cgo program the tracer finds the Go functions that led to it."""

from __future__ import annotations

import collections
import functools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from heapscope.programs.go import cache_folder, find_go, settings_folder
from heapscope.recorders.trace import inspect
from tracer_programs import SOURCES, command, traced
from tracer_records import GO, Event, Image, image, images

ENV = {
    "GOTOOLCHAIN": "local",
    "GOPROXY": "off",
    "GOFLAGS": "",
    "GO111MODULE": "on",
    "GOWORK": "off",
}
MAIN = (SOURCES / "cgo" / "main.go").read_text(encoding="utf-8").splitlines()


def line(text: str) -> int:
    """Return the number of the one line of main.go that contains a text."""
    (found,) = (number for number, content in enumerate(MAIN, 1) if text in content)
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cgo")
    for path in (SOURCES / "cgo").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "go.mod").write_text("module service\n\ngo 1.23\n")
    return folder


def shared() -> dict[str, str]:
    return {"GOCACHE": str(cache_folder()), "XDG_CONFIG_HOME": str(settings_folder())}


def build(source: Path, name: str, *options: str) -> Path:
    env = dict(os.environ) | ENV | shared()
    argv = [find_go(), "build", *options, "-o", name, "."]
    subprocess.run(argv, cwd=source, env=env, check=True)
    return source / name


@pytest.fixture(scope="module")
def service(source: Path) -> Path:
    return build(source, "service")


@functools.cache
def lines(program: Path, addresses: tuple[int, ...]) -> list[str]:
    """Name return addresses, outermost function and its line, with Go's own tool."""
    asked = "".join(f"{address - 1:#x}\n" for address in addresses)
    argv = [find_go(), "tool", "addr2line", str(program)]
    env = os.environ | ENV | shared()
    run = subprocess.run(argv, input=asked, capture_output=True, text=True, check=True, env=env)
    words = run.stdout.splitlines()
    return [f"{name} {Path(at).name}" for name, at in zip(words[::2], words[1::2], strict=True)]


def go_stack(trace: Image, event: Event, program: Path) -> list[str]:
    frames = [address for address, go in trace.frames(event.stack) if go]
    named = lines(program, tuple(frames))
    # A program's own functions; the runtime's and cgo's wrappers are left out.
    return [text for text in named if text.startswith("main.") and not text.startswith("main._")]


def test_each_leak_has_its_go_stack(service: Path, tmp_path: Path) -> None:
    rounds = 200
    traced([service, str(rounds)], tmp_path, depth=32)
    trace = image(tmp_path)
    assert trace.flags & GO
    assert trace.lost == 0
    plants = {
        1000: ("main.leakInC", "C.in_c(", "leakInC(1000"),
        2000: ("main.leakMalloc", "func small(", "leakMalloc(2000"),
        3000: ("main.leakString", "func smaller(", "leakString(string("),
    }
    seen: collections.Counter[int] = collections.Counter()
    for event in trace.events:
        if event.op == "malloc" and event.size in {kind + k for kind in plants for k in range(4)}:
            kind = event.size // 1000 * 1000
            function, inner, caller = plants[kind]
            stack = go_stack(trace, event, service)
            # What is inlined into this function bears its name; the lines are those of the cgo
            # wrapper, unless that is a function of its own.
            assert re.match(rf"{re.escape(function)} (main.go:{line(inner)}|_cgo_)", stack[0]), (
                stack
            )
            assert stack[1:] == [
                f"main.worker main.go:{line(caller)}",
                f"main.main.func1 main.go:{line('worker(k, rounds)')}",
            ]
            seen[event.size] += 1
    assert seen == {kind + k: rounds for kind in plants for k in range(4)}


def test_c_frames_come_first(service: Path, tmp_path: Path) -> None:
    traced([service, "3"], tmp_path, depth=32)
    trace = image(tmp_path)
    for event in trace.events:
        if event.op == "malloc" and event.size in range(1000, 1004):
            frames = trace.frames(event.stack)
            kinds = [go for _, go in frames]
            assert kinds == sorted(kinds)
            names = symbols(service, [address - 1 for address, go in frames if not go])
            assert names[:2] == ["deeper", "in_c"]


def symbols(program: Path, addresses: list[int]) -> list[str]:
    argv = ["addr2line", "-f", "-e", str(program), *map(hex, addresses)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\n")[::2]


def test_callbacks_and_threads_of_c(service: Path, tmp_path: Path) -> None:
    traced([service, "1"], tmp_path, depth=64)
    trace = image(tmp_path)
    by_size = {event.size: event for event in trace.events if event.op == "malloc"}
    callback = f"main.inCallback main.go:{line('leakMalloc(n, 7)')}"
    for size in (5000, 6000):  # called from Go's thread, and from one that Go did not start
        stack = go_stack(trace, by_size[size], service)
        assert len(stack) == 2
        assert stack[0].startswith("main.leakMalloc ")
        assert stack[1] == callback
    outer = go_stack(trace, by_size[5002], service)
    assert outer == [f"main.main main.go:{line('C.twice(5000)')}"]
    assert go_stack(trace, by_size[6002], service) == []
    assert go_stack(trace, by_size[6003], service) == []


@pytest.mark.parametrize(
    "option",
    [
        "-ldflags=-linkmode=internal",
        "-ldflags=-compressdwarf=false",
        # With these the whole standard library is compiled once more.
        pytest.param("-buildmode=pie", marks=pytest.mark.long),
        pytest.param("-race", marks=pytest.mark.long),
    ],
)
def test_other_ways_of_building(source: Path, tmp_path: Path, option: str) -> None:
    program = build(source, "other", option)
    traced([program, "20"], tmp_path, depth=32)
    trace = image(tmp_path)
    leaks = [event for event in trace.events if event.size == 2001 and event.op == "malloc"]
    assert len(leaks) == 20
    for event in leaks:
        frames = trace.frames(event.stack)
        go = [trace.file_of(address - 1)[0] for address, is_go in frames if is_go]
        assert len(go) >= 5
        assert set(go) == {str(program)}


def test_a_stripped_program_runs_without_go_stacks(source: Path, tmp_path: Path) -> None:
    program = build(source, "stripped", "-ldflags=-s -w")
    assert "has no DWARF" in inspect(program).notes[0]
    traced([program, "5"], tmp_path, depth=32)
    trace = image(tmp_path)
    assert not trace.flags & GO
    assert sum(event.size == 1000 for event in trace.events) == 5


def test_a_program_without_cgo_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module plain\n\ngo 1.23\n")
    (tmp_path / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    program = build(tmp_path, "plain")
    run = command("--", program)
    assert b"without cgo" in run.stderr
    assert b"hello" in run.stderr


def test_a_go_program_that_another_one_starts(service: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    run = command("--keep", folder, "--depth", "32", "--", "env", "A=b", service, "2")
    assert run.returncode == 0
    trace = next(trace for trace in images(folder) if trace.exe == str(service))
    event = next(event for event in trace.events if event.size == 1002)
    assert f"main.worker main.go:{line('leakInC(1000')}" in go_stack(trace, event, service)


def test_many_goroutines_at_once(service: Path, tmp_path: Path) -> None:
    traced([service, "5000"], tmp_path, depth=32, env=dict(os.environ) | {"GOGC": "1"})
    trace = image(tmp_path)
    assert trace.lost == 0
    counts = collections.Counter(event.size for event in trace.events if event.op == "malloc")
    assert counts[77] == 20_000
    assert all(counts[kind + k] == 5000 for kind in (1000, 2000, 3000) for k in range(4))
    assert len(trace.stacks) < 2000


def test_the_report_names_every_line(service: Path) -> None:
    run = command("--json", "--depth", "32", "--", service, "100")
    assert run.returncode == 0
    said = json.loads(run.stderr[run.stderr.index(b"{") :])
    stacks = {}
    for leak in said["leaks"]:
        frames = [said["frames"][number] for number in leak["stack"]]
        own = [
            f"{frame['function']}:{frame['line']}"
            for frame in frames
            if Path(frame["file"]).name == "main.go" and frame["go"]
        ]
        stacks[(leak["calls"], *own)] = (leak["blocks"], leak["bytes"])
    common = [f"main.main.func1:{line('worker(k, rounds)')}"]
    in_c = [f"main.leakInC:{line('C.in_c(C.size_t')}", f"main.worker:{line('leakInC(1000')}"]
    malloc = [
        f"main.small:{line('func small(')}",
        f"main.leakMalloc:{line('small(n))')}",
        f"main.worker:{line('leakMalloc(2000')}",
    ]
    string = [
        f"main.smaller:{line('func smaller(')}",
        f"main.leakString:{line('smaller(s)))')}",
        f"main.worker:{line('leakString(string(')}",
    ]
    assert stacks[("", *in_c, *common)] == (400, 100 * (4 * 1000 + 6))
    assert stacks[("C.malloc", *malloc, *common)] == (400, 100 * (4 * 2000 + 6))
    assert stacks[("C.CString", *string, *common)] == (400, 100 * (4 * 3000 + 6))


def test_go_tool_pprof_shows_the_lines(service: Path, tmp_path: Path) -> None:
    profile = tmp_path / "out.pb.gz"
    run = command("--pprof", profile, "--depth", "32", "--", service, "100")
    assert run.returncode == 0
    argv = [find_go(), "tool", "pprof", "-top", "-cum", "-sample_index=inuse_objects", str(profile)]
    env = os.environ | ENV | shared() | {"PPROF_TMPDIR": str(tmp_path)}
    top = subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout
    rows = {words[5]: words[3] for words in map(str.split, top.splitlines()) if len(words) > 5}
    assert rows["main.worker"] == "1200"
    assert rows["main.leakInC"] == rows["main.leakString"] == "400"
    assert rows["main.leakMalloc"] == "402"  # two from the callbacks

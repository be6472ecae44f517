"""The tracer writes down what a program does, all of it, at every moment of its life."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
from pathlib import Path

import pytest
from heapscope.recorders.trace import compile_library, environment, library, troubles
from tracer_programs import compiled, traced
from tracer_records import (
    ALLOCATOR,
    EVENTS,
    FINISHED,
    FORKED,
    Event,
    Image,
    image,
    images,
    live,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracer")
    compiled(folder, "driver")
    compiled(folder, "odd")
    compiled(folder, "own", "-shared", "-fPIC")
    own = [f"-L{folder}", "-l:own", f"-Wl,-rpath,{folder}", "-Wl,--no-as-needed"]
    compiled(folder, "odd", *own).rename(folder / "odd-own")
    compiled(folder, "odd")
    library()
    return folder


def by_thread(events: list[Event]) -> dict[int, list[Event]]:
    result = collections.defaultdict(list)
    for event in events:
        result[event.thread].append(event)
    return dict(result)


def check_driver(
    built: Path, folder: Path, seed: int, threads: int, calls: int, depth: int
) -> None:
    run = traced([built / "driver", str(seed), str(threads), str(calls)], folder, depth=depth)
    said = collections.defaultdict(list)
    left = set()
    for line in run.stdout.decode().splitlines():
        words = line.split()
        if words[0] == "left":
            left.add(int(words[1], 16))
        else:
            pointer = 0 if words[2] == "(nil)" else int(words[2], 16)
            said[int(words[0])].append((words[1], pointer, int(words[3]), int(words[4])))
    trace = image(folder)
    own = trace.own()
    assert trace.lost == 0
    seen = {
        thread: [(event.op, event.pointer, event.size, event.alignment) for event in events]
        for thread, events in by_thread(own).items()
    }
    assert seen == dict(said)
    # The order across threads is right as well, or a block would be given out twice.
    assert {event.pointer for event in live(own)} == left


@pytest.mark.parametrize("seed", range(50))
def test_the_trace_says_what_the_program_says(built: Path, tmp_path: Path, seed: int) -> None:
    check_driver(built, tmp_path, seed, 1 + seed % 4, 300 + seed % 7 * 100, seed % 3 * 8)


@pytest.mark.long
@pytest.mark.parametrize("part", range(100))
def test_ten_thousand_seeds(built: Path, tmp_path: Path, part: int) -> None:
    for seed in range(50 + part * 100, 150 + part * 100):
        check_driver(built, tmp_path / str(seed), seed, 1 + seed % 8, 400, seed % 3 * 8)


def test_with_many_threads_nothing_is_lost(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "threads", "20000"], tmp_path, depth=16)
    trace = image(tmp_path)
    counts = {thread: len(events) for thread, events in by_thread(trace.own()).items()}
    assert sorted(counts.values()) == [40_000] * 8
    assert trace.lost == 0
    assert trace.windows <= 9


def test_short_lived_threads_share_windows_and_are_told_apart(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "brief", "800"], tmp_path)
    trace = image(tmp_path)
    threads = by_thread(trace.own())
    # Each: 5 pairs, the block of the destructor, and 10 pairs at the thread's very end.
    assert [len(events) for events in threads.values()] == [32] * 800
    assert trace.windows < 40


def test_before_main_at_exit_and_after(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "ends", "70"], tmp_path)
    trace = image(tmp_path)
    assert len(trace.own()) == 4 * 2 * 70
    assert trace.flags & FINISHED


def test_a_tree_of_forks(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "tree", "3000"], tmp_path)
    traces = images(tmp_path)
    assert len(traces) == 1 + 3 + 9
    counts = collections.Counter(len(trace.own()) for trace in traces)
    assert counts == {12_000: 4, 6000: 9}
    by_pid = {trace.pid: trace for trace in traces}
    for trace in traces:
        if trace.flags & FORKED:
            parent = by_pid[trace.parent]
            assert trace.parent_file == parent.path.name
        list(live(trace.events, inherited=bool(trace.flags & FORKED)))


def test_a_fork_from_a_thread(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "forker", "500"], tmp_path, depth=16)
    assert sorted(len(trace.own()) for trace in images(tmp_path)) == [1000, 1000, 1000, 2000]


def test_exec_in_the_same_process(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "exec", "5"], tmp_path)
    traces = images(tmp_path)
    assert len({trace.pid for trace in traces}) == 1
    assert sorted(len(trace.own()) for trace in traces) == [2, 4, 6, 8, 10]
    assert sorted(trace.path.name.split("-")[1] for trace in traces) == [
        f"{n}.heap" for n in range(5)
    ]


def test_vfork(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "vfork", "5"], tmp_path)
    traces = images(tmp_path)
    assert len(traces) == 6
    assert sorted(len(trace.own()) for trace in traces) == [0, 0, 0, 0, 0, 10]


@pytest.mark.parametrize("depth", [0, 16])
def test_what_a_killed_program_did_is_there(built: Path, tmp_path: Path, depth: int) -> None:
    for attempt, lines in enumerate((1, 2, 3, 20, 60)):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        env = environment(folder, depth=depth)
        argv = [str(built / "odd"), "forever", "997"]
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout
            said = [int(program.stdout.readline()) for _ in range(lines)][-1]
            program.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in program.stdout if line.endswith("\n"))])
        trace = image(folder)
        own = trace.own()
        assert not trace.flags & FINISHED
        assert len(own) >= 2 * (said + 1)
        assert len(own) <= 2 * (said + 1 + 997)
        assert [event.op for event in own] == (["malloc", "free"] * len(own))[: len(own)]
        assert len(list(live(own))) <= 1


def test_a_crash_is_the_programs_own(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "crash", "10000"], tmp_path, status=-signal.SIGSEGV)
    assert len(image(tmp_path).own()) == 20_000


@pytest.mark.parametrize("way", ["alarms", "alarms-other-stack"])
def test_in_signal_handlers(built: Path, tmp_path: Path, way: str) -> None:
    run = traced([built / "odd-own", way, "100000"], tmp_path, depth=16)
    handled = int(run.stdout.split()[0])
    trace = image(tmp_path)
    own = trace.own()
    assert trace.flags & ALLOCATOR
    assert handled > 20
    assert trace.lost == 0
    assert collections.Counter((event.op, event.size) for event in own) == {
        ("malloc", 100): 100_000,
        ("malloc", 33): handled,
        ("free", 0): 100_000 + handled,
    }


def test_signals_within_the_tracer_itself_are_not_lost(built: Path, tmp_path: Path) -> None:
    for attempt in range(40):
        folder = tmp_path / str(attempt)
        run = traced([built / "odd-own", "alarms", "50000"], folder, depth=16)
        own = image(folder).own()
        assert sum(event.size == 33 for event in own) == int(run.stdout.split()[0])
        if any(event.shared for event in own):
            return
    pytest.fail("no signal came while the tracer was at work")


def test_handlers_that_never_return(built: Path, tmp_path: Path) -> None:
    run = traced([built / "odd-own", "jumps", "50000"], tmp_path, depth=16)
    trace = image(tmp_path)
    assert sum(event.size == 33 for event in trace.own()) == int(run.stdout.split()[0])


@pytest.mark.parametrize("name", ["odd", "odd-own"])
def test_frame_pointers_that_lead_nowhere(built: Path, tmp_path: Path, name: str) -> None:
    traced([built / name, "frames", "5000"], tmp_path, depth=64)
    trace = image(tmp_path)
    assert trace.lost == 0
    for number in {event.stack for event in trace.events}:
        for address, _ in trace.frames(number)[1:]:
            assert trace.file_of(address)[0]


@pytest.mark.parametrize("count", [20_000, 20_001])
def test_no_descriptor_left_for_a_while(built: Path, tmp_path: Path, count: int) -> None:
    traced([built / "odd", "few-files", str(count)], tmp_path)
    trace = image(tmp_path)
    own = trace.own()
    # The odd count has a window before its time of need, and that is filled.
    assert (trace.lost < 2 * count) == count % 2
    assert trace.lost > 0
    assert len(own) + trace.lost == 4 * count + count % 2 * 2
    assert trace.lost_records == (trace.lost if count % 2 else 0)
    assert any("could not be recorded" in text for text in troubles(tmp_path))


def test_a_program_that_closes_all_files_keeps_its_own(built: Path, tmp_path: Path) -> None:
    traced([built / "odd", "closes", "20000"], tmp_path)
    assert len(image(tmp_path).own()) == 40_000


def test_a_limit_on_file_size_ends_the_recording_only(built: Path, tmp_path: Path) -> None:
    shell = f"ulimit -f 5000; exec {built}/odd threads 50000"
    run = traced(["/bin/sh", "-c", shell], tmp_path)
    assert run.stdout == b"done\n"
    trace = max(images(tmp_path), key=lambda trace: len(trace.events))
    assert trace.stopped
    assert trace.path.stat().st_size <= 5000 * 512
    assert len(trace.events) > 30_000
    assert any("ulimit -f" in text for text in troubles(tmp_path))


def test_a_full_disk_ends_the_recording_only(built: Path, tmp_path: Path) -> None:
    for size in ("512k", "100k", "8k"):
        folder = tmp_path / size
        folder.mkdir()
        shell = (
            f"mount -t tmpfs -o size={size} none {folder} && {built}/odd threads 50000 && "
            f"unset LD_PRELOAD && mkdir {folder}-kept && cp -r {folder}/. {folder}-kept"
        )
        argv = ["unshare", "-rm", "/bin/sh", "-c", shell]
        env = environment(folder)
        run = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60)
        if b"done" not in run.stdout:
            assert b"mount" in run.stderr or b"unshare" in run.stderr, run
            pytest.skip("this machine does not allow a file system of one's own")
        kept = tmp_path / f"{size}-kept"
        assert troubles(kept)
        assert "No space left" in troubles(kept)[0] or "disk is full" in troubles(kept)[0]
        if size == "512k":
            assert len(images(kept)[0].own()) > 10_000


def test_a_program_without_any_call_leaves_a_trace(tmp_path: Path) -> None:
    traced(["/bin/true"], tmp_path)
    trace = image(tmp_path)
    assert trace.exe.endswith("true")
    assert any("libc" in path for *_, path in trace.maps)


def test_where_it_may_not_write_the_program_runs(built: Path, tmp_path: Path) -> None:
    env = environment(tmp_path) | {"HEAPSCOPE_TRACE_DIR": str(tmp_path / "missing")}
    argv = [str(built / "odd"), "threads", "1000"]
    assert subprocess.run(argv, env=env, capture_output=True, check=True).stdout == b"done\n"
    assert list(tmp_path.iterdir()) == []
    assert "could not write" in troubles(tmp_path)[0]


def test_memory_is_bounded(built: Path, tmp_path: Path) -> None:
    def peak(env: dict[str, str]) -> int:
        argv = [str(built / "odd"), "threads", "300000"]
        program = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = status
        assert status == 0
        return usage.ru_maxrss

    plain = peak(dict(os.environ))
    assert peak(environment(tmp_path, depth=16)) - plain < 4096  # KiB, for 4.8 million events
    assert image_events(tmp_path) > 4_800_000


def with_library(built: Path, folder: Path, define: str, *words: str, depth: int) -> Image:
    so = folder / "trace.so"
    compile_library(so, [define])
    place = folder / "trace"
    place.mkdir()
    env = environment(place, depth=depth) | {"LD_PRELOAD": str(so)}
    subprocess.run([str(built / words[0]), *words[1:]], env=env, capture_output=True, check=True)
    return image(place)


def test_more_threads_than_windows(built: Path, tmp_path: Path) -> None:
    words = ("odd", "threads", "5000")
    trace = with_library(built, tmp_path, "-DHS_WINDOWS=1", *words, depth=16)
    assert trace.windows == 1
    assert trace.lost == 0
    assert all(event.shared for event in trace.own())
    counts = {thread: len(events) for thread, events in by_thread(trace.own()).items()}
    assert sorted(counts.values()) == [10_000] * 8
    list(live(trace.own()))


def test_more_stacks_than_the_table_holds(built: Path, tmp_path: Path) -> None:
    words = ("driver", "3", "4", "2000")
    trace = with_library(built, tmp_path, "-DHS_TABLE_BITS=4", *words, depth=16)
    assert trace.cut > 0
    assert trace.lost == 0
    assert len(trace.stacks) <= 16 + 4
    assert all(event.stack == 0 or event.stack in trace.stacks for event in trace.events)


def image_events(folder: Path) -> int:
    """Count events without making objects of them."""
    (path,) = folder.glob("*.heap")
    return path.stat().st_size // 16


def test_events_have_their_function(built: Path, tmp_path: Path) -> None:
    check_driver(built, tmp_path, 1, 4, 3000, 16)
    seen: Image = image(tmp_path)
    assert {event.op for event in seen.own()} == EVENTS

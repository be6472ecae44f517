"""A child in which anything may happen: its end, its words and its last heap come back."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from heapscope import Heap, child
from heapscope.model.snapshot import Snapshot, State
from heapscope.recorders.child import MOST_OUTPUT, ChildError
from heapscope.recorders.heap import HeapError, RefusedError
from heapscope.recorders.memory import places


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No descriptor, process or tracer outlives a child."""
    os.listdir("/proc/self/fd")
    Heap().close()  # opens what is opened once
    before, tracer = open_files(), sys.gettrace()
    yield
    assert open_files() == before
    assert children() == []
    assert sys.gettrace() is tracer


def open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue
    return sorted(name for name in found if "/proc/" not in name)


def children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(number) for number in text.split()]


def shot_of(c: child) -> Snapshot:
    assert c.snapshot is not None
    return c.snapshot


# ---- how it ended


def test_the_body_runs_in_the_child_only() -> None:
    here = os.getpid()
    ran = False
    with child() as c:
        ran = True
        assert os.getpid() != here
    assert not ran
    assert (c.signal, c.exit, c.message, c.stdout, c.stderr) == (None, 0, "", "", "")
    assert not c.timed_out


def test_variables_of_the_body_stay_there() -> None:
    value = [1]
    with child():
        value.append(2)
        value = [3]
    assert value == [1]


@pytest.mark.parametrize("status", [0, 1, 3, 255])
def test_an_exit_status(status: int) -> None:
    with child() as c:
        os._exit(status)
    assert (c.signal, c.exit) == (None, status)


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (4, 4), ("words", 1)])
def test_sys_exit(code: object, status: int) -> None:
    with child() as c:
        sys.exit(code)  # type: ignore[arg-type]
    assert c.exit == status


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGFPE", "SIGKILL", "SIGTERM", "SIGINT"])
def test_a_signal(name: str) -> None:
    with child() as c:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)
    assert (c.signal, c.exit) == (name, None)


def test_output_comes_back_in_order() -> None:
    with child() as c:
        print("one")
        print("two", file=sys.stderr)
        os.write(1, b"three\n")
        os.system("echo four")
    assert c.stdout == "one\nthree\nfour\n"
    assert c.stderr == "two\n"
    assert repr(c) == "one\nthree\nfour\ntwo\n[exit status 0]"


def test_an_exception_in_the_body() -> None:
    with (
        pytest.raises(ChildError, match=r"^the body of child\(\) ended with KeyError: 'x'$"),
        child() as c,
    ):
        {}["x"]  # type: ignore[index]
    assert c.exit == 1
    assert "Traceback" in c.stderr


def test_a_refusal_is_none_in_a_child(heap: Heap) -> None:
    """Undefined behaviour is what the child is for; what is wrong in Python is still an error."""
    a = heap.lib.malloc(24)
    heap.lib.free(a)
    with child() as c:
        heap.lib.free(a)
    assert c.message == "free(): double free detected in tcache 2"
    with pytest.raises(ChildError, match="TypeError"), child():
        heap.lib.free("a")
    with pytest.raises(RefusedError):
        heap.lib.free(a)


def test_an_error_that_is_raised_before_the_body() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        child(timeout=0)
    with pytest.raises(ValueError, match="more than 0"):
        child(timeout=-1)
    with pytest.raises(ValueError, match="more than 0"):
        child(timeout=float("nan"))


def test_a_child_runs_once() -> None:
    with child() as c:
        pass
    with pytest.raises(HeapError, match="make another one"), c:
        pass


# ---- time


def test_a_timeout() -> None:
    started = time.monotonic()
    with child(timeout=0.3) as c:
        print("before", flush=True)
        while True:
            pass
    assert time.monotonic() - started < 3
    assert c.timed_out
    assert (c.signal, c.message, c.stdout) == ("SIGKILL", "ended after 0.3 s", "before\n")
    assert "ended after 0.3 s" in repr(c)


def test_a_timeout_when_the_streams_were_closed() -> None:
    started = time.monotonic()
    with child(timeout=0.3) as c:
        os.close(1)
        os.close(2)
        time.sleep(60)
    assert c.timed_out
    assert time.monotonic() - started < 3


def test_a_timeout_when_signals_are_ignored() -> None:
    with child(timeout=0.3) as c:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(60)
    assert c.timed_out


def test_what_the_body_starts_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    started = time.monotonic()
    with child() as c:
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            note.write_text(str(sleeper.pid))
            os._exit(0)
    assert c.exit == 0
    assert time.monotonic() - started < 3
    assert not alive(int(note.read_text()))


def alive(pid: int) -> bool:
    for _ in range(100):
        try:
            state = (
                Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
            )
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, time, pathlib\nfrom heapscope import child\n"
        "with child(timeout=60) as c:\n"
        f"    pathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(400):
        if note.exists() and note.read_text():
            break
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    assert not alive(int(note.read_text()))


def test_an_interrupt_while_waiting() -> None:
    """Stop in a notebook: the child ends, KeyboardInterrupt goes on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with child(timeout=60):
                time.sleep(60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 5


# ---- output


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_of_output(stream: int) -> None:
    with child() as c:
        for _ in range(3000):
            os.write(stream, b"x" * 999 + b"\n")
    text = c.stdout if stream == 1 else c.stderr
    assert c.exit == 0
    assert len(text) == MOST_OUTPUT


def test_output_that_is_no_text() -> None:
    with child() as c:
        os.write(1, b"\xff\xfe\0ok")
    assert c.stdout == "��\0ok"


def test_much_output_and_then_death(heap: Heap) -> None:
    with child() as c:
        for _ in range(100):
            print("y" * 1000)
        heap.lib.free(heap.ffi.cast("char *", heap.lib.malloc(24)) + 1)
    assert c.message == "free(): invalid pointer"
    assert len(c.stdout) == 100 * 1001


# ---- the heap


def test_the_last_snapshot(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    heap.name(a=a)
    with child() as c:
        b = heap.lib.malloc(100)
        heap.lib.memset(b, 65, 100)
        heap.lib.free(a)
    shot = shot_of(c)
    assert shot.block("a").state is State.TCACHE
    chunk = shot.block("b")
    assert chunk.requested == 100
    assert any(word.data == b"A" * 8 for word in shot.words_of(chunk))
    assert shot.stop is not None
    assert (shot.stop.kind, shot.stop.status) == ("exit", 0)
    assert heap.snapshot().block("a").state is State.IN_USE


def test_the_snapshot_has_the_same_addresses(heap: Heap) -> None:
    heap.name(a=heap.lib.malloc(24))
    with child() as c:
        heap.lib.malloc(24)
    assert shot_of(c).block("a").at == heap.snapshot().block("a").at


@pytest.mark.parametrize("wrong", ["abort", "segv", "overflow", "python"])
def test_the_snapshot_of_a_death(heap: Heap, wrong: str) -> None:
    a, b = heap.lib.malloc(24), heap.lib.malloc(24)
    heap.name(a=a, b=b)
    with child() as c:
        heap.lib.malloc(40)
        if wrong == "abort":
            heap.lib.free(b)
            heap.lib.free(b)
        elif wrong == "segv":
            heap.ffi.cast("char *", 16)[0] = b"x"
        elif wrong == "overflow":
            heap.ffi.cast("long *", a)[3] = 0x19
            heap.lib.free(b)
        else:
            ctypes.string_at(16)
    shot = shot_of(c)
    assert shot.stop is not None
    assert shot.stop.signal == c.signal == ("SIGSEGV" if wrong in ("segv", "python") else "SIGABRT")
    assert shot.block("C").requested == 40
    if wrong == "overflow":
        assert shot.faults
        assert c.message == "free(): invalid size"
        assert shot.stop.message == "free(): invalid size in free"


def test_everything_smashed(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    with child() as c:
        heap.lib.memset(heap.ffi.cast("char *", a) - 0x2A0, 0x5A, 4096)
        heap.lib.malloc(24)
    assert c.signal in ("SIGABRT", "SIGSEGV")
    assert shot_of(c).faults
    assert not heap.snapshot().faults


def test_the_stack_is_gone(heap: Heap) -> None:
    """As in an endless recursion: the handler has a stack of its own."""
    heap.lib.malloc(24)
    stack = next(p for p in places() if p.path == "[stack]")
    with child() as c:
        heap.lib.malloc(100)
        size = ctypes.c_size_t(stack.high - stack.low)
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(stack.low), size, 0)
    assert c.signal == "SIGSEGV"
    assert [b.requested for b in shot_of(c).chunks if b.requested] == [24, 100]


def test_a_heap_that_was_never_used(heap: Heap) -> None:
    with child() as c:
        a = heap.lib.malloc(24)
        heap.lib.free(a)
        heap.lib.malloc(2_000_000)
    states = [chunk.state for chunk in shot_of(c).chunks]
    assert states == [State.TABLE, State.TCACHE, State.TOP, State.MMAPPED]


def test_a_heap_opened_in_the_child() -> None:
    with child() as c:
        own = Heap()
        block = own.lib.malloc(24)
        own.lib.free(block)
        own.lib.free(block)
    assert c.message == "free(): double free detected in tcache 2"
    assert shot_of(c).block("block").state is State.TCACHE


def test_no_heap_no_snapshot() -> None:
    with child() as c:
        pass
    assert c.snapshot is None or c.snapshot.chunks  # a heap of an earlier test may still be open


def test_the_heap_used_last(heap: Heap) -> None:
    with Heap() as other:
        heap.name(first=heap.lib.malloc(24))
        other.name(second=other.lib.malloc(24))
        with child() as c:
            heap.lib.malloc(1)
        assert shot_of(c).block("first")
        with child() as c:
            pass
        assert shot_of(c).block("second")


def test_a_heap_closed_in_the_child(heap: Heap) -> None:
    heap.lib.malloc(24)
    with child() as c:
        heap.close()
    assert c.exit == 0
    heap.lib.malloc(24)


def test_a_thread_in_the_child(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    heap.name(a=a)
    with child() as c:
        with heap.thread() as other:
            other.free(a)
            other.malloc(100)
    shot = shot_of(c)
    assert shot.block("a").state is State.TCACHE
    assert {chunk.arena for chunk in shot.chunks} == {"main", "thread 1"}


def test_a_loop_of_calls_until_it_breaks(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    with child() as c:
        for _ in range(3000):
            heap.lib.free(heap.lib.malloc(50))
        heap.lib.free(a)
        heap.lib.free(a)
    assert c.signal == "SIGABRT"
    assert heap.lib.malloc_usable_size(a) == 24


def test_a_large_mapped_block_is_not_copied_whole(heap: Heap) -> None:
    heap.lib.malloc(24)
    started = time.monotonic()
    with child() as c:
        heap.lib.malloc(4 << 30)
    assert shot_of(c).chunks[-1].size > 4 << 30
    assert time.monotonic() - started < 5


# ---- where it stands


def test_in_one_line() -> None:
    # fmt: off
    with child() as c: os._exit(5)  # noqa: E701
    # fmt: on
    assert c.exit == 5


def test_without_a_name() -> None:
    with child():
        os._exit(5)


def test_into_no_plain_name() -> None:
    held: dict[str, child] = {}
    with pytest.raises(HeapError, match="plain name"), child() as held["c"]:
        os._exit(6)
    with pytest.raises(HeapError, match="plain name"):
        child().__enter__()
    assert held == {}


def test_into_a_global_and_a_variable_of_an_outer_function() -> None:
    space: dict[str, Any] = {"child": child, "os": os}
    exec("def f():\n    global c\n    with child() as c:\n        os._exit(4)\nf()", space)
    assert space["c"].exit == 4
    outer: child | None = None

    def inner() -> None:
        nonlocal outer
        with child() as outer:
            os._exit(5)

    inner()
    assert outer is not None
    assert outer.exit == 5


def test_with_others_in_one_statement(heap: Heap) -> None:
    with Heap() as other, child() as c:
        heap.lib.malloc(24)
        os._exit(7)
    assert c.exit == 7
    assert other.closed


def test_in_a_loop_and_a_generator() -> None:
    def ends() -> Iterator[int | None]:
        for status in range(3):
            with child() as c:
                os._exit(status)
            yield c.exit

    assert list(ends()) == [0, 1, 2]


def test_in_a_function_with_closures() -> None:
    value = 3

    def function() -> child:
        with child() as c:
            print(value)
            (lambda: os._exit(value))()
        return c

    c = function()
    assert (c.stdout, c.exit) == ("3\n", 3)


def test_a_child_in_a_child() -> None:
    with child() as outer:
        with child() as inner:
            os._exit(4)
        print(inner.exit, inner.signal)
    assert outer.stdout == "4 None\n"


def test_a_body_that_leaves_early() -> None:
    def function() -> str:
        with child():
            return "in the child"
        return "behind"

    assert function() == "behind"
    for _ in range(2):
        with child() as c:
            break
        assert c.exit == 0
    else:
        return
    pytest.fail("the loop ended in the parent")


def test_in_compiled_text() -> None:
    space: dict[str, Any] = {"child": child, "os": os}
    exec("with child() as c:\n    x = 1\n    os._exit(2)\ny = 3", space)
    assert space["c"].exit == 2
    assert "x" not in space
    assert space["y"] == 3
    exec("with child() as c: os._exit(2)", space)
    exec("with child() as c: pass", space)
    assert space["c"].exit == 0


def test_many_children() -> None:
    for _ in range(30):
        with child() as c:
            pass
        assert c.exit == 0


# ---- tracers


def test_a_tracer_goes_on() -> None:
    lines: list[int] = []

    def trace(frame: Any, kind: str, arg: Any) -> Any:
        if frame.f_code.co_name == "body" and kind == "line":
            lines.append(frame.f_lineno - frame.f_code.co_firstlineno)
        return trace

    def body() -> int:
        a = 1
        with child() as c:
            os._exit(3)
        b = 2
        assert c.exit == 3
        return a + b

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert body() == 3
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert lines[:2] == [1, 2]
    assert lines[-3:] == [4, 5, 6]


def test_a_profiler_goes_on() -> None:
    seen = []
    sys.setprofile(lambda frame, kind, arg: seen.append(kind))
    try:
        with child() as c:
            os._exit(3)
    finally:
        sys.setprofile(None)
    assert c.exit == 3
    assert seen


def test_under_pdb(tmp_path: Path) -> None:
    code = (
        "import os\nfrom heapscope import child\nwith child() as c:\n    os._exit(3)\n"
        "print('ended with', c.exit)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    steps = [part for step in ("next", "next", "next", "continue", "quit") for part in ("-c", step)]
    run = subprocess.run(
        [sys.executable, "-m", "pdb", *steps, str(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ended with 3" in run.stdout, run.stdout + run.stderr
    assert run.stdout.count("ended with 3") == 1


EMPTY = (
    "with child() as c: pass",
    "with child() as c: ...",
    "with child() as c:\n    'words'",
    "with child():\n    pass\nc = None",
    "with child() as c, open('/dev/null'):\n    pass",
    "for _ in range(2):\n    with child() as c:\n        continue",
    "def f():\n    with child() as c:\n        pass\n    return c\nc = f()",
    "async def f():\n    with child() as c:\n        pass\n    return c\n"
    "import asyncio\nc = asyncio.run(f())",
    "def f():\n    with child():\n        return\nc = f()",
)


@pytest.mark.parametrize("text", EMPTY)
def test_a_body_of_nothing(text: str) -> None:
    space: dict[str, Any] = {"child": child}
    exec(text, space)
    assert space["c"] is None or space["c"].exit == 0


BODIES = (
    "os._exit(3)",
    "x = 1; os._exit(3)",
    "global y; y = 1; os._exit(3)",
    "import os as o; o._exit(3)",
    "[os._exit(3) for _ in range(1)]",
    "raise SystemExit(3)",
    "\n        if True:\n            os._exit(3)",
    "\n        while True:\n            os._exit(3)",
    "\n        for n in range(3, 4):\n            os._exit(n)",
    "\n        try:\n            1 / 0\n        except ZeroDivisionError:\n            os._exit(3)",
    "\n        with open('/dev/null') as f:\n            os._exit(3)",
    "\n        def g():\n            os._exit(3)\n        g()",
    "\n        del os.environ['HOME']\n        os._exit(3)",
    "\n        assert os._exit(3)",
    "\n        try:\n            os._exit(3)\n        except BaseException:\n            pass",
    "\n        try:\n            os._exit(3)\n        finally:\n            x = 1",
    "\n        with child() as d:\n            os._exit(1)\n        os._exit(3)",
)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("inside", ["function", "module"])
def test_all_sorts_of_bodies(body: str, inside: str) -> None:
    text = f"with child() as c:{' ' if body[0] != chr(10) else ''}{body}"
    if inside == "function":
        text = f"def f():\n    {text}\n    return c\nc = f()"
    else:
        text = text.replace("\n    ", "\n")
    space: dict[str, Any] = {"child": child, "os": os}
    home = os.environ.get("HOME")
    exec(text, space)
    assert space["c"].exit == 3
    assert not {"x", "y", "o"} & set(space)
    assert os.environ.get("HOME") == home

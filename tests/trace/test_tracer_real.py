"""Programs of every day do the same under the tracer; the command passes all through."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from heapscope.recorders import trace as recorder
from tracer_programs import command, traced
from tracer_records import images, live

TEXT = "\n".join(str(random.Random(7).getrandbits(60)) for _ in range(50_000)).encode()
SQL = (
    b"create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all "
    b"select i+1 from n where i<20000) insert into t select i, hex(i*7919) from n; "
    b"create index x on t(b); select count(*), sum(length(b)), max(b) from t; "
    b"select b from t order by b desc limit 5;"
)
PYTHON = (
    "import json, re, threading\nx = {str(i): [i] * (i % 9) for i in range(30000)}\n"
    "print(len(json.dumps(x)), sum(map(len, x.values())))\n"
    "t = [threading.Thread(target=lambda: sorted(map(str, range(9999)))) for _ in range(8)]\n"
    "[i.start() for i in t]; [i.join() for i in t]\n"
    "print(re.sub('1+', 'x', str(2 ** 4000))[-50:])\n"
    "raise SystemExit(7)"
)
GIT = (
    "git init -q -b main . && git config user.email a@b && git config user.name n && "
    "seq 1 20000 >f && git add f && git -c gc.auto=0 commit -qm one && seq 2 20001 >f && "
    "git commit -qam two && git log --format='%s %an' --stat && git gc -q && git fsck && "
    "git diff HEAD~1 --shortstat; git nonsense; exit 3"
)
PROGRAMS: dict[str, tuple[list[str], bytes]] = {
    "sort": (["sort", "--parallel=4", "-S1M"], TEXT),
    "sqlite3": (["sqlite3"], SQL),
    "python3": ([sys.executable, "-c", PYTHON], b""),
    "gzip": (["gzip", "-9", "-n"], TEXT),
    "git": (["sh", "-c", GIT], b""),
    "awk": (["awk", "{a[$1%997]+=length($1)} END {for (i in a) s+=a[i]*i; print s}"], TEXT),
    "ls": (["ls", "-l", "/usr/lib"], b""),
    "bash": (
        ["bash", "-c", "for i in {1..50}; do (echo $((i*i)) | cat); done; kill -TERM $$"],
        b"",
    ),
    "perl": (
        ["perl", "-e", "my %h; $h{$_ % 999} .= $_ for 1..99999; print length join '', %h"],
        b"",
    ),
    "gcc": (["gcc", "-O2", "-x", "c", "-", "-S", "-o", "-"], b"int f(int a){return a*3+1;}\n"),
}


@pytest.mark.parametrize("depth", [0, 16])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same(tmp_path: Path, name: str, depth: int) -> None:
    argv, stdin = PROGRAMS[name]
    program = shutil.which(argv[0])
    if program is None:
        pytest.skip(f"{argv[0]} is not installed")
    argv = [program, *argv[1:]]
    plain_folder, folder = tmp_path / "plain", tmp_path / "folder"
    plain_folder.mkdir()
    folder.mkdir()
    env = dict(os.environ) | {"LC_ALL": "C", "PYTHONHASHSEED": "1", "HOME": str(tmp_path)}
    env |= {"GIT_COMMITTER_DATE": "1700000000 +0000", "GIT_AUTHOR_DATE": "1700000000 +0000"}
    plain = subprocess.run(
        argv, input=stdin, capture_output=True, check=False, env=env, cwd=plain_folder
    )
    traces = tmp_path / "traces"
    traces.mkdir()
    traced_env = recorder.environment(traces, depth=depth, base=env)
    under = subprocess.run(
        argv, input=stdin, capture_output=True, check=False, env=traced_env, cwd=folder
    )
    assert under.returncode == plain.returncode
    for was, now in ((plain.stdout, under.stdout), (plain.stderr, under.stderr)):
        assert now.replace(bytes(folder), b"") == was.replace(bytes(plain_folder), b"")
    seen = images(traces)
    assert any(Path(trace.exe).samefile(program) for trace in seen)
    if name != "gzip":  # which works in arrays of its own
        assert sum(len(trace.events) for trace in seen) > 10
    for trace in seen:
        assert trace.lost == trace.stopped == 0
        list(live(trace.events, inherited=bool(trace.flags & 1)))


def test_a_preload_of_the_users_stays(tmp_path: Path) -> None:
    env = recorder.environment(tmp_path, base={"LD_PRELOAD": "/some/other.so"})
    assert env["LD_PRELOAD"] == f"{recorder.library()}:/some/other.so"
    shell = ["/bin/sh", "-c", "exit 5"]
    assert traced(shell, tmp_path / "x", status=5).returncode == 5


def test_the_command_passes_all_through(tmp_path: Path) -> None:
    run = command("--", "sh", "-c", "cat; echo err >&2; exit 9", input=b"in\n")
    assert run.stdout == b"in\n"
    assert run.stderr.startswith(b"err\n")
    assert run.returncode == 9


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGTERM", "SIGABRT", "SIGPIPE"])
def test_the_command_dies_of_the_signal_of_the_program(name: str) -> None:
    run = command("--", "sh", "-c", f"kill -{name[3:]} $$")
    assert run.returncode == -signal.Signals[name]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_reaches_the_program_once(tmp_path: Path, name: str) -> None:
    script = (
        "import signal, sys, time\nn = []\n"
        f"signal.signal(signal.{name}, lambda *a: n.append(1))\n"
        f"open({str(tmp_path / 'up')!r}, 'w').close()\n"
        "end = time.time() + 20\n"
        "while not n and time.time() < end: time.sleep(0.01)\n"
        "time.sleep(0.3); print(len(n)); sys.exit(4)"
    )
    argv = [sys.executable, "-m", "heapscope", "trace", "--", sys.executable, "-c", script]
    env = dict(os.environ) | {"PYTHONPATH": str(Path(recorder.__file__).parents[2])}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        for _ in range(1000):
            if (tmp_path / "up").exists():
                break
            time.sleep(0.02)
        run.send_signal(signal.Signals[name])
        out, _ = run.communicate(timeout=60)
    assert out == b"1\n"
    assert run.returncode == 4


def test_what_cannot_be_started_is_said_in_a_sentence(tmp_path: Path) -> None:
    run = command("--", "no-such-program")
    assert run.returncode == 2
    assert run.stderr == b"heapscope trace: no-such-program is not there\n"
    text = tmp_path / "text"
    text.write_text("hello")
    run = command("--", text)
    assert run.returncode == 2
    assert b"is not executable" in run.stderr
    assert b"which program" in command().stderr
    run = command("--depth", "1000", "--", "true")
    assert run.stderr == b"heapscope trace: --depth is a number from 0 to 128\n"
    assert command("--keep", tmp_path, "--", "true").returncode == 2


def test_a_kept_trace_can_be_reported_on(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert command("--keep", kept, "--", "true").returncode == 0
    argv = [sys.executable, "-m", "heapscope", "report", str(kept)]
    env = dict(os.environ) | {"PYTHONPATH": str(Path(recorder.__file__).parents[2])}
    assert b"true" in subprocess.run(argv, env=env, capture_output=True, check=True).stdout


def test_the_library_builds_without_a_warning(tmp_path: Path) -> None:
    recorder.compile_library(tmp_path / "trace.so", ["-Wall", "-Wextra", "-Werror"])
    recorder.compile_library(tmp_path / "debug.so", ["-Wall", "-Wextra", "-Werror", "-O0"])
    names = subprocess.run(
        ["nm", "-D", "--defined-only", str(tmp_path / "trace.so")],
        capture_output=True, text=True, check=True,
    ).stdout.split()[2::3]  # fmt: skip
    functions = ["malloc", "calloc", "realloc", "reallocarray", "free", "memalign", "aligned_alloc"]
    functions += ["posix_memalign", "valloc", "pvalloc", "strdup", "strndup", "__strdup"]
    assert sorted(names) == sorted(functions)

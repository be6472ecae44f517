"""The one way in which this package runs a program: with limits, and without leftovers.

A program gets a session and a temporary folder of its own, no terminal, no core file, limits on CPU
time and file size, and capped outputs. Memory is limited by watching the resident size of the whole
tree: ``RLIMIT_AS`` ends AddressSanitizer and Go before they begin. When the program ends, or is
stopped, so does everything that it has started. This keeps a notebook tidy; it is no sandbox.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_GRACE = 15  # seconds for the supervisor to end a tree and clear away
PREFIX = "heapscope-"
_OURS = re.compile(r"heapscope-(?:trace-)?[a-z0-9_]{8}")  # as mkdtemp names them
_YOUNG = 5.0  # seconds in which a new folder may have no lock yet

# What a program inherits. The rest of the environment (MALLOC_…, LD_PRELOAD, ASAN_OPTIONS) would
# make a run depend on whose machine it is.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "TZ")


class MissingToolError(RuntimeError):
    """A compiler or tool is not installed; the message says how to install it."""


class RunnerError(RuntimeError):
    """The program could not be started or supervised."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    `timeout` in seconds of wall-clock time; `memory`, `file_size` (of one file), `disk` (of all
    files in its folder), `output` and `drain` in bytes; `processes` and `threads` in number, of all
    that it starts. Of each output stream the first `output` bytes are kept; a program that writes
    more than `drain` bytes is stopped.
    """

    timeout: float = 10.0
    memory: int = 2 << 30
    file_size: int = 64 << 20
    disk: int = 1 << 30
    processes: int = 256
    threads: int = 4096
    output: int = 200_000
    drain: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    `status` is the exit status, or minus the number of the signal that ended the program; None if
    it was stopped. `stopped` is a sentence without its subject, such as "stopped after 10 s".
    `peak_rss` is the largest resident size, in bytes, of the program or of a process it waited for
    (getrusage(2)); a process inherits the size of the one that started it, so a small program shows
    about 12 MB, the supervisor's.
    """

    status: int | None
    stopped: str | None
    timed_out: bool
    stdout: str
    stderr: str
    peak_rss: int
    seconds: float


@contextlib.contextmanager
def own_folder(prefix: str = PREFIX) -> Iterator[Path]:
    """Give a new temporary folder that is gone afterwards.

    Its owner holds a lock on it. A folder without one belonged to a process that was killed, and
    whoever makes a folder next removes it.
    """
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        remove(folder)
        os.close(lock)


def sweep() -> None:
    """Remove the folders of killed processes from the temporary folder."""
    temporary = Path(tempfile.gettempdir())
    try:
        names = [name for name in os.listdir(temporary) if _OURS.fullmatch(name)]
    except OSError:
        return
    for name in names:
        folder = temporary / name
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # it has just been removed, or is not ours to open
            continue
        try:
            state = os.fstat(lock)
            old = time.time() - state.st_ctime > _YOUNG
            if old and state.st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder)
        except OSError:  # somebody holds it
            continue
        finally:
            os.close(lock)


def remove(folder: Path) -> None:
    """Remove the folder, also where a program has taken the right to do so away."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)  # the program has put something else in its place
        return
    folder.chmod(0o700)
    for place, names, _ in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def find_tool(name: str, install: str) -> str:
    """Return the path of a tool on PATH.

    Raises MissingToolError with the command `install` when it is not there.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"{name} is not installed: {install}")
    return path


def words(text: str | Sequence[str]) -> list[str]:
    """Split options as a shell would; a list is taken as it is."""
    return shlex.split(text) if isinstance(text, str) else [str(word) for word in text]


def plain_environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a program's environment: the same on every machine, plus `extra`."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}
    return environment | {name: str(value) for name, value in (extra or {}).items()}


def build_environment(folder: Path) -> dict[str, str]:
    """Return a compiler's environment: the user's own, with English messages and our folder."""
    return dict(os.environ) | {"TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}


def run(
    argv: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    stdin: str = "",
    limits: Limits | None = None,
    randomise: bool = True,
) -> Outcome:
    """Run `argv` in `folder` and wait for its end.

    `argv[0]` is a path. `randomise=False` asks for fixed addresses: the sanitizers of gcc 12 and
    clang 14 cannot live with as much randomisation as newer kernels use. Where the kernel refuses,
    the addresses stay random. Raises RunnerError if the program cannot be started.
    """
    limits = limits or Limits()
    job = {
        "argv": [str(word) for word in argv],
        "cwd": str(folder),
        "folder": str(folder),
        "env": dict(env),
        "stdin": stdin,
        "timeout": limits.timeout,
        # A backstop; threads add up, so a program may use all cores for the whole time.
        "cpu": int(limits.timeout * (os.cpu_count() or 1)) + 10,
        "memory": limits.memory,
        "file_size": limits.file_size,
        "disk": limits.disk,
        "processes": limits.processes,
        "threads": limits.threads,
        "output": limits.output,
        "drain": limits.drain,
        "randomise": randomise,
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us only, and we tell the supervisor
    )
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    assert supervisor.stderr is not None
    try:
        supervisor.stdin.write(json.dumps(job).encode() + b"\n")
        supervisor.stdin.flush()
        answer = supervisor.stdout.read()
    finally:
        # The end of its input tells the supervisor to stop everything, also on KeyboardInterrupt.
        with contextlib.suppress(OSError):
            supervisor.stdin.close()
        try:
            supervisor.wait(_GRACE)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        trouble = supervisor.stderr.read().decode(errors="replace")
        supervisor.stdout.close()
        supervisor.stderr.close()
    line, _, data = answer.partition(b"\n")
    if not line:
        raise RunnerError(f"the supervisor of {argv[0]} ended without an answer: {trouble.strip()}")
    return _outcome(json.loads(line), data, limits, argv[0])


def _outcome(head: dict[str, object], data: bytes, limits: Limits, program: str) -> Outcome:
    if head["trouble"]:
        raise RunnerError(f"{program} could not be started: {head['trouble']}")
    kept = int(str(head["stdout"]))
    stopped = head["stopped"]
    reasons = {
        "time": f"stopped after {limits.timeout:g} s",
        "memory": f"stopped when it held more than {_size(limits.memory)} of memory",
        "processes": f"stopped when it had more than {limits.processes} processes",
        "threads": f"stopped when it had more than {limits.threads:,} threads",
        "disk": f"stopped when its files took more than {_size(limits.disk)}",
        "output": f"stopped after {limits.drain:,} bytes of output",
    }
    status = head["status"]
    return Outcome(
        status=int(str(status)) if status is not None and not stopped else None,
        stopped=reasons[str(stopped)] if stopped else None,
        timed_out=stopped == "time",
        stdout=_text(data[:kept], int(str(head["stdout_seen"])), limits.output),
        stderr=_text(data[kept:], int(str(head["stderr_seen"])), limits.output),
        peak_rss=int(str(head["peak_rss"])),
        seconds=float(str(head["seconds"])),
    )


def _text(data: bytes, seen: int, cap: int) -> str:
    r"""Decode an output; bytes that are not UTF-8 stay visible, as in ``\xff``."""
    if seen <= cap:
        return data.decode("utf-8", "backslashreplace")
    text = data.decode("utf-8", "backslashreplace")
    return f"{text}\n[output cut after {cap:,} bytes]\n"


def _size(count: int) -> str:
    """Return "2 GiB", "64 MiB"."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << shift:
            return f"{count / (1 << shift):g} {unit}"
    return f"{count} bytes"

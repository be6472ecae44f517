"""Which versions of the tools run here, and whether a claim was tried on them."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from heapscope.programs import go, runner

TOOLS = ("glibc", "gcc", "go", "python")

_CONSTRAINT = re.compile(r"(>=|<=|<|>|)\s*(\d+(?:\.\d+)*)")
_SECONDS = 20


@cache
def running() -> Mapping[str, str | None]:
    """Return the versions in use, None for a tool that is not there: asked once a process."""
    return {
        "glibc": _glibc(),
        "gcc": _said("gcc", "-dumpfullversion", pattern=r"(\d+(?:\.\d+)+)"),
        "go": _go(),
        "python": platform.python_version(),
    }


def covers(ranges: str | Iterable[str], version: str) -> bool:
    """Return whether `version` is in one of the `ranges`.

    A range is constraints that must all hold, with commas between: ``>=1.24``, ``>=2.26, <2.41``.
    A bare number stands for itself and all below it: ``12`` and ``12.2`` cover 12.2.0.
    ValueError names what is no range.
    """
    if isinstance(ranges, str):
        ranges = [ranges]
    return any(_holds(one, version) for one in ranges)


def _holds(constraints: str, version: str) -> bool:
    here = _numbers(version)
    for part in constraints.split(","):
        match = _CONSTRAINT.fullmatch(part.strip())
        if not match:
            raise ValueError(f"{part.strip()!r} is no version range: write 2.36, >=1.24 or <2.41")
        sign, named = match[1], _numbers(match[2])
        cut = here[: len(named)] + (0,) * (len(named) - len(here))
        if not {
            "": cut == named,
            ">=": cut >= named,
            "<=": cut <= named,
            ">": cut > named,
            "<": cut < named,
        }[sign]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    if not found:
        raise ValueError(f"{version!r} is no version: it begins with no number")
    return tuple(int(n) for n in found[0].split("."))


def _glibc() -> str | None:
    """Return glibc's own answer (gnu/libc-version.h); None on another libc."""
    try:
        ask = ctypes.CDLL(None).gnu_get_libc_version
    except (AttributeError, OSError):
        return None
    ask.restype = ctypes.c_char_p
    answer: bytes = ask()
    return answer.decode()


def _go() -> str | None:
    """Ask the go command that runs the programs, with the settings that it has there."""
    try:
        return go.version(go.find_go())
    except (runner.MissingToolError, runner.RunnerError):
        return None


def _said(tool: str, *args: str, pattern: str) -> str | None:
    """Return the version that a tool prints; the environment's own programs come first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which(tool, path=path)
    if program is None:
        return None
    try:
        run = subprocess.run(
            [program, *args], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, run.stdout)
    return found[1] if found else None

"""Set-up, the instrument's tests and the whole book with each version of Python.

``python -m tests.matrix.pythons`` looks for CPython 3.11 to 3.14 on this machine: in PATH, where
pyenv and uv keep theirs. A version that is not here is taken from a Debian that has it, as root
(3.13 from trixie, 3.14 from forky). For each it clones the last commit, runs ``.ci/setup``, the
tests in ``TESTS`` and ``make book``, and prints a row; nothing stays behind.

Exit status: 0 when everything that was tried passed, 1 when not.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.trust.record import Check

from . import chroot
from .chroot import ROOT, ChrootError, Folder

WANTED = ("3.11", "3.12", "3.13", "3.14")
DEBIAN = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
"""The Debian whose own Python is of a version."""
TESTS = ("glibc", "matrix", "model", "native", "recorders")
"""The instrument's tests: folders of ``tests``. Where the others run is ``make test``."""
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "jsonschema")
STEPS = ("set-up", "tests", "book")
COMMAND = "python -m tests.matrix.pythons"
_LIMIT = 3600.0  # seconds a step may take
_MARK = re.compile(r"^(?:=+ )?(?=.*\bpassed\b)(.+?)(?: in [\d.]+s.*)?(?: =+)?$", re.MULTILINE)

Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(slots=True)
class Row:
    """What one Python did."""

    version: str
    where: str = ""
    full: str = ""
    glibc: str = ""
    said: dict[str, str] = field(default_factory=dict)  # step -> in words
    passed: dict[str, bool | None] = field(default_factory=dict)


def find(version: str) -> Path | None:
    """Return the interpreter of a version ("3.12") on this machine, newest patch first."""
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    homes.append(Path.home() / ".local" / "share" / "uv" / "python")
    found = [p for home in homes for p in home.glob(f"*{version}.*/bin/python{version}")]
    found.sort(key=lambda p: [int(n) for n in re.findall(r"\d+", p.parts[-3])], reverse=True)
    here = shutil.which(f"python{version}")
    for candidate in [*found, *([Path(here)] if here else [])]:
        check = "import venv, ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        run = subprocess.run(
            [str(candidate), "-c", check], capture_output=True, text=True, check=False
        )
        if run.stdout.strip() == version:
            return candidate
    return None


def steps(row: Row, run: Runner, report: Callable[[str], None]) -> None:
    """Do the three steps through `run`, which runs a command in the clone."""
    python = ".venv/bin/python"
    about = (
        "import platform, os; print(platform.python_version(), os.confstr('CS_GNU_LIBC_VERSION'))"
    )
    tools = [python, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", *TOOLS]
    tests = [python, "-m", "pytest", *(f"tests/{name}" for name in TESTS)]
    tests += ["-q", "-m", "not long", "-n", "2", "--dist", "loadscope", "-p", "no:cacheprovider"]
    commands = {
        "set-up": [[".ci/setup", "book"], tools],
        "tests": [tests],
        "book": [["make", "book"]],
    }
    for step in STEPS:
        began = time.monotonic()
        done = [run(command) for command in commands[step]]
        seconds = time.monotonic() - began
        bad = next((one for one in done if one.returncode), None)
        row.passed[step] = bad is None
        if bad is not None:
            text = bad.stdout + bad.stderr
            report(f"--- Python {row.version}, {step}:\n{text[-6000:]}")
            row.said[step] = f"failed: {_last_words(text)}"
        else:
            row.said[step] = f"done in {seconds:.0f} s"
        if step == "tests":
            counted = _MARK.findall(done[0].stdout)
            row.said[step] = f"{counted[-1] if counted else row.said[step]}, {seconds:.0f} s"
        if step == "set-up":
            if bad is not None:
                break
            row.full, row.glibc = run([python, "-c", about]).stdout.split()[::2]


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def clone(target: Path) -> None:
    """Clone the last commit."""
    command = [
        "git",
        "clone",
        "--quiet",
        "--no-local",
        "--depth",
        "1",
        f"file://{ROOT}",
        str(target),
    ]
    subprocess.run(command, check=True)


def on_this_machine(row: Row, python: Path, report: Callable[[str], None]) -> None:
    """Try an interpreter of this machine."""
    row.where = "this machine"
    with tempfile.TemporaryDirectory(prefix="heapscope-python-") as name:
        place = Path(name)
        clone(place / "book")
        (place / "bin").mkdir()
        # .ci/setup takes the first python3 in PATH.
        (place / "bin" / "python3").symlink_to(python)
        env = dict(os.environ, PATH=f"{place / 'bin'}:{os.environ['PATH']}")
        for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYENV_VERSION"):
            env.pop(name, None)

        def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["nice", "env", "--default-signal=INT", *command],
                cwd=place / "book",
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LIMIT,
                check=False,
            )

        steps(row, run, report)


def in_debian(row: Row, suite: str, report: Callable[[str], None]) -> None:
    """Try the Python of a Debian in a folder."""
    row.where = f"Debian {suite}"
    folder = Folder(suite)
    folder.make()
    folder.install("make", "ca-certificates", "util-linux")
    place = folder.path / "root" / "book"
    shutil.rmtree(place, ignore_errors=True)
    try:
        clone(place)

        def inside(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
            return folder.run(["nice", *command], folder="/root/book", timeout=_LIMIT)

        steps(row, inside, report)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def attempt(version: str, report: Callable[[str], None]) -> Row:
    """Try one version, from this machine or from Debian."""
    row = Row(version)
    python = find(version)
    try:
        if python is not None:
            on_this_machine(row, python, report)
        elif version not in DEBIAN:
            row.said["set-up"] = "not tried: it is not on this machine, and no Debian has it"
        elif (missing := chroot.missing_tools()) is not None:
            row.said["set-up"] = f"not tried: it is not on this machine, and {missing}"
        else:
            in_debian(row, DEBIAN[version], report)
    except (ChrootError, subprocess.TimeoutExpired) as error:
        row.said["set-up"] = f"not tried: {error}"
    return row


def main(words: Sequence[str] | None = None) -> int:
    """Try the versions that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument(
        "versions", nargs="*", default=WANTED, help="3.12 …; all when none is given"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args(words)
    file = args.json or Path(tempfile.mkdtemp()) / "pythons.json"
    check = Check(file.stem, "Versions of Python", COMMAND, file.parent)
    versions = {}
    for version in args.versions:
        row = attempt(version, lambda text: print(text, file=sys.stderr, flush=True))
        name = f"Python {row.full or version}"
        if row.full:
            name += f", glibc {row.glibc} ({row.where})"
            versions[f"Python {version}"] = row.full
        aims = {
            "set-up": ".ci/setup ends well",
            "tests": f"no failure in tests/{{{','.join(TESTS)}}}",
            "book": "make book: no warning, no error",
        }
        for step in STEPS:
            said = row.said.get(step, row.said.get("set-up", "not tried"))
            if step not in row.passed and not said.startswith("not tried"):
                said = "not tried: set-up failed"
            check.figure(f"{name}: {step}", said, aims[step], row.passed.get(step))
    status = check.finish(**versions)
    if args.json is None:
        shutil.rmtree(file.parent)
    return status


if __name__ == "__main__":
    sys.exit(main())

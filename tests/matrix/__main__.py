"""Record heaps with other versions of glibc, and compare them with glibc's own types: make matrix.

For each version a folder is made with debootstrap (as root; about a minute and 0.7 GB each, kept
in ``_build/matrix`` until ``make clean``). In it, ``record.c`` is run under gdb; what heapscope
decodes is compared with what gdb reads through glibc's types, and the whole with the recording in
``tests/glibc/recorded``. Then heapscope is installed there, and a Heap and a film are tried.

Exit status: 0 when nothing differs, 1 when something does, 2 when nothing could be tried.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.trust.record import Check

from . import chroot, compare, record
from .chroot import ROOT, ChrootError, Folder

SUITES = {"2.31": "bullseye", "2.36": "bookworm", "2.41": "trixie", "2.43": "forky"}
"""The Debian that has a version of glibc."""
EMULATED = {"2.41-aarch64": "trixie"}
"""The same for aarch64, in an emulator: only the decoding is tried there."""
COMMAND = "python -m tests.matrix"
_OLDEST_PYTHON = (3, 11)
_COPIED = ("native", "constraints.txt")
_LEFT_OUT = shutil.ignore_patterns("build", "*.so", "*.o", "*.egg-info", "__pycache__")


@dataclass(slots=True)
class Row:
    """What came of one version."""

    version: str
    package: str = ""
    result: compare.Result | None = None
    wrong: list[str] = field(default_factory=list)
    heap: tuple[str, bool | None] = ("not tried", None)  # what came of it, whether it was right
    film: tuple[str, bool | None] = ("not tried", None)
    python: str = ""
    kept: str = ""  # how the recording compares with the one in the repository
    same: bool | None = None


def against_kept(recording: dict[str, Any], path: Path, write: bool) -> tuple[str, bool | None]:
    """Compare a new recording with the one in the repository, or put it there."""
    if write or not path.exists():
        record.save(recording, path)
        return "written", None
    old, new = compare.summary(record.load(path)), compare.summary(recording)
    differ = [
        name for (name, a), (other, b) in zip(old, new, strict=False) if (name, a) != (other, b)
    ]
    if len(old) != len(new):
        return f"{len(new)} states, the recording in the repository has {len(old)}", False
    if differ:
        return f"{len(differ)} states differ from the recording: {', '.join(differ[:3])}", False
    return f"all {len(new)} states are as recorded", True


def try_inside(folder: Folder, row: Row) -> None:
    """Install heapscope in a folder, and try a Heap and a film there."""
    asked = folder.run(["python3", "-c", "import sys; print(*sys.version_info[:3])"])
    found = tuple(int(n) for n in asked.stdout.split())
    row.python = ".".join(map(str, found))
    if found < _OLDEST_PYTHON:
        why = f"not tried: this Debian's Python is {row.python}, and heapscope needs 3.11"
        row.heap = row.film = why, None
        return
    place = folder.path / "root" / "try"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place / name, ignore=_LEFT_OUT)
            else:
                shutil.copy(ROOT / name, place / name)
        shutil.copy(Path(__file__).with_name("inside.py"), place)
        pip = ["venv/bin/python", "-m", "pip", "install", "--quiet", "-c", "constraints.txt"]
        for command in (["python3", "-m", "venv", "venv"], [*pip, "./native"]):
            ran = folder.run(command, folder="/root/try", timeout=1200)
            if ran.returncode:
                why = f"{' '.join(command)} failed: {_last(ran.stdout + ran.stderr)}"
                row.heap = row.film = why, False
                return
        row.heap, row.film = _ask(folder, "heap"), _ask(folder, "film")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _ask(folder: Folder, what: str) -> tuple[str, bool]:
    ran = folder.run(["venv/bin/python", "inside.py", what], folder="/root/try")
    if ran.returncode:
        return f"failed: {_last(ran.stdout + ran.stderr)}", False
    answer = json.loads(ran.stdout)
    return (f"wrong: {answer['wrong']}", False) if answer["wrong"] else (answer["done"], True)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def attempt(version: str, write: bool) -> Row:
    """Do everything with one version of glibc."""
    row, emulated = Row(version), version in EMULATED
    folder = Folder(EMULATED[version], "arm64") if emulated else Folder(SUITES[version])
    try:
        if emulated and (missing := chroot.missing_tools(chroot.EMULATION)) is not None:
            raise ChrootError(missing)
        seconds = folder.make()
        size = chroot.disk(folder.path) / 1e6
        took = f"made in {seconds:.0f} s" if seconds else "there already"
        print(
            f"glibc {version}: {folder.path.relative_to(ROOT)}, {took}, {size:.0f} MB", flush=True
        )
        if emulated:
            recording = record.record_emulated(folder, version.partition("-")[0])
        else:
            recording = record.record(folder, version)
    except ChrootError as error:
        row.kept = f"not tried: {error}"
        return row
    row.package = recording["package"]
    row.result = compare.compare(recording)
    row.wrong = row.result.differences
    row.kept, row.same = against_kept(recording, record.file_of(version), write and not row.wrong)
    if emulated:
        row.heap = row.film = "not tried: gdb cannot trace a program in the emulator", None
    else:
        try_inside(folder, row)
    return row


def figures(check: Check, row: Row) -> None:
    """Take down what one version did."""
    name = f"glibc {row.version}"
    done = row.result
    if done is None:
        check.figure(f"{name}: decoding", row.kept, "no difference", None)
        return
    text = (
        f"{done.states} states ({done.corrupted} of them destroyed), {done.chunks} chunks, "
        f"{done.lists} lists, {done.usable} usable sizes: {len(row.wrong)} differences"
    )
    check.figure(
        f"{name}: decoding, against glibc's own types", text, "0 differences", not row.wrong
    )
    if row.same is not None:
        check.figure(f"{name}: recorded anew", row.kept, "as recorded", row.same)
    python = f" (Python {row.python})" if row.python else ""
    check.figure(f"{name}: a Heap{python}", row.heap[0], "states as asked, no fault", row.heap[1])
    check.figure(f"{name}: a film{python}", row.film[0], "every call seen, no fault", row.film[1])


def table(rows: Sequence[Row]) -> str:
    """Write the rows as a table."""
    head = ["glibc", "states", "chunks", "lists", "differences", "Heap", "film"]
    lines = [head]
    words = {True: "works", False: "FAILS", None: "untested"}
    for row in rows:
        done = row.result
        counts = [done.states, done.chunks, done.lists, len(row.wrong)] if done else ["-"] * 4
        lines.append([row.version, *map(str, counts), words[row.heap[1]], words[row.film[1]]])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(w.rjust(n) for w, n in zip(ln, widths, strict=True)) for ln in lines)


def main(words: Sequence[str] | None = None) -> int:
    """Try the versions that are asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("versions", nargs="*", help="2.36 …; all when none is given")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", action="store_true", help="put the recordings in the repository")
    args = parser.parse_args(words)
    every = [*SUITES, *EMULATED]
    unknown = sorted(set(args.versions) - set(every))
    if unknown:
        parser.error(f"no Debian is known with glibc {', '.join(unknown)}")
    missing = chroot.missing_tools()
    if missing is not None:
        print(f"make matrix: {missing}", file=sys.stderr)
        return 2
    began = time.monotonic()
    rows = [attempt(version, args.write) for version in args.versions or every]
    file = args.json or Path(tempfile.mkdtemp()) / "matrix.json"
    check = Check(file.stem, "Versions of glibc", "make matrix", file.parent)
    for row in rows:
        figures(check, row)
        for text in row.wrong[:20]:
            print(f"    {text}")
    packages = {f"libc6 {row.version}": row.package for row in rows if row.package}
    status = check.finish(**packages)
    if args.json is None:
        shutil.rmtree(file.parent)
    print(f"\n{table(rows)}\n")
    size = chroot.disk(chroot.CACHE) / 1e9
    where = chroot.CACHE.relative_to(ROOT)
    print(f"{time.monotonic() - began:.0f} s; {where} has {size:.1f} GB, make clean removes it")
    return status if any(row.result for row in rows) else 2


if __name__ == "__main__":
    sys.exit(main())

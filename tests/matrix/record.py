"""Make a recording: run ``record.c`` under gdb in a folder, and put both readings together.

A recording is xz-compressed JSON::

    {"recording": 1, "glibc": "2.36", "package": "2.36-9+deb12u14", "arch": "x86-64",
     "states": [{"name": "first block", "corrupted": false,
                 "reading": Reading.to_json(),          what heapscope gets
                 "usable": [[user address, malloc_usable_size], …],
                 "independent": …}]}                    what reader.py found; absent: nobody looked
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heapscope.glibc.layout import Layout
from heapscope.glibc.reading import Asked, Mapping, Reading

from .chroot import ChrootError, Folder

HERE = Path(__file__).parent
RECORDED = HERE.parent / "glibc" / "recorded"
KINDS = {"heap": "heap", "thread": "thread heap", "mmap": "mmap"}
_COMPILE = ("gcc", "-std=gnu17", "-O0", "-g", "-fno-builtin", "-Wall", "-pthread")
_GDB = ("gdb", "-nx", "-nh", "-q", "-batch")


@dataclass(slots=True)
class Raw:
    """One state as record.c wrote it."""

    name: str
    corrupted: bool
    mappings: list[Mapping] = field(default_factory=list)
    libc: list[tuple[int, bytes]] = field(default_factory=list)
    tls: list[bytes] = field(default_factory=list)
    blocks: dict[int, Asked] = field(default_factory=dict)
    usable: list[tuple[int, int]] = field(default_factory=list)


def parse(data: bytes) -> Iterator[Raw]:
    """Read what record.c wrote."""
    at, raw = 0, None
    while at < len(data):
        end = data.index(b"\n", at)
        kind, rest = data[at:end].decode().split(" ", 1)
        at = end + 1
        if kind == "state":
            if raw is not None:
                yield raw
            name, corrupted, _ = rest.rsplit(" ", 2)
            raw = Raw(name, corrupted != "0")
            continue
        assert raw is not None, "the first line names a state"
        words = rest.split()
        if kind == "block":
            user, requested, call, freed, usable = (int(w, 16) for w in words)
            raw.blocks[user] = Asked(requested, call, freed or None)
            if usable:
                raw.usable.append((user, usable))
            continue
        base, size = int(words[1], 16), int(words[2], 16)
        there = 4096 if kind == "mapped" else size
        part, at = data[at : at + there], at + there
        if kind == "tls":
            raw.tls.append(part)
        elif words[0] == "libc":
            raw.libc.append((base, part))
        else:
            trimmed = Mapping.trimmed(base, part, KINDS[words[0]])
            raw.mappings.append(Mapping(base, trimmed.data, trimmed.kind, size))
    if raw is not None:
        yield raw


def find_arena(layout: Layout, libc: list[tuple[int, bytes]]) -> int | None:
    """Return main_arena's address: where most bins of the layout lead to themselves."""
    facts, best, where = layout.arena, layout.bins.last // 2, None
    for base, data in libc:
        words = memoryview(data[: len(data) // 8 * 8]).cast("Q").tolist()
        for offset in range(0, len(data) - facts.size, 8):
            first = (offset + facts.bins) // 8
            own = sum(
                words[first + 2 * i] == base + offset + facts.bins + 16 * i - 16
                for i in range(layout.bins.last)
            )
            if own > best:
                best, where = own, base + offset
    return where


def reading(raw: Raw, version: str, arch: str, arena: int | None) -> Reading:
    """Make a reading of one state."""
    layout = Layout.for_version(version)
    main = None
    for base, data in raw.libc:
        if arena is not None and base <= arena < base + len(data):
            main = arena, data[arena - base : arena - base + layout.arena.size]
    tables = []
    for tls in raw.tls:
        for word in memoryview(tls[: len(tls) // 8 * 8]).cast("Q").tolist():
            if word not in tables and _sized(raw, word - 8) in layout.tcache.chunks:
                tables.append(word)
    return Reading(
        glibc=version,
        arch=arch,
        mappings=tuple(raw.mappings),
        main_arena=main,
        tcache=tuple(tables),
        blocks=raw.blocks,
    )


def _sized(raw: Raw, at: int) -> int | None:
    """Return the chunk size that the word at an address in a heap states."""
    for mapping in raw.mappings:
        if mapping.kind != "mmap" and mapping.base <= at < mapping.base + len(mapping.data) - 8:
            offset = at - mapping.base
            return int.from_bytes(mapping.data[offset : offset + 8], "little") & ~7
    return None


def assemble(
    data: bytes, independent: list[dict[str, Any]] | None, version: str, package: str, arch: str
) -> dict[str, Any]:
    """Put what the program and the reader wrote together."""
    states = list(parse(data))
    arena = next(
        (
            found
            for raw in states[1:]
            if (found := find_arena(Layout.for_version(version), raw.libc))
        ),
        None,
    )
    if independent is not None and [r.name for r in states] != [i["state"] for i in independent]:
        raise ChrootError("the program and gdb did not see the same states")
    made = []
    for number, raw in enumerate(states):
        form: dict[str, Any] = {
            "name": raw.name,
            "corrupted": raw.corrupted,
            "reading": reading(raw, version, arch, arena).to_json(),
            "usable": raw.usable,
        }
        if independent is not None:
            form["independent"] = independent[number]
        made.append(form)
    return {
        "recording": 1,
        "glibc": version,
        "package": package,
        "arch": arch,
        "states": made,
    }


def record(folder: Folder, version: str) -> dict[str, Any]:
    """Compile, run and read in a folder.

    Raises:
        ChrootError: something in it failed; the message has what it said.

    """
    place = folder.path / "tmp" / "record"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        for name in ("record.c", "reader.py"):
            shutil.copy(HERE / name, place)
        compiled = folder.run(
            [*_COMPILE, "record.c", "-o", "program", "-ldl"], folder="/tmp/record"
        )
        if compiled.returncode:
            raise ChrootError(f"record.c does not compile: {compiled.stderr.strip()[-300:]}")
        options = ("-iex", "set auto-load safe-path /")
        command = [*_GDB, *options, "-x", "reader.py", "--args", "./program", "raw"]
        env = {"HEAPSCOPE_OUT": "out", "HEAPSCOPE_GLIBC": version}
        ran = folder.run(command, folder="/tmp/record", env=env)
        lines = _lines(place / "out", ran)
        package = folder.package("libc6")
        return assemble((place / "raw").read_bytes(), lines, version, package, "x86-64")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _lines(out: Path, ran: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Read what reader.py wrote; ChrootError when it could not do its work."""
    if ran.returncode or not out.exists():
        raise ChrootError(f"gdb could not read record.c: {(ran.stdout + ran.stderr)[-300:]}")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    wrong = next((line["error"] for line in lines if "error" in line), None)
    if wrong:
        raise ChrootError(f"gdb could not read the heap through glibc's types: {wrong}")
    return lines


def record_emulated(folder: Folder, version: str) -> dict[str, Any]:
    """Do the same for aarch64: the program in qemu, gdb at qemu's own door, glibc from a folder.

    Raises:
        ChrootError: something in it failed; the message has what it said.

    """
    with tempfile.TemporaryDirectory(prefix="heapscope-matrix-") as name:
        place = Path(name)
        compiler = ["aarch64-linux-gnu-gcc", *_COMPILE[1:], str(HERE / "record.c")]
        subprocess.run([*compiler, "-o", "program"], cwd=place, check=True)
        emulator = ["qemu-aarch64-static", "-L", str(folder.path), "-g", f"{place}/door"]
        process = subprocess.Popen(
            [*emulator, "./program", "raw"], cwd=place, stdin=subprocess.DEVNULL
        )
        try:
            for _ in range(300):
                if (place / "door").exists():
                    break
                time.sleep(0.1)
            env = {
                "HEAPSCOPE_OUT": "out",
                "HEAPSCOPE_GLIBC": version,
                "HEAPSCOPE_REMOTE": f"{place}/door",
                "HEAPSCOPE_SYSROOT": str(folder.path),
            }
            options = ("-iex", "set debuginfod enabled off", "-iex", "set auto-load no")
            gdb = ["gdb-multiarch", *_GDB[1:], *options, "-x", str(HERE / "reader.py")]
            ran = subprocess.run(
                [*gdb, "./program"],
                cwd=place,
                env=os.environ | env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ChrootError("gdb took longer than 600 s") from error
        finally:
            process.kill()
            process.wait()
        lines = _lines(place / "out", ran)
        package = folder.package_unpacked("libc6")
        return assemble((place / "raw").read_bytes(), lines, version, package, "aarch64")


def file_of(name: str) -> Path:
    """Return where the recording of a version lies: "2.36", "2.41-aarch64"."""
    return RECORDED / f"{name}.json.xz"


def save(recording: dict[str, Any], path: Path) -> None:
    """Write a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(recording, separators=(",", ":")).encode()
    path.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def load(path: Path) -> dict[str, Any]:
    """Read a recording."""
    form: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    if form.get("recording") != 1:
        raise ValueError(f"{path.name} is no recording of version 1")
    return form

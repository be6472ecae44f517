"""heap.c and place.c alone: no warning, and nothing to say for the sanitizers and valgrind."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
from heapscope._heap import ffi
from heapscope.glibc.layout import Layout
from heapscope.recorders.heap import _offsets

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "native" / "src"
STRICT = ("-std=gnu17", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fno-builtin")
ROUND = "found 1\nsound 1 refused 0 words 1\nrefused 1 at the size word 1\n"


def arguments() -> list[str]:
    layout = _offsets(Layout.for_version(platform.libc_ver()[1]))
    return [bytes(ffi.buffer(layout)).hex()]


def build(folder: Path, *flags: str) -> Path:
    program = folder / "driver"
    files = [str(HERE / "three_heaps.c"), str(SOURCES / "heap.c"), str(SOURCES / "place.c")]
    command = ["gcc", *STRICT, *flags, f"-I{SOURCES}", *files, "-o", str(program), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return program


@pytest.mark.parametrize(
    "flags",
    [
        ("-O0",),
        ("-O2",),
        ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"),
        ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    ],
    ids=["O0", "O2", "ubsan", "asan"],
)
def test_three_heaps_one_after_the_other(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = build(tmp_path, *flags)
    done = subprocess.run(
        # The sanitizers of gcc 12 cannot live with as much randomisation as newer kernels use.
        ["setarch", "-R", str(program), *arguments()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout == ROUND * 3
    assert done.returncode == 0


def test_under_valgrind(tmp_path: Path) -> None:
    program = build(tmp_path, "-O0")
    command = ["valgrind", "--quiet", "--leak-check=full", "--error-exitcode=9", str(program)]
    done = subprocess.run(
        [*command, *arguments()], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, ROUND * 3), done.stderr
    assert done.stderr == ""

"""heap.c and place.c alone: no warnings, clean under the sanitizers and valgrind, no leaks."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from heapscope._heap import ffi
from heapscope.glibc.layout import Layout
from heapscope.recorders.heap import _offsets

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "native" / "src"
BUILD = ["-std=c17", "-O1", "-g", "-fno-builtin", "-pthread", "-Wall", "-Wextra", "-Werror"]


def layout() -> str:
    """The layout of this system's glibc as the C side has it, for the driver's command line."""
    return bytes(ffi.buffer(_offsets(Layout.for_version(platform.libc_ver()[1])))).hex()


def built(folder: Path, compiler: str, *flags: str) -> Path:
    """Compile heap.c and the driver."""
    if shutil.which(compiler) is None:
        pytest.fail(f"{compiler} is not installed: apt-get install {compiler}")
    target = folder / "every_call"
    command = [compiler, *BUILD, *flags, f"-I{SOURCES}", "-o", str(target)]
    files = [str(SOURCES / "heap.c"), str(SOURCES / "place.c"), str(HERE / "every_call.c"), "-ldl"]
    made = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return target


def run(
    command: list[str], steps: int = 2000, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, layout(), str(steps)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_without_warnings(tmp_path: Path, compiler: str) -> None:
    done = run([str(built(tmp_path, compiler, "-Wshadow", "-pedantic"))])
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_undefined_behaviour_sanitizer(tmp_path: Path) -> None:
    driver = built(tmp_path, "gcc", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    done = run([str(driver)], UBSAN_OPTIONS="print_stacktrace=1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_address_sanitizer(tmp_path: Path) -> None:
    """The copies' own blocks are not ASan's; the program's are, and so are leaks."""
    driver = built(tmp_path, "gcc", "-fsanitize=address", "-fno-omit-frame-pointer")
    # gcc 12's runtime cannot live with as much randomisation as newer kernels use.
    command = ["setarch", "-R", str(driver)]
    done = run(command, ASAN_OPTIONS="detect_leaks=1:handle_segv=0:handle_abort=0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_valgrind(tmp_path: Path) -> None:
    driver = built(tmp_path, "gcc")
    command = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"]
    command += ["--errors-for-leak-kinds=definite,indirect,possible", str(driver)]
    done = run(command, steps=200)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr

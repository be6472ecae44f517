"""What the set-up does about Debian packages, with stand-ins for dpkg-query, id and apt-get."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ("bash", "sh", "cat", "cut", "dirname", "flock", "grep", "sha256sum", "tr", "uname", "env")


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def place(root: Path, tmp_path: Path) -> Path:
    """A copy of what .ci/setup reads, with a bin/ that has nothing but what the tests put there."""
    lists = ("apt.txt", "tests/apt.txt", "tests/matrix/apt.txt")
    for name in (".ci/setup", *lists, "requirements.txt", "constraints.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (bin_ / tool).symlink_to(found)
    stand_in(bin_, "dpkg-query", 'case "$4" in gdb|valgrind) exit 1;; esac; printf installed')
    stand_in(bin_, "apt-get", f'echo "$*" >>{tmp_path}/apt.log')
    stand_in(bin_, "id", "echo 0")
    return tmp_path


def setup(place: Path, kind: str = "book", **more: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("CI", "container")}
    return subprocess.run(
        [str(place / ".ci" / "setup"), kind],
        capture_output=True,
        text=True,
        env={**clean, "PATH": str(place / "bin"), **more},
        check=False,
    )


def test_a_user_is_shown_the_one_line(place: Path) -> None:
    stand_in(place / "bin", "id", "echo 1000")
    run = setup(place, CI="true")
    assert run.returncode == 1
    assert "  apt-get install --no-install-recommends gdb valgrind\n" in run.stderr
    assert not (place / "apt.log").exists()


def test_root_in_ci_installs_without_asking(place: Path) -> None:
    setup(place, CI="true")
    log = (place / "apt.log").read_text()
    assert "update" in log
    assert "install --no-install-recommends gdb valgrind" in log


def test_nothing_is_installed_when_nothing_is_missing(place: Path) -> None:
    stand_in(place / "bin", "dpkg-query", "printf installed")
    run = setup(place, CI="true")
    assert not (place / "apt.log").exists()
    assert "no Python 3.11 or newer" in run.stderr  # the next step; bin/ has none


NO_CLANG = 'case "$4" in clang|libclang*) exit 1;; esac; printf installed'
FORGETS = 'case "$1" in depends) echo "  Depends: clang-14";; *) exit 1;; esac'
KNOWS = 'case "$1" in depends) echo "  Depends: clang-14";; esac'


@pytest.mark.parametrize(("knows", "wanted"), [(KNOWS, " libclang-rt-14-dev"), (FORGETS, "")])
def test_clangs_runtime_is_asked_for_where_it_is_a_package(
    place: Path, knows: str, wanted: str
) -> None:
    stand_in(place / "bin", "dpkg-query", NO_CLANG)
    stand_in(place / "bin", "apt-cache", knows)
    stand_in(place / "bin", "id", "echo 1000")
    assert f"--no-install-recommends clang{wanted}\n" in setup(place, CI="true").stderr


def test_clangs_runtime_is_named_only_once_the_lists_are_there(place: Path) -> None:
    stand_in(place / "bin", "dpkg-query", NO_CLANG)
    stand_in(place / "bin", "apt-cache", f"test -e {place}/updated || exit 1; {KNOWS}")
    stand_in(place / "bin", "apt-get", f"echo >{place}/updated; echo $* >>{place}/apt.log")
    setup(place, CI="true")
    assert "clang libclang-rt-14-dev" in (place / "apt.log").read_text()


def test_clang_without_its_runtime(place: Path) -> None:
    stand_in(place / "bin", "dpkg-query", 'test "$4" = clang && printf installed')  # nothing else
    stand_in(place / "bin", "id", "echo 1000")
    answers = 'case "$1" in -dumpversion) echo 19.1.7;; *) echo {};; esac'
    stand_in(place / "bin", "clang", answers.format("libclang_rt.msan-x86_64.a"))
    assert " libclang-rt-19-dev\n" in setup(place, CI="true").stderr
    (place / "runtime").touch()
    stand_in(place / "bin", "clang", answers.format(place / "runtime"))
    assert "libclang" not in setup(place, CI="true").stderr


def test_tests_need_more_than_the_book(place: Path) -> None:
    stand_in(place / "bin", "dpkg-query", 'test "$4" != chromium && printf installed')
    setup(place, "book", CI="true")
    assert not (place / "apt.log").exists()
    setup(place, "test", CI="true")
    assert "chromium" in (place / "apt.log").read_text()


def test_other_systems_need_more_than_the_tests(place: Path) -> None:
    stand_in(place / "bin", "dpkg-query", 'test "$4" != debootstrap && printf installed')
    setup(place, "test", CI="true")
    assert not (place / "apt.log").exists()
    setup(place, "matrix", CI="true")
    assert "debootstrap" in (place / "apt.log").read_text()


def test_a_word_it_does_not_know(place: Path) -> None:
    run = setup(place, "everything")
    assert (run.returncode, run.stderr) == (2, "usage: .ci/setup book|test|matrix\n")


def test_never_sudo(root: Path) -> None:
    for path in (root / ".ci").iterdir():
        assert "sudo" not in path.read_text()
    assert "sudo" not in (root / "Makefile").read_text()

"""How the module is made: the same bytes anywhere, and a sentence where it cannot be made."""

from __future__ import annotations

import importlib.util
import subprocess
import tarfile
from pathlib import Path

import pytest
from heapscope.playground import Module, Source, UnbuiltError, build, find
from heapscope.playground import module as making
from heapscope.playground.source import FILES, INSTALLED


def _tarball(folder: Path, version: str, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"glibc-{version}.tar.xz"
    with tarfile.open(path, "w:xz") as packed:
        for name in names:
            packed.addfile(tarfile.TarInfo(f"glibc-{version}/{name}"))
    return path


def test_the_same_bytes_in_another_folder(source: Source, module: Module, tmp_path: Path) -> None:
    again = build(source, tmp_path / "another" / "cache")
    assert again.wasm == module.wasm
    assert again.wasm[:4] == b"\0asm"
    assert str(tmp_path).encode() not in again.wasm
    assert [path.suffix for path in (tmp_path / "another" / "cache").iterdir()] == [".wasm"]


def test_compiled_once(
    source: Source, module: Module, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_compile", lambda *_: pytest.fail("it compiles again"))
    assert build(source, cache).wasm == module.wasm


def test_compiled_anew_when_a_part_changes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def compile_(*_: object) -> bytes:
        made.append(b"%d" % len(made))
        return made[-1]

    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "playground.c").write_text("int one;\n")
    monkeypatch.setattr(making, "_compile", compile_)
    other = Source(
        source.glibc, source.package, _tarball(tmp_path, source.glibc, "malloc/malloc.c")
    )

    def wasm(of: Source = source) -> bytes:
        return build(of, tmp_path / "cache", shim).wasm

    assert (wasm(), wasm()) == (b"0", b"0")
    (shim / "playground.c").write_text("int two;\n")
    assert wasm() == b"1"
    assert wasm(other) == b"2"
    monkeypatch.setattr(making, "_zig", lambda: "0.0.1")
    assert wasm() == b"3"


def test_package_version_is_that_of_dpkg(source: Source) -> None:
    asked = ["dpkg-query", "-W", "-f", "${Version}", "glibc-source"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout == source.package
    assert source.tarball.parent == INSTALLED


def test_no_source(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not there"):
        with pytest.raises(UnbuiltError, match=r"apt-get install glibc-source$"):
            find(folder)


def test_another_version_says_so(tmp_path: Path) -> None:
    _tarball(tmp_path, "2.39")
    with pytest.raises(
        UnbuiltError, match=r"glibc 2\.39\. The playground is made for 2\.36 and 2\.41"
    ):
        find(tmp_path)


def test_the_newest_supported_version_of_several(tmp_path: Path) -> None:
    for version in ("2.36", "2.41", "2.43"):
        _tarball(tmp_path, version)
    found = find(tmp_path)
    assert (found.glibc, found.minor, found.package) == ("2.41", 41, "")


def test_no_compiler(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnbuiltError, match=r"pip install ziglang$"):
        build(source, tmp_path)


def test_no_shim(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UnbuiltError, match=r"pip install --editable \./native$"):
        build(source, tmp_path, tmp_path / "no shim")


def test_damaged_tarball(source: Source, tmp_path: Path) -> None:
    path = tmp_path / source.tarball.name
    path.write_bytes(source.tarball.read_bytes()[:100_000])
    with pytest.raises(UnbuiltError, match=r"cannot be read .* apt-get install --reinstall"):
        build(find(tmp_path), tmp_path / "cache")


def test_tarball_without_malloc(tmp_path: Path) -> None:
    _tarball(tmp_path, "2.36", "malloc/arena.c", "README")
    with pytest.raises(UnbuiltError, match=r"lacks hooks\.c, .*malloc\.c"):
        build(find(tmp_path), tmp_path / "cache")


def test_what_the_compiler_refuses_is_said(tmp_path: Path) -> None:
    _tarball(tmp_path, "2.36", *FILES)
    (tmp_path / "playground.c").write_text("int broken(void) { return nothing; }\n")
    with pytest.raises(UnbuiltError, match=r"does not compile(.|\n)*nothing"):
        build(find(tmp_path), tmp_path / "cache", tmp_path)


def test_nothing_of_glibc_is_in_the_repository(root: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    )
    names = set(FILES.values())
    tracked = [root / name for name in listed.stdout.splitlines()]
    assert tracked
    assert [path for path in tracked if path.suffix == ".wasm" or path.name in names] == []

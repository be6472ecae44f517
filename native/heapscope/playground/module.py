"""The WebAssembly module: glibc's malloc and our shim, compiled by ziglang and kept in a cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import heapscope
from heapscope.playground.source import Source, UnbuiltError

SHIM = Path(heapscope.__file__).parents[1] / "src" / "wasm"
"""Our own C: heapscope is installed from its folder (``pip install --editable``)."""

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<([^>]+)>", re.MULTILINE)
_COMPILERS_OWN = {"limits.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h"}
_TARGET = (
    "-target",
    "wasm64-freestanding",
    "-Oz",
    "-std=gnu11",
    "-nostdlib",
    "-fsanitize-coverage=trace-pc",  # playground.c counts the steps of a call
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Ishim",
    "-isystemglibc",
    "-isystemempty",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=65536",
)
_SECONDS = 120  # the compiler needs one


@dataclass(frozen=True, slots=True)
class Module:
    """A compiled malloc."""

    source: Source
    zig: str  # version of the compiler
    wasm: bytes


def build(source: Source, cache: Path, shim: Path = SHIM) -> Module:
    """Return the module of `source`, compiled anew or from the folder `cache`.

    The same tarball, shim and compiler give the same bytes in any folder.

    Raises:
        UnbuiltError: ziglang is missing, the shim is, or the compiler refuses.

    """
    zig = _zig()
    ours = sorted(shim.glob("*.[ch]"))
    if not ours:
        raise UnbuiltError(
            f"heapscope's C files for the playground are not in {shim}: "
            "pip install --editable ./native"
        )
    kept = cache / f"malloc-{source.glibc}-{_key(source, ours, zig)}.wasm"
    if not kept.is_file():
        wasm = _compile(source, ours)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as fresh:
            fresh.write(wasm)
        os.replace(fresh.name, kept)  # a build beside this one sees a whole file or none
    return Module(source, zig, kept.read_bytes())


def _zig() -> str:
    if importlib.util.find_spec("ziglang") is None:
        raise UnbuiltError("The compiler for WebAssembly is not installed: pip install ziglang")
    return metadata.version("ziglang")


def _key(source: Source, ours: list[Path], zig: str) -> str:
    key = hashlib.sha256(f"{source.digest()}\0{zig}\0{' '.join(_TARGET)}\0".encode())
    for path in ours:
        key.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return key.hexdigest()[:16]


def _compile(source: Source, ours: list[Path]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for part in ("glibc", "shim", "empty"):
            (work / part).mkdir()
        theirs = source.unpack(work / "glibc")
        (work / "glibc" / "malloc").symlink_to(".")  # <malloc/malloc-internal.h>
        for path in ours:
            (work / "shim" / path.name).write_bytes(path.read_bytes())
        _empty_headers(work / "empty", theirs)
        command = [
            sys.executable,
            *("-m", "ziglang", "cc", f"-DGLIBC_MINOR={source.minor}", *_TARGET),
            *(f"shim/{path.name}" for path in ours if path.suffix == ".c"),
            *("-o", "malloc.wasm"),
        ]
        caches = {f"ZIG_{kind}_CACHE_DIR": str(work / "zig") for kind in ("GLOBAL", "LOCAL")}
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env=os.environ | caches,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnbuiltError(f"ziglang does not compile glibc's malloc: {error}") from error
        if done.returncode != 0:
            raise UnbuiltError(
                f"ziglang does not compile the malloc of glibc {source.glibc}:\n{done.stderr}"
            )
        return (work / "malloc.wasm").read_bytes()


def _empty_headers(folder: Path, theirs: list[Path]) -> None:
    """Put an empty file in the place of each header that glibc would find elsewhere.

    What malloc needs of them stands in shim.h, which comes first.
    """
    has = {path.name for path in theirs} | {"malloc/malloc-internal.h"} | _COMPILERS_OWN
    for path in theirs:
        for name in _INCLUDE.findall(path.read_text(encoding="utf-8")):
            if name not in has:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()

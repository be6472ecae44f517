"""The other supported glibc, that of Debian 13: its malloc beside its own libc.

Both packages are fetched from Debian's mirror into a temporary folder; nothing is installed.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from calls import Machine, compiled, natively, random_calls
from corruptions import CORRUPTIONS, FAULTS
from heapscope.playground import build, find

pytestmark = pytest.mark.long

MIRROR = "http://deb.debian.org/debian"
INDEX = f"{MIRROR}/dists/trixie/main/binary-amd64/Packages.xz"


@dataclass(frozen=True, slots=True)
class Other:
    """Debian 13's malloc, compiled here, and the folder of its libc."""

    machine: Machine
    libc: Path
    program: Path


def _fetched(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=120) as answer:
            content: bytes = answer.read()
    except urllib.error.URLError as error:
        pytest.skip(f"Debian's mirror does not answer, so glibc 2.41 was not compared: {error}")
    return content


def _unpacked(index: str, package: str, folder: Path) -> Path:
    entry = next(e for e in index.split("\n\n") if e.startswith(f"Package: {package}\n"))
    fields = dict(re.findall(r"^(Filename|SHA256): (.+)$", entry, re.MULTILINE))
    content = _fetched(f"{MIRROR}/{fields['Filename']}")
    assert hashlib.sha256(content).hexdigest() == fields["SHA256"]
    archive = folder / f"{package}.deb"
    archive.write_bytes(content)
    subprocess.run(["dpkg-deb", "-x", archive, folder / package], check=True)
    return folder / package


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Other:
    folder = tmp_path_factory.mktemp("trixie")
    index = lzma.decompress(_fetched(INDEX)).decode()
    source = find(_unpacked(index, "glibc-source", folder) / "usr" / "src" / "glibc")
    assert (source.glibc, source.package[:5]) == ("2.41", "2.41-")
    libc = _unpacked(index, "libc6", folder) / "usr" / "lib" / "x86_64-linux-gnu"
    return Other(Machine(build(source, folder / "cache").wasm), libc, compiled(folder))


@pytest.mark.parametrize("largest", [100_000, 600_000])
@pytest.mark.parametrize("seed", range(3))
def test_same_calls(other: Other, seed: int, largest: int) -> None:
    records = list(random_calls(seed, 50_000, largest))
    native, here = natively(other.program, records, other.libc), other.machine.heap().run(records)
    assert len(native.results) == len(records), native.message
    assert here.comparable() == native.comparable()


@pytest.mark.parametrize("name", [*CORRUPTIONS, *FAULTS])
def test_same_end(other: Other, name: str) -> None:
    records = (CORRUPTIONS | FAULTS)[name]
    native, here = natively(other.program, records, other.libc), other.machine.heap().run(records)
    assert native.signal in (6, 11)
    assert here == native

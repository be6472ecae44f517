"""malloc's own source: where Debian's package ``glibc-source`` puts it, and what is taken of it."""

from __future__ import annotations

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

INSTALLED = Path("/usr/src/glibc")
"""Where the Debian package puts its tarball and, in ``debian``, its changelog."""
SUPPORTED = ("2.36", "2.41")
"""The versions the shim was made for: those of Debian 12 and 13."""
LICENCE = "LGPL-2.1-or-later"

_TARBALL = re.compile(r"glibc-(\d+\.\d+)\.tar\.xz")
_PACKAGE = re.compile(r"glibc \(([^)]+)\)")
FILES = {
    f"malloc/{name}": name
    for name in ("malloc.c", "arena.c", "hooks.c", "morecore.c", "malloc-internal.h")
} | {
    f"sysdeps/generic/{name}": name
    for name in (
        "malloc-alignment.h",
        "malloc-hugepages.h",
        "malloc-machine.h",
        "malloc-size.h",
        "calloc-clear-memory.h",  # from 2.41 on
    )
}
"""What malloc is made of: path in the tarball, and the name it is compiled under."""


class UnbuiltError(Exception):
    """There is no module, and the text says in a sentence why, and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One glibc, still packed."""

    glibc: str  # "2.36"
    package: str  # the Debian package's version; "" where no changelog lies beside the tarball
    tarball: Path

    @property
    def minor(self) -> int:
        """The 36 of 2.36."""
        return int(self.glibc.partition(".")[2])

    def digest(self) -> str:
        """Return the SHA-256 of the tarball, in hexadecimal digits."""
        with self.tarball.open("rb") as packed:
            return hashlib.file_digest(packed, "sha256").hexdigest()

    def unpack(self, folder: Path) -> list[Path]:
        """Write malloc's files into `folder`, byte for byte, and return their paths.

        Raises:
            UnbuiltError: the tarball is damaged, or one of the files is not in it.

        """
        root = f"glibc-{self.glibc}/"
        wanted = {root + path: name for path, name in FILES.items()}
        found = []
        try:
            with tarfile.open(self.tarball, "r|xz") as packed:
                for member in packed:
                    name = wanted.get(member.name)
                    content = packed.extractfile(member) if name else None
                    if name and content:
                        (folder / name).write_bytes(content.read())
                        found.append(folder / name)
                    if len(found) == len(wanted):
                        break
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UnbuiltError(
                f"{self.tarball} cannot be read ({error}): apt-get install --reinstall glibc-source"
            ) from error
        missing = {name for name in FILES.values() if not (folder / name).is_file()}
        if self.minor < 41:
            missing.discard("calloc-clear-memory.h")
        if missing:
            raise UnbuiltError(
                f"{self.tarball} lacks {', '.join(sorted(missing))}: "
                "apt-get install --reinstall glibc-source"
            )
        return sorted(found)


def find(folder: Path = INSTALLED) -> Source:
    """Return the glibc whose tarball lies in `folder`; the newest supported one if several do.

    Raises:
        UnbuiltError: there is none, or none of a supported version.

    """
    tarballs = {
        match[1]: path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _TARBALL.fullmatch(path.name))
    }
    if not tarballs:
        raise UnbuiltError(
            f"The source of glibc's malloc is not there ({folder}/glibc-*.tar.xz): "
            "apt-get install glibc-source"
        )
    for version in reversed(SUPPORTED):
        if version in tarballs:
            return Source(version, _package(folder), tarballs[version])
    raise UnbuiltError(
        f"This system's glibc-source is of glibc {', '.join(sorted(tarballs))}. The playground "
        f"is made for {' and '.join(SUPPORTED)}: install the glibc-source of Debian 12 or 13."
    )


def _package(folder: Path) -> str:
    changelog = folder / "debian" / "changelog"
    if not changelog.is_file():
        return ""
    with changelog.open(encoding="utf-8", errors="replace") as lines:
        match = _PACKAGE.match(lines.readline())
    return match[1] if match else ""

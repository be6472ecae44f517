"""What is left behind: processes, files, folders, mounts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SUBREAPER = 36  # prctl(2)


def below(pid: int) -> set[int]:
    """Return the ids of all processes below one, dead ones that nobody waited for too."""
    parents: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            stat = Path(f"/proc/{entry}/stat").read_text("utf-8", "replace")
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: set[int] = set()
    todo = [pid]
    while todo:
        new = [child for child in parents.get(todo.pop(), []) if child not in found]
        found.update(new)
        todo += new
    return found


def named(pid: int) -> str:
    """Return a process's command line, for a message."""
    with contextlib.suppress(OSError):
        words = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
        return f"process {pid} ({words.strip()[:120]})"
    return f"process {pid}"


def mounts() -> set[str]:
    """Return where something is mounted."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    return {line.split()[4] for line in lines}


class Around:
    """Looks after a temporary folder, which is the mark of all that is started with it.

    This process becomes the child subreaper: whoever escapes from everybody else becomes a child of
    ours, so that no process can hide. `folder` is what TMPDIR is set to.
    """

    def __init__(self, folder: Path) -> None:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
        self.folder = folder
        self.mounts = mounts()
        self.known = below(os.getpid())
        self.files: set[str] = set()

    def accept(self) -> None:
        """Take what there is now for what belongs here, such as a kernel."""
        self.known = below(os.getpid())
        self.files = self._files()

    def _files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}

    def _marked(self) -> set[int]:
        """Return processes whose environment, folder or program lies in the marked folder."""
        found = set()
        mark = str(self.folder).encode()
        for entry in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                texts = [
                    Path(f"/proc/{entry}/{name}").read_bytes() for name in ("environ", "cmdline")
                ]
                for name in ("cwd", "exe"):
                    with contextlib.suppress(OSError):
                        texts.append(os.readlink(f"/proc/{entry}/{name}").encode())
                if any(mark in text for text in texts):
                    found.add(entry)
        return found - {os.getpid()}

    def left(self, patience: float = 3.0) -> list[str]:
        """Return what is left after `patience` seconds; each in words, none if all is tidy."""
        end = time.monotonic() + patience
        while True:
            for pid in below(os.getpid()) - self.known:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)
            processes = (below(os.getpid()) | self._marked()) - self.known
            files = self._files() - self.files
            mounted = mounts() - self.mounts
            if not (processes or files or mounted):
                return []
            if time.monotonic() > end:
                found = [named(pid) for pid in sorted(processes)]
                found += [f"file {name}" for name in sorted(files)[:5]]
                return found + [f"mount {place}" for place in sorted(mounted)]
            time.sleep(0.05)


@contextlib.contextmanager
def around() -> Iterator[Around]:
    """Give a temporary folder that this process and all that it starts take for their own."""
    folder = Path(tempfile.mkdtemp(prefix="trust-")).resolve()
    before, old = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir, os.environ["TMPDIR"] = str(folder), str(folder)
    try:
        yield Around(folder)
    finally:
        tempfile.tempdir = before
        os.environ.pop("TMPDIR", None)
        if old is not None:
            os.environ["TMPDIR"] = old
        shutil.rmtree(folder, ignore_errors=True)

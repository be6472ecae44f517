"""Debian in a folder, for its glibc, gdb and Python: made with debootstrap, entered with unshare.

The folders lie in ``_build/matrix`` and are kept for the next run; ``make clean`` removes them.
What is mounted in them is mounted in a namespace of the one command that runs there, so nothing
stays mounted, whatever happens to the command.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "_build" / "matrix"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "gcc libc6-dev gdb libc6-dbg python3 python3-venv python3-dev"
_SCRIPTS = Path("/usr/share/debootstrap/scripts")
_UNUSED = (
    "var/cache/apt/archives/*.deb",
    "var/lib/apt/lists/*",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_COPY = "etc/this-machine.crt"
_PASSED = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")

# Everything that is mounted here goes with the namespace; --kill-child takes the processes.
_ENTER = """
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t sysfs -o ro sys "$1/sys"
folder=$1
shift
exec chroot "$folder" "$@"
"""


class ChrootError(RuntimeError):
    """A folder cannot be made or entered; the message is a sentence that says why."""


EMULATION = {
    "qemu-aarch64-static": "qemu-user-static",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "gdb-multiarch": "gdb-multiarch",
}
"""What a program for aarch64 needs here, and the package it is in."""


def missing_tools(more: Mapping[str, str] | None = None) -> str | None:
    """Say what keeps this machine from making folders; None when nothing does."""
    if os.geteuid() != 0:
        return "debootstrap and chroot need root: start this as root, in a container for example"
    needed = {"debootstrap": "debootstrap", "unshare": "util-linux", **(more or {})}
    packages = [package for tool, package in needed.items() if shutil.which(tool) is None]
    if packages:
        return f"something is not installed: apt-get install {' '.join(packages)}"
    return None


@dataclass(frozen=True, slots=True)
class Folder:
    """One Debian: `suite` of `arch` (None: this machine's) under `cache`."""

    suite: str
    arch: str | None = None
    packages: str = PACKAGES
    cache: Path = CACHE
    mirror: str = MIRROR

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.cache / (f"{self.suite}-{self.arch}" if self.arch else self.suite)

    def make(self) -> float:
        """Make it unless it is complete; return the seconds that took, 0 when it was there.

        Raises:
            ChrootError: debootstrap failed; the message has its last lines.

        """
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / f"{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two at once: the second one waits
            stamp = self.path / "etc" / "complete"
            if stamp.exists() and stamp.read_text() == self.packages:
                return 0.0
            began = time.monotonic()
            if self.path.exists():
                shutil.rmtree(self.path)
            self._debootstrap()
            if self.arch:
                self._unpack()
            else:  # debootstrap's own --include misses some of what gdb depends on
                self.install(*self.packages.split())
            for pattern in _UNUSED:
                for path in self.path.glob(pattern):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            stamp.write_text(self.packages)
            return time.monotonic() - began

    def _debootstrap(self) -> None:
        command = ["debootstrap", "--variant=minbase"]
        if self.arch:  # only unpacked, as a library for programs that run in an emulator
            command += [f"--arch={self.arch}", "--foreign", "--include=libc6-dbg"]
        command += [self.suite, str(self.path), self.mirror]
        if not (_SCRIPTS / self.suite).exists():  # younger than this debootstrap
            command.append(str(_SCRIPTS / "sid"))
        self._check(subprocess.run(command, capture_output=True, text=True, check=False))

    def _unpack(self) -> None:
        """Unpack glibc's debugging files, which debootstrap has fetched."""
        for package in self.path.glob("var/cache/apt/archives/libc6-dbg_*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(self.path)], check=True)
            asked = ["dpkg-deb", "-f", str(package), "Version"]
            version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            (self.path / "etc" / "libc6.version").write_text(version.strip())

    def install(self, *packages: str) -> None:
        """Install Debian packages inside."""
        # A testing suite that nobody has signed anew for a while is still the one that was signed.
        # In a file, so that .ci/setup inside finds it too.
        settings = self.path / "etc" / "apt" / "apt.conf.d" / "80-valid-until"
        settings.write_text('Acquire::Check-Valid-Until "false";\n')
        self._check(self.run(["apt-get", "-qq", "update"]))
        command = ["apt-get", "-qq", "-y", "install", "--no-install-recommends", *packages]
        self._check(self.run(command, timeout=3600))

    def _check(self, run: subprocess.CompletedProcess[str]) -> None:
        if run.returncode:
            said = " / ".join((run.stdout + run.stderr).strip().splitlines()[-3:])
            raise ChrootError(f"making a folder of {self.path.name} failed: {said}")

    def run(
        self,
        command: Sequence[str],
        *,
        folder: str = "/",
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; `folder` is where, seen from inside.

        A command that takes longer than `timeout` seconds is killed with all it has started, and
        returns 124.
        """
        if _CERTIFICATES.exists():  # whom this machine trusts: for pip
            shutil.copy(_CERTIFICATES, self.path / _COPY)
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _ENTER, "sh"]
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', folder, *command]
        process = subprocess.Popen(
            [*enter, str(self.path), *inside],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self._environment() | dict(env or {}),
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return subprocess.CompletedProcess(command, 124, out, f"{err}\nafter {timeout:g} s")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _environment(self) -> dict[str, str]:
        """What a command inside finds: nothing of this machine's but the way out."""
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        return passed | {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_CERT": f"/{_COPY}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "container": "chroot",  # root may install here without asking (.ci/setup)
        }

    def package_unpacked(self, name: str) -> str:
        """Return the version of a package that debootstrap has fetched, in a folder of `arch`."""
        return (self.path / "etc" / f"{name}.version").read_text()

    def package(self, name: str) -> str:
        """Return the version of a Debian package that is installed inside."""
        run = self.run(["dpkg-query", "-W", "-f", "${Version}", name])
        return run.stdout.strip()


def disk(path: Path) -> int:
    """Return the bytes that a folder takes on disk."""
    run = subprocess.run(["du", "-s", "-B1", str(path)], capture_output=True, text=True, check=True)
    return int(run.stdout.split()[0])

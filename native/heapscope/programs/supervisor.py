"""Run one command and let nothing of it survive.

``runner.py`` starts this file as a script, in a small Python of its own (standard library only): a
notebook's kernel is large, and it must not become the parent of other people's orphans. The job
comes as one line of JSON on standard input. The input then stays open: its end means that whoever
asked is gone or has lost interest, and everything is ended and cleared away. The answer is one line
of JSON and, after it, the bytes of stdout and of stderr.

The supervisor is the *child subreaper* of all that the command starts (prctl(2)), so a descendant
that left its session or lost its parent is found among its children and ended with the others.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ADDR_NO_RANDOMIZE = 0x0040000
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000
TICK = 0.02  # seconds between two looks at the memory
DISK_TICK = 0.25  # and at the folder
DISK_PATIENCE = 0.05  # seconds that one look at the folder may take
LAST_WORDS = 2.0  # seconds to read what is left in the pipes when every writer is dead

libc = ctypes.CDLL(None, use_errno=True)


class Stream:
    """One of the command's outputs: keeps the first `cap` bytes, counts the rest."""

    def __init__(self, cap: int) -> None:
        self.fd, self.writer = os.pipe()
        self.cap = cap
        self.kept = bytearray()
        self.seen = 0
        self.open = True

    def read(self) -> None:
        """Take what is there; the file descriptor is readable."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            self.open = False
            os.close(self.fd)
            return
        self.seen += len(data)
        self.kept += data[: max(0, self.cap - len(self.kept))]


def threads(pids: list[int]) -> int:
    """Return how many threads the processes have together."""
    count = 0
    for pid in pids:
        try:
            # The link count of a folder of folders: no need to list what may be thousands.
            count += os.stat(f"/proc/{pid}/task").st_nlink - 2
        except OSError:
            continue
    return count


def stored(folder: str) -> int:
    """Return the bytes that the files below a folder take on the disk; a large tree is cut off."""
    total, end = 0, time.monotonic() + DISK_PATIENCE
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
        if time.monotonic() > end:
            break
    return total


def children(pid: int) -> list[int]:
    """Return the ids of the children of one process, of all its threads."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    except OSError:  # the process or the thread has just ended
        pass
    return found


def children_by_scan(pid: int) -> list[int]:
    """Do the same where the kernel was built without those files."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(entry))
    return found


HAVE_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def descendants() -> list[int]:
    """Return the ids of all processes below this one."""
    below = children if HAVE_CHILDREN else children_by_scan
    found = below(os.getpid())
    seen = set(found)
    for pid in found:  # grows while it is walked
        new = [child for child in below(pid) if child not in seen]
        seen.update(new)
        found += new
    return found


def resident(pids: list[int]) -> int:
    """Return the bytes that the processes have in memory, shared pages counted for each."""
    pages = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                pages += int(file.read().split()[1])
        except (OSError, IndexError):
            continue
    return pages * resource.getpagesize()


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue


class Supervisor:
    """Starts the command, watches it and ends it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.out = Stream(job["output"])
        self.err = Stream(job["output"])
        self.status: int | None = None
        self.peak = 0
        self.leader = 0
        self.alone = False  # nobody waits for the answer any more

    def start(self) -> str | None:
        """Fork and exec; return the reason if the command could not be started."""
        trouble, complain = os.pipe()  # closed by a successful exec
        me = os.getpid()
        self.leader = os.fork()
        if self.leader == 0:
            try:
                self._become(me)
            except BaseException as error:
                os.write(complain, str(error).encode())
            finally:
                os._exit(127)
        for fd in (complain, self.out.writer, self.err.writer):
            os.close(fd)
        with os.fdopen(trouble, "rb") as file:
            return file.read().decode() or None

    def _become(self, parent: int) -> None:
        """In the child: limits, session, file descriptors, exec."""
        job = self.job
        os.setsid()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)
        if os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0:
            # What root's program mounts is gone with it. Denied in most containers.
            libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None)
        if not job["randomise"]:
            # Denied in some containers. The command then runs with randomised addresses.
            libc.personality(ADDR_NO_RANDOMIZE)
        limits = (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, job["cpu"]),
            (resource.RLIMIT_FSIZE, job["file_size"]),
        )
        for what, value in limits:
            hard = resource.getrlimit(what)[1]
            if hard != resource.RLIM_INFINITY:
                value = min(value, hard)
            resource.setrlimit(what, (value, value))
        # Python ignores these two, and a child would inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        source = os.memfd_create("stdin")
        with os.fdopen(os.dup(source), "wb") as file:
            file.write(job["stdin"].encode("utf-8", "surrogateescape"))
        os.lseek(source, 0, os.SEEK_SET)
        for new, fd in enumerate((source, self.out.writer, self.err.writer)):
            os.dup2(fd, new)
        os.chdir(job["cwd"])
        os.execve(job["argv"][0], job["argv"], job["env"])

    def reap(self) -> bool:
        """Collect who has ended; return False when there is nobody left to wait for."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.leader:
                self.status = status
                self.peak = usage.ru_maxrss * 1024

    def watch(self, wake: int) -> str | None:
        """Wait for the command's end; return why it was stopped, or None."""
        job = self.job
        end = time.monotonic() + job["timeout"]
        next_look = next_disk = 0.0
        while True:
            self.reap()
            if self.status is not None:
                return None
            now = time.monotonic()
            if now >= end:
                return "time"
            if self.out.seen > job["drain"] or self.err.seen > job["drain"]:
                return "output"
            if now >= next_look:
                pids = descendants()
                if resident(pids) > job["memory"]:
                    return "memory"
                if len(pids) > job["processes"]:
                    return "processes"
                if threads(pids) > job["threads"]:
                    return "threads"
                if now >= next_disk:
                    if stored(job["folder"]) > job["disk"]:
                        return "disk"
                    next_disk = time.monotonic() + DISK_TICK
                next_look = time.monotonic() + TICK
            if not self.wait_for_news(wake, max(0.0, min(next_look, end) - now)):
                return "alone"

    def wait_for_news(self, wake: int, timeout: float) -> bool:
        """Read outputs until something happens; return False when nobody waits any more."""
        streams = {stream.fd: stream for stream in (self.out, self.err) if stream.open}
        ready, _, _ = select.select([0, wake, *streams], [], [], timeout)
        for fd in ready:
            if fd in streams:
                streams[fd].read()
            elif not os.read(fd, 4096) and fd == 0:
                return False
        return True

    def end_all(self) -> None:
        """End every descendant: first stop them all, so that none forks, then kill."""
        stopped: set[int] = set()
        for _ in range(100):
            new = [pid for pid in descendants() if pid not in stopped]
            if not new:
                break
            send(new, signal.SIGSTOP)
            stopped.update(new)
        deadline = time.monotonic() + 10
        while self.reap() and time.monotonic() < deadline:
            send(descendants(), signal.SIGKILL)
            time.sleep(0.001)

    def last_words(self) -> None:
        """Read what is left in the pipes."""
        deadline = time.monotonic() + LAST_WORDS
        while time.monotonic() < deadline:
            streams = {stream.fd: stream for stream in (self.out, self.err) if stream.open}
            if not streams:
                return
            for fd in select.select([*streams], [], [], 0.05)[0]:
                streams[fd].read()


def main() -> None:
    """Read the job, do it, answer."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1 << 16)
        if not byte:
            return
        line += byte
    job = json.loads(line)

    # Both signals wake the loop; SIGTERM also ends it, like the end of the input.
    wake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: os.close(0))

    run = Supervisor(job)
    started = time.monotonic()
    trouble = run.start()
    try:
        stopped = run.watch(wake)
    except OSError:  # the input was closed by SIGTERM
        stopped = "alone"
    run.end_all()
    if stopped == "alone":
        shutil.rmtree(job["folder"], ignore_errors=True)
        return
    seconds = time.monotonic() - started
    run.last_words()
    head = {
        "trouble": trouble,
        "stopped": stopped,
        "status": None if run.status is None else os.waitstatus_to_exitcode(run.status),
        "peak_rss": run.peak,
        "seconds": seconds,
        "stdout": len(run.out.kept),
        "stderr": len(run.err.kept),
        "stdout_seen": run.out.seen,
        "stderr_seen": run.err.seen,
    }
    with os.fdopen(1, "wb") as answer:
        answer.write(json.dumps(head).encode() + b"\n")
        answer.write(run.out.kept)
        answer.write(run.err.kept)


if __name__ == "__main__":
    sys.excepthook = sys.__excepthook__
    main()

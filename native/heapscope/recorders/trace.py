"""Start a program under the tracer, ``native/src/trace.c``.

The tracer is a shared library that the loader puts before libc (``LD_PRELOAD``). It writes a folder
of files, one for each process, in the format that ``native/src/trace.h`` describes. For the stacks
of Go programs it needs to know where the Go runtime keeps a few words; these offsets are read from
the program's DWARF before it starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

DEPTH = 16  # frames of a stack unless asked otherwise
DEEPEST = 128
FLAGS = (
    "-std=gnu11",
    "-O2",
    "-g",
    "-fPIC",
    "-fno-omit-frame-pointer",
    "-fno-builtin",
    "-fvisibility=hidden",
)
_SO = "_trace"
_SOURCE = Path(__file__).resolve().parents[2] / "src" / "trace.c"
_HEADER = struct.Struct("=QIIIIIIQQII")  # the beginning of struct hs_header
_MAGIC = 0x3165636172747368
_PDEATHSIG = 1  # prctl(2)
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM")
# Of struct runtime.g and runtime.m, in the order in which the tracer takes them.
_G_WORDS = ("m", "syscallsp", "syscallpc", "syscallbp")


class TraceError(RuntimeError):
    """A program cannot be traced; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What came of a run under the tracer.

    `status` is the exit status, or minus the number of the signal that ended the program; `notes`
    are sentences about what the trace lacks.
    """

    folder: Path
    status: int
    seconds: float
    notes: tuple[str, ...]


def library() -> Path:
    """Return the tracer as a shared library.

    The one that was built with the package is taken unless its source, in a checkout, is newer. In
    that case, or when there is none, gcc builds it once into the user's cache folder. Raises
    TraceError when there is no library and no way to make one.
    """
    package = Path(__file__).resolve().parents[1]
    built = next(iter(sorted(package.glob(f"{_SO}.*so"))), None)
    if not _SOURCE.is_file():
        if built is None:
            raise TraceError("the tracer was not built with the package; install heapscope again")
        return built
    header = _SOURCE.with_name("trace.h")
    newest = max(_SOURCE.stat().st_mtime, header.stat().st_mtime)
    if built is not None and built.stat().st_mtime >= newest:
        return built
    text = _SOURCE.read_bytes() + header.read_bytes() + " ".join(FLAGS).encode()
    name = f"trace-{hashlib.sha256(text).hexdigest()[:16]}.so"
    made = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heapscope" / name
    if not made.is_file():
        compile_library(made)
    return made


def compile_library(to: Path, more: Sequence[str] = ()) -> None:
    """Build the tracer from its source with gcc and the options `more`; TraceError if it fails."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        raise TraceError("gcc is not installed: apt-get install build-essential")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        half = Path(folder) / "trace.so"  # renamed when whole: two programs may start at once
        files = [str(_SOURCE), "-o", str(half), "-ldl", "-lpthread"]
        command = [gcc, *FLAGS, *more, "-shared", *files]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode != 0:
            raise TraceError(f"gcc cannot build the tracer: {built.stderr.strip()}")
        half.replace(to)


# ---- what kind of program it is ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """What matters about a program's file; `go` is the value for the tracer, or empty."""

    path: Path
    go: str
    notes: tuple[str, ...]


def find_program(name: str, path: str | None = None) -> Path:
    """Return the file that the shell would run; TraceError when there is none."""
    found = shutil.which(name, path=path)
    if found is None:
        what = "is not executable" if Path(name).is_file() else "is not there"
        raise TraceError(f"{name} {what}")
    return Path(found)


def inspect(path: Path) -> Program:
    """Look at a program's file: is it Go, can it be traced, where does Go keep its words."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return Program(path, "", ())  # a script: its interpreter is traced
            elf = ELFFile(file)
            dynamic = any(part["p_type"] == "PT_INTERP" for part in elf.iter_segments())
            go = elf.get_section_by_name(".go.buildinfo")
            if not dynamic:
                kind = "a Go program without cgo" if go else "statically linked"
                why = "it does not call glibc's malloc through the loader"
                note = f"{path.name} is {kind}: {why}, so nothing can be recorded."
                return Program(path, "", (note,))
            if path.stat().st_mode & 0o6000 and os.geteuid() != path.stat().st_uid:
                why = (
                    "changes its user at its start, and the loader therefore leaves the tracer out"
                )
                return Program(path, "", (f"{path.name} {why}.",))
            if go is None:
                return Program(path, "", ())
            return _inspect_go(path, elf, bytes(go.data()))
    except (OSError, ELFError):
        return Program(path, "", ())  # execve will say what is wrong with it


def _inspect_go(path: Path, elf: Any, build_info: bytes) -> Program:
    without = f"Stacks end where Go begins: {path.name} "
    found = re.search(rb"go(\d+)\.(\d+)", build_info)
    if elf.get_machine_arch() != "x64":
        return Program(path, "", (f"{without}is not for x86-64.",))
    if found and (int(found[1]), int(found[2])) < (1, 23):
        is_of = f"was built by Go {int(found[1])}.{int(found[2])}; it takes Go 1.23 or newer."
        return Program(path, "", (without + is_of,))
    words = _offsets(elf)
    if words is None:
        lacks = "has no DWARF. Build it without -ldflags=-w and -s."
        return Program(path, "", (without + lacks,))
    status = path.stat()
    words = [status.st_dev, status.st_ino, _tls(elf), *words]
    return Program(path, ":".join(str(word) for word in words), ())


def _offsets(elf: Any) -> list[int] | None:
    """Return the offsets in the order of trace.c: stack.lo, stack.hi, those of _G_WORDS, m.curg."""
    if not elf.has_dwarf_info():
        return None
    wanted = ("runtime.g", "runtime.m", "runtime.stack")
    seen: dict[str, dict[str, int]] = {}
    for unit in elf.get_dwarf_info().iter_CUs():
        name = unit.get_top_DIE().attributes.get("DW_AT_name")
        if name is None or name.value != b"runtime":
            continue
        for die in unit.iter_DIEs():
            if die.tag != "DW_TAG_structure_type" or "DW_AT_name" not in die.attributes:
                continue
            struct_name = die.attributes["DW_AT_name"].value.decode()
            if struct_name not in wanted:
                continue
            seen[struct_name] = {
                child.attributes["DW_AT_name"].value.decode(): int(
                    child.attributes["DW_AT_data_member_location"].value
                )
                for child in die.iter_children()
                if "DW_AT_data_member_location" in child.attributes
            }
            if len(seen) == len(wanted):
                break
        if len(seen) == len(wanted):  # else it was the unit of the runtime's assembly files
            break
    try:
        g, m, stack = (seen[name] for name in wanted)
        ends = [g["stack"] + stack["lo"], g["stack"] + stack["hi"]]
        return [*ends, *(g[word] for word in _G_WORDS), m["curg"]]
    except KeyError:
        return None


def _tls(elf: Any) -> int:
    """Return where a thread keeps the pointer to its g, counted from the thread pointer."""
    size = align = 8
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_TLS":
            size, align = segment["p_memsz"], max(1, segment["p_align"])
    return _tls_symbol(elf) - (size + align - 1) // align * align


def _tls_symbol(elf: Any) -> int:
    """Return the value of runtime.tlsg. The table is long, so its bytes are searched."""
    table, names = elf.get_section_by_name(".symtab"), elf.get_section_by_name(".strtab")
    if table is None or names is None:
        return 0
    at = names.data().find(b"\0runtime.tlsg\0") + 1
    if at == 0:
        return 0
    for name, _info, _other, _section, value, _size in struct.iter_unpack("<IBBHQQ", table.data()):
        if name == at:
            return int(value)
    return 0


# ---- running it ----------------------------------------------------------------------------------


def environment(
    folder: Path, *, depth: int = DEPTH, go: str = "", base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return an environment in which a program is traced into `folder`, which must exist.

    `go` comes from `inspect`, of several programs joined by colons. The tracer goes on into every
    program that inherits the environment.
    """
    if not 0 <= depth <= DEEPEST:
        raise TraceError(f"the depth is a number from 0 to {DEEPEST}")
    result = dict(os.environ if base is None else base)
    before = result.get("LD_PRELOAD")
    result["LD_PRELOAD"] = f"{library()}:{before}" if before else str(library())
    result["HEAPSCOPE_TRACE_DIR"] = str(folder.resolve())
    result["HEAPSCOPE_TRACE_DEPTH"] = str(depth)
    result.pop("HEAPSCOPE_TRACE_GO", None)
    if go:
        result["HEAPSCOPE_TRACE_GO"] = go
    return result


def trace(argv: Sequence[str], folder: Path, *, depth: int = DEPTH) -> Traced:
    """Run `argv` under the tracer with this process's own input and outputs, and wait for its end.

    The trace goes to `folder`, which is made if need be and must be empty. Signals that arrive here
    are passed on; those of the terminal reach the program by themselves. To be called from the
    main thread. Raises TraceError if the program cannot be started.
    """
    program = inspect(find_program(argv[0]))
    # `env A=b ./service` and the like start a program that is named among the arguments.
    named = [inspect(Path(word)) for word in argv[1:] if os.path.isfile(word)]
    go = ":".join({found.go: None for found in (program, *named) if found.go})
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise TraceError(f"{folder} is not empty")
    env = environment(folder, depth=depth, go=go)
    started = time.perf_counter()
    status = _run(program.path, argv, env)
    seconds = time.perf_counter() - started
    return Traced(folder, status, seconds, (*program.notes, *troubles(folder)))


def _run(path: Path, argv: Sequence[str], env: Mapping[str, str]) -> int:
    passed = {getattr(signal, name) for name in _PASSED_ON}
    waited = passed | {signal.SIGCHLD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        pid = _start(path, argv, env, mask)
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended == pid:
                return os.waitstatus_to_exitcode(status)
            came = signal.sigwaitinfo(waited)
            # A positive code is the kernel's: the terminal sent it to the whole group.
            if came.si_signo in passed and came.si_code <= 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, came.si_signo)
    except OSError as error:
        raise TraceError(f"{path} cannot be started: {error.strerror}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(path: Path, argv: Sequence[str], env: Mapping[str, str], mask: Iterable[int]) -> int:
    """Start the program, which ends with this process even if that is killed; return its id."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    me = os.getpid()
    trouble, complain = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        try:
            prctl(_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() == me:
                # Python ignores these two; programs expect them as they are by default.
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                os.execve(path, list(argv), dict(env))
        except OSError as error:
            os.write(complain, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(complain)
    with os.fdopen(trouble, "rb") as file:
        number = file.read()
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return pid


def end_like(status: int) -> int:
    """End as the program did: return its exit status, or die by the signal that it died by."""
    if status >= 0:
        return status
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    number = signal.Signals(-status)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 - status


# ---- what the headers say ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The counters of one file of a trace; `stopped` is an errno or 0."""

    path: Path
    pid: int
    parent: int
    flags: int
    depth: int
    blocks: int
    lost: int
    stopped: int
    stacks: int


def heads(folder: Path) -> Iterator[Head]:
    """Read the beginning of each file of a trace; files that have no header yet are left out."""
    for path in sorted(folder.glob("*.heap")):
        with path.open("rb") as file:
            head = _head(path, file)
        if head is not None:
            yield head


def _head(path: Path, file: BinaryIO) -> Head | None:
    raw = file.read(_HEADER.size)
    if len(raw) < _HEADER.size:
        return None
    magic, _, _, pid, parent, flags, depth, blocks, lost, stopped, stacks = _HEADER.unpack(raw)
    if magic != _MAGIC:
        return None
    return Head(path, pid, parent, flags, depth, blocks, lost, stopped, stacks)


def troubles(folder: Path) -> tuple[str, ...]:
    """Return sentences about what is missing in a trace; none if all is well."""
    found = list(heads(folder))
    if not found:
        if any(folder.glob("*.heap")):
            return ("Nothing could be recorded: the disk is full.",)
        return ("Nothing was recorded: the tracer did not run, or could not write.",)
    said = []
    for head in found:
        if head.stopped:
            reason = os.strerror(head.stopped)
            if head.stopped == errno.EFBIG:
                reason = "the limit on the size of files (ulimit -f)"
            whose = f"The recording of process {head.pid}"
            said.append(f"{whose} is not complete, it ended by: {reason}.")
        if head.lost:
            said.append(f"{head.lost:,} events of process {head.pid} could not be recorded.")
    return tuple(said)

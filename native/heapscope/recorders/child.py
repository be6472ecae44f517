"""A forked child that may die in the kernel's stead.

``with heapscope.child() as c:`` runs its body in a child process only, which has a copy of
everything, the private heaps included; the parent goes on behind the body with what came of it.
"""

from __future__ import annotations

import contextlib
import dis
import faulthandler
import json
import os
import selectors
import signal
import struct
import sys
import time
import traceback
import warnings
from dataclasses import replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from heapscope._heap import lib as C  # noqa: N812 (it is the C side)
from heapscope.glibc.decode import decode
from heapscope.glibc.reading import Mapping, RawPointer, Reading
from heapscope.model.canonical import Canon
from heapscope.model.snapshot import Snapshot, Stop
from heapscope.recorders.calls import Calls, from_json, to_json
from heapscope.recorders.heap import Heap, HeapError, _arch, _open, _version

if TYPE_CHECKING:
    from typing import Self

MOST_OUTPUT = 200_000
"""Bytes kept of each stream."""


_STORES = ("POP_TOP", "STORE_NAME", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF")
"""Instructions by which a with statement takes a plain name, or none."""


class ChildError(RuntimeError):
    """The body of a child ended with a Python exception, which is no answer of the heap's."""


class _SkipBodyError(Exception):
    """Raised in the parent in front of the body, and swallowed behind it."""


def _store_after(frame: FrameType) -> dis.Instruction:
    """Return the instruction that stores what __enter__ will return.

    HeapError where it is none of a ``with`` statement that takes a plain name, or no name.
    """
    code = frame.f_code
    all_of_it = list(dis.get_instructions(code))
    index = next(n for n, i in enumerate(all_of_it) if i.offset > frame.f_lasti)
    before, after = all_of_it[max(0, index - 3) : index], all_of_it[index:]
    store = after[0]
    # Python 3.14 has no BEFORE_WITH; it looks __enter__ up with an instruction of its own.
    entered = any(i.opname in ("BEFORE_WITH", "LOAD_SPECIAL") for i in before)
    entries: list[Any] = getattr(dis.Bytecode(code), "exception_entries", [])
    guard = next((e.target for e in entries if e.start <= store.offset < e.end), None)
    handler = [i.opname for i in after if guard is not None and i.offset >= guard]
    guarded = entered and "WITH_EXCEPT_START" in handler[:2]
    if not guarded or not store.opname.startswith(_STORES):
        raise HeapError(
            "a child takes a with statement and a plain name: with heapscope.child() as c"
        )
    return store


class child:  # noqa: N801 (used like a function: with heapscope.child() as c)
    """Run the body of a ``with`` statement in a forked child.

    Afterwards: `signal` ("SIGABRT" or None), `exit` (status or None), `message` (what glibc said
    last), `stdout`, `stderr`, `timed_out`, and `snapshot`: the heap used last, as it was left.
    Calls on a private heap are not checked in a child: whatever is wrong happens.  `timeout` is in
    seconds.  ChildError: the body itself raised an exception.
    """

    def __init__(self, timeout: float = 10) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout} seconds; it must be more than 0")
        self.timeout = timeout
        self.signal: str | None = None
        self.exit: int | None = None
        self.stdout = self.stderr = self.message = ""
        self.timed_out = False
        self.snapshot: Snapshot | None = None
        self._pid = -1
        self._log = self._dump = -1
        self._pipes: list[int] = []
        self._traced: Any = None

    # ---- fork

    def __enter__(self) -> Self:
        if self._pid != -1:
            raise HeapError("this child has run; make another one: with heapscope.child() as c")
        frame = sys._getframe(1)
        store = _store_after(frame)
        self._log, self._dump = C.hs_memory_file(), C.hs_memory_file()
        out, into_out = os.pipe()
        err, into_err = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the other threads are not needed
            self._pid = os.fork()
        if self._pid == 0:
            self._begin(into_out, into_err)
            return self
        os.close(into_out)
        os.close(into_err)
        self._pipes = [out, err]
        self._traced = frame, sys.gettrace(), frame.f_trace, frame.f_trace_opcodes
        self._skip_body(frame, store)
        return self

    def _skip_body(self, frame: FrameType, store: dis.Instruction) -> None:
        """Have the interpreter raise at `store`, which would give the child its name.

        It is the one instruction that the statement's own handler is sure to guard: a body may have
        none (``pass``), or begin with a ``try`` of its own.
        """

        def stop(here: FrameType, kind: str, _: Any) -> Any:
            if kind not in ("opcode", "line") or here.f_lasti < store.offset:
                return stop
            here.f_trace = None
            if store.opname != "POP_TOP":
                name = store.argval[0] if isinstance(store.argval, tuple) else store.argval
                place = here.f_globals if store.opname == "STORE_GLOBAL" else here.f_locals
                # Within a trace function, that sets a function's variables as well.
                place[name] = self
            raise _SkipBodyError

        # Python 3.12 looks for f_trace_opcodes when a tracer is set, 3.13 (beside a profiler) only
        # when f_trace_opcodes is set afterwards.
        frame.f_trace, frame.f_trace_opcodes = stop, True
        sys.settrace(lambda *_: None)
        frame.f_trace_opcodes = False
        frame.f_trace_opcodes = True

    # ---- in the child

    def _begin(self, out: int, err: int) -> None:
        C.hs_die_with_parent()
        os.setpgid(0, 0)  # what the body starts can be ended with it
        os.dup2(out, 1)
        os.dup2(err, 2)
        # The notebook's streams belong to threads that a fork leaves behind.
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        faulthandler.disable()  # ipykernel turns it on: it would have the last word
        self._watched: Heap | None = None
        heap = Heap.last() if Heap.last is not None else None
        if heap is not None and not heap.closed:
            self._watch(heap)
        for other in list(_open):
            self._adopt(other)
        Heap.adopt = self._adopt

    def _adopt(self, heap: Heap) -> None:
        """Let every call through, and log it."""
        heap._c.check = 0
        heap._in_child = self._logger(heap)

    def _watch(self, heap: Heap) -> None:
        self._watched = heap
        self._write({"heap": id(heap)})
        C.hs_on_death(heap._c, self._dump)

    def _logger(self, heap: Heap) -> Any:
        def log(entry: dict[str, Any]) -> None:
            if self._watched is not heap:
                self._watch(heap)
            if "made" in entry:
                self._write({"made": to_json(entry["made"])})
            else:
                self._write(entry)

        return log

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._log, json.dumps(entry).encode() + b"\n")

    def _end(self, error: BaseException | None) -> None:
        """Leave the child without running anything of the parent's."""
        status = 0
        try:
            if isinstance(error, SystemExit):
                status = error.code if isinstance(error.code, int) else int(error.code is not None)
            elif error is not None:
                status = 1
                self._write({"error": "".join(traceback.format_exception_only(error)).strip()})
                traceback.print_exception(error)
            sys.stdout.flush()
            sys.stderr.flush()
            heap = self._watched
            if heap is not None and not heap.closed:
                self._write({"names": heap._variables()})
                C.hs_dump(heap._c, self._dump, 0)
        finally:
            os._exit(status)

    # ---- in the parent

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self._pid == 0:
            self._end(error)
        frame, tracer, *own = self._traced
        self._traced = None
        frame.f_trace, frame.f_trace_opcodes = own
        sys.settrace(tracer)
        try:
            self._wait()
            failed = self._learn()
        finally:
            for fd in (*self._pipes, self._log, self._dump):
                os.close(fd)
        if kind is not None and not issubclass(kind, _SkipBodyError):
            return False
        if failed is not None:
            raise ChildError(f"the body of child() ended with {failed}") from None
        return True

    def _wait(self) -> None:
        """Read the child's output until it ends; kill what is left of it."""
        taken: dict[int, bytearray] = {fd: bytearray() for fd in self._pipes}
        try:
            self._listen(taken, time.monotonic() + self.timeout)
        finally:
            # Whatever the body has started ends with it. It is not reaped yet, so that the number
            # cannot be another process's.
            for kill, number in ((os.killpg, self._pid), (os.kill, self._pid)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(number, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            self.signal = signal.Signals(-code).name
        else:
            self.exit = code
        texts = [bytes(taken[fd][:MOST_OUTPUT]).decode(errors="replace") for fd in self._pipes]
        self.stdout, self.stderr = texts
        if self.signal is not None and self.stderr:
            self.message = self.stderr.strip().splitlines()[-1]
        if self.timed_out:
            self.message = f"ended after {self.timeout:g} s"

    def _listen(self, taken: dict[int, bytearray], end: float) -> None:
        """Collect output until the child has ended and nothing more comes, or time is over."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with selectors.DefaultSelector() as ready:
            for fd in self._pipes:
                ready.register(fd, selectors.EVENT_READ)
            while True:
                ended = os.waitid(os.P_PID, self._pid, how) is not None
                left = end - time.monotonic()
                if left <= 0:
                    self.timed_out = not ended
                    return
                if not ready.get_map() and not ended:
                    time.sleep(min(left, 0.002))
                    continue
                events = ready.select(0 if ended else min(left, 0.05)) if ready.get_map() else []
                if ended and not events:
                    return
                for key, _ in events:
                    data = os.read(key.fd, 65536)
                    if not data:
                        ready.unregister(key.fd)
                    elif len(taken[key.fd]) < MOST_OUTPUT:
                        taken[key.fd] += data

    def _learn(self) -> str | None:
        """Rebuild the heap from the child's log and dump; return the body's exception in words."""
        entries = [json.loads(line) for line in _whole(self._log).splitlines()]
        heap, calls, names = None, Calls(), []
        failed = about = None
        seen = False  # whether it used a private heap
        for entry in entries:
            if "heap" in entry:
                seen = True
                heap = _heap_with_id(entry["heap"])
                calls = heap._calls.copy() if heap is not None else Calls()
            if "about" in entry:
                about = entry["about"]
            if "names" in entry:
                names = entry["names"]
                for name, _, address in names:
                    asked = calls.blocks.get(address)
                    if asked is not None and asked.name is None:
                        calls.rename(address, name)
            if "made" in entry:
                calls.add(from_json(entry["made"]))
                about = None
            failed = entry.get("error", failed)
        if seen:
            self.snapshot = self._snapshot(heap, calls, names, about)
        return failed

    def _snapshot(
        self, heap: Heap | None, calls: Calls, names: list[tuple[str, str, int]], about: str | None
    ) -> Snapshot | None:
        ranges, arena, tables = _records(_whole(self._dump))
        if not ranges and arena is None:
            return None
        known = set(calls.blocks)
        reading = Reading(
            glibc=_version(),
            arch=_arch(),
            mappings=ranges,
            main_arena=arena,
            tcache=tables,
            blocks=dict(calls.blocks),
            pointers=tuple(RawPointer(n, t, a) for n, t, a in names if a in known),
            complete=True,
            stop=self._stop(about),
        )
        return decode(reading, None, Canon() if heap is None else heap._settled())

    def _stop(self, about: str | None) -> Stop:
        if self.timed_out:
            return Stop("timeout", message=self.message)
        if self.signal is not None:
            during = f" in {about}" if about else ""
            return Stop("signal", signal=self.signal, message=f"{self.message}{during}".strip())
        return Stop("exit", status=self.exit)

    def __repr__(self) -> str:
        if self._pid == -1:
            return "<child: not run yet>"
        if self.timed_out:
            end = f"[{self.message}]"
        else:
            end = f"[killed by {self.signal}]" if self.signal else f"[exit status {self.exit}]"
        return "\n".join([*self.stdout.splitlines(), *self.stderr.splitlines(), end])


def _whole(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0) if size else b""


def _heap_with_id(number: int) -> Heap | None:
    return next((h for h in _open if id(h) == number), None)


def _records(
    data: bytes,
) -> tuple[tuple[Mapping, ...], tuple[int, bytes] | None, tuple[int, ...]]:
    """Read what ``hs_dump`` wrote: mappings, main_arena, tcache tables."""
    kinds = {1: "heap", 2: "mmap", 4: "thread heap"}
    ranges: list[Mapping] = []
    tables: list[int] = []
    arena = None
    at = 0
    while at + 32 <= len(data):
        kind, base, length, stored = struct.unpack_from("<QQQQ", data, at)
        part = data[at + 32 : at + 32 + stored]
        at += 32 + stored
        if kind == 3:
            break
        if kind == 0:
            arena = base, part
        elif kind == 5:
            tables.append(base)
        else:
            ranges.append(replace(Mapping.trimmed(base, part, kinds[kind]), size=length))
    return tuple(ranges), arena, tuple(tables)

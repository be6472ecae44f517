"""A forked child that may die in the kernel's stead.

``with heapscope.child() as c:`` runs its body in a child process only, which has a copy of
everything, the private heaps included; the parent goes on behind the body with what came of it.
"""

from __future__ import annotations

import contextlib
import copy
import dis
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
from heapscope.recorders.heap import Heap, HeapError, _arch, _version

if TYPE_CHECKING:
    from typing import Self

MOST_OUTPUT = 200_000
"""Bytes kept of each stream."""


class ChildError(RuntimeError):
    """The body of a child ended with a Python exception, which is no answer of the heap's."""


class _SkipBodyError(Exception):
    """Raised in the parent in front of the body, and swallowed behind it."""


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
        self._skip_body(frame)
        return self

    def _skip_body(self, frame: FrameType) -> None:
        """Have the interpreter raise before the body's first instruction.

        It lies behind the one that stores what __enter__ returned.
        """
        after = [i for i in dis.get_instructions(frame.f_code) if i.offset > frame.f_lasti]
        store = next(i for i in after if i.opname.startswith(("STORE_", "POP_TOP", "UNPACK")))

        def stop(here: FrameType, kind: str, _: Any) -> Any:
            if kind in ("line", "opcode") and here.f_lasti > store.offset:
                here.f_trace = None
                raise _SkipBodyError
            return stop

        sys.settrace(lambda *_: None)
        frame.f_trace, frame.f_trace_opcodes = stop, True

    # ---- in the child

    def _begin(self, out: int, err: int) -> None:
        C.hs_die_with_parent()
        os.dup2(out, 1)
        os.dup2(err, 2)
        # The notebook's streams belong to threads that a fork leaves behind.
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._watched: Heap | None = None
        heap = Heap.last() if Heap.last is not None else None
        if heap is not None and not heap.closed:
            self._watch(heap)
        from heapscope.recorders import heap as module

        for other in list(module._open):
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
        """Read the child's output until it ends; kill it when its time is over."""
        taken: dict[int, bytearray] = {fd: bytearray() for fd in self._pipes}
        end = time.monotonic() + self.timeout
        try:
            with selectors.DefaultSelector() as ready:
                for fd in self._pipes:
                    ready.register(fd, selectors.EVENT_READ)
                while ready.get_map():
                    left = end - time.monotonic()
                    if left <= 0:
                        self.timed_out = True
                        break
                    for key, _ in ready.select(left):
                        data = os.read(key.fd, 65536)
                        if not data:
                            ready.unregister(key.fd)
                        elif len(taken[key.fd]) < MOST_OUTPUT:
                            taken[key.fd] += data
        finally:
            if self.timed_out or sys.exc_info()[0] is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
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
        return decode(reading, None, Canon() if heap is None else copy.deepcopy(heap._canon))

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
    from heapscope.recorders import heap as module

    return next((h for h in module._open if id(h) == number), None)


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

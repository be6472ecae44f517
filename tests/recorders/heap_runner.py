"""A process that makes calls on a private heap and says what they left, for `test_readings.py`.

It reads a sequence of calls from each line of stdin, answers with one line of JSON, and then waits:
meanwhile gdb may look at it.  The private libc's own words about the heap (malloc_usable_size,
malloc_info) are asked past heapscope.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

from heapscope import Heap, Snapshot

RTLD_DI_TLS_DATA = 10
Step = list[Any]


def make(heap: Heap, steps: list[Step]) -> list[Any]:
    """Make the calls; return the blocks that are in use in the end."""
    live: list[Any] = []
    lib = heap.lib
    for function, *args in steps:
        if function in ("free", "realloc"):
            if not live:
                continue
            place = args[0] % len(live)
            if function == "free":
                lib.free(live.pop(place))
                continue
            block = lib.realloc(live[place], args[1])
            if block != heap.ffi.NULL:
                live[place] = block
            elif args[1] == 0:
                live.pop(place)
            continue
        block = getattr(lib, function)(*args)
        if block != heap.ffi.NULL:
            live.append(block)
    return live


class Private:
    """Functions of the private libc that heapscope does not call."""

    def __init__(self, heap: Heap) -> None:
        self.heap = heap
        self.handle = ctypes.c_void_p(int(heap.ffi.cast("uintptr_t", heap._c.copy.handle)))
        self.system = ctypes.CDLL(None)
        self.system.dlsym.restype = ctypes.c_void_p

    def address(self, name: bytes) -> int:
        found = self.system.dlsym(self.handle, name)
        assert found, name
        return int(found)

    def function(self, name: bytes, result: Any, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(result, *arguments)(self.address(name))

    def tls(self) -> int:
        data = ctypes.c_void_p()
        failed = self.system.dlinfo(self.handle, RTLD_DI_TLS_DATA, ctypes.byref(data))
        assert not failed
        assert data.value
        return data.value

    def usable(self, block: int) -> int:
        ask = self.function(b"malloc_usable_size", ctypes.c_size_t, ctypes.c_void_p)
        return int(ask(block))

    def malloc_info(self) -> str:
        """Its XML. The stream is the private stdout with a buffer of ours: it takes no block."""
        pointer = ctypes.c_void_p
        stream = ctypes.c_void_p.from_address(self.address(b"stdout")).value
        room = ctypes.create_string_buffer(1 << 16)
        setvbuf = self.function(
            b"setvbuf", ctypes.c_int, pointer, pointer, ctypes.c_int, ctypes.c_size_t
        )
        assert setvbuf(stream, ctypes.addressof(room), 0, len(room)) == 0
        file, before = os.memfd_create("info"), os.dup(1)
        os.dup2(file, 1)
        try:
            ask = self.function(b"malloc_info", ctypes.c_int, ctypes.c_int, pointer)
            assert ask(0, stream) == 0
            assert self.function(b"fflush", ctypes.c_int, pointer)(stream) == 0
            text = os.pread(file, 1 << 16, 0).decode()
        finally:
            os.dup2(before, 1)
            os.close(before)
            os.close(file)
        return text


def tell(shot: Snapshot) -> dict[str, Any]:
    """A snapshot in plain data."""
    return {
        "regions": [[r.name, r.base, r.length] for r in shot.regions],
        "chunks": [
            [c.at, c.size, c.flags, str(c.state), c.usable, c.requested] for c in shot.chunks
        ],
        "lists": [
            [f.name, f.arena, [link.at for link in f.links], f.count, f.fault] for f in shot.lists
        ],
        "faults": [fault.text for fault in shot.faults],
    }


def answer(steps: list[Step]) -> dict[str, Any]:
    heap = Heap()
    kept.append(heap)
    live = make(heap, steps)
    private = Private(heap)
    first = tell(heap.snapshot())
    blocks = [int(heap.ffi.cast("uintptr_t", block)) for block in live]
    usable = {block: private.usable(block) for block in blocks}
    info = private.malloc_info()
    # Asking took nothing from the heap.
    assert tell(heap.snapshot()) == first
    places = [(int(p.base), int(p.end)) for p in heap._c.pieces[0 : heap._c.piece_count]]
    places += [(base, base + length) for _, base, length in heap._mapped()]
    return {
        "pid": os.getpid(),
        "malloc": private.address(b"malloc"),
        "tls": private.tls(),
        "usable": [[block, size] for block, size in usable.items()],
        "info": info,
        "places": [[low, high, heap._canon.anywhere(low)] for low, high in places],
        "snapshot": first,
    }


kept: list[Heap] = []


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prctl, any_process = 0x59616D61, ctypes.c_ulong(-1)  # PR_SET_PTRACER
    ctypes.CDLL(None).prctl(prctl, any_process, 0, 0, 0)
    for line in sys.stdin:
        while kept:
            kept.pop().close()
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()

"""What a checked call on a private heap costs, beside the bare cffi call.

100 blocks are in use. A pair is ``free(malloc(24))``. The bare pair goes to the process's own libc
through cffi in ABI mode; ``Heap(check=False)`` does the same bookkeeping without the check, so the
difference to ``Heap()`` is what the check costs. The film of the session, which ends after 400
calls, is over before anything is measured. Aim: at most 20 µs for the check of one call.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from cffi import FFI
from heapscope import Heap
from heapscope.recorders.heap import MOST_FRAMES

from bench.spread import Spread

LIVE = 100
ROUNDS = 4000
REPEATS = 9
AIM = 20.0  # µs


def pair(malloc: Callable[[int], Any], free: Callable[[Any], None]) -> float:
    """Return the processor microseconds of one call, over many pairs."""
    begin = time.process_time()
    for _ in range(ROUNDS):
        free(malloc(24))
    return (time.process_time() - begin) / ROUNDS / 2 * 1e6


def main() -> int:
    """Measure in turns, so that a change of the machine's speed meets all three alike."""
    ffi = FFI()
    ffi.cdef("void *malloc(size_t); void free(void *);")
    libc: Any = ffi.dlopen(None)
    calls: dict[str, tuple[Callable[[int], Any], Callable[[Any], None]]] = {
        "bare": (libc.malloc, libc.free)
    }
    heaps = {"checked": Heap(), "unchecked": Heap(check=False)}
    kept = []
    for name, heap in heaps.items():
        kept += [heap.lib.malloc(24) for _ in range(LIVE)]
        for _ in range(MOST_FRAMES):
            heap.lib.free(heap.lib.malloc(24))
        calls[name] = heap.lib.malloc, heap.lib.free
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, (malloc, free) in calls.items():
            times[name].append(pair(malloc, free))
    spreads = {name: Spread.of(values) for name, values in times.items()}
    check = spreads["checked"].median - spreads["unchecked"].median
    print(f"one call, {LIVE} blocks in use, median (least to greatest) of {REPEATS}:")
    for name, spread in spreads.items():
        ratio = spread.median / spreads["bare"].median
        print(f"  {name:10} {spread:.2f} µs, {ratio:.1f} times the bare call")
    print(f"  the check alone {check:.2f} µs; aim: at most {AIM:g} µs: {met(check <= AIM)}")
    return 0 if kept else 1


def met(yes: bool) -> str:
    """Say whether an aim was met."""
    return "met" if yes else "missed"


if __name__ == "__main__":
    sys.exit(main())

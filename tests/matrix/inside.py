"""Inside a folder, with heapscope installed: does a Heap work, and is a film right?

Run as ``python inside.py heap`` or ``film``; prints one line of JSON: what was done, and "" or what
was wrong with it.
"""

from __future__ import annotations

import json
import sys

PROGRAM = """\
#include <stdlib.h>
#include <string.h>

int main(void) {
    char *a = malloc(24);
    strcpy(a, "twenty-three characters");
    char *b = malloc(2000);
    char *guard = malloc(24);
    free(b);
    char *c = malloc(100);
    free(a);
    free(c);
    free(guard);
    return 0;
}
"""


def heap() -> tuple[str, list[str]]:
    """Take blocks of a private heap through several states, and compare with what was asked."""
    from heapscope import Heap
    from heapscope.model.snapshot import State

    with Heap() as own:
        lib, wrong = own.lib, []
        a, b, c = lib.malloc(24), lib.malloc(2000), lib.calloc(3, 40)
        own.ffi.memmove(a, b"x" * 24, 24)
        shots = [own.snapshot()]
        lib.free(b)
        lib.free(a)
        shots.append(own.snapshot())
        d = lib.realloc(c, 5000)
        shots.append(own.snapshot())
        lib.free(d)
        shots.append(own.snapshot())
        wanted = [
            {24: State.IN_USE, 2000: State.IN_USE, 120: State.IN_USE},
            {24: State.TCACHE, 120: State.IN_USE},
            {5000: State.IN_USE},
            {},
        ]
        for number, (shot, states) in enumerate(zip(shots, wanted, strict=True)):
            wrong += [f"snapshot {number}: {fault.text}" for fault in shot.faults]
            if shot.note:
                wrong.append(f"snapshot {number}: {shot.note}")
            for size, state in states.items():
                if not any(k.requested == size and k.state is state for k in shot.chunks):
                    wrong.append(f"snapshot {number}: no block of {size} bytes is {state}")
        if not any(k.state is State.UNSORTED for k in shots[1].chunks):
            wrong.append("snapshot 1: the block of 2000 bytes is not unsorted")
        chunks = sum(len(shot.chunks) for shot in shots)
    return f"{len(shots)} snapshots, {chunks} chunks", wrong


def film() -> tuple[str, list[str]]:
    """Film a program, and look at its frames."""
    from heapscope.model.snapshot import State
    from heapscope.recorders.gdb_recorder import record_c

    made, wrong = record_c(PROGRAM), []
    last = made.frames[-1]
    if last.stop is None or (last.stop.kind, last.stop.status) != ("exit", 0):
        wrong.append(f"the program ended with {last.stop}")
    shots = made.frames
    wrong += [fault.text for shot in shots for fault in shot.faults]
    wrong += sorted({shot.note for shot in shots if shot.note})
    if not any(b"twenty-three" in region.data for shot in shots for region in shot.regions):
        wrong.append("no frame shows the bytes that strcpy wrote")
    for state in (State.IN_USE, State.TCACHE, State.UNSORTED):
        if not any(k.state is state and k.requested for shot in shots for k in shot.chunks):
            wrong.append(f"no frame shows a block that is {state}")
    calls = [event.kind for shot in shots for event in shot.events]
    if calls.count("malloc") != 4 or calls.count("free") != 4:
        wrong.append(f"the calls were {calls}")
    return f"{len(shots)} frames, {len(calls)} calls", wrong


if __name__ == "__main__":
    done, trouble = {"heap": heap, "film": film}[sys.argv[1]]()
    print(json.dumps({"done": done, "wrong": "; ".join(trouble)}))

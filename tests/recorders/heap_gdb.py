"""Read a heap with gdb and the debug symbols of libc; knows nothing of heapscope.

gdb -batch -x heap_gdb.py LIBC.  Each line of stdin is ``pid address-of-malloc tls``; the answer is
a line of JSON that begins with ``HEAP``.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from typing import Any

import gdb

MASK = ~7


def ask(text: str) -> int:
    return int(gdb.parse_and_eval(text))


def base_of(pid: int, address: int) -> int:
    """Where the copy of libc that holds an address is loaded."""
    start = 0
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            bounds, _, offset, *_ = line.split()
            low, high = (int(part, 16) for part in bounds.split("-"))
            if int(offset, 16) == 0 and "libc.so" in line:
                start = low
            if low <= address < high:
                return start
    raise ValueError("no library is there")


@functools.cache
def pointer_to(kind: str) -> Any:
    return gdb.lookup_type(kind).pointer()


def at_address(kind: str, at: int) -> Any:
    return gdb.Value(at).cast(pointer_to(kind)).dereference()


def chunk(at: int) -> Any:
    return at_address("struct malloc_chunk", at)


def size_word(at: int) -> int:
    return int(chunk(at)["mchunk_size"])


def protected(slot: int) -> int:
    """REVEAL_PTR of malloc.c."""
    return (slot >> 12) ^ int(at_address("unsigned long", slot))


def tcache(tls: int) -> dict[str, Any]:
    table = int(at_address("unsigned long", tls + TCACHE))
    lists: dict[str, Any] = {}
    if not table:
        return lists
    value = at_address("struct tcache_perthread_struct", table)
    for index in range(value["entries"].type.range()[1] + 1):
        at, found = int(value["entries"][index]), []
        while at:
            found.append(at)
            at = protected(at)
        count = int(value["counts"][index])
        if found or count:
            lists[f"tcache[{(index + 2) * 16:#x}]"] = [found, count]
    return {"table": table, "lists": lists}


def fastbins(arena: Any) -> dict[str, list[int]]:
    lists = {}
    for index in range(arena["fastbinsY"].type.range()[1] + 1):
        at, found = int(arena["fastbinsY"][index]), []
        while at:
            found.append(at)
            at = protected(at + 16)
        if found:
            lists[f"fastbin[{(index + 2) * 16:#x}]"] = found
    return lists


def bins(arena: Any) -> dict[int, list[int]]:
    lists = {}
    start = int(arena["bins"].address)
    for index in range(1, 127):
        header = start + 16 * (index - 1) - 16
        # malloc takes from the bk end.
        at, found = int(chunk(header)["bk"]), []
        while at not in (header, 0):  # 0: nothing was ever asked for
            found.append(at)
            following = int(chunk(at)["bk"])
            assert int(chunk(following)["fd"]) == at
            at = following
        if found:
            lists[index] = found
    return lists


def walk(at: int, top: int) -> list[tuple[int, int]]:
    """Chunks from `at` up to top, or up to the second fencepost of a piece that was left behind."""
    found: list[tuple[int, int]] = []
    fenceposts = 0
    while fenceposts < 2:
        word = size_word(at)
        found.append((at, word))
        if at == top or word & MASK < 16:
            break
        fenceposts += word & MASK == 16
        at += word & MASK
    return found


def read(pid: int, malloc: int, tls: int) -> dict[str, Any]:
    base = base_of(pid, malloc)
    arena = at_address("struct malloc_state", base + MAIN_ARENA)
    parameters = at_address("struct malloc_par", base + PARAMETERS)
    table = tcache(tls)
    top = int(arena["top"])
    first = table["table"] - 16 if table else 0
    return {
        "malloc": MALLOC + base == malloc,
        "top": top,
        "system_mem": int(arena["system_mem"]),
        "mapped": int(parameters["n_mmaps"]),
        "mapped_bytes": int(parameters["mmapped_mem"]),
        "tcache": table,
        "fastbins": fastbins(arena),
        "bins": bins(arena),
        "chunks": walk(first, top) if first and first % 4096 == 0 else [],
    }


def main() -> None:
    for line in sys.stdin:
        pid, malloc, tls = (int(part) for part in line.split())
        gdb.execute(f"attach {pid}", to_string=True)
        try:
            answer = read(pid, malloc, tls)
        except (gdb.error, AssertionError, ValueError) as error:
            answer = {"error": repr(error)}
        gdb.execute("detach", to_string=True)
        print("HEAP", json.dumps(answer), flush=True)


for setting in ("auto-solib-add off", "confirm off", "pagination off", "exec-file-mismatch off"):
    gdb.execute(f"set {setting}", to_string=True)
MAIN_ARENA = ask("(unsigned long)&main_arena")
PARAMETERS = ask("(unsigned long)&mp_")
MALLOC = ask("(unsigned long)&malloc")
place = gdb.execute("info address tcache", to_string=True)
TCACHE = int(re.findall(r"0x[0-9a-f]+", place)[-1], 16)
main()

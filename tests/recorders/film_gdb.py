"""Step C programs in gdb and read each stop plainly; knows nothing of heapscope.

gdb -batch -x film_gdb.py.  Each line of stdin is the path of a program whose source is
``program.c``; each answer is a line of JSON that begins with ``RUN``: a list of stops.  The heap is
read by walking from one size word to the next, with the types of libc's own debugging symbols.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import gdb

FILE = "program.c"
MOST = 390  # stops


def ask(text: str) -> int:
    return int(gdb.parse_and_eval(text))


def say(text: str) -> str:
    return gdb.execute(text, to_string=True) or ""


def own(frame: Any) -> bool:
    symtab = frame.find_sal().symtab
    return symtab is not None and os.path.basename(symtab.filename) == FILE


def alive() -> bool:
    return bool(gdb.selected_inferior().pid)


def value_at(kind: str, at: int) -> Any:
    return gdb.Value(at).cast(gdb.lookup_type(kind).pointer()).dereference()


def chain(first: int, link: Callable[[int], int], end: int = 0) -> list[int]:
    """Follow a list; one that loops or leaves memory ends there."""
    found: list[int] = []
    while first != end and len(found) < 50 and first not in found:
        found.append(first)
        try:
            first = link(first)
        except KeyError:
            break
    return found


def heap() -> dict[str, Any]:
    """Walk the main heap: chunks, lists, top, and all words that are not 0."""
    base = ask("(unsigned long) mp_.sbrk_base")
    if not base:
        return {"base": 0}
    arena = value_at("struct malloc_state", ARENA["at"])
    arena.fetch_lazy()
    top, size = int(arena["top"]), int(arena["system_mem"])
    data = bytes(gdb.selected_inferior().read_memory(base, min(size, top + 16 - base)))
    numbers = memoryview(data[: len(data) & ~7]).cast("Q")
    words = {base + 8 * n: word for n, word in enumerate(numbers)}

    chunks = []
    at = base
    while at <= top:
        word = words[at + 8]
        chunks.append([at, word & ~7, word & 7])
        if at == top or word & ~7 < 32 or at + (word & ~7) > top:
            break
        at += word & ~7

    table = value_at("struct tcache_perthread_struct", base + 16)
    table.fetch_lazy()
    low, high = table.type["entries"].type.range()
    firsts = {n: int(table["entries"][n]) for n in range(low, high + 1)}
    tcache = {
        32 + 16 * n: chain(first, lambda at: (at >> 12) ^ words[at])  # REVEAL_PTR of malloc.c
        for n, first in firsts.items()
        if first
    }
    firsts = {n: int(arena["fastbinsY"][n]) for n in range(7)}
    fast = {
        32 + 16 * n: chain(first, lambda at: (at + 16 >> 12) ^ words[at + 16])
        for n, first in firsts.items()
        if first
    }
    bins = {}
    start = ARENA["bins"]
    for n in range(127):
        # From the end that malloc takes from: bk, the second of each two words.
        head, first = start + 16 * n - 16, int(arena["bins"][2 * n + 1])
        if first not in (0, head):
            bins[n + 1] = chain(first, lambda at: words[at + 24], head)
    return {
        "base": base,
        "top": top,
        "size": size,
        "chunks": chunks,
        "tcache": tcache,
        "fast": fast,
        "bins": bins,
        "words": {at: word for at, word in words.items() if word},
    }


def flat(name: str, value: Any, found: dict[str, Any]) -> None:
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        for field in kind.fields():
            flat(f"{name}.{field.name}", value[field], found)
    elif kind.code == gdb.TYPE_CODE_PTR:
        found[name] = ["pointer", int(value)]
    else:
        found[name] = ["number", str(int(value))]


def variables(frame: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    block = frame.block()
    while block is not None:
        for symbol in block:
            inner = symbol.is_variable or symbol.is_argument
            if inner and symbol.name not in found:
                flat(symbol.name, symbol.value(frame), found)
        if block.function is not None:
            break
        block = block.superblock
    return found


def stop() -> dict[str, Any]:
    frames = []
    frame = gdb.newest_frame()
    while frame is not None:
        if own(frame):
            base = int(frame.read_register("rbp" if "64" in ARCH and "x86" in ARCH else "x29"))
            line = frame.find_sal().line
            frames.append([frame.name(), line, base, variables(frame)])
        frame = frame.older()
    return {"frames": frames, "calls": ask("calls"), "heap": heap()}


ARCH = ""
ARENA: dict[str, int] = {}
STARTS: set[int] = set()


def begins(table: list[tuple[int, int]]) -> set[int]:
    """Return where a line begins: what goes on with the same line is no beginning."""
    return {at for n, (at, line) in enumerate(table) if line and (not n or table[n - 1][1] != line)}


def stepped() -> bool:
    """Go to where the next line of the program's own begins; False at its end."""
    for _ in range(50):
        say("step")
        if not alive() or SIGNAL:
            return False
        while alive() and not own(gdb.newest_frame()):
            if gdb.newest_frame().older() is None or gdb.newest_frame().name() == "exit":
                return False
            before = gdb.newest_frame().name() or ""
            if before.startswith("__libc_start"):
                return False
            say("finish")
            if SIGNAL:
                return False
        if not alive():
            return False
        if gdb.newest_frame().pc() in STARTS:
            return True
    return False


SIGNAL: list[str] = []


def note(event: Any) -> None:
    if isinstance(event, gdb.SignalEvent):
        SIGNAL.append(event.stop_signal)


def run(path: str) -> dict[str, Any]:
    """Step one program from main to its end."""
    global ARCH
    SIGNAL.clear()
    say(f"file {path}")
    say("delete")
    say("break main")
    say("run >/dev/null 2>&1")
    ARCH = gdb.selected_frame().architecture().name()
    ARENA["at"] = ask("(unsigned long) &main_arena")
    ARENA["bins"] = ask("(unsigned long) &main_arena.bins")
    symtab = gdb.selected_frame().find_sal().symtab
    STARTS.clear()
    STARTS.update(begins(sorted((item.pc, item.line) for item in symtab.linetable())))
    stops = [stop()]
    while len(stops) < MOST and stepped():
        stops.append(stop())
    ended = SIGNAL[-1] if SIGNAL else "exit"
    if alive():
        say("kill")
    return {"stops": stops, "ended": ended}


gdb.events.stop.connect(note)
for command in ("set pagination off", "set confirm off", "set debuginfod enabled off"):
    say(command)
say("set environment LD_BIND_NOW 1")
for folder in ("./malloc/*", "./string/*", "./stdlib/*", "../sysdeps/*"):
    say(f"skip -gfi {folder}")
for line in sys.stdin:
    try:
        print("RUN", json.dumps(run(line.strip())), flush=True)
    except gdb.error as error:
        print("RUN", json.dumps({"error": str(error)}), flush=True)

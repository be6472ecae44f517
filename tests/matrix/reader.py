"""Inside gdb: read the heap at each state through glibc's own types and symbols.

Run by ``record.py`` as ``gdb -batch -x reader.py --args program FILE``; HEAPSCOPE_OUT names the
file that gets one line of JSON for each state.  Nothing of heapscope is used: offsets and sizes
come from libc6-dbg's DWARF, chunks are found by a walk of its own.  Standard library only, and
Python 3.9, because it runs in gdb's Python.
"""

import json
import os
import re

import gdb

OUT = open(os.environ["HEAPSCOPE_OUT"], "w", encoding="utf-8")  # noqa: SIM115
PROTECTED = tuple(int(n) for n in os.environ["HEAPSCOPE_GLIBC"].split(".")[:2]) >= (2, 32)
REMOTE = os.environ.get("HEAPSCOPE_REMOTE")  # where an emulator waits for gdb
HEAP_MAX = 64 << 20
MOST = 5000


def number(expression):
    """Return the value of an expression as an unsigned number."""
    return int(gdb.parse_and_eval("(unsigned long) (" + expression + ")")) & (1 << 64) - 1


def word(address):
    """Return the word at an address; None when it cannot be read."""
    try:
        data = gdb.selected_inferior().read_memory(address, 8)
    except (gdb.MemoryError, gdb.error, OverflowError):
        return None
    return int.from_bytes(bytes(data), "little")


OFFSETS = {}


def field(type_name, name):
    """Return the offset of a field."""
    if (type_name, name) not in OFFSETS:
        OFFSETS[type_name, name] = offset_of(type_name, name)
    return OFFSETS[type_name, name]


def offset_of(type_name, name):
    """Look the offset of a field up in glibc's DWARF."""
    return next(f.bitpos // 8 for f in gdb.lookup_type(type_name).fields() if f.name == name)


def walk(first, top, end):
    """Follow the size words from `first` up to and including `top`; say whether it got there."""
    size_at = field("struct malloc_chunk", "mchunk_size")
    chunks, at = [], first
    while at != top and len(chunks) < MOST:
        value = word(at + size_at)
        size = None if value is None else value & ~7
        if not size or size % 16 or size < 32 or at + size > end:
            return chunks, False
        chunks.append([at, size, value & 7])
        at += size
    if at == top:
        value = word(at + size_at)
        chunks.append([at, value & ~7, value & 7])
    return chunks, at == top


def singly(first, offset, protected):
    """Follow a list through the word at `offset` in each entry; stop at what cannot be one."""
    found, node = [], first
    while node:
        if node % 16 or node in found or word(node + offset) is None or len(found) > MOST:
            return found, False
        found.append(node)
        raw = word(node + offset)
        node = raw ^ (node + offset) >> 12 if protected else raw
    return found, True


def doubly(header, offset):
    """Follow a bin along bk (offset 24) or fd (16) from its header until it is back there."""
    found, node = [], word(header + offset)
    while node != header:
        if node is None or node % 16 or node in found or word(node + offset) is None:
            return found, False
        found.append(node)
        node = word(node + offset)
    return found, True


def arena_lists(name, base):
    """Read fastbins and bins of one arena."""
    lists = []
    fields = [f.name for f in gdb.lookup_type("struct malloc_state").fields()]
    if "fastbinsY" in fields:
        low, high = gdb.parse_and_eval("main_arena.fastbinsY").type.range()
        for index in range(low, high + 1):
            first = word(base + field("struct malloc_state", "fastbinsY") + 8 * index)
            found, whole = singly(first, 16, PROTECTED)
            if first:
                lists.append(["fastbin", index, name, found, whole, None])
    low, high = gdb.parse_and_eval("main_arena.bins").type.range()
    bins = base + field("struct malloc_state", "bins")
    for index in range(1, (high + 1) // 2 + 1):
        header = bins + 16 * (index - 1) - 16
        if word(header + 16) in (0, header) and word(header + 24) in (0, header):
            continue
        back, whole = doubly(header, 24)
        forward, other = doubly(header, 16)
        sound = whole and other and forward == back[::-1]
        lists.append(["bin", index, name, back, sound, None])
    return lists


def tcache_lists(name, table):
    """Read one thread's table."""
    lists = []
    shape = "((struct tcache_perthread_struct *) " + str(table) + ")"
    fields = [f.name for f in gdb.lookup_type("struct tcache_perthread_struct").fields()]
    low, high = gdb.parse_and_eval(shape + "->entries").type.range()
    counts = gdb.parse_and_eval(shape + "->" + ("counts" if "counts" in fields else "num_slots"))
    places = number("mp_.tcache_count")
    for index in range(low, high + 1):
        first = word(table + field("struct tcache_perthread_struct", "entries") + 8 * index)
        count = int(counts[index]) if "counts" in fields else places - int(counts[index])
        found, whole = singly(first, 0, PROTECTED)
        if first or count:
            lists.append(["tcache", index, name, [e - 16 for e in found], whole, count])
    return lists


def tables():
    """Return (thread's number, table) of each thread that has one.

    libc's thread-local variables lie at the same distance from each thread's own register; gdb 10
    answers for the first thread only, so the distance is taken from there.
    """
    if REMOTE:
        return tables_beside(TCACHE)
    old = gdb.selected_thread()
    threads = sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num)
    found = []
    for thread in threads:
        thread.switch()
        own = number("$fs_base")
        if thread is threads[0]:
            distance = number("&tcache") - own
        found.append([thread.num, word(own + distance)])
    old.switch()
    return found


def tcache_offset():
    """Return where in libc's thread-local storage the variable `tcache` lies.

    To be asked before anything else of malloc.c: the symbol is there, but once gdb has read the
    file's DWARF it takes a declaration without a place for it.
    """
    text = gdb.execute("info address tcache", to_string=True)
    found = re.search(r"0x[0-9a-f]+", text)
    if not found:
        raise ValueError("where tcache lies is not known: " + text)
    # gdb has added the address that libc begins at, which is a multiple of the page.
    return int(found[0], 16) % 4096


def tables_beside(offset):
    """Return the same where gdb knows no thread's register, as in an emulator.

    The program says where libc's thread-local storage is.
    """
    places = [number("tls_places[" + str(index) + "]") for index in range(2)]
    return [[n + 1, word(place + offset)] for n, place in enumerate(places) if place]


def read():
    """Read everything."""
    main = number("&main_arena")
    size_of = gdb.lookup_type("struct malloc_state").sizeof
    info = gdb.lookup_type("heap_info").sizeof
    arenas = [main]
    while True:
        following = number("((struct malloc_state *) " + str(arenas[-1]) + ")->next")
        if following in (0, main) or following in arenas:
            break
        arenas.append(following)
    heaps, lists = [], []
    for index, base in enumerate(arenas):
        name = "main" if index == 0 else "thread"
        top = number("((struct malloc_state *) " + str(base) + ")->top")
        system = number("((struct malloc_state *) " + str(base) + ")->system_mem")
        if index == 0:
            begin = number("mp_.sbrk_base") + 15 & ~15
            end = begin + system
            if not begin or not system:
                continue
        else:
            heap = top & ~(HEAP_MAX - 1)
            end = heap + number("((heap_info *) " + str(heap) + ")->size")
            begin = heap + info + size_of + 15 & ~15
        chunks, whole = walk(begin, top, end)
        heaps.append(
            {
                "name": name,
                "top": top,
                "system": system,
                "begin": begin,
                "end": end,
                "chunks": chunks,
                "whole": whole,
            }
        )
        lists += arena_lists(name, base)
    threads = []
    for thread, table in tables():
        inside = [h["name"] for h in heaps if h["begin"] <= table < h["end"]]
        if inside:
            threads.append([thread, table])
            lists += tcache_lists(inside[0], table)
    mapped = []
    for index in range(number("block_count")):
        block = gdb.parse_and_eval("blocks[" + str(index) + "]")
        user = int(block["user"])
        if not int(block["freed"]) and int(block["requested"]) > 100000:
            value = word(user - 8)
            if value is not None and value & 2:
                mapped.append([user - 16, value & ~7, value & 7])
    return {
        "arena": main,
        "arena_size": size_of,
        "heaps": heaps,
        "lists": lists,
        "tables": threads,
        "mapped": mapped,
        "places": number("mp_.tcache_count"),
    }


def take_down():
    """Write one state down."""
    name = gdb.selected_frame().read_var("name").string()
    try:
        found = read()
    except Exception as error:
        found = {"error": type(error).__name__ + ": " + str(error)}
    found["state"] = name
    OUT.write(json.dumps(found) + "\n")


for command in (
    "set pagination off",
    "set confirm off",
    "set startup-with-shell off",
    "set print thread-events off",
    "set breakpoint pending on",
):
    gdb.execute(command)
if REMOTE:
    gdb.execute("set sysroot " + os.environ["HEAPSCOPE_SYSROOT"])
    gdb.execute("set debug-file-directory " + os.environ["HEAPSCOPE_SYSROOT"] + "/usr/lib/debug")
    gdb.execute("target remote " + REMOTE)
# Not in the breakpoint's own stop(): other threads cannot be selected there.
reached = gdb.Breakpoint("reached")
reached.silent = True
gdb.execute("continue" if REMOTE else "run")
TCACHE = tcache_offset() if REMOTE else None
while gdb.selected_inferior().pid:
    take_down()
    gdb.execute("continue")
OUT.close()

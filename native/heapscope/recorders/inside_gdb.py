"""The half of the film recorder that runs inside gdb's own Python.

Standard library and ``gdb`` only.  It brings bytes, registers and calls out, one line of JSON for
each thing that happens, as it happens; what they mean is worked out by ``gdb_recorder.py``, which
starts ``gdb -x`` with this file and names the job (JSON) in ``HEAPSCOPE_JOB``.

The program is not stepped.  Every line of the user's own files gets a breakpoint, at the place
where the line begins; everything is done in the breakpoints' ``stop`` methods, which let the
program go on.  So a program runs from one line to the next at full speed, libraries are never
entered, and a function that a library calls back is seen like any other.

Lines written (``t`` says which): ``start``, ``type``, ``call``, ``return``, ``copy``, ``lend``,
``pin``, ``stop`` (a line is about to run), ``signal``, ``exit`` (the program is about to end),
``end``, ``limit``, ``time``, ``trouble``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import struct
import sys
import threading
from typing import Any

import gdb

PAGE = 4096
MASK = (1 << 64) - 1
MOST_CHECK = 8  # instructions with which a function of Go's asks for its stack
CHECK_JUMP = re.compile(r"jbe\b|jna\b|b\.ls\b")
MOST_HEAP = 4 << 20  # bytes of one heap that are copied
MOST_BLOCK = 1 << 20  # bytes of a block with a mapping of its own
MOST_VARIABLE = 512  # bytes of one variable
MOST_FRAMES = 24  # of the user's own functions, innermost first
MOST_DEPTH = 200  # frames that are looked at
MOST_OBJECT = 256  # bytes of one object of Go
MOST_FIELDS = 64
MOST_LISTED = 16  # blocks of one list of a tcache
MOST_TEXT = 40  # bytes of a text that a variable leads to

# name -> (register of each argument, which argument is the block handed in)
ENTRIES: dict[str, tuple[int, int | None]] = {
    "malloc": (1, None),
    "calloc": (2, None),
    "realloc": (2, 0),
    "reallocarray": (3, 0),
    "free": (1, 0),
    "aligned_alloc": (2, None),
    "memalign": (2, None),
    "posix_memalign": (3, None),
    "valloc": (1, None),
    "pvalloc": (1, None),
}
REGISTERS = {
    "i386:x86-64": (("rdi", "rsi", "rdx"), "rax", "rsp"),
    "aarch64": (("x0", "x1", "x2"), "x0", "sp"),
}
# Go's own calling convention: where arguments are, and where g is
GO_REGISTERS = {
    "i386:x86-64": (("rax", "rbx", "rcx"), "r14"),
    "aarch64": (("x0", "x1", "x2"), "x28"),
}
COPIES = {  # cgo's helpers that copy across the border: how many registers tell what is copied
    "CString": 2,
    "GoString": 1,
    "GoStringN": 2,
    "GoBytes": 2,
    "CBytes": 2,
}
OWN = ("free", "_Cmalloc", "heapscope_fill")
"""C functions that borrow nothing of Go's."""
FATAL = (
    *("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTERM", "SIGQUIT"),
    *("SIGHUP", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXFSZ", "SIGXCPU", "SIGSTOP"),
)


class Job:
    """What is to be done, and what is known of the process."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            self.form: dict[str, Any] = json.load(file)
        self.log = open(self.form["log"], "w", encoding="utf-8")  # noqa: SIM115 (kept open)
        self.language: str = self.form["language"]
        self.files: list[str] = self.form["files"]
        self.layout: dict[str, Any] = self.form["layout"]
        self.stops = 0
        self.pid = 0
        self.memory = -1
        self.over: str | None = None  # why no more is recorded
        self.bytes = 0

    def write(self, kind: str, **fields: Any) -> None:
        """Write one line; flushed, so that nothing is lost when gdb is killed."""
        line = json.dumps({"t": kind, **fields}, separators=(",", ":"))
        self.bytes += len(line)
        self.log.write(line + "\n")
        self.log.flush()

    def read(self, at: int, size: int) -> bytes | None:
        """Return bytes of the program, or None where there are none."""
        try:
            data = os.pread(self.memory, size, at)
        except (OSError, OverflowError, ValueError):
            return None
        return data if len(data) == size else None

    def word(self, at: int) -> int | None:
        """Return the 64-bit word at an address."""
        data = self.read(at, 8)
        return None if data is None else int.from_bytes(data, "little")


job = Job(os.environ["HEAPSCOPE_JOB"])


def run(command: str) -> str:
    """Execute a command of gdb and return what it says."""
    said: str = gdb.execute(command, to_string=True)
    return said


# ---- memory


class Heaps:
    """The ranges that belong to malloc, and which of their pages were written out already."""

    def __init__(self) -> None:
        self.sent: dict[int, list[bytes]] = {}  # base -> pages
        self.arena_at = 0
        self.arena_sent = b""
        self.blocks: dict[int, None] = {}  # blocks with flag M that may be in use
        self.threads: dict[int, None] = {}  # bases of thread heaps
        self.mine: set[int] = set()  # blocks that the user's calls, and libraries for them, got
        self.others: list[list[int]] = []  # all other mappings, as they were last written out
        self.news = False

    def took(self, user: int) -> None:
        """Look at the size word of a block that was handed out."""
        word = job.word(user - 8)
        if word is None:
            return
        self.mine.add(user)
        if word & 2:
            self.blocks[user] = None
        elif word & 4 and job.layout["heap_max"]:
            self.threads[user & -job.layout["heap_max"]] = None

    def gave(self, user: int) -> None:
        """Forget a block with a mapping of its own."""
        self.blocks.pop(user, None)

    def ranges(self) -> list[tuple[int, int, str]]:
        """Return (base, length, kind) of all that there is now."""
        found: list[tuple[int, int, str]] = []
        with open(f"/proc/{job.pid}/maps", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
        writable: list[tuple[int, int]] = []
        others: list[list[int]] = []
        for line in lines:
            low, _, rest = line.partition("-")
            high, access = rest.split(" ", 2)[:2]
            if line.endswith("[heap]"):
                found.append((int(low, 16), int(high, 16) - int(low, 16), "heap"))
            elif "[stack]" not in line:
                others.append([int(low, 16), int(high, 16)])
            if access.startswith("rw"):
                writable.append((int(low, 16), int(high, 16)))
        self.news = others != self.others
        self.others = others
        for base in self.threads:
            size = job.word(base + job.layout["heap_size"])
            whole = any(low <= base < high for low, high in writable)
            if whole and size and PAGE <= size <= job.layout["heap_max"]:
                found.append((base, size, "thread heap"))
        for user in list(self.blocks):
            before, word = job.word(user - 16), job.word(user - 8)
            if before is None or word is None:
                del self.blocks[user]
                continue
            base = user - 16 - (before & job.layout["mmap_offset_mask"])
            base &= -PAGE
            room = next((high - base for low, high in writable if low <= base < high), 0)
            length = user - 16 - base + (word & ~7) + job.layout["mmap_extra"]
            if not 0 < length <= room or length % PAGE:
                length = room
            if length:
                found.append((base, length, "mmap"))
        return found

    def reveal(self) -> None:
        """Show the heaps of other threads that have to do with the user's blocks.

        A block that one thread asked for and another gives back is in the table of the other, whose
        heap may hold nothing else of the user's; and a table that is shown may lead anywhere.
        """
        if not THREADS.tables:
            return
        most = job.layout["heap_max"]
        for table in THREADS.tables.values():
            base, inside = table & -most, self.held(table)
            arena = job.word(base + job.layout["ar_ptr"]) or 0
            apart = arena & -most == base  # else it is in the main heap
            if apart and base not in self.threads and self.mine.isdisjoint(inside):
                continue
            if apart:
                self.threads[base] = None
            for user in inside:
                if (job.word(user - 8) or 0) & 4:
                    self.threads[user & -most] = None

    @staticmethod
    def held(table: int) -> list[int]:
        """Return the blocks that are in a tcache table, as far as its lists can be followed."""
        layout = job.layout
        found: list[int] = []
        data = job.read(table + layout["entries"], 8 * layout["tcache_bins"]) or b""
        for (node,) in struct.iter_unpack("<Q", data):
            seen = 0
            while node and seen < MOST_LISTED:
                found.append(node)
                seen += 1
                raw = job.word(node)
                if raw is None:
                    break
                node = raw ^ (node >> 12) if layout["safe_linking"] else raw
        return found

    def changes(self) -> list[list[Any]]:
        """Return [base, length, kind, {page number: bytes}] with the pages that changed."""
        result = []
        self.reveal()
        ranges = self.ranges()
        for gone in self.sent.keys() - {base for base, _, _ in ranges}:
            del self.sent[gone]
        for base, length, kind in ranges:
            most = MOST_BLOCK if kind == "mmap" else MOST_HEAP
            data = job.read(base, min(length, most)) or b""
            kept = len(data.rstrip(b"\0")) + 15 & ~15
            pages = [data[i : min(i + PAGE, kept)] for i in range(0, kept, PAGE)]
            old = self.sent.get(base, [])
            new = {i: page.hex() for i, page in enumerate(pages) if i >= len(old) or old[i] != page}
            result.append([base, length, kind, len(pages), new])
            self.sent[base] = pages
        return result

    def arena(self) -> str | None:
        """Return the bytes of main_arena when they changed."""
        if not self.arena_at:
            return None
        data = job.read(self.arena_at, job.layout["arena_size"]) or b""
        if data == self.arena_sent:
            return None
        self.arena_sent = data
        return data.hex()

    def locate(self, places: list[tuple[int, int]]) -> tuple[int, str]:
        """Find main_arena: by its symbol, else by its look. Returns (address or 0, how)."""
        if not job.layout["arena_size"]:
            return 0, "unknown layout"
        if job.form["symbols"]:
            try:
                self.arena_at = int(gdb.parse_and_eval("(unsigned long) &main_arena"))
                return self.arena_at, "symbol"
            except gdb.error:
                pass
        for low, high in places:
            found = self.scan(low, high)
            if found:
                self.arena_at = found
                return found, "scan"
        return 0, "not found"

    @staticmethod
    def scan(low: int, high: int) -> int:
        """Look for main_arena by its look (malloc_state, malloc_init_state in malloc.c).

        Before the first malloc it is all zeros up to `next`, which leads back to it, or (since
        2.43) has its bins and a top that leads to the first of them; afterwards most of its bins
        lead to themselves.
        """
        layout = job.layout
        data = job.read(low, high - low) or b""
        words = memoryview(data[: len(data) & ~7]).cast("Q")
        step, first, count = layout["next"] // 8, layout["bins"] // 8, 2 * layout["bins_number"]
        for index in range(len(words) - layout["arena_size"] // 8 + 1):
            here = low + index * 8
            if words[index + step] == here and not any(words[index + 1 : index + step]):
                return here
            # Any place among the bins looks much the same, so the top chunk must be right as well.
            top, held = words[index + layout["top"] // 8], words[index + layout["system"] // 8]
            if not held:
                if top != here + layout["bins"] - 16:
                    continue
            elif held % PAGE or (top + (job.word(top + 8) or 0) & ~7) % PAGE or not top:
                continue
            lone = sum(
                words[index + first + i] == here + 8 * (first + (i & ~1)) - 16 for i in range(count)
            )
            if lone > count // 2:
                return here
        return 0


heaps = Heaps()


class Threads:
    """The program's threads: where the tcache table of each is.

    libc's thread-local variable ``tcache`` says it (malloc.c).  Where that variable is among a
    thread's own data is found once, without symbols: there the main thread has the address of its
    table, the first chunk of the heap.
    """

    def __init__(self) -> None:
        self.bases: dict[int, int] = {}  # by thread: the register that its own data are found by
        self.place: int | None = None  # of `tcache`, from there
        self.tables: dict[int, int] = {}  # by thread

    def update(self) -> None:
        """Look for threads that are new or gone, and read the variable of each."""
        alive = gdb.selected_inferior().threads()
        if len(alive) < 2 or not job.layout["heap_max"]:
            self.tables = {}
            return
        self._learn(alive)
        if self.place is None:
            self.place = self._search()
        if self.place is None:
            return
        found = {n: job.word(base + self.place) or 0 for n, base in self.bases.items()}
        self.tables = {n: found[n] for n in sorted(found) if self._right(found[n])}

    def _learn(self, alive: Any) -> None:
        numbers = {thread.num for thread in alive}
        for gone in self.bases.keys() - numbers:
            del self.bases[gone]
        fresh = [thread for thread in alive if thread.num not in self.bases]
        if not fresh:
            return
        now = gdb.selected_thread()
        try:
            for thread in fresh:
                thread.switch()
                self.bases[thread.num] = register(OWN_DATA)
        finally:
            now.switch()

    def _search(self) -> int | None:
        """Return where `tcache` is, as seen from the main thread's register."""
        main = self.bases.get(1)
        if not main:
            return None
        low = -PAGE if OWN_DATA == "fs_base" else 0
        for place in range(low, low + PAGE, 8):
            table = job.word(main + place) or 0
            if self._right(table) and any(
                kind == "heap" and base < table < base + length
                for base, length, kind in heaps.ranges()
            ):
                return place
        return None

    @staticmethod
    def _right(table: int) -> bool:
        """Whether an address may be that of a table."""
        if not table or table % 16:
            return False
        return (job.word(table - 8) or 0) & ~7 in job.layout["tcache_chunks"]


THREADS = Threads()


# ---- types and variables

TYPES: dict[str, int] = {}
FORMS: dict[int, dict[str, Any]] = {}
ORIGIN = {"go": False}  # whether the types being looked at are Go's


def type_id(kind: Any, depth: int = 0) -> int:
    """Return the number of a type; a new one is written out."""
    bare = kind.strip_typedefs()
    name = str(kind)
    key = f"{ORIGIN['go']}/{name}/{bare.sizeof}/{bare.code}"
    known = TYPES.get(key)
    if known is not None:
        return known
    number = TYPES[key] = len(TYPES)
    form: dict[str, Any] = {"id": number, "name": name, "size": bare.sizeof, "kind": "other"}
    form["go"] = ORIGIN["go"]
    FORMS[number] = form
    code = bare.code
    if code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF):
        form["kind"] = "pointer"
        form["to"] = None
        target = bare.target()
        if target.strip_typedefs().code != gdb.TYPE_CODE_FUNC and depth < 4:
            form["to"] = type_id(target, depth + 1)
    elif code == gdb.TYPE_CODE_ARRAY:
        form["kind"] = "array"
        form["to"] = type_id(bare.target(), depth)
    elif code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        form["kind"] = "struct" if code == gdb.TYPE_CODE_STRUCT else "union"
        form["fields"] = []
        for field in bare.fields()[:MOST_FIELDS]:
            with contextlib.suppress(AttributeError, gdb.error, TypeError):
                if field.bitpos % 8 == 0 and not field.bitsize:
                    place = field.bitpos // 8
                    form["fields"].append([field.name or "", place, type_id(field.type, depth)])
    elif code == gdb.TYPE_CODE_INT or code == gdb.TYPE_CODE_CHAR:
        form["kind"] = "int"
        form["signed"] = bool(getattr(bare, "is_signed", "unsigned" not in str(bare)))
    elif code == gdb.TYPE_CODE_BOOL:
        form["kind"] = "bool"
    elif code == gdb.TYPE_CODE_FLT:
        form["kind"] = "float"
    elif code == gdb.TYPE_CODE_ENUM:
        form["kind"] = "enum"
        form["values"] = [[f.name, f.enumval] for f in bare.fields()[:MOST_FIELDS]]
    job.write("type", form=form)
    return number


class Variable:
    """One variable of a function."""

    def __init__(self, symbol: Any, go_frame: bool = False) -> None:
        self.symbol = symbol
        self.name: str = symbol.name
        ORIGIN["go"] = go_frame
        self.type = type_id(symbol.type)
        self.size = min(symbol.type.strip_typedefs().sizeof, MOST_VARIABLE)
        self.line: int = symbol.line or 0
        self.argument = bool(symbol.is_argument)
        form = FORMS[self.type]
        to = FORMS.get(form["to"]) if form["kind"] == "pointer" else None
        self.characters = to is not None and to["kind"] == "int" and to["size"] == 1
        self.fixed: int | None = None  # offset from the frame's address, once known
        self.address: int | None = None  # of a static one

    def form(self, frame: Any, base: int) -> list[Any]:
        """Return [name, type, line, 1 for an argument, bytes as hex, text that it leads to]."""
        data, text = self.read(frame, base), None
        if self.characters and data:
            found = job.read(int.from_bytes(bytes.fromhex(data), "little"), MOST_TEXT)
            text = None if found is None else found.split(b"\0")[0].hex()
        return [self.name, self.type, self.line, int(self.argument), data, text]

    def read(self, frame: Any, base: int) -> str | None:
        """Return its bytes as hex; None when the compiler keeps it nowhere."""
        at = self.address
        if at is None and self.fixed is not None:
            at = base + self.fixed
        if at is None:
            try:
                value = self.symbol.value() if frame is None else self.symbol.value(frame)
                address = value.address
                if address is None:  # in a register
                    size = value.type.strip_typedefs().sizeof
                    return (int(value) & (1 << 8 * size) - 1).to_bytes(size, "little").hex()
                at = int(address) & MASK
                if self.symbol.addr_class == gdb.SYMBOL_LOC_STATIC:
                    self.address = at
                elif job.form["frame_relative"] and not getattr(value.type, "dynamic", False):
                    self.fixed = at - base
                elif getattr(value.type, "dynamic", False):
                    data = job.read(at, min(value.type.sizeof, MOST_VARIABLE))
                    return None if data is None else data.hex()
            except (gdb.error, OverflowError, TypeError, ValueError):
                return None
        data = job.read(at, self.size)
        return None if data is None else data.hex()


class Place:
    """What is known of a place in the user's code."""

    def __init__(self, frame: Any) -> None:
        sal = frame.find_sal()
        self.line: int = sal.line
        function = frame.function()
        self.user = function is not None and is_user(sal.symtab or function.symtab)
        self.function = function.name if function is not None else frame.name() or "?"
        if self.user and job.language == "go":
            block = function_at(frame.pc())
            self.user = block is None or not put_by_go(block)
        self.variables: list[Variable] = []
        if not self.user:
            return
        names: set[str] = set()
        with contextlib.suppress(RuntimeError):
            block = frame.block()
            while block is not None and not block.is_static and not block.is_global:
                for symbol in block:
                    if symbol.name and (symbol.is_variable or symbol.is_argument):
                        if symbol.name in names or symbol.name[0] in "~.":
                            continue
                        names.add(symbol.name)
                        self.variables.append(Variable(symbol, is_go(self.function)))
                if block.function is not None:
                    break
                block = block.superblock
        self.variables.sort(key=lambda v: (not v.argument, v.line))


PLACES: dict[tuple[int, bool], Place] = {}
FRAME_ID = re.compile(r"stack=0x([0-9a-f]+)")


def is_user(symtab: Any) -> bool:
    """Whether a file is the user's own."""
    return symtab is not None and os.path.basename(symtab.filename) in job.files


def place_of(frame: Any, newest: bool) -> Place:
    """Return what is known of the place where a frame is."""
    key = frame.pc(), newest
    found = PLACES.get(key)
    if found is None:
        found = PLACES[key] = Place(frame)
    return found


def stack() -> tuple[list[list[Any]], list[str]]:
    """Return the user's frames and the names of the functions beneath them all.

    The frames are, innermost first: [function, line, address, variables, callees].

    `callees`: the functions of others that run on top of this one, innermost first.
    """
    result: list[list[Any]] = []
    frame = gdb.newest_frame()
    newest = True
    outside: list[str] = []
    for _ in range(MOST_DEPTH):
        if frame is None or not frame.is_valid():
            break
        place = place_of(frame, newest)
        if place.user:
            found = FRAME_ID.search(str(frame))
            base = int(found[1], 16) if found else 0
            values = []
            if len(result) < MOST_FRAMES:
                values = [v.form(frame, base) for v in place.variables]
            result.append([place.function, place.line, base, values, outside])
            outside = []
            if place.function in ("main", "main.main"):
                break
        else:
            outside.append(place.function)
        newest = False
        try:
            frame = frame.older()
        except gdb.error:
            break
    return result, outside


GLOBALS: list[Variable] = []


def globals_now() -> list[list[Any]]:
    """Return the user's global and static variables."""
    return [v.form(None, 0) for v in GLOBALS]


# ---- output

STDOUT = {"base": 0, "flags": 0}


def pending() -> str:
    """Return what waits in stdio's buffer of stdout (glibc's ``struct _IO_FILE``)."""
    at = STDOUT["base"]
    if not at:
        return ""
    head = job.read(at, 56)
    if head is None:
        return ""
    _, _, _, _, base, now, _ = struct.unpack("<7Q", head)
    if not base < now <= base + (1 << 16):
        return ""
    return (job.read(base, now - base) or b"").hex()


def written() -> list[int]:
    """Return how many bytes are in the files that take stdout and stderr."""
    return [os.path.getsize(job.form["stdout"]), os.path.getsize(job.form["stderr"])]


# ---- Go

GO = {"numgc": 0, "goid": 0}


def go_side(frames: list[list[Any]]) -> dict[str, Any] | None:
    """Return what only a program in Go has: cycles of its collector, what variables lead to."""
    if job.language != "go":
        return None
    side: dict[str, Any] = {"gc": 0, "objects": {}}
    if GO["numgc"]:
        data = job.read(GO["numgc"], 4)
        side["gc"] = int.from_bytes(data or b"", "little")
    if frames and frames[0][0].startswith("main."):
        low, high = (job.word(register(GO_G) + i) or 0 for i in (0, 8))
        if low < register(STACK) < high:
            side["stack"] = [low, high]
    for frame in frames:
        for _, number, _, _, data, _ in frame[3]:
            if data:
                collect(number, bytes.fromhex(data), 0, side["objects"])
    return side


def collect(number: int, data: bytes, depth: int, found: dict[int, list[Any]]) -> None:
    """Note what a value of type `number` leads to: address -> [bytes, size, type of an element]."""
    form = FORMS[number]
    fields = {name: (place, kind) for name, place, kind in form.get("fields", ())}

    def number_at(place: int) -> int:
        return int.from_bytes(data[place : place + 8], "little")

    at, size, kind = 0, 0, None
    if form["kind"] == "pointer" and form["to"] is not None:
        at, size, kind = number_at(0), FORMS[form["to"]]["size"], form["to"]
    elif {"str", "len"} == set(fields):
        at, size = number_at(fields["str"][0]), number_at(fields["len"][0])
    elif {"array", "len", "cap"} == set(fields):
        kind = FORMS[fields["array"][1]].get("to")
        each = FORMS[kind]["size"] if kind is not None else 1
        at, size = number_at(fields["array"][0]), number_at(fields["cap"][0]) * each
    elif form["kind"] == "struct" and depth < 3:
        for place, inner in fields.values():
            collect(inner, data[place : place + FORMS[inner]["size"]], depth + 1, found)
    if at < PAGE or not 0 < size < 1 << 30 or len(found) > 64:
        return
    got = job.read(at, min(size, MOST_OBJECT))
    if got is None or (at in found and found[at][1] >= size):
        return
    found[at] = [got.hex(), size, kind]
    if kind is not None and depth < 2:
        collect(kind, got, depth + 1, found)


# ---- calls

NAMES, RESULT, STACK = REGISTERS["i386:x86-64"]
OWN_DATA = "fs_base"  # where a thread's own data are
GO_NAMES, GO_G = GO_REGISTERS["i386:x86-64"]
GOROUTINES: dict[int, int] = {}  # by thread: the goroutine that it was seen to run last


def thread_now(in_go: bool = False) -> int:
    """Return the number of the thread; in Go that of the goroutine, which may change threads."""
    thread: int = gdb.selected_thread().num
    if in_go and GO["goid"]:
        found = job.word(register(GO_G) + GO["goid"])
        if found:
            GOROUTINES[thread] = found
    return GOROUTINES.get(thread, thread)


def register(name: str) -> int:
    """Return a register of the newest frame, unsigned."""
    return int(gdb.newest_frame().read_register(name)) & MASK


class Pending:
    """A call that has not returned yet."""

    __slots__ = ("args", "at", "name", "number", "sp", "who")

    def __init__(self, number: int, name: str, who: str, args: list[int], at: int, sp: int) -> None:
        self.number, self.name, self.who, self.args = number, name, who, args
        self.at, self.sp = at, sp  # where it returns to, and the stack pointer on entry


CALLS: dict[int, list[Pending]] = {}  # by thread
COUNT = [0]
LOCKED = [False]


def alone(on: bool) -> None:
    """Let only the thread at hand run, or all of them again.

    A call of the allocator's is not interrupted by the lines of other threads: in the middle of one
    the size words and lists of the heap are half written.
    """
    if LOCKED[0] != on:
        run(f"set scheduler-locking {'on' if on else 'off'}")
        LOCKED[0] = on


RETURNS: dict[int, Return] = {}


def settle(pc: int) -> None:
    """Take the result of a call that has just returned to `pc`."""
    waiting = CALLS.get(gdb.selected_thread().num)
    if not waiting:
        return
    sp = register(STACK)
    while waiting and waiting[-1].sp < sp - 8:
        waiting.pop()  # left by longjmp
    if not waiting or waiting[-1].at != pc or waiting[-1].sp not in (sp, sp - 8):
        return
    call = waiting.pop()
    if not waiting:
        alone(False)
    if call.name == "free":
        return
    value = register(RESULT)
    if call.name == "posix_memalign":
        status, value = value & 0xFFFFFFFF, 0
        if status == 0:
            value = job.word(call.args[0]) or 0
        job.write("return", n=call.number, value=value, status=status)
    else:
        job.write("return", n=call.number, value=value)
    if value and call.who != "stranger":
        heaps.took(value)


class Spot(gdb.Breakpoint):  # type: ignore[misc]
    """A place at which something is noted; the program goes on unless the film is over."""

    def __init__(self, at: int) -> None:
        super().__init__(f"*{at:#x}", internal=True)
        self.silent = True
        self.at = at

    def stop(self) -> bool:
        """Note it and go on."""
        guard(self.note)
        return job.over is not None

    def note(self) -> None:
        """Write out what is to be known about this place."""
        raise NotImplementedError


class Named(Spot):
    """The first instruction of a function that is watched."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__(at)
        self.name = name


class Return(Spot):
    """The place where an allocator's caller goes on."""

    def note(self) -> None:
        """Take the result."""
        settle(self.at)


FREES: dict[int, tuple[Any, bool]] = {}
"""Thread -> how free was entered last, and whether it has begun again there."""


class Entry(Named):
    """The first instruction of one of the allocator's functions."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__(name, at)
        self.count, self.block = ENTRIES[name]

    def note(self) -> None:
        """Write out who calls what; make sure that the return is seen."""
        sp = register(STACK)
        at = job.word(sp) if RESULT == "rax" else register("x30")
        waiting = CALLS.setdefault(gdb.selected_thread().num, [])
        if waiting and (waiting[-1].at, waiting[-1].sp) == (at, sp):
            return  # realloc(NULL, n) goes on as malloc(n)
        if self.name == "free" and job.form["free_begins_again"]:
            now = at, sp, register(NAMES[0])
            thread = gdb.selected_thread().num
            last, again = FREES.get(thread, (None, False))
            FREES[thread] = now, again or now == last
            if now == last and not again:
                return  # a thread's first one makes its table and begins again
        args = [register(name) for name in NAMES[: self.count]]
        who, via = self.caller(at or 0)
        number = COUNT[0]
        COUNT[0] += 1
        thread = thread_now()
        job.write("call", n=number, fn=self.name, args=args, who=who, via=via, th=thread)
        if self.block is not None and args[self.block]:
            heaps.gave(args[self.block])
        several = len(gdb.selected_inferior().threads()) > 1
        if (self.name == "free" and not several) or not at:
            return
        if several:
            alone(True)
        waiting.append(Pending(number, self.name, who, args, at, sp))
        if at not in RETURNS:
            RETURNS[at] = Return(at)

    @staticmethod
    def caller(at: int) -> tuple[str, str]:
        """Say who called: ("user", function) or ("library", the function the user called)."""
        if at in CALLERS:
            return CALLERS[at]
        symbol = gdb.block_for_pc(at - 1)
        while symbol is not None and symbol.function is None:
            symbol = symbol.superblock
        if symbol is not None and is_user(symbol.function.symtab):
            CALLERS[at] = "user", symbol.function.name
            return CALLERS[at]
        own = PROGRAM["low"] <= at < PROGRAM["high"]
        if own and job.language != "go":
            CALLERS[at] = "user", ""
            return CALLERS[at]
        name, frame = "", gdb.newest_frame()
        for depth in range(MOST_DEPTH):
            frame = frame.older() if frame is not None else None
            if frame is None:
                return "library", ""
            here = frame.name() or ""
            if depth == 0 and job.language == "go" and CGO.match(here):
                CALLERS[at] = "user", here
                return CALLERS[at]
            if PROGRAM["low"] <= frame.pc() < PROGRAM["high"]:
                place = place_of(frame, False)
                return "library" if place.user else "stranger", name
            name = here
        return "library", name


CALLERS: dict[int, tuple[str, str]] = {}
CGO = re.compile(r"_cgo_[0-9a-f]+_Cfunc_")
PROGRAM = {"low": 0, "high": 0}


class Copy(Named):
    """A helper of cgo that copies bytes across the border."""

    def note(self) -> None:
        """Write out where from and how much."""
        args = [register(name) for name in GO_NAMES[: COPIES[self.name]]]
        size = args[1] if len(args) > 1 else 0
        if self.name == "GoString" and args[0]:
            size = self.length(args[0])
        thread = thread_now(in_go=True)
        data = None
        if self.name in ("CString", "CBytes"):
            data = (job.read(args[0], min(size, MOST_OBJECT)) or b"").hex()
        job.write("copy", fn=self.name, at=args[0], size=size, th=thread, data=data)

    @staticmethod
    def length(at: int) -> int:
        """Return strlen of the C string at an address (at most 1 MiB)."""
        size = 0
        while size < MOST_BLOCK:
            part = PAGE - (at + size) % PAGE
            data = job.read(at + size, part)
            if data is None:
                return size
            end = data.find(b"\0")
            if end >= 0:
                return size + end
            size += part
        return size


class Lend(Named):
    """The way from Go into one of C's functions: which addresses are handed over."""

    def note(self) -> None:
        """Write out the pointers among the arguments; cgo packs all of them into one struct."""
        symbol = next((s for s in gdb.newest_frame().block() if s.name == "_cgo_a"), None)
        if symbol is None:
            return
        kind = symbol.type.strip_typedefs().target().strip_typedefs()
        at, found = register(NAMES[0]), []
        for field in kind.fields():
            pointer = field.type.strip_typedefs().code == gdb.TYPE_CODE_PTR
            if pointer and re.fullmatch(r"p\d+", field.name or ""):
                found.append(job.word(at + field.bitpos // 8) or 0)
        if any(found):
            job.write("lend", fn=self.name, args=found, th=thread_now())


class Pin(Named):
    """A method of runtime.Pinner."""

    def note(self) -> None:
        """Write out the pinner and the object: the word behind the type in an interface."""
        pinner, at = register(GO_NAMES[0]), register(GO_NAMES[2])
        job.write("pin", fn=self.name, pinner=pinner, at=at if self.name == "Pin" else 0)


# ---- lines


def record(kind: str) -> None:
    """Write out everything as it is now."""
    alone(False)
    guard(THREADS.update)
    frames, beneath = stack()
    fields: dict[str, Any] = {
        "th": thread_now(in_go=bool(frames) and is_go(gdb.newest_frame().name() or "")),
        "frames": frames,
        "globals": globals_now(),
        "maps": heaps.changes(),
        "arena": heaps.arena(),
        "out": written(),
        "pending": pending(),
        "beneath": beneath if job.language == "go" else [],
    }
    if heaps.news:
        fields["others"] = heaps.others
    if THREADS.tables:
        fields["tables"] = list(THREADS.tables.values())
    side = go_side(frames)
    if side is not None:
        fields["go"] = side
    job.write(kind, **fields)


class Line(Spot):
    """The beginning of a line of the user's."""

    def __init__(self, at: int, line: int) -> None:
        super().__init__(at)
        self.line = line

    def stop(self) -> bool:
        """Take the result of a call that ends here, then record; end at the limit."""
        guard(settle, self.at)
        return super().stop()

    def note(self) -> None:
        """Record once for each time that the line begins."""
        thread = thread_now(in_go=is_go(gdb.newest_frame().name() or ""))
        found = FRAME_ID.search(str(gdb.newest_frame()))
        here = self.line, found[1] if found else ""
        last, at = LAST.get(thread, (None, 0))
        if last == here and at != self.at:
            return  # another part of the same line: a loop's condition behind its beginning
        LAST[thread] = here, self.at
        job.stops += 1
        if job.stops >= job.form["frames"]:
            job.over = "frames"
        elif job.bytes > job.form["bytes"]:
            job.over = "bytes"
        record("stop")


LAST: dict[int, tuple[tuple[int, str], int]] = {}


class Exit(gdb.Breakpoint):  # type: ignore[misc]
    """The last thing that a program does."""

    def __init__(self, where: str) -> None:
        super().__init__(where, internal=True)
        self.silent = True

    def stop(self) -> bool:
        """Record the end and go on to it."""
        guard(record, "exit")
        return False


def guard(function: Any, *args: Any) -> None:
    """Call; trouble is written out and does not stop the program."""
    try:
        function(*args)
    except Exception as error:  # the film goes on without this one
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        job.write("trouble", text=f"{type(error).__name__}: {error}", where=f"{where.lineno}")


def function_at(at: int) -> Any:
    """Return the block of the function that an address lies in; None outside of all."""
    block = gdb.block_for_pc(at)
    while block is not None and block.function is None:
        block = block.superblock
    return block


WRAPPER = re.compile(r"\.(?:go|defer)wrap\d+$")


def is_go(name: str) -> bool:
    """Whether a function of the user's is written in Go."""
    return job.language == "go" and name.startswith("main.")


def put_by_go(block: Any) -> bool:
    """Whether the compiler or cgo has put a function around a call: to check what is passed."""
    if job.language != "go":
        return False
    name = block.function.name or ""
    return bool(WRAPPER.search(name)) or any((s.name or "").startswith("_cgo") for s in block)


def first_of_lines(table: list[tuple[int, int]]) -> dict[int, int]:
    """Return address -> line of the places where a line begins.

    `table` is a file's line table in order of address. Of neighbouring entries for one line only
    the first counts. The line with a function's name, or its brace, is its setting up and, in Go,
    the growing of its stack, so it does not count, unless the whole function stands on it.
    """
    result: dict[int, int] = {}
    block, last, heading = None, 0, 0
    for index, (at, line) in enumerate(table):
        if line == 0:
            last = 0
            continue
        if block is None or not block.start <= at < block.end:
            block, last, heading = function_at(at), 0, 0
            if block is None:
                continue
            if put_by_go(block):
                block = None
                continue
            function, end = block.function, block.end
            lines = {n for place, n in table[index : index + 1000] if n and place < end}
            heading = function.line if is_user(function.symtab) else 0
            if lines <= ({heading, line} if at == block.start else {heading}):
                heading, last = 0, line if at == block.start else 0
                if last and index + 1 < len(table):
                    result[table[index + 1][0]] = line
                continue
            if at == block.start:
                last = line  # of the brace, when that has a line of its own
                continue
        if line != last and line != heading:
            result[at] = line
        last = line
    return result


def set_lines() -> int:
    """Put a breakpoint on every line of the user's files; return how many."""
    seen: set[str] = set()
    main = gdb.lookup_global_symbol("main.main" if job.language == "go" else "main")
    symtabs = [main.symtab] if main is not None else []
    for name in job.files:
        with contextlib.suppress(gdb.error):
            symtabs += [sal.symtab for sal in gdb.decode_line(f"'{name}':1")[1] or ()]
    places: dict[int, int] = {}
    for symtab in symtabs:
        if symtab is None or not is_user(symtab) or symtab.fullname() in seen:
            continue
        seen.add(symtab.fullname())
        if job.language != "go":
            for block in (symtab.global_block(), symtab.static_block()):
                for symbol in block:
                    if symbol.is_variable and is_user(symbol.symtab):
                        GLOBALS.append(Variable(symbol))
        rows = sorted((item.pc, item.line) for item in symtab.linetable())
        places |= first_of_lines(rows)
    for at, line in sorted(places.items()):
        Line(at, line)
    return len(places)


# ---- start and end


def dynamic_symbols(path: str, wanted: set[str]) -> dict[str, int]:
    """Return name -> value of the functions and objects that a 64-bit ELF file exports."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:5] != b"\x7fELF\x02":
        return {}
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
    found: dict[str, int] = {}
    for head in heads:
        if head[1] != 11:  # SHT_DYNSYM
            continue
        text = heads[head[6]]
        names = data[text[4] : text[4] + text[5]]
        symbols = data[head[4] : head[4] + head[5]]
        for place, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", symbols):
            if section and info & 15 in (1, 2, 10):  # an object, a function, an indirect function
                name = names[place : names.index(b"\0", place)].decode("ascii", "replace")
                if name in wanted:
                    found.setdefault(name, value)
    return found


def libraries() -> tuple[str, int, list[tuple[int, int]]]:
    """Return libc's path, base and writable ranges; and note where the program lies."""
    path, base, low, high = "", 0, 0, 0
    places: list[tuple[int, int]] = []
    own: list[tuple[int, int]] = []
    program = os.path.realpath(job.form["program"])
    last = ""
    with open(f"/proc/{job.pid}/maps", encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split(None, 5)
            name = words[5].strip() if len(words) > 5 else ""
            start, end = (int(part, 16) for part in words[0].split("-"))
            writable = words[1].startswith("rw")
            if name == program:
                low, high = low or start, end
                if writable:
                    own.append((start, end))
            elif re.search(r"/libc(-2\.\d+)?\.so", name):
                path, base = name, base or start
                if writable:
                    places.append((start, end))
            elif not name and writable and last:
                (places if last == path and path else own if last == program else []).append(
                    (start, end)
                )
            last = name or last
    PROGRAM["low"], PROGRAM["high"] = low, high
    return path, base, places or own


def address_of(name: str) -> int:
    """Return the address of a symbol without debugging information; 0 when there is none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long) &'{name}'")) & MASK
    except gdb.error:
        return 0


def past_check(at: int) -> int:
    """Return where a function of Go's goes on when its stack is large enough.

    It begins with a comparison of the stack pointer and a jump. The runtime takes that jump to give
    it more stack, or to let somebody else run, and then the function begins anew: its first
    instruction runs twice. Registers of arguments are what they were. Source: Go, cmd/internal/obj.
    """
    code = gdb.selected_inferior().architecture().disassemble(at, count=MOST_CHECK)
    for one in code:
        if CHECK_JUMP.match(one["asm"]):
            return int(one["addr"] + one["length"])
    return at  # it asks nothing


def know_machine() -> None:
    """Choose the registers' names; gdb.error where the machine is not known."""
    global NAMES, RESULT, STACK, GO_NAMES, GO_G, OWN_DATA
    machine = gdb.selected_frame().architecture().name()
    if machine not in REGISTERS:
        raise gdb.error(f"films are for x86-64 and aarch64; this is {machine}")
    NAMES, RESULT, STACK = REGISTERS[machine]
    OWN_DATA = "fs_base" if RESULT == "rax" else "tpidr"
    GO_NAMES, GO_G = GO_REGISTERS[machine]


def prepare() -> None:
    """At main: find everything, and set the breakpoints."""
    know_machine()
    job.pid = gdb.selected_inferior().pid
    job.memory = os.open(f"/proc/{job.pid}/mem", os.O_RDONLY)
    path, base, places = libraries()
    wanted = {*ENTRIES, "_exit", "_IO_2_1_stdout_", "gnu_get_libc_version"}
    known: dict[str, int] = {}
    if path:
        known = {n: base + v for n, v in dynamic_symbols(path, wanted).items()}
    for name in wanted - known.keys():
        at = address_of(name)
        if at:
            known[name] = at
    STDOUT["base"] = known.get("_IO_2_1_stdout_", 0)
    arena, how = heaps.locate(places)
    lines = set_lines()
    for name in ENTRIES:
        if name in known:
            Entry(name, known[name])
    if "_exit" in known:
        Exit(f"*{known['_exit']:#x}")
    if job.language == "go":
        prepare_go()
    job.write(
        "start",
        pid=job.pid,
        libc=[path, base],
        places=places,
        arena=arena,
        how=how,
        lines=lines,
        program=[PROGRAM["low"], PROGRAM["high"]],
    )


def prepare_go() -> None:
    """Find what only Go has."""
    for name in COPIES:
        at = address_of(f"main._Cfunc_{name}")
        if at:
            Copy(name, past_check(at))
    for name in ("Pin", "Unpin"):
        at = address_of(f"runtime.(*Pinner).{name}")
        if at:
            Pin(name, past_check(at))
    for text in run("info functions ^_cgo_[0-9a-f]*_Cfunc_").splitlines():
        found = re.search(r"\b(_cgo_[0-9a-f]+_Cfunc_(\w+))\(", text)
        at = address_of(found[1]) if found else 0
        if found and at and found[2] not in OWN:
            Lend(found[2], at)
    with contextlib.suppress(gdb.error):
        value = gdb.parse_and_eval("'runtime.memstats'")
        GO["numgc"] = int(value["numgc"].address)
    with contextlib.suppress(gdb.error, KeyError):
        GO["goid"] = gdb.lookup_type("runtime.g").strip_typedefs()["goid"].bitpos // 8
    at = address_of("runtime.exit.abi0") or address_of("runtime.exit")
    if at:
        Exit(f"*{at:#x}")


def redirected() -> list[int]:
    """Give gdb the program's files as its own for the moment of the start; return the old ones."""
    old = [os.dup(fd) for fd in range(3)]
    for fd, (name, flags) in enumerate(
        (
            (job.form["stdin"], os.O_RDONLY),
            (job.form["stdout"], os.O_WRONLY | os.O_APPEND),
            (job.form["stderr"], os.O_WRONLY | os.O_APPEND),
        )
    ):
        new = os.open(name, flags)
        os.dup2(new, fd)
        os.close(new)
    return old


def start() -> None:
    """Run up to main."""
    for command in (
        "set pagination off",
        "set confirm off",
        "set width 0",
        "set startup-with-shell off",
        "set disable-randomization off",  # the supervisor has done it, where that is allowed
        "maint set target-non-stop off",  # all threads stand still while one is looked at
        "set print inferior-events off",
        "set print thread-events off",
        "set breakpoint pending on",
        "set follow-fork-mode parent",
        "set detach-on-fork on",
        "set language c",  # also for Go: what is evaluated here is written in C
        "unset environment LINES",
        "unset environment COLUMNS",
        "unset environment HEAPSCOPE_JOB",
        "handle all nostop noprint pass",
        f"handle {' '.join(FATAL)} stop print pass",
    ):
        run(command)
    main = gdb.Breakpoint("main.main" if job.language == "go" else "main", internal=True)
    main.silent = True
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = job.form["output"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    old = redirected()
    try:
        run("run")
    finally:
        for fd, saved in enumerate(old):
            os.dup2(saved, fd)
            os.close(saved)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    main.delete()


class Watch:
    """How the program stopped last."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self.ended: dict[str, Any] | None = None
        self.late = False
        self.stop_seen = threading.Event()
        gdb.events.stop.connect(self.stopped)
        gdb.events.exited.connect(self.exited)

    def stopped(self, event: Any) -> None:
        """Remember the signal."""
        self.stop_seen.set()
        self.signal = event.stop_signal if isinstance(event, gdb.SignalEvent) else None

    def exited(self, event: Any) -> None:
        """Remember the end."""
        code = getattr(event, "exit_code", None)
        killer = None
        if code is None:
            with contextlib.suppress(gdb.error, ValueError):
                killer = int(gdb.parse_and_eval("$_exitsignal"))
        self.ended = {"status": code, "signal": killer}

    def clock(self) -> None:
        """Stop the program when its time is up; one of the signals may be blocked or get lost."""
        self.late = True
        for number in (signal.SIGINT, signal.SIGSTOP):
            with contextlib.suppress(OSError):
                os.kill(job.pid, number)
            if self.stop_seen.wait(0.5):
                return


def main() -> None:
    """Record the whole run."""
    watch = Watch()
    start()
    if gdb.selected_inferior().pid == 0:
        job.write("trouble", text="the program ended before main", where="start")
        job.write("end", **(watch.ended or {"status": None, "signal": None}))
        return
    prepare()
    if job.language == "c":  # Go's main begins with a line of its own
        guard(record, "stop")
    timer = threading.Timer(job.form["timeout"], watch.clock)
    timer.daemon = True
    # What gdb waits for, above all SIGCHLD, must come to its own thread.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    timer.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    while gdb.selected_inferior().pid and job.over is None:
        watch.signal = None
        watch.stop_seen.clear()
        try:
            run("continue")
        except gdb.error as error:
            job.write("trouble", text=str(error), where="continue")
            if not gdb.selected_inferior().pid:
                break
            job.over = "error"
        if watch.ended is not None or job.over is not None:
            break
        if watch.late:
            guard(record, "time")
            break
        if watch.signal:
            guard(record, "signal")
    timer.cancel()
    if watch.ended is not None:
        job.write("end", out=written(), **watch.ended)
    elif job.over is not None:
        job.write("limit", what=job.over)
    if gdb.selected_inferior().pid:
        with contextlib.suppress(gdb.error):
            run("kill")


try:
    main()
except gdb.error as error:
    job.write("trouble", text=str(error), where="gdb")
sys.stdout.flush()

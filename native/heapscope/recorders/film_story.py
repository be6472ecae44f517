"""From what the half inside gdb wrote to the readings of a film.

:class:`Story` takes the messages one after another.  It works out which line has just run, which
variables have a value by now, what the calls meant, and names the blocks; the bytes go to the
decoder as they are.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from heapscope.glibc.layout import ALIGN, MIN_CHUNK, Layout
from heapscope.glibc.reading import Mapping as Range
from heapscope.glibc.reading import RawPointer, Reading
from heapscope.model.film import Film, Reel
from heapscope.model.snapshot import HEADER, WORD, Event, Pointer, Snapshot, State, Stop
from heapscope.model.snapshot import Fault as Impossible
from heapscope.programs import reports
from heapscope.programs.scan import mask
from heapscope.recorders.calls import ALLOCATES, Call, Calls, event
from heapscope.recorders.film_faults import Fault, Judge
from heapscope.recorders.film_go import GoSide
from heapscope.recorders.film_space import Space
from heapscope.recorders.film_unset import Untouched
from heapscope.recorders.film_values import Cell, Types, fields_of_blocks

OWNING = frozenset(
    {
        *("strdup", "strndup", "asprintf", "vasprintf", "getline", "getdelim", "realpath"),
        *("getcwd", "get_current_dir_name", "wcsdup", "tempnam", "scandir", "operator new"),
    }
)
"""Functions of libraries whose caller must free what they allocate."""
CLEANUP = re.compile(r"^runtime\..*(?:[cC]leanup|[fF]inali[zs]er|runfinq)")
"""Functions of Go's runtime that run cleanups."""
MOST_IN_FRONT = 1 << 14
"""Bytes at the start of a heap among which its first chunk is looked for."""
MOST_CHUNKS = 2000
"""Chunks at the start of a heap among which a table that is made late is looked for."""
RUNTIME = "blocks of Go's runtime and of libraries"
"""The label of folded blocks in a program of Go's."""
CALLBACK = "cgocallback"
"""What the names of functions have in them that lie between a function of Go's and C."""
MOST_OUTPUT = 100_000
"""Bytes of a program's output that the frames show."""
MOST_SAID = 2000
"""Bytes of output that one event tells of."""
ENTRIES = (ALLOCATES - OWNING) | {"free", "valloc", "pvalloc"}
"""The allocator's own functions, which call each other."""
MOST_SCOPES = 10
"""Functions on the stack whose variables are shown."""


@dataclass(slots=True)
class Activation:
    """One call of one of the user's functions that has not returned."""

    function: str
    base: int  # address of its frame
    line: int  # that runs, or is about to
    scope: str = ""
    last: int = 0  # line that ran last
    first: dict[str, Any] = field(default_factory=dict)  # what its variables held at first
    known: set[str] = field(default_factory=set)  # variables that a line gave a value
    changed: set[str] = field(default_factory=set)  # and parts of variables that changed
    ran: set[int] = field(default_factory=set)  # lines
    seen: set[tuple[str, int]] = field(default_factory=set)  # variables in scope at the last stop


@dataclass(slots=True)
class Held:
    """A frame that may still turn out to be the last one."""

    reading: Reading
    faults: list[Fault]
    variables: list[tuple[str, Cell]]  # that have a value
    owners: dict[str, str]  # who asked for each block in use


class Story:
    """The film in the making."""

    def __init__(self, source: str, language: str, glibc: str, arch: str) -> None:
        self.source, self.language, self.glibc, self.arch = source, language, glibc, arch
        self.layout = Layout.for_version(glibc)
        self.lines = mask(source, raw_strings=language == "go").splitlines()
        self.types = Types(language, re.sub(r"//.*|/\*(?!\s*#)|\*/", "", source))
        self.space = Space()
        self.calls = Calls()
        self.reel = Reel()
        self.go = GoSide() if language == "go" else None
        self.reel.canon.foreign = self.go.moved if self.go is not None else None
        self.judge = Judge(self.space, self.calls)
        self.threads: dict[int, list[Activation]] = {}  # innermost first
        self.tables: list[int] = []
        self.trouble: list[str] = []
        self.end: Stop | None = None
        self._arena: tuple[int, bytes] | None = None
        self._open: dict[int, dict[str, Any]] = {}  # calls that have not returned
        self._done: list[dict[str, Any]] = []  # calls and copies since the last frame
        self._held: Held | None = None
        self._waiting: dict[str, Any] | None = None  # a signal or exit that may be the end
        self._seen = [0, 0]  # bytes of each output that the frames so far show
        self._output: list[tuple[int, bytes]] = []  # (0 stdout, 1 stderr; what it was)
        self._raw = [b"", b""]
        self._copies: list[dict[str, Any]] = []  # across the border, since the last frame
        self._lent: list[dict[str, Any]] = []  # to C's functions, and pins, since the last frame
        self._set: set[tuple[str, str]] = set()  # variables of Go that have a value
        self._untouched = Untouched()
        self._new: set[int] = set()  # blocks that the last line asked for
        self._asked: dict[int, str] = {}  # who asked for the block at an address
        self._below: dict[int, list[Any]] = {}  # by thread: the stack at its last stop
        self._values: dict[tuple[str, str], int] = {}  # what variables held at the last frame
        self._assigned: set[tuple[str, str]] = set()  # variables that the last line gave a value
        self._stale: dict[tuple[str, str], int | None] = {}  # whose block a variable holds
        self._orders: dict[int, int | None] = {}  # by address, as of the last frame
        self._own: dict[int, int] = {}  # where chunks of the user's lay: start -> end

    # ---- messages

    def outputs_are(self, stdout: bytes, stderr: bytes) -> None:
        """Give the whole of both outputs; frames show them up to where they had come."""
        self._raw = [stdout, stderr]

    def take(self, message: Mapping[str, Any]) -> None:
        """Take one message."""
        kind = message["t"]
        if kind == "type":
            self.types.add(message["form"])
        elif kind == "start":
            self._start(message)
        elif kind == "call":
            self._called(dict(message))
        elif kind == "return":
            self._returned(message)
        elif kind in ("copy", "lend", "pin"):
            self._done.append(dict(message))
        elif kind in ("stop", "time"):
            self._waiting = None  # the signal was handled
            self._moment(message)
        elif kind in ("signal", "exit"):
            if kind == "exit" and self._waiting is not None and not message["frames"]:
                # Go has handled the signal and panics: what it came from is still to be seen.
                shown = {name: self._waiting[name] for name in ("frames", "globals", "t")}
                message = {**message, **shown}
            self._waiting = dict(message)
        elif kind == "end":
            self._ended(message)
        elif kind == "trouble":
            self.trouble.append(f"{message['text']} ({message['where']})")
        if kind == "time":
            self.end = self.end or Stop("timeout")
        if kind == "limit":
            self.end = self.end or Stop("limit", message=str(message["what"]))

    def _start(self, message: Mapping[str, Any]) -> None:
        low, high = message["program"]
        if high:
            self.space.fixed.append(Range(low, b"", "program", high - low))
        path, base = message["libc"]
        places = message["places"]
        if path and places:
            end = max(high for _, high in places)
            self.space.fixed.append(Range(base, b"", "libc", end - base))
        if message["arena"]:
            self._arena = message["arena"], b""

    def _called(self, call: dict[str, Any]) -> None:
        self.judge.stirred = True
        if call["fn"] == "free":
            self._done.append({**call, "value": 0})
        else:
            self._open[call["n"]] = call

    def _returned(self, message: Mapping[str, Any]) -> None:
        call = self._open.pop(message["n"], None)
        if call is not None:
            self._done.append({**call, **{k: v for k, v in message.items() if k != "t"}})

    def _ended(self, message: Mapping[str, Any]) -> None:
        waiting, self._waiting = self._waiting, None
        status, number = message.get("status"), message.get("signal")
        if waiting is None:
            waiting = {"t": "exit", "th": 1, "frames": [], "globals": [], "maps": None}
            waiting |= {"arena": None, "out": message.get("out", [0, 0]), "pending": ""}
        waiting["out"] = message.get("out") or waiting["out"]
        waiting["pending"] = ""
        self._moment(waiting)
        self.end = Stop("exit", status=status) if number is None else Stop("signal", signal=number)

    # ---- frames

    def _moment(self, message: Mapping[str, Any]) -> None:
        """Make a frame of one stop."""
        self.flush()
        gone = message["maps"] is None  # the process ended without being seen to
        if not gone:
            self.space.update(message["maps"])
        if "others" in message:
            self.space.others = [(low, high) for low, high in message["others"]]
        if message["arena"] is not None and self._arena is not None:
            self._arena = self._arena[0], bytes.fromhex(message["arena"])
        self._find_tables(message.get("tables", ()))
        thread, frames = int(message["th"]), message["frames"]
        if frames:
            self.space.stack(thread, frames[-1][2])
        before = self.threads.get(thread, [])
        if self.go is not None:
            frames = self._across(thread, frames, message["t"])
        within = message["t"] in ("signal", "time")
        line, entered = self._activate(thread, frames, within)
        if line is not None and line > len(self.lines):
            line = None  # the brace that was put behind a cell
        now = self.threads[thread]
        cells = [] if gone else self._cells(frames, message["globals"], now)
        held = [(scope, cell) for scope, cell, is_set in cells if is_set]
        cycles = 0
        if self.go is not None and message.get("go"):
            wanted = [cell.number for _, cell in held if cell.number]
            cycles = self.go.update(message["go"], wanted, thread, self.space, self.types)
            for copy in self._done:
                if copy["t"] == "copy" and copy.get("data") is not None:
                    data = bytes.fromhex(copy["data"])
                    kind = "string" if copy["fn"] == "CString" else "byte"
                    self.go.copied(copy["at"], copy["size"], data, kind, self.space)
        pointers = [self._pointer(cell, scope, is_set) for scope, cell, is_set in cells]
        events, faults = self._events(message, line)
        if entered and before:
            text = f"{before[0].function} calls {now[0].function}"
            events.insert(0, Event("call", text)) if not events else events.append(
                Event("call", text)
            )
        self._name(held)
        self._orders = {user: asked.order for user, asked in self.calls.blocks.items()}
        events = [self._worded(e) for e in events]
        events += self._go_events(message, now, before, pointers, cycles)
        self.judge.asked |= any(made["who"] == "user" for made in self._open.values())
        written, wrong = self.judge.writes()
        faults += wrong
        events += [Event("write", f"{name} written", chunk=at) for name, at in written]
        faults += self._reads(line, bool(now) and not within, held)
        events += [Event("fault", f.text, chunk=f.chunk) for f in faults]
        events = [*events, *self._printed(message)]
        reading = Reading(
            glibc=self.glibc,
            arch=self.arch,
            mappings=self.space.mappings(),
            main_arena=self._arena if self._arena and self._arena[1] else None,
            tcache=tuple(self.tables),
            blocks=dict(self.calls.blocks),
            pointers=tuple(pointers),
            complete=True,
            former=frozenset(self.calls.moved) | self._remainders(),
            events=tuple(events),
            line=line,
            stack=tuple(a.function for a in now),
            output=b"".join(t for _, t in self._output).decode("utf-8", "backslashreplace"),
        )
        self._held = Held(reading, faults, held, self._owners())

    def flush(self, stop: Stop | None = None) -> None:
        """Decode the frame that was held back; `stop` says that it is the last one."""
        held, self._held = self._held, None
        if held is None:
            return
        reading = held.reading
        if stop is not None:
            reading = dataclasses.replace(reading, stop=stop)
        shot = self.reel.add(reading)
        if self.go is not None:
            # How many threads the runtime has, and so how many blocks, differs between runs.
            shot = self.reel.frames[-1] = dataclasses.replace(
                shot,
                pointers=tuple(_at_fixed(pointer) for pointer in shot.pointers),
                go=self.go.side(held.variables, held.owners, self.reel.canon.anywhere),
                chunks=tuple(
                    dataclasses.replace(chunk, label=RUNTIME)
                    if chunk.state is State.FOLDED
                    else chunk
                    for chunk in shot.chunks
                ),
            )
        if held.faults:
            self.reel.frames[-1] = self._marked(shot, held.faults)

    def _marked(self, shot: Snapshot, faults: Sequence[Fault]) -> Snapshot:
        """Put what the calls and writes show to be wrong on the words that show it."""
        words, impossible = list(shot.words), list(shot.faults)
        for fault in faults:
            if fault.at is None:
                continue
            at = self.reel.canon.anywhere(fault.at & -WORD)
            if at is None:
                continue
            chunk = None
            for index, word in enumerate(words):
                if word.at == at:
                    chunk = word.chunk
                    if word.fault is None:
                        words[index] = dataclasses.replace(word, fault=fault.text)
            if not any(other.at == at for other in impossible):
                impossible.append(Impossible(at, fault.text, chunk))
        impossible.sort(key=lambda f: (f.at, f.text))
        return dataclasses.replace(shot, words=tuple(words), faults=tuple(impossible))

    def _find_tables(self, told: Sequence[int]) -> None:
        """Find each heap's tcache table when the heap appears; afterwards it may be corrupted.

        `told` are the tables that the program's threads say they have, where it has several.
        """
        if not self.layout.known:
            return
        if told:
            self.tables = [table for table in told if self.space.range_of(table)]
            return
        self.tables = [t for t in self.tables if self.space.range_of(t) and not self._over(t)]
        for base, length, kind in self.space.shape:
            if any(base <= table < base + length for table in self.tables):
                continue
            if self.layout.tcache.late:
                starts = self._chunks_of(base, length, kind)
            elif kind == "heap":
                starts = range(base, base + min(length, MOST_IN_FRONT), ALIGN)
            elif kind == "thread heap":
                arena = self.space.word(base + self.layout.ar_ptr)
                own = arena == base + self.layout.heap_info
                first = base + (self.layout.thread_first if own else self.layout.heap_info)
                starts = range(first, first + 1)
            else:
                continue
            for start in starts:
                size = self.space.word(start + WORD) or 0
                user = start + HEADER
                if size & ~7 in self.layout.tcache.chunks and self._may_be_table(user):
                    if (
                        kind == "heap" and not self.layout.tcache.late
                    ):  # in a static program, the thread's own data are in front
                        self.space.first[base] = start - base
                    if not self._over(user):
                        self.tables.append(user)
                    break

    def _may_be_table(self, user: int) -> bool:
        """Whether a chunk of a table's size may be one; a late table may take a freed block."""
        asked = self.calls.blocks.get(user)
        if not self.layout.tcache.late:
            return asked is None
        if asked is not None and asked.freed is None:
            return False
        facts = self.layout.tcache
        words = [self.space.word(user + WORD * n) or 0 for n in range(facts.entries // WORD)]
        places = [word >> 16 * n & 0xFFFF for word in words for n in range(4)]
        usual, often = Counter(places).most_common(1)[0]
        return usual > 0 and often > facts.bins // 2

    def _chunks_of(self, base: int, length: int, kind: str) -> Sequence[int]:
        """Return where the first chunks of a heap are: its table may be any of them."""
        if kind == "thread heap":
            own = self.space.word(base + self.layout.ar_ptr) == base + self.layout.heap_info
            at = base + (self.layout.thread_first if own else self.layout.heap_info)
        elif kind == "heap":
            at = base
        else:
            return ()
        found: list[int] = []
        while at < base + length and len(found) < MOST_CHUNKS:
            found.append(at)
            size = (self.space.word(at + WORD) or 0) & ~7
            if size < MIN_CHUNK or size % ALIGN:
                break
            at += size
        return found

    def _over(self, table: int) -> bool:
        """Whether a thread has ended and its tcache table was freed."""
        found = self.space.range_of(table)
        if found is None or found[2] != "thread heap":
            return False
        arena = self.space.word(found[0] + self.layout.ar_ptr) or 0
        top = self.space.word(arena + self.layout.arena.top) or 0
        size = (self.space.word(table - WORD) or 0) & ~7
        following = self.space.word(table - WORD + size) or 0
        return found[0] <= top <= table - HEADER or not following & 1

    def _activate(
        self, thread: int, frames: Sequence[Sequence[Any]], within: bool
    ) -> tuple[int | None, bool]:
        """Work out what ran since the thread's last stop: (line, whether a function was entered).

        The line is that of the innermost function call that was there before and still is. With
        `within` it has not come to its end.
        """
        before = self.threads.get(thread)
        old = {(a.function, a.base): a for a in before or ()}
        now: list[Activation] = []
        line: int | None = None
        for function, at, base, *_ in frames:
            known = old.get((function, base))
            now.append(known or Activation(function, base, at))
        scopes: dict[str, int] = {}
        for activation in reversed(now):
            count = scopes[activation.function] = scopes.get(activation.function, 0) + 1
            name = activation.function
            activation.scope = name if count == 1 else f"{name} ({count})"
        common = next((a for a in now if (a.function, a.base) in old), None)
        if common is not None:
            line = common.line
            if common is now[0] and not within:
                common.ran.add(common.line)
                common.last = common.line
                self._assign(common)
        elif before and (not now or self.go is None):
            line = before[0].line
        for activation, frame in zip(now, frames, strict=True):
            activation.line = frame[1]
        entered = bool(now) and common is not None and now[0] is not common
        self.threads[thread] = now
        return line, entered

    def _across(self, thread: int, frames: list[Any], kind: str) -> list[Any]:
        """Complete the stack of a thread that is in C, or that C has called back.

        gdb sees the frames on one side of the border only; what is beneath has not changed since
        the thread's last stop.
        """
        before = self._below.get(thread, [])
        if not frames:
            return before if kind in ("signal", "time") else []
        last = frames[-1]
        back = next((i for i, f in enumerate(frames) if any(CALLBACK in n for n in f[4])), None)
        if back is not None and _in_c(frames[:back]) is False:
            in_c = [f for f in before if not str(f[0]).startswith("main.")]
            frames = frames[:back] + [f for f in in_c if f not in frames] + frames[back:]
        elif last[0] != "main.main":
            places = [(frame[0], frame[2]) for frame in before]
            if (last[0], last[2]) in places:
                frames = frames + before[places.index((last[0], last[2])) + 1 :]
            elif last[0].startswith("main."):
                frames = frames + (before if _in_c(before) else [])
            else:
                first = next((i for i, f in enumerate(before) if f[0].startswith("main.")), None)
                frames = frames + (before[first:] if first is not None else [])
        self._below[thread] = frames
        return frames

    def _assign(self, activation: Activation) -> None:
        """Note which variables the line that ran gave a value, by its text."""
        if not 0 < activation.line <= len(self.lines):
            return
        text = self.lines[activation.line - 1]
        names = re.findall(r"(?<![\w.>])([A-Za-z_]\w*)\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)", text)
        names += re.findall(r"&\s*([A-Za-z_]\w*)\b", text)
        names += re.findall(r"([A-Za-z_]\w*)\s*(?:\+\+|--)|(?:\+\+|--)\s*([A-Za-z_]\w*)", text)
        flat = {n for name in names for n in (name if isinstance(name, tuple) else (name,)) if n}
        activation.known |= flat
        self._assigned |= {(activation.scope, name) for name in flat}
        for cell in re.findall(r"([A-Za-z_][\w.]*(?:\[\d+\])?(?:\.\w+)*)\s*=(?!=)", text):
            activation.known.add(cell)

    # ---- variables

    def _cells(
        self,
        frames: Sequence[Sequence[Any]],
        general: Sequence[Sequence[Any]],
        now: Sequence[Activation],
    ) -> list[tuple[str, Cell, bool]]:
        """Return what to show of all variables: (scope, cell, whether it was given a value)."""
        cells = [("", cell, True) for values in general for cell in self._shown(values, None)]
        for frame, activation in list(zip(frames, now, strict=True))[::-1][-MOST_SCOPES:]:
            self._forget(frame[3], activation)
            for values in frame[3]:
                for cell, is_set in self._local(values, activation):
                    cells.append((activation.scope, cell, is_set))
        return cells

    def _shown(self, values: Sequence[Any], first: bytes | None) -> list[Cell]:
        name, number, _, _, data, text = values
        if data is None:
            return [Cell(name, self.types.kinds[number].name, None, "optimised out")]
        said = None if text is None else bytes.fromhex(text)
        return self.types.cells(name, number, bytes.fromhex(data), said, first)

    def _forget(self, variables: Sequence[Sequence[Any]], activation: Activation) -> None:
        """Take variables whose block was just entered for new: they hold what was there before."""
        visible = {(values[0], values[2]) for values in variables}
        if self.go is None:
            for name, line in visible - activation.seen:
                if line == activation.last:
                    continue
                activation.known = {k for k in activation.known if not _is_part(k, name)}
                activation.changed = {k for k in activation.changed if not _is_part(k, name)}
                activation.first.pop(f"{name}:{line}", None)
        activation.seen = visible

    def _local(self, values: Sequence[Any], activation: Activation) -> list[tuple[Cell, bool]]:
        """Return the cells of a local variable, and whether each has been given a value."""
        name, _, line, argument, data, _ = values
        if values[4] is None and self.go is not None:  # it is not in its place yet
            return [(cell, False) for cell in self._shown(values, None)]
        if argument or name in activation.known:
            return [(cell, True) for cell in self._shown(values, None)]
        if self.go is not None:
            return [(cell, line in activation.ran) for cell in self._shown(values, None)]
        key = f"{name}:{line}"
        first = activation.first.setdefault(key, data)
        whole = bytes.fromhex(first) if first else None
        then = {c.name: c for c in self._shown([*values[:4], first, None], None)}
        result = []
        for cell in self._shown(values, whole):
            old = then.get(cell.name)
            if old is None or (old.number, old.bytes) != (cell.number, cell.bytes):
                activation.changed.add(cell.name)
            is_set = cell.name in activation.changed or cell.name in activation.known
            result.append((cell, is_set))
        return result

    def _pointer(self, cell: Cell, scope: str, is_set: bool) -> RawPointer:
        if not is_set:
            return RawPointer(cell.name, cell.type, None, scope, state="unset")
        value, heap, text = cell.number, None, cell.text
        if value is not None and self.space.range_of(value) is not None:
            heap = "c"
            if not cell.cells:
                text = None  # its bytes are in the picture
        elif value is not None and self.go is not None and self.go.has(value):
            heap = self.go.where(value)
            value = self.go.to(value)
            if cell.type == "string":
                text = self.go.text(cell.number or 0, cell.cells[1][1])
            return RawPointer(cell.name, cell.type, value, scope, heap, "ok", text, cell.cells)
        elif value is not None and value and not self.space.note(value) and value > 1 << 46:
            text = None
        if value is not None and cell.number_only:
            if not value or not self.space.note(value):
                return RawPointer(cell.name, cell.type, None, scope, None, None, text)
            text = None
        return RawPointer(cell.name, cell.type, value, scope, heap, None, text, cell.cells)

    def _name(self, held: Sequence[tuple[str, Cell]]) -> None:
        """Name blocks after the variables that hold them.

        A block keeps its name as long as that variable holds it, or no other does, and the variable
        does not move on to another block: from then on it has its letter.
        """
        holders: dict[int, list[tuple[str, int | None]]] = {}
        self.judge.names.clear()
        values: dict[tuple[str, str], int] = {}
        for scope, cell in held:
            if not cell.number or cell.number_only:
                continue
            self.judge.names.setdefault(cell.number, cell.name)
            values[scope, cell.name] = cell.number
            if not self._dangles(scope, cell):
                holders.setdefault(cell.number, []).append((cell.name, cell.leads))
        self._values, self._assigned = values, set()
        blocks = self.calls.blocks
        named: dict[int, tuple[str, int | None]] = {}
        for user, cells in holders.items():
            asked = blocks.get(user)
            if asked is None:
                continue
            names = [name for name, _ in cells]
            if asked.name not in names:
                self.calls.rename(user, names[0])
            kept = blocks[user].name or names[0]
            leads = next((to for name, to in cells if name == kept), cells[0][1])
            if asked.freed is None:
                named[user] = kept, leads
        for name in {name for cells in holders.values() for name, _ in cells}:
            self.calls.unname(name, holders)
        sign = "->"
        word: Callable[[int], int | None] = self.space.word
        if self.go is not None:
            sign, word = ".", self.go.word(self.space)
            named |= {
                cell.number: (cell.name, cell.leads)
                for _, cell in held
                if cell.number and cell.leads is not None and self.go.has(cell.number)
            }
        inner = fields_of_blocks(self.types, named, self.calls.live, word, self._asked_for, sign)
        for user, name in inner.items():
            own, taken = blocks[user].name, {n for n, _ in named.values()}
            if own is None or sign in own or "[" in own or own in taken:
                self.calls.rename(user, name)

    def _asked_for(self, user: int) -> int:
        """Return how many bytes were asked for at an address of C's."""
        asked = self.calls.blocks.get(user)
        return 0 if asked is None else asked.requested or 0

    def _dangles(self, scope: str, cell: Cell) -> bool:
        """Whether a variable still holds the address of a block that was freed before this frame.

        Then it says nothing about the block that is there by now.
        """
        place = scope, cell.name
        asked = self.calls.blocks.get(cell.number or 0)
        if self._values.get(place) != cell.number or place in self._assigned:
            self._stale.pop(place, None)
        elif place not in self._stale:
            self._stale[place] = self._orders.get(cell.number or 0)
        order = None if asked is None else asked.order
        return place in self._stale and self._stale[place] not in (None, order)

    # ---- events

    def _events(
        self, message: Mapping[str, Any], line: int | None
    ) -> tuple[list[Event], list[Fault]]:
        """Turn the calls since the last frame into events; the log of blocks is brought up to date.

        Returns the faults that the calls themselves are.
        """
        events: list[Event] = []
        faults: list[Fault] = []
        done, self._done = self._done, []
        self._copies = [made for made in done if made["t"] == "copy"]
        self._lent = [made for made in done if made["t"] in ("lend", "pin")]
        for made in done:
            if made["t"] in ("copy", "lend", "pin"):
                continue
            self.judge.stirred = True
            call = self._call(made)
            if call is None:
                self._internal(made)
                continue
            self.judge.asked = True
            fault = self.judge.call(call, line)
            if fault is not None:
                faults.append(fault)
            names = {user: self.calls.name(user) for user in self.calls.blocks}
            old = self.calls.blocks.get(call.block)
            self.calls.add(call)
            self.judge.took(call, old, names.get(call.block, "?"), line)
            self._note_place(call.result)
            self._untouched.drop(call.block)
            if call.result and call.function == "malloc" and made["who"] == "user":
                self._untouched.add(call.result, call.size or 0)
                self._new.add(call.result)
            waiting = self._border(made)
            if call.result:
                by = f"C.{made['fn']}" if made["via"].startswith("_cgo_") else made["via"]
                self._asked[call.result] = f"C.{waiting['fn']}" if waiting else by
            if waiting is not None:
                waiting["value"] = call.result
                continue
            events.append(self._event(call, made, names))
        if message["t"] == "signal":
            for made in self._open.values():
                if made["th"] == message["th"] and made["who"] == "user":
                    args = ", ".join(str(a) for a in self._args(made))
                    events.append(Event("call", f"{made['fn']}({args}) did not return"))
        return events, faults

    def _reads(
        self, line: int | None, whole: bool, held: Sequence[tuple[str, Cell]]
    ) -> list[Fault]:
        """Return the reads of blocks that nobody has written to."""
        if self.go is not None or line is None or not whole or not 0 < line <= len(self.lines):
            return []
        names = []
        for _, cell in held:
            kind = self.types.kinds.get(cell.leads) if cell.leads is not None else None
            if cell.number and kind is not None and cell.name.isidentifier():
                names.append((cell.name, cell.number, kind.size))
        new, self._new = self._new, set()
        return self._untouched.ran(self.lines[line - 1], names, new)

    def _border(self, made: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the copy from Go to C that a call of malloc belongs to."""
        if self.go is None or made["fn"] != "malloc":
            return None
        waiting = [c for c in self._copies if c["fn"] in ("CString", "CBytes") and "value" not in c]
        return next((c for c in reversed(waiting) if c["th"] == made["th"]), None)

    def _internal(self, made: Mapping[str, Any]) -> None:
        """Remember the blocks of libraries: they may write there."""
        block = made["args"][0]
        if made["fn"] in ("free", "realloc", "reallocarray"):
            self.judge.internal.pop(block, None)
        if made["value"] and made["fn"] != "free":
            size = made["args"][-1] * (made["args"][0] if made["fn"] == "calloc" else 1)
            self.judge.internal[int(made["value"])] = size
            at = int(made["value"]) - HEADER
            for start, end in self._own.items():
                if start <= at < end:
                    self._own[start] = at

    def _note_place(self, user: int) -> None:
        """Remember which bytes were the user's: what is left there later is no library's."""
        size = (self.space.word(user - WORD) or 0) & ~7 if user else 0
        if size >= 2 * HEADER:
            start = user - HEADER
            self._own[start] = max(start + size, self._own.get(start, 0))

    def _remainders(self) -> frozenset[int]:
        """Return the user addresses of chunks that were cut from places of the user's."""
        found = set()
        for start, end in self._own.items():
            at = start
            while at < end:
                found.add(at + HEADER)
                size = (self.space.word(at + WORD) or 0) & ~7
                if size < 2 * HEADER:
                    break
                at += size
        return frozenset(found)

    def _args(self, made: Mapping[str, Any]) -> list[str]:
        shown = [str(arg) for arg in made["args"]]
        if made["fn"] in ("free", "realloc", "reallocarray"):
            first = made["args"][0]
            shown[0] = self.calls.name(first) if first in self.calls.blocks else "?"
        return shown

    def _call(self, made: Mapping[str, Any]) -> Call | None:
        """Return a call of the user's as the log wants it; None for one that is not theirs."""
        function, args, value = made["fn"], list(made["args"]), int(made["value"])
        via = _via(made)
        block = args[0] if function in ("free", "realloc", "reallocarray") else 0
        if via in ENTRIES:  # realloc(p, 0) frees
            return None
        if made["who"] != "user" and via not in OWNING and not self.calls.live(block):
            return None
        if function == "free" and not block:
            size = None
        elif function in ("calloc",):
            size = args[0] * args[1]
        elif function == "reallocarray":
            size = args[1] * args[2]
        elif function == "posix_memalign":
            size, args = args[2], [0, *args[1:]]
        else:
            size = args[-1] if function != "free" else None
        name = {"valloc": "memalign", "pvalloc": "memalign"}.get(function, function)
        failed = size is not None and not value and (size or not block)
        return Call(
            number=len(self.calls.log) + 1,
            function=name,
            args=tuple(args),
            block=block,
            size=size,
            result=value,
            errno="ENOMEM" if failed else None,
            thread=int(made["th"]) - 1,
        )

    def _event(self, call: Call, made: Mapping[str, Any], names: Mapping[int, str]) -> Event:
        """Return the event of a call; the name of its result is filled in later."""
        found = event(call, {**names, call.result: "\0"} if call.result else names)
        via = _via(made)
        if via and call.size is not None:
            count = "1 byte" if call.size == 1 else f"{call.size} bytes"
            text = f"{via} allocates {count}"
            found = dataclasses.replace(found, text=f"\0 = {text}" if call.result else text)
        if call.function == "realloc" and call.block == call.result and call.result:
            text = found.text.replace("realloc(\0", f"realloc({names.get(call.block, '?')}")
            found = dataclasses.replace(found, text=text)
        if call.block and call.block not in names:
            said = self.judge.names.get(call.block, "?")
            text = found.text.replace("(?", f"({said}", 1)
            known = call.block < 1 << 16 or self.space.note(call.block)
            args = found.args if known else found.args[1:]
            found = dataclasses.replace(found, text=text, chunk=None, args=args)
        return found

    def _worded(self, found: Event) -> Event:
        """Fill in the name that the result of a call has by now."""
        if "\0" not in found.text or found.result is None:
            return found
        asked = self.calls.blocks.get(found.result)
        if asked is not None and asked.name is not None:
            text = found.text.replace("\0", asked.name)
        elif asked is not None:
            text = found.text.replace("\0", self.calls.name(found.result))
        else:  # it was moved or given back within the same line
            text = found.text.replace("\0 = ", "").replace("\0", "?")
        return dataclasses.replace(found, text=text)

    def _go_events(
        self,
        message: Mapping[str, Any],
        now: Sequence[Activation],
        before: Sequence[Activation],
        pointers: Sequence[RawPointer],
        cycles: int,
    ) -> list[Event]:
        """Return what happened on the Go side: copies across the border, cycles, cleanups."""
        if self.go is None:
            return []
        events = []
        fresh = [p for p in pointers if (p.name, p.scope) not in self._set and p.state != "unset"]
        self._set |= {(p.name, p.scope) for p in fresh}
        for copy in self._copies:
            events.append(self._crossing(copy, fresh))
        events += self._loans(pointers, [a.function for a in now])
        for cycle in range(self.go.cycles - cycles + 1, self.go.cycles + 1):
            events.append(Event("gc", f"the collector has finished cycle {cycle}"))
        if now and any(CLEANUP.search(name) for name in message.get("beneath", ())):
            begun = (now[-1].function, now[-1].base) not in {(a.function, a.base) for a in before}
            if begun:
                text = f"{now[-1].function} runs: its object is unreachable"
                events.append(Event("cleanup", text))
        return events

    def _loans(self, pointers: Sequence[RawPointer], running: Sequence[str]) -> list[Event]:
        """Return what was pinned, and what of Go's memory C's functions were handed."""
        assert self.go is not None
        events: list[Event] = []
        fresh: list[tuple[str, int]] = []
        for made in self._lent:
            if made["t"] == "pin":
                if self.go.pin(made["pinner"], made["at"]):
                    text = "the pinner lets go: its objects are no longer pinned"
                    if made["at"]:
                        name = self._holder(made["at"], pointers)
                        text = f"{name} is pinned: the collector keeps it where it is until Unpin"
                    events.append(Event("pin", text))
                continue
            for at in made["args"]:
                if self.go.where(at) not in ("go", "stack"):
                    continue
                fresh.append((made["fn"], at))
                name, function = self._holder(at, pointers), f"C.{made['fn']}"
                text = f"{name} is lent to {function} for this call: C may not keep its address"
                if self.go.pinned(at):
                    text = f"{name} is lent to {function}; pinned as it is, C may keep its address"
                events.append(Event("lend", text))
        over = self.go.lend(fresh, running)
        return [Event("lend", f"C.{name} has returned: its loan is over") for name in over] + events

    def _holder(self, at: int, pointers: Sequence[RawPointer]) -> str:
        """Return the name of a Go variable that leads to an object of Go's."""
        assert self.go is not None
        found = self.go.find(at)
        if found is not None:
            end = found.to + found.high - found.low
            for pointer in pointers:
                held = pointer.value is not None and found.to <= pointer.value < end
                if held and pointer.heap in ("go", "stack") and pointer.scope.startswith("main."):
                    return pointer.name
        return "an object of Go’s"

    def _owners(self) -> dict[str, str]:
        """Say of each C block in use who asked for it: it is to be freed with C's free."""
        return {
            self.calls.name(user): self._asked.get(user, "C")
            for user, asked in self.calls.blocks.items()
            if asked.freed is None
        }

    def _crossing(self, copy: Mapping[str, Any], fresh: Sequence[RawPointer]) -> Event:
        """Return the event of a copy made by one of cgo's helpers."""
        function, size = str(copy["fn"]), int(copy["size"])
        count = "1 byte" if size == 1 else f"{size} bytes"
        if function in ("CString", "CBytes"):
            block = int(copy.get("value", 0))
            name = self.calls.name(block) if block in self.calls.blocks else "?"
            more = " and a 0" if function == "CString" else ""
            note = f"{count}{more} from Go to C; Go code must free {name} with C.free"
            result = block or None
            chunk = block - HEADER if block else None
            text = f"{name} = C.{function}({count})"
            return Event("copy", text, (size,), result, None, chunk, note)
        source = int(copy["at"])
        held = [user for user in self.calls.blocks if user <= source]
        block = max(held, default=0)
        asked = self.calls.blocks.get(block)
        inside = asked is not None and source < block + max(asked.requested or 0, 1)
        name = self.calls.name(block) if inside else "C's memory"
        kinds = {"GoBytes": "[]byte"}
        wanted = kinds.get(function, "string")
        target = next((p.name for p in fresh if p.type == wanted), None)
        said = (
            f"C.{function}({name}, {count})" if function != "GoString" else f"C.{function}({name})"
        )
        text = f"{target} = {said}" if target else said
        note = f"{count} from C to Go; the copy is the collector's"
        return Event("copy", text, (size,), None, None, block - HEADER if inside else None, note)

    def _printed(self, message: Mapping[str, Any]) -> list[Event]:
        """Bring the output up to date: what was written, and what waits in stdio's buffer."""
        out, err = message["out"]
        printed = self._raw[0][:out] + bytes.fromhex(message["pending"])
        said = self._raw[1][self._seen[1] : err]
        fresh, lost = printed[self._seen[0] :], self._seen[0] - len(printed)
        self._seen = [len(printed), err]
        events = []
        if lost > 0:
            count = "1 byte" if lost == 1 else f"{lost} bytes"
            events.append(Event("output", f"{count} of stdout were never written"))
            for index in range(len(self._output) - 1, -1, -1):
                stream, text = self._output[index]
                if stream == 0:
                    cut = min(lost, len(text))
                    self._output[index] = 0, text[: len(text) - cut]
                    lost -= cut
        for stream, text in ((0, fresh), (1, said)):
            if not text:
                continue
            if stream and self.go is not None and message["t"] != "stop":
                told = reports.go_trace(text.decode("utf-8", "backslashreplace"))
                text = told.encode("utf-8", "backslashreplace")
            events.append(
                Event("output", _cut(text, MOST_SAID).decode("utf-8", "backslashreplace"))
            )
            room = MOST_OUTPUT - sum(len(known) for _, known in self._output)
            if room > 0:
                self._output.append((stream, _cut(text, room)))
        return events

    # ---- the end

    def film(self, stop: Stop | None, title: str, file: str) -> Film:
        """Return the film; `stop` says how the program ended."""
        if self._waiting is not None:
            message, self._waiting = self._waiting, None
            self._moment(message)
        self.flush(stop)
        return self.reel.film(title, self.source, self.language, file)


def _in_c(frames: Sequence[Sequence[Any]]) -> bool:
    """Whether the innermost of some frames of a Go program is C's."""
    return bool(frames) and not str(frames[0][0]).startswith("main.")


def _is_part(cell: str, name: str) -> bool:
    """Whether a cell is a variable or a part of it: ``b``, ``b.size``, ``b[1]``."""
    return re.split(r"[.\[]", cell, maxsplit=1)[0] == name


def _via(made: Mapping[str, Any]) -> str:
    """Return the function of a library's that the program called, and that called malloc."""
    if made["who"] != "library":
        return ""
    return re.sub(r"^(?:__GI_)?_*(?:IO_)?|_chk$", "", str(made["via"]))


def _at_fixed(pointer: Pointer) -> Pointer:
    """Return a slice or string of Go's whose cell ``ptr`` is its fixed address as well."""
    if not pointer.cells or pointer.value is None:
        return pointer
    cells = tuple((name, pointer.value if name == "ptr" else n) for name, n in pointer.cells)
    return dataclasses.replace(pointer, cells=cells)


def _cut(text: bytes, most: int) -> bytes:
    """Return the beginning of an output that is too long."""
    return text if len(text) <= most else text[:most] + f"\n[cut after {most:,} bytes]\n".encode()

"""What a recorder hands to the decoder: bytes, calls and variables, with real addresses.

A recorder never interprets the heap; it copies memory and remembers the calls it saw.  Everything
here is plain data of the standard library, and :meth:`Reading.to_json` / :meth:`Reading.from_json`
carry it between processes (a recorder inside gdb writes the same JSON without importing this file).

JSON form, version 1: numbers are integers (``"0x…"`` strings are read as well), bytes are hex::

    {"reading": 1, "glibc": "2.36", "arch": "x86-64", "complete": true,
     "mappings": [{"base": 93824992268288, "data": "0000…", "kind": "heap", "size": 135168}],
     "main_arena": {"at": 140737353890944, "data": "…"},
     "tcache": [93824992268304], "tcache_count": 7, "tcache_key": 1234,
     "blocks": [{"user": 93824992268960, "requested": 24, "call": 0, "freed": null, "order": 0}],
     "names": [{"user": 93824992268960, "name": "a"}],
     "pointers": [{"name": "a", "type": "char *", "value": 93824992268960, "scope": "main"}],
     "events": [{"kind": "malloc", "text": "a = malloc(24)", "args": [24], "result": 9382499226…}],
     "line": 5, "stack": ["main"], "output": "", "stop": null, "go": {}}

Only ``glibc`` and ``mappings`` are required.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from heapscope.model.snapshot import Event, Stop

KINDS = ("heap", "thread heap", "mmap", "libc", "program", "stack", "other")
"""What a :class:`Mapping` may be.

``heap``         a range that the main arena hands out: the brk heap of a program, or each mmapped
                 piece of a second libc's main arena (there may be several).
``thread heap``  a heap of a thread arena; `base` is its ``heap_info`` (a multiple of 64 MiB).
``mmap``         the mapping of one block with the M flag.
``libc``, ``program``, ``stack``, ``other``   no heaps: only so that pointers into them can be told
and moved to a fixed base, which matters where addresses are random; `data` may be empty.
"""


def _number(value: int | str) -> int:
    """Read a JSON number, or one written as a string ("0x10")."""
    return int(value, 0) if isinstance(value, str) else int(value)


def _maybe(value: int | str | None) -> int | None:
    """Read an optional JSON number."""
    return None if value is None else _number(value)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A range of memory, copied."""

    base: int  # real address of data[0]
    data: bytes  # may be cut after the last byte that is not zero: what is missing reads as zeros
    kind: str  # one of KINDS
    size: int | None = None  # full length in bytes; None when `data` is all of it
    first: int = 0  # "heap" only: bytes from `base` to the first chunk

    @property
    def length(self) -> int:
        """Length of the range in bytes, the cut tail included."""
        return len(self.data) if self.size is None else max(self.size, len(self.data))

    @property
    def end(self) -> int:
        """One past the last address."""
        return self.base + self.length

    @classmethod
    def trimmed(cls, base: int, data: bytes, kind: str, first: int = 0) -> Mapping:
        """Make a mapping without the zeros at the end of `data` (rounded up to whole 16 bytes)."""
        kept = len(data.rstrip(b"\0")) + 15 & ~15
        return cls(base, data[:kept], kind, len(data), first)


@dataclass(frozen=True, slots=True)
class Asked:
    """The latest call that returned a block at some address."""

    requested: int | None  # bytes asked for (calloc: the product); None when not known
    call: int = 0  # number of the call that returned it
    freed: int | None = None  # number of the call that freed it; None while it is in use
    name: str | None = None  # what the program calls it, if the recorder knows
    order: int | None = None
    """How many blocks were allocated before this one (0 is A, 1 is B, …): letters stay the same
    when an address is used again.  A block that realloc moved may keep its order.  None: by rank
    of `call` among the blocks of the reading."""
    internal: bool = False  # known not to be the program's own (stdio's buffer …): folded


@dataclass(frozen=True, slots=True)
class RawPointer:
    """A variable of the program."""

    name: str
    type: str = ""
    value: int | None = None  # real address; None: not set yet or no pointer
    scope: str = ""  # function it belongs to, "" for global or notebook variables
    heap: str | None = None  # c | go | stack | static | none, where the recorder knows
    state: str | None = None  # "unset" or "value" where the recorder knows; else worked out
    text: str | None = None  # how to show a value that is no address
    cells: tuple[tuple[str, int], ...] = ()  # Go: ("ptr", …) ("len", …) ("cap", …)


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything a recorder knows at one moment, with real addresses."""

    glibc: str  # "2.36"
    arch: str = "x86-64"
    mappings: tuple[Mapping, ...] = ()
    main_arena: tuple[int, bytes] | None = None  # address and bytes of main_arena
    tcache: tuple[int, ...] = ()  # user addresses of tcache tables, main thread's first
    tcache_count: int | None = None  # mp_.tcache_count, if known
    tcache_key: int | None = None  # if the recorder could find it out
    blocks: MappingABC[int, Asked] = field(default_factory=dict)  # by user address
    names: MappingABC[int, str] = field(default_factory=dict)  # by user address
    pointers: tuple[RawPointer, ...] = ()
    complete: bool = False
    """Whether the recorder saw every call of the program itself: then a block in use that no call
    asked for is somebody else's, and is folded."""
    former: frozenset[int] | None = None
    """User addresses that realloc moved blocks away from.  With this known, the old bytes of other
    free chunks that no recorded call asked for are a library's, and are blanked: they differ from
    run to run.  None: nothing is blanked."""
    events: tuple[Event, ...] = ()  # since the reading before; addresses are real
    line: int | None = None
    stack: tuple[str, ...] = ()
    output: str = ""
    stop: Stop | None = None
    go: MappingABC[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form given at the top of this file."""
        arena = self.main_arena
        return {
            "reading": 1,
            "glibc": self.glibc,
            "arch": self.arch,
            "complete": self.complete,
            "former": None if self.former is None else sorted(self.former),
            "mappings": [{**dataclasses.asdict(m), "data": m.data.hex()} for m in self.mappings],
            "main_arena": None if arena is None else {"at": arena[0], "data": arena[1].hex()},
            "tcache": list(self.tcache),
            "tcache_count": self.tcache_count,
            "tcache_key": self.tcache_key,
            "blocks": [{"user": u, **dataclasses.asdict(a)} for u, a in self.blocks.items()],
            "names": [{"user": u, "name": n} for u, n in self.names.items()],
            "pointers": [dataclasses.asdict(p) for p in self.pointers],
            "events": [dataclasses.asdict(e) for e in self.events],
            "line": self.line,
            "stack": list(self.stack),
            "output": self.output,
            "stop": None if self.stop is None else dataclasses.asdict(self.stop),
            "go": dict(self.go),
        }

    @classmethod
    def from_json(cls, form: MappingABC[str, Any]) -> Reading:
        """Build a reading from its JSON form; ValueError says which part is not as it should be."""
        try:
            return cls._from_json(form)
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ValueError(f"this is no reading of a heap: {error!r}") from error

    @classmethod
    def _from_json(cls, form: MappingABC[str, Any]) -> Reading:
        if form.get("reading", 1) != 1:
            raise ValueError(f"this is a reading of version {form['reading']}; 1 is known here")
        arena = form.get("main_arena")
        stop = form.get("stop")
        return cls(
            glibc=str(form["glibc"]),
            arch=str(form.get("arch", "x86-64")),
            mappings=tuple(_mapping(m) for m in form["mappings"]),
            main_arena=None
            if arena is None
            else (_number(arena["at"]), bytes.fromhex(arena["data"])),
            tcache=tuple(_number(t) for t in form.get("tcache", ())),
            tcache_count=_maybe(form.get("tcache_count")),
            tcache_key=_maybe(form.get("tcache_key")),
            blocks={_number(b["user"]): _asked(b) for b in form.get("blocks", ())},
            names={_number(n["user"]): str(n["name"]) for n in form.get("names", ())},
            pointers=tuple(_pointer(p) for p in form.get("pointers", ())),
            complete=bool(form.get("complete", False)),
            former=None
            if form.get("former") is None
            else frozenset(_number(user) for user in form["former"]),
            events=tuple(_event(e) for e in form.get("events", ())),
            line=_maybe(form.get("line")),
            stack=tuple(str(s) for s in form.get("stack", ())),
            output=str(form.get("output", "")),
            stop=None if stop is None else Stop(**stop),
            go=dict(form.get("go", {})),
        )


def _mapping(form: MappingABC[str, Any]) -> Mapping:
    kind = str(form["kind"])
    if kind not in KINDS:
        raise ValueError(f"a mapping is of kind {kind!r}; known kinds: {', '.join(KINDS)}")
    made = Mapping(
        base=_number(form["base"]),
        data=bytes.fromhex(form["data"]),
        kind=kind,
        size=_maybe(form.get("size")),
        first=_number(form.get("first", 0)),
    )
    if made.base < 0 or made.base % 8 or made.end > 1 << 64 or not 0 <= made.first <= made.length:
        raise ValueError(f"a mapping at {made.base:#x} of {made.length:,} bytes cannot be")
    return made


def _asked(form: MappingABC[str, Any]) -> Asked:
    if not isinstance(form.get("name"), str | None):
        raise ValueError(f"a block's name is a text, not {form['name']!r}")
    return Asked(
        requested=_maybe(form.get("requested")),
        call=_number(form.get("call", 0)),
        freed=_maybe(form.get("freed")),
        name=form.get("name"),
        order=_maybe(form.get("order")),
        internal=bool(form.get("internal", False)),
    )


def _cells(pairs: Sequence[Sequence[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((str(name), _number(value)) for name, value in pairs)


def _pointer(form: MappingABC[str, Any]) -> RawPointer:
    return RawPointer(
        name=str(form["name"]),
        type=str(form.get("type", "")),
        value=_maybe(form.get("value")),
        scope=str(form.get("scope", "")),
        heap=form.get("heap"),
        state=form.get("state"),
        text=form.get("text"),
        cells=_cells(form.get("cells", ())),
    )


def _event(form: MappingABC[str, Any]) -> Event:
    return Event(
        kind=str(form["kind"]),
        text=str(form["text"]),
        args=tuple(_number(a) for a in form.get("args", ())),
        result=_maybe(form.get("result")),
        errno=form.get("errno"),
        chunk=_maybe(form.get("chunk")),
        note=form.get("note"),
    )

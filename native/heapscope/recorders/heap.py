"""A private heap in this process: a second copy of the system's libc, watched.

``dlmopen(LM_ID_NEWLM, "libc.so.6")`` loads libc once more, with a main arena, tcache and thresholds
of its own in the state of a fresh process (dlopen(3)).  Python's own blocks are not on it, so what
is seen there is what the notebook did.  Two differences to a program's first heap: it grows with
mmap instead of brk (malloc.c, ``__always_fail_morecore``), piece by piece; and it lies at the same
address in every run where the kernel lets us (src/place.c), with the same tcache key, so that who
writes over a part of either sees the same each time.
"""

from __future__ import annotations

import contextlib
import copy
import errno as errnos
import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from heapscope._heap import ffi
from heapscope._heap import lib as C  # noqa: N812 (it is the C side)
from heapscope.glibc.decode import decode
from heapscope.glibc.layout import Layout
from heapscope.glibc.reading import Mapping as Range
from heapscope.glibc.reading import RawPointer, Reading
from heapscope.model.canonical import HEAP, KEY, Canon, torn
from heapscope.model.film import Film, Reel
from heapscope.model.snapshot import HEADER, WORD, Event, Snapshot
from heapscope.recorders.calls import Call, Calls, event
from heapscope.recorders.memory import BadAddressError, read

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_FRAMES = 400
"""A heap's film keeps so many frames."""
MOST_BYTES = 64 << 20
"""… and so many bytes."""
MOST_ELEMENTS = 100
"""A list of more pointers gives its blocks no names."""
WHOLE_BLOCK = 1 << 20
"""Of a block with a mapping of its own, so many bytes are copied for a film or picture."""
_HOME = 0x7E55 << 32
"""The upper half of the first heap's address.  What the kernel hands out by itself lies higher: it
begins within 2**40 bytes below the stack of x86-64, at 0x7EFB... at the lowest."""


class HeapError(RuntimeError):
    """A private heap cannot do what was asked."""


class RefusedError(HeapError):
    """A call was not made, because in C it would have been undefined behaviour."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """The raw heap after a call, or after the program wrote to it."""

    calls: int  # how many calls had been made
    written: bool  # True: the program's own writes since the last call
    reading: Reading


class Lib:
    """The functions of one private libc; each does and returns what its C namesake does.

    Pointers are plain cffi pointers, errno is ``heap.ffi.errno``.  A call whose behaviour would be
    undefined is refused with :class:`RefusedError` (unless ``Heap(check=False)``).
    """

    def __init__(self, heap: Heap, run: Callable[..., Any] | None = None) -> None:
        self._heap = heap
        self._run = run

    def _call(self, function: str, block: Any, size: int | None, *args: Any) -> Any:
        if self._run is None:
            return self._heap._call(function, block, size, args, 0)
        return self._run(self._heap._call, function, block, size, args, 1)

    def malloc(self, size: int) -> Any:
        """Return a block of `size` bytes, not initialised, or NULL (C17 7.22.3.4)."""
        return self._call("malloc", None, size, size)

    def calloc(self, number: int, size: int) -> Any:
        """Return a block for `number` objects of `size` bytes, all zero, or NULL (C17 7.22.3.2)."""
        return self._call("calloc", None, number * size, number, size)

    def realloc(self, block: Any, size: int) -> Any:
        """Resize `block`, which may move it; NULL leaves it as it was (C17 7.22.3.5)."""
        return self._call("realloc", block, size, block, size)

    def reallocarray(self, block: Any, number: int, size: int) -> Any:
        """Like realloc for `number` times `size` bytes; NULL when that overflows (malloc(3))."""
        return self._call("reallocarray", block, number * size, block, number, size)

    def aligned_alloc(self, alignment: int, size: int) -> Any:
        """Return a block whose address is a multiple of `alignment` (C17 7.22.3.1)."""
        return self._call("aligned_alloc", None, size, alignment, size)

    def memalign(self, alignment: int, size: int) -> Any:
        """Return a block whose address is a multiple of `alignment` (posix_memalign(3))."""
        return self._call("memalign", None, size, alignment, size)

    def posix_memalign(self, where: Any, alignment: int, size: int) -> int:
        """Store an aligned block in ``where[0]``; return 0 or an errno (posix_memalign(3))."""
        result: int = self._call("posix_memalign", None, size, where, alignment, size)
        return result

    def strdup(self, text: Any) -> Any:
        """Return a block with a copy of the C string (or bytes) `text` (strdup(3))."""
        if isinstance(text, (bytes, bytearray)):
            text = ffi.new("char[]", bytes(text))
        size = len(ffi.string(ffi.cast("char *", text))) + 1
        return self._call("strdup", None, size, text)

    def free(self, block: Any) -> None:
        """Give `block` back; NULL is allowed (C17 7.22.3.3)."""
        self._call("free", block, None, block)

    def malloc_usable_size(self, block: Any) -> int:
        """Return how many bytes of `block` may be used (malloc_usable_size(3))."""
        result: int = self._call("malloc_usable_size", block, None, block)
        return result

    def malloc_trim(self, pad: int) -> int:
        """Give free memory back to the kernel; 1 when there was some (malloc_trim(3))."""
        result: int = self._call("malloc_trim", None, None, pad)
        return result

    def mallopt(self, parameter: int, value: int) -> int:
        """Set an allocation parameter; 1 on success (mallopt(3))."""
        result: int = self._call("mallopt", None, None, parameter, value)
        return result

    def memset(self, block: Any, byte: int, size: int) -> Any:
        """Fill `size` bytes (C17 7.24.6.1); nothing checks that they are yours."""
        if size:
            ffi.buffer(ffi.cast("char *", block), size)[:] = bytes([byte & 255]) * size
        return block

    def memcpy(self, to: Any, source: Any, size: int) -> Any:
        """Copy `size` bytes from a pointer or bytes (C17 7.24.2.1)."""
        ffi.memmove(to, source, size)
        return to

    def strlen(self, text: Any) -> int:
        """Return the length of a C string (C17 7.24.6.3)."""
        return len(ffi.string(ffi.cast("char *", text)))

    def __repr__(self) -> str:
        return f"<the libc of {self._heap!r}>"


_FUNCTIONS: dict[str, Any] = {
    name: getattr(C, f"hs_{name}")
    for name in (
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "aligned_alloc",
        "posix_memalign",
        "memalign",
        "strdup",
        "free",
        "malloc_usable_size",
        "malloc_trim",
        "mallopt",
    )
}
_POINTERS = frozenset({"realloc", "reallocarray", "free", "malloc_usable_size"})
_RETURN_BLOCKS = frozenset(
    {"malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "memalign", "strdup"}
)
_open: weakref.WeakSet[Heap] = weakref.WeakSet()


class Heap:
    """A private glibc heap.

    ``heap.lib`` calls it, ``heap`` as the last line of a cell draws it.  It belongs to the thread
    that opened it; :meth:`thread` lends it to another one.  ``check=False`` leaves every call to
    glibc: a wrong one ends this process.
    """

    last: weakref.ref[Heap] | None = None
    """The heap used last, which :func:`heapscope.child` tells of."""
    adopt: Callable[[Heap], None] | None = None
    """In a child: what to do with a heap that is opened there."""

    def __init__(self, check: bool = True, name: str | None = None) -> None:
        self.ffi = ffi
        self.name_of_heap = name
        self.glibc = _version()
        self.layout = Layout.for_version(self.glibc)
        self._c = self._opened()
        self._c.check = bool(check) and self.layout.known
        self._close = weakref.finalize(self, _shut, self._c)
        self._check = check
        self._owner = threading.get_ident()
        self._me = weakref.ref(self)
        self._calls = Calls()
        self._canon = Canon()
        self._frames: list[_Frame] = []
        self._frame_bytes = 0
        self._cut: str | None = None  # why the film goes no further
        self._high: dict[int, int] = {}  # by a piece's base: how far it was ever handed out
        self._old_names: dict[int, set[str]] = {}  # of blocks that an address held before
        self._in_child: Callable[[dict[str, Any]], None] | None = None
        if Heap.adopt is not None:
            Heap.adopt(self)
        _open.add(self)

    @property
    def lib(self) -> Lib:
        """The functions of this heap's libc."""
        # Kept here it would be a cycle, and a heap that nobody holds would wait for the collector.
        return Lib(self)

    # ---- opening and closing

    def _opened(self) -> Any:
        """Load one more libc; where the loader's room is used up, drop forgotten heaps first."""
        layout = _offsets(self.layout)
        heap, error = ffi.new("hs_heap *"), ffi.new("char[]", 512)
        for attempt in ("first", "after a collection", "after forgetting IPython's history"):
            if C.hs_open(heap, layout, error, len(error)) == 0:
                return heap
            if attempt == "first":
                gc.collect()
            else:
                _forget_history()
        said = ffi.string(error).decode(errors="replace")
        count = len(_open)
        raise HeapError(
            f"no further private heap can be opened while {count} are open: close one with "
            f"heap.close(), or open heaps with `with Heap() as heap:`. The loader said: {said}"
        )

    def close(self) -> None:
        """Unload the private libc. Its pointers read as zeros afterwards; calls are refused."""
        self._close()
        self._frames.clear()

    @property
    def closed(self) -> bool:
        """Whether the heap was closed."""
        return not self._close.alive

    def __enter__(self) -> Heap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- calls

    def _call(
        self, function: str, block: Any, size: int | None, args: tuple[Any, ...], thread: int
    ) -> Any:
        """Make one call, watched. Runs in the thread that shall make it."""
        if function in _POINTERS and type(block) is not ffi.CData:
            # cffi would pass bytes to a `void *`, and their address is no block's.
            raise TypeError(f"{function} takes a pointer, not {type(block).__name__}: {block!r}")
        numbers = _plain(args)
        if function in ("posix_memalign", "strdup"):
            numbers = (0, *numbers[1:])  # a pointer to Python's memory tells nothing
        address = _address(block) if function in _POINTERS else 0
        self._may_call(function, address, thread, args)
        Heap.last = self._me
        filmed = self._cut is None and function != "malloc_usable_size"  # which changes nothing
        if self._in_child is not None:
            self._in_child({"about": function, "names": self._variables(_caller())})
        elif filmed:
            self._note_writes()
        unnamed = address and self._cut is None and self._calls.live(address)
        if unnamed and self._calls.blocks[address].name is None:
            self._take_names(self._variables(_caller()), address)
        result = _FUNCTIONS[function](self._c, *args)
        code = ffi.errno
        if self._c.refused:
            raise self._spoiled(function, args)
        returned = self._returned(function, args, result)
        failed = function in _RETURN_BLOCKS and not returned and bool(size)
        call = Call(
            len(self._calls.log) + 1,
            function,
            numbers,
            address,
            size,
            returned,
            errnos.errorcode.get(code, str(code)) if failed else None,
            thread,
        )
        self._took(call)
        if self._in_child is not None:
            self._in_child({"made": call})
        elif filmed and self._cut is None:
            self._record(False)
        ffi.errno = code
        return result

    def _may_call(self, function: str, address: int, thread: int, args: tuple[Any, ...]) -> None:
        """Refuse what would be undefined, or is for another thread."""
        if not self._close.alive:
            raise HeapError(
                f"{function} was not called: this heap is closed. Open another one: heap = Heap()"
            )
        if not thread and threading.get_ident() != self._owner:
            raise HeapError(
                f"{function} was not called: this heap belongs to the thread that opened it, and "
                "another thread would be given an arena of its own. To see that, call from "
                "`with heap.thread() as other: other.malloc(24)`"
            )
        if address and self._check and self._in_child is None and not self._calls.live(address):
            from heapscope.recorders.refusal import not_live

            raise RefusedError(not_live(self, function, address, _plain(args)))

    def _spoiled(self, function: str, args: tuple[Any, ...]) -> RefusedError:
        """Say which word was written, by whom it could be, and what glibc would do."""
        from heapscope.recorders.refusal import spoiled

        bad = self._c.bad
        return RefusedError(spoiled(self, function, int(bad.at), int(bad.value), _plain(args)))

    def _returned(self, function: str, args: tuple[Any, ...], result: Any) -> int:
        """Return the address of the block that a call returned; 0 for none."""
        if function in _RETURN_BLOCKS:
            return _address(result)
        if function == "posix_memalign" and result == 0:
            return _address(args[0][0])
        return 0

    def _took(self, call: Call) -> None:
        """Bring everything up to date after a call that was made."""
        calls, block = self._calls, call.block
        old = calls.blocks.get(block) if block else None
        calls.add(call)
        if old is not None and old.name is not None:
            self._old_names.setdefault(block, set()).add(old.name)

    def _mapped(self) -> list[tuple[int, int, int]]:
        """Return the blocks with a mapping of their own: (user address, base, length)."""
        blocks = self._c.mapped[0 : self._c.mapped_count] if self._c.mapped_count else ()
        return [(int(b.user), int(b.base), int(b.length)) for b in blocks]

    def _tables(self) -> tuple[int, ...]:
        """Return the user addresses of the tcache tables, this thread's first."""
        return tuple(int(self._c.tables[i]) for i in range(self._c.table_count))

    # ---- other threads

    @contextlib.contextmanager
    def thread(self) -> Iterator[Lib]:
        """Call from a second thread: ``with heap.thread() as other: other.malloc(24)``.

        Each call waits for its end, so nothing runs at the same time; the thread has a tcache of
        its own and, in glibc, an arena of its own (arena.c, arena_get2).
        """
        with ThreadPoolExecutor(1, thread_name_prefix="heapscope") as pool:

            def run(call: Callable[..., Any], *args: Any) -> Any:
                def there() -> tuple[Any, int]:
                    result = call(*args)
                    return result, ffi.errno

                result, code = pool.submit(there).result()
                ffi.errno = code
                return result

            yield Lib(self, run)

    # ---- names

    def name(self, **blocks: Any) -> None:
        """Name blocks for the picture: ``heap.name(a=a, list=head)``."""
        for name, pointer in blocks.items():
            address = _address(pointer)
            if address not in self._calls.blocks:
                raise HeapError(f"{name} cannot be named: it is no block of this heap")
            self._calls.rename(address, name)

    def _variables(self, frame: Any = None) -> list[tuple[str, str, int]]:
        """Return the pointers among the notebook's (and the caller's) variables.

        Each is (name, C type, address), in order of first assignment. Of a short list of pointers
        the elements count as well, unless each has a variable of its own.
        """
        spaces: list[Mapping[str, Any]] = [vars(sys.modules["__main__"])]
        if frame is not None and frame.f_locals is not spaces[0]:
            spaces.append(frame.f_locals)
        found: dict[str, tuple[str, str, int]] = {}
        lists: dict[str, list[Any]] = {}
        for space in spaces:
            for name, value in list(space.items()):
                if name.startswith("_"):
                    continue
                if isinstance(value, ffi.CData):
                    kind = ffi.typeof(value)
                    if kind.kind == "pointer" and value:
                        found[name] = name, kind.cname, _address(value)
                elif type(value) is list and _pointers(value):
                    lists[name] = value
        held = {address for _, _, address in found.values()}
        listed: list[tuple[str, str, int]] = []
        for name, value in lists.items():
            places = [_address(element) for element in value]
            if not held.issuperset(at for at in places if at):
                kind = ffi.typeof(value[0]).cname
                listed += [(f"{name}[{i}]", kind, at) for i, at in enumerate(places) if at]
        return [*listed, *found.values()]

    def _take_names(self, variables: list[tuple[str, str, int]], only: int | None = None) -> None:
        """Name blocks after the variables that hold them.

        A block keeps its name until that variable holds something else and another one holds the
        block; of several variables, those that named an earlier block at this address come last.
        """
        holds: dict[str, int] = {}
        for name, _, address in variables:
            holds.setdefault(name, address)
        for address in dict.fromkeys(holds.values()):
            asked = self._calls.blocks.get(address)
            if asked is None or (only is not None and address != only):
                continue
            if asked.name is not None and holds.get(asked.name, address) == address:
                continue
            same = [name for name, where in holds.items() if where == address]
            fresh = [name for name in same if name not in self._old_names.get(address, ())]
            self._calls.rename(address, fresh[0] if fresh else same[-1])

    # ---- looking

    def snapshot(self) -> Snapshot:
        """Return the heap as it is now, decoded, at fixed addresses."""
        self._must_be_open("drawn")
        return self._drawn()[0]

    def shown(self, block: Any, size: int) -> bytes:
        """Return `size` bytes from the pointer `block` on, as the picture has them.

        They are the bytes in memory, except that addresses and the allocator's key have their fixed
        forms, so that they are the same in every run.  HeapError when they are not this heap's.
        """
        shot, at = self.snapshot(), self._canon.address(_address(block))
        for region in shot.regions:
            if at is not None and region.base <= at < region.end:
                there = region.end - at
                if 0 <= size <= there:
                    return region.read(at, size)
                here = f"{size:,} bytes from this pointer on are not all in this heap"
                raise HeapError(f"{here}: ask for 0 to {there:,}")
        raise HeapError("this address is not in this heap: pass a pointer that its malloc returned")

    def _drawn(self, at: int = 0, was: int = 0) -> tuple[Snapshot, int, int]:
        """Return the heap as it is, and the fixed forms of the word at real `at`.

        They are that of `was`, which it held after the last call, and that of what it holds.
        """
        reading = self._reading(names=True)
        left = self._left(reading)
        if left is not None:
            decode(left, None, self._canon)
        before = self._canon.before(at)
        shot = decode(reading, None, self._canon)
        after = self._canon.before(at)
        if before is not None and after is not None:
            return shot, before[1], after[1]
        now, made = _word(at) if at else 0, self._canon.pointer(was)
        part = None if was == made else torn(now, was, made)
        return shot, made, self._canon.pointer(now) if part is None else part

    def _left(self, reading: Reading) -> Reading | None:
        """Return what the last call left, where the program has written over that since.

        Of a word that was half overwritten, only this tells which half is still an address.
        """
        if not self._c.word_count:  # the calls are not checked: the film has what they left
            frame = next((f for f in reversed(self._frames) if not f.written), None)
            if frame is None or frame.calls != len(self._calls.log):
                return None
            same = frame.reading.mappings == reading.mappings
            return None if same else replace(frame.reading, blocks=reading.blocks)
        if C.hs_sound(self._c):
            return None
        kept = ffi.unpack(self._c.words, self._c.word_count)
        words = {int(word.at): int(word.value) for word in kept}
        arena = reading.main_arena
        return replace(
            reading,
            mappings=tuple(replace(m, data=_with(m.base, m.data, words)) for m in reading.mappings),
            main_arena=None if arena is None else (arena[0], _with(*arena, words)),
        )

    def _settled(self) -> Canon:
        """Return a copy of the fixed addresses that knows the heap as it is."""
        if not self.closed:
            self._drawn()
        return copy.deepcopy(self._canon)

    def reading(self) -> Reading:
        """Return the heap's raw bytes and calls, with real addresses."""
        self._must_be_open("read")
        return self._reading(names=True)

    def film(self) -> Film:
        """Return the session so far: a frame after each call, and where the program wrote."""
        self._must_be_open("filmed")
        self._take_names(self._variables(_caller()))
        reel, calls = Reel(), Calls()
        calls.named = self._calls.named
        before: Reading | None = None
        for frame in self._frames:
            events: list[Event] = []
            while len(calls.log) < frame.calls:
                call = self._calls.log[len(calls.log)]
                was = {user: calls.name(user) for user in calls.blocks}
                calls.add(call)
                events.append(event(call, was | {user: calls.name(user) for user in calls.blocks}))
            if frame.written:
                events.append(Event("write", _written(before, frame.reading, calls)))
            reel.add(replace(frame.reading, blocks=dict(calls.blocks), events=tuple(events)))
            before = frame.reading
        film = reel.film(title=self.name_of_heap or "a private heap", language="calls")
        return replace(film, caption=f"{film.caption} · {self._cut}") if self._cut else film

    def _must_be_open(self, what: str) -> None:
        if self.closed:
            raise HeapError(f"this heap is closed and cannot be {what}. Open one: heap = Heap()")

    def _reading(self, names: bool) -> Reading:
        """Copy everything there is."""
        ranges = [self._piece(i) for i in range(self._c.piece_count)]
        ranges += [_mapping(*block) for block in self._mapped()]
        arena = None
        if self._c.ready:
            at = int(self._c.main_arena)
            arena = at, bytes(ffi.buffer(ffi.cast("char *", at), self.layout.arena.size))
        pointers: tuple[RawPointer, ...] = ()
        if names:
            variables = self._variables()
            self._take_names(variables)
            pointers = tuple(
                RawPointer(name, kind, address)
                for name, kind, address in variables
                if self._knows(address) and "[" not in name
            )
        return Reading(
            glibc=self.glibc,
            arch=_arch(),
            mappings=tuple(ranges),
            main_arena=arena,
            tcache=self._tables(),
            blocks=dict(self._calls.blocks) if names else {},
            pointers=pointers,
            complete=True,
        )

    def _knows(self, address: int) -> bool:
        """Whether an address is, or was, of this heap."""
        if address in self._calls.blocks or address in self._calls.moved:
            return True
        pieces = (self._c.pieces[i] for i in range(self._c.piece_count))
        return any(int(p.base) <= address < int(p.end) for p in pieces) or any(
            base <= address < base + length for _, base, length in self._mapped()
        )

    def _piece(self, index: int) -> Range:
        """Copy one piece, as far as it was ever handed out."""
        piece = self._c.pieces[index]
        base, end = int(piece.base), int(piece.end)
        top = _word(int(piece.arena) + self.layout.arena.top)
        used = top + 2 * HEADER if base <= top < end else end
        high = min(max(used, self._high.get(base, 0)), end)
        self._high[base] = high
        data = bytes(ffi.buffer(ffi.cast("char *", base), high - base))
        kind = "thread heap" if piece.thread else "heap"
        first = 0 if piece.thread else int(piece.first) - base
        return Range(base, data, kind, end - base, first)

    # ---- the film

    def _record(self, written: bool) -> None:
        """Keep the heap as it is now as a frame."""
        reading = self._reading(names=False)
        self._frame_bytes += sum(len(m.data) for m in reading.mappings)
        if len(self._frames) >= MOST_FRAMES:
            self._cut = f"the film shows the first {MOST_FRAMES} steps"
        elif self._frame_bytes > MOST_BYTES:
            self._cut = f"the film shows the first {MOST_BYTES >> 20} MiB of frames"
        else:
            self._frames.append(_Frame(len(self._calls.log), written, reading))

    def _note_writes(self) -> None:
        """Make a frame of what the program wrote since the last call."""
        if not self._frames:
            return
        pieces = (self._c.pieces[i] for i in range(self._c.piece_count))
        ends = {int(p.base): int(p.end) for p in pieces}
        mapped = {block[1]: block for block in self._mapped()}
        for old in self._frames[-1].reading.mappings:
            if old.base in mapped:
                now, was = _mapping(*mapped[old.base]).data, old.data
            else:
                size = max(0, min(len(old.data), ends.get(old.base, 0) - old.base))
                now, was = ffi.buffer(ffi.cast("char *", old.base), size)[:], old.data[:size]
            if now != was:
                self._record(True)
                return

    # ---- shown

    def __repr__(self) -> str:
        if self.closed:
            return "<Heap: closed>"
        live = sum(1 for asked in self._calls.blocks.values() if asked.freed is None)
        blocks = "1 block" if live == 1 else f"{live} blocks"
        return f"<Heap: glibc {self.glibc}, {blocks} in use after {len(self._calls.log)} calls>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        if self.closed:
            return {"text/plain": repr(self)}
        from heapscope.views import figure

        bundle: dict[str, Any] = figure(self.snapshot())._repr_mimebundle_()
        return bundle


def _pointers(elements: list[Any]) -> bool:
    """Whether a list holds pointers and nothing else, and not too many to name."""
    few = 0 < len(elements) <= MOST_ELEMENTS
    return few and all(isinstance(element, ffi.CData) for element in elements)


def _address(pointer: Any) -> int:
    """Return the address of a cffi pointer (or 0 for what is none, such as bytes)."""
    if pointer is None:
        return 0
    try:
        return int(ffi.cast("uintptr_t", pointer))
    except TypeError:
        return 0


def _plain(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the arguments of a call as numbers."""
    return tuple(arg if type(arg) is int else _address(arg) for arg in args)


def _word(at: int) -> int:
    """Return the 64-bit word at an address of the heap."""
    return int(ffi.cast("uint64_t *", at)[0])


def _with(base: int, data: bytes, words: dict[int, int]) -> bytes:
    """Return `data`, which starts at `base`, with the words (by address) that lie in it."""
    made = bytearray(data)
    for at, value in words.items():
        if base <= at <= base + len(made) - WORD:
            made[at - base : at - base + WORD] = value.to_bytes(WORD, "little")
    return bytes(made)


def _offsets(facts: Layout) -> Any:
    """Return a layout as the C side takes it: all zeros when the version is not known."""
    layout = ffi.new("hs_layout *")
    if not facts.known:
        return layout
    arena, tcache = facts.arena, facts.tcache
    layout.arena_size, layout.top, layout.next = arena.size, arena.top, arena.next
    layout.fast, layout.fast_number = arena.fastbins or 0, arena.fastbin_number
    layout.bins, layout.bins_number = arena.bins, 2 * facts.bins.last
    layout.system_mem, layout.min_large = arena.system_mem, facts.bins.min_large
    layout.table_size, layout.entries = tcache.size, tcache.entries
    layout.entries_number, layout.table_chunks = tcache.bins, tcache.chunks
    layout.heap_max, layout.heap_info = facts.heap_max, facts.heap_info
    layout.ar_ptr, layout.heap_prev = facts.ar_ptr, facts.heap_prev
    layout.heap_size, layout.thread_first = facts.heap_size, facts.thread_first
    layout.mmap_extra = facts.mmap_extra
    layout.mmap_offset_mask = facts.mmap_offset_mask & (1 << 64) - 1
    layout.home, layout.key = _HOME | HEAP & (1 << 32) - 1, KEY
    layout.safe_linking, layout.link_shift = facts.safe_linking, facts.link_shift
    return layout


def _mapping(user: int, base: int, length: int) -> Range:
    """Copy a block that has a mapping of its own; of a long one the first part.

    Pages that nobody touched read as zeros and cost nothing.
    """
    try:
        data = read(base, min(length, user - base + WHOLE_BLOCK))
    except BadAddressError:  # the program unmapped it behind our back
        data = b""
    trimmed = Range.trimmed(base, data, "mmap")
    return replace(trimmed, size=length)


def _version() -> str:
    """Return the version of the system's glibc, which the private copy has too."""
    return os.confstr("CS_GNU_LIBC_VERSION").split()[-1]  # type: ignore[union-attr]


def _arch() -> str:
    machine = os.uname().machine
    return {"x86_64": "x86-64"}.get(machine, machine)


def _shut(heap: Any) -> None:
    """Close the C side (also when the Python side was collected, or Python ends)."""
    C.hs_close(heap)


def _forget_history() -> None:
    """Drop the heaps that only IPython's output history still holds.

    ``heap`` as the last line of a cell leaves a reference in ``Out`` and in ``_7`` for ever, and
    one among the variables that IPython hides.
    """
    names = vars(sys.modules["__main__"])
    history = names.get("Out", {})
    for key, value in list(history.items()):
        if isinstance(value, Heap):
            history[key] = repr(value)
    shell = names["get_ipython"]() if "get_ipython" in names else None
    for space in (names, getattr(shell, "user_ns_hidden", {})):
        for name, value in list(space.items()):
            if name.startswith("_") and isinstance(value, Heap):
                space[name] = None
    gc.collect()


def _caller() -> Any:
    """Return the frame that called into heapscope; None in a thread of ours."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("heapscope."):
        frame = frame.f_back  # type: ignore[assignment]
    return frame


def _written(before: Reading | None, after: Reading, calls: Calls) -> str:
    """Say which blocks hold the bytes in which two readings differ."""
    old = {m.base: m.data for m in before.mappings} if before is not None else {}
    touched: dict[str, None] = {}
    for mapping in after.mappings:
        was = old.get(mapping.base, b"").ljust(len(mapping.data), b"\0")
        for place in range(0, len(mapping.data), WORD):
            if mapping.data[place : place + WORD] == was[place : place + WORD]:
                continue
            at = mapping.base + place
            holders = [u for u, a in calls.blocks.items() if u <= at < u + max(a.requested or 0, 1)]
            touched[calls.name(holders[-1]) if holders else "bytes that are no block's"] = None
    *most, last = touched or {"nothing new": None}
    return f"{', '.join(most)} and {last} written" if most else f"{last} written"

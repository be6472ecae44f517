"""The private heap: fresh each time, and its calls are C's."""

from __future__ import annotations

import ctypes
import errno
import gc
import itertools
import os
from collections.abc import Iterator

import pytest
from heapscope import Heap
from heapscope.model.snapshot import HEADER, Chunk, State
from heapscope.recorders.heap import HeapError, RefusedError

_numbers = itertools.count()
BEGINNING = 0x555555559000
"""Where a snapshot puts the main heap."""


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap() as opened:
        yield opened


def address(heap: Heap, pointer: object) -> int:
    return int(heap.ffi.cast("uintptr_t", pointer))


def block(heap: Heap, pointer: object) -> Chunk:
    """The chunk of a block, found by its offset in its piece."""
    name = f"wanted{next(_numbers)}"
    heap.name(**{name: pointer})
    return heap.snapshot().block(name)


# ---- fresh each time


def first_steps(heap: Heap) -> list[int]:
    """What a heap's age would change: distances, the tcache's use, both thresholds."""
    lib = heap.lib
    first = address(heap, lib.malloc(24))
    found = [first % 4096]
    blocks = [lib.malloc(100) for _ in range(8)]
    found += [address(heap, b) - first for b in blocks]
    for b in blocks:
        lib.free(b)
    found += [address(heap, lib.malloc(100)) - first for _ in range(8)]
    states = [c.state for c in heap.snapshot().chunks]
    found.append(states.count(State.MMAPPED))
    # More than the first piece (1 MiB) has left, so that the threshold decides.
    large = lib.malloc(2_000_000)
    found.append(block(heap, large).state is State.MMAPPED)
    lib.free(large)  # raises the mmap threshold
    again = lib.malloc(2_000_000)
    found.append(block(heap, again).state is State.MMAPPED)
    return found


def test_each_heap_starts_like_a_fresh_process() -> None:
    runs = []
    for _ in range(4):
        with Heap() as heap:
            runs.append(first_steps(heap))
    assert runs[0] == runs[1] == runs[2] == runs[3]
    # The table (0x290 bytes) comes first, so the first block starts at 0x2a0.
    assert runs[0][0] == 0x290 + HEADER
    assert runs[0][-2:] == [True, False]


def test_the_first_chunk_is_the_tcache_table_and_the_rest_is_top(heap: Heap) -> None:
    heap.lib.malloc(24)
    table, block, top = heap.snapshot().chunks
    assert (table.state, table.at) == (State.TABLE, BEGINNING)
    assert (block.at, block.size) == (table.end, 32)
    assert (top.state, top.at) == (State.TOP, block.end)


@pytest.mark.parametrize(
    "first",
    [
        "malloc(1 << 20)",
        "calloc(1, 1 << 20)",
        "realloc(heap.ffi.NULL, 10)",
        "free(heap.ffi.NULL)",
        "aligned_alloc(4096, 10)",
        "malloc_usable_size(heap.ffi.NULL)",
        "malloc(1 << 62)",
        "malloc_trim(0)",
        "mallopt(1, 64)",
        "strdup(b'x')",
        "posix_memalign(heap.ffi.new('void **'), 64, 10)",
    ],
)
def test_any_call_may_be_the_first(first: str) -> None:
    with Heap() as heap:
        eval(f"heap.lib.{first}", {"heap": heap})
        heap.snapshot()
        a = heap.lib.malloc(24)
        heap.lib.free(a)
        assert block(heap, a).free_list == "tcache[0x20]"


def test_blocks_that_were_aligned_before_the_table_was_made(heap: Heap) -> None:
    """aligned_alloc makes no tcache table; here it comes behind a hundred blocks."""
    for _ in range(100):
        heap.lib.aligned_alloc(64, 40)
    a = heap.lib.malloc(24)
    heap.lib.free(a)
    assert block(heap, a).free_list == "tcache[0x20]"


# ---- several at once, closing


def test_heaps_are_apart() -> None:
    with Heap() as one, Heap() as two:
        a, b = one.lib.malloc(24), two.lib.malloc(24)
        one.lib.free(a)
        assert block(two, b).state is State.IN_USE
        assert block(one, a).state is State.TCACHE
        with pytest.raises(RefusedError, match="never returned that address"):
            one.lib.free(b)
        two.lib.free(b)


def test_python_itself_is_not_on_the_heap(heap: Heap) -> None:
    heap.lib.malloc(24)
    before = heap.snapshot().regions
    kept = [bytearray(n) for n in range(2000)]
    assert heap.snapshot().regions == before
    assert len(kept) == 2000


def test_at_the_loaders_limit_an_error_says_to_close_one() -> None:
    opened: list[Heap] = []
    try:
        with pytest.raises(HeapError, match=r"close one with heap\.close\(\)"):
            opened.extend(Heap() for _ in range(64))
        assert len(opened) >= 8
        for each in opened:
            each.lib.free(each.lib.malloc(24))
        opened.pop().close()
        with Heap() as another:
            another.lib.malloc(24)
    finally:
        for each in opened:
            each.close()


def test_hundreds_of_heaps_one_after_the_other() -> None:
    for _ in range(150):
        with Heap() as heap:
            heap.lib.malloc(24)


def test_a_heap_that_nobody_holds_makes_room() -> None:
    for _ in range(64):
        Heap().lib.malloc(24)


def test_heaps_in_the_output_history_make_room() -> None:
    """IPython's Out keeps what the last line of a cell was."""
    import __main__

    history: dict[int, object] = {}
    __main__.Out = history
    try:
        for n in range(64):
            history[n] = Heap()
    finally:
        del __main__.Out


def test_a_closed_heap_refuses(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    heap.close()
    heap.close()
    assert heap.closed
    for call in (
        lambda: heap.lib.malloc(1),
        lambda: heap.lib.free(a),
        heap.snapshot,
        heap.film,
        heap.reading,
    ):
        with pytest.raises(HeapError, match=r"closed.*heap = Heap\(\)"):
            call()
    assert "closed" in repr(heap)
    assert heap._repr_mimebundle_() == {"text/plain": "<Heap: closed>"}


@pytest.mark.parametrize("check", [True, False])
def test_pointers_of_a_closed_heap_do_not_kill(check: bool) -> None:
    with Heap(check=check) as heap:
        small = heap.ffi.cast("char *", heap.lib.malloc(24))
        small[0] = b"x"
        large = heap.ffi.cast("char *", heap.lib.malloc(1 << 20))
        large[0] = b"x"
    assert small[0] == large[0] == b"\0"
    small[0] = b"y"


def test_what_closed_heaps_leave_mapped_is_bounded() -> None:
    """Their addresses stay mapped, the memory goes back."""

    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def fill() -> None:
        with Heap(check=False) as heap:
            for _ in range(200):
                heap.lib.memset(heap.lib.malloc(100_000), 1, 100_000)

    fill()
    gc.collect()
    before = resident()
    for _ in range(10):
        fill()
    assert resident() - before < 50 << 20  # of 200 MB that were touched


def test_an_exception_in_the_body_closes_and_passes_on() -> None:
    with pytest.raises(ZeroDivisionError), Heap() as heap:
        heap.lib.malloc(1 // 0)
    assert heap.closed


# ---- what C returns


class C:
    """The same functions of the libc that this process runs on, through ctypes."""

    def __init__(self) -> None:
        lib = ctypes.CDLL(None, use_errno=True)
        self.malloc, self.calloc, self.realloc = lib.malloc, lib.calloc, lib.realloc
        self.aligned_alloc, self.reallocarray = lib.aligned_alloc, lib.reallocarray
        self.memalign, self.free = lib.memalign, lib.free
        size = ctypes.c_size_t
        for name in ("malloc", "calloc", "realloc", "aligned_alloc", "reallocarray", "memalign"):
            function = getattr(self, name)
            function.restype = ctypes.c_void_p
            pointer = name.startswith("realloc")
            function.argtypes = {
                "malloc": [size],
                "realloc": [ctypes.c_void_p, size],
                "reallocarray": [ctypes.c_void_p, size, size],
            }.get(name, [size, size])
            assert pointer == (function.argtypes[0] is ctypes.c_void_p)
        self.free.argtypes = [ctypes.c_void_p]
        self.free.restype = None
        self.usable = lib.malloc_usable_size
        self.usable.argtypes, self.usable.restype = [ctypes.c_void_p], size


BIG = 2**63
SAME = [
    ("malloc", 0),
    ("malloc", 1),
    ("malloc", 24),
    ("malloc", 25),
    ("malloc", 2**62),
    ("malloc", BIG - 1),
    ("malloc", BIG),
    ("malloc", 2**64 - 1),
    ("calloc", 0, 10),
    ("calloc", 10, 0),
    ("calloc", 3, 8),
    ("calloc", 2**33, 2**33),
    ("calloc", 2**32, 2**30),
    ("realloc", None, 0),
    ("realloc", None, 30),
    ("realloc", None, BIG),
    ("reallocarray", None, 2**33, 2**33),
    ("reallocarray", None, 3, 8),
    ("aligned_alloc", 64, 100),
    ("aligned_alloc", 3, 100),
    ("aligned_alloc", 0, 100),
    ("aligned_alloc", 2**40, 2**62),
    ("memalign", 100, 100),
]


@pytest.mark.parametrize("call", SAME, ids=str)
def test_returns_and_errno_are_the_systems(heap: Heap, call: tuple[str, int, int]) -> None:
    name, *args = call
    system = C()
    ctypes.set_errno(0)
    theirs = getattr(system, name)(*args)
    their_errno = ctypes.get_errno()
    heap.ffi.errno = 0
    ours = getattr(heap.lib, name)(*(heap.ffi.NULL if a is None else a for a in args))
    our_errno = heap.ffi.errno
    assert (ours == heap.ffi.NULL) == (theirs is None)
    if theirs is None:
        assert our_errno == their_errno
        assert errno.errorcode[our_errno] in ("ENOMEM", "EINVAL")
    else:
        assert our_errno == 0
        # The system's may come from a list and be the whole of a remainder, or of what
        # was cut off for an alignment.
        room = 16 if name in ("malloc", "calloc", "realloc", "reallocarray") else 64
        assert 0 <= system.usable(theirs) - heap.lib.malloc_usable_size(ours) <= room
        assert address(heap, ours) % 16 == 0
        system.free(theirs)


def test_a_pointer_is_a_plain_void_pointer(heap: Heap) -> None:
    assert heap.ffi.typeof(heap.lib.malloc(1)) is heap.ffi.typeof("void *")


def test_errno_is_left_alone_by_success_and_by_looking(heap: Heap) -> None:
    heap.ffi.errno = 77
    a = heap.lib.malloc(24)
    heap.lib.free(a)
    assert heap.ffi.errno == 77
    assert heap.lib.malloc(2**62) == heap.ffi.NULL
    heap.snapshot()
    assert heap.ffi.errno == errno.ENOMEM


def test_posix_memalign(heap: Heap) -> None:
    where = heap.ffi.new("void **")
    assert heap.lib.posix_memalign(where, 64, 100) == 0
    assert address(heap, where[0]) % 64 == 0
    assert block(heap, where[0]).requested == 100
    heap.lib.free(where[0])
    assert heap.lib.posix_memalign(where, 3, 100) == errno.EINVAL
    assert heap.lib.posix_memalign(where, 8, 2**62) == errno.ENOMEM


def test_calloc_is_zero_also_on_used_memory(heap: Heap) -> None:
    for size in (24, 100, 1000, 5000):
        a = heap.lib.malloc(size)
        heap.lib.memset(a, 0xAA, size)
        heap.lib.free(a)
        b = heap.lib.calloc(1, size)
        assert bytes(heap.ffi.buffer(b, size)) == bytes(size)


def test_realloc_keeps_content_and_a_failure_keeps_the_block(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    heap.ffi.memmove(a, b"0123456789", 10)
    wall = heap.lib.malloc(24)
    b = heap.lib.realloc(a, 1000)
    assert b != a
    assert wall != b
    assert bytes(heap.ffi.buffer(b, 10)) == b"0123456789"
    assert heap.lib.realloc(b, 2**62) == heap.ffi.NULL
    assert heap.ffi.errno == errno.ENOMEM
    assert bytes(heap.ffi.buffer(b, 10)) == b"0123456789"
    heap.lib.free(b)


def test_realloc_to_nothing_frees(heap: Heap) -> None:
    a = heap.lib.malloc(24)
    assert heap.lib.realloc(a, 0) == heap.ffi.NULL
    assert block(heap, a).state is State.TCACHE
    with pytest.raises(RefusedError, match=r"freed at call 2 \(realloc to size 0\)"):
        heap.lib.free(a)


def test_strings(heap: Heap) -> None:
    s = heap.lib.strdup(b"hello")
    assert heap.lib.strlen(s) == 5
    assert block(heap, s).requested == 6
    t = heap.lib.malloc(6)
    heap.lib.memcpy(t, s, 6)
    assert heap.ffi.string(heap.ffi.cast("char *", t)) == b"hello"
    assert heap.ffi.string(heap.ffi.cast("char *", heap.lib.strdup(t))) == b"hello"


@pytest.mark.parametrize("size", [-1, 2**64, 1.5, "24", None])
def test_a_size_that_is_none_is_pythons_error(heap: Heap, size: object) -> None:
    with pytest.raises((OverflowError, TypeError)):
        heap.lib.malloc(size)  # type: ignore[arg-type]
    heap.lib.free(heap.lib.malloc(24))
    assert len(heap.snapshot().chunks) == 3


@pytest.mark.parametrize("pointer", [24, "24", b"24", 1.5, None])
def test_a_pointer_that_is_none_is_pythons_error(heap: Heap, pointer: object) -> None:
    heap.lib.malloc(24)
    with pytest.raises(TypeError, match="free takes a pointer, not"):
        heap.lib.free(pointer)
    heap.lib.free(heap.lib.malloc(24))


@pytest.mark.parametrize("kind", ["char *", "int *", "struct point *", "void *"])
def test_typed_pointers_may_be_passed(heap: Heap, kind: str) -> None:
    if "struct" in kind:
        kind = "long *"
    a = heap.ffi.cast(kind, heap.lib.malloc(24))
    a = heap.ffi.cast(kind, heap.lib.realloc(a, 100))
    heap.lib.free(a)
    assert block(heap, a).state is State.TCACHE


def test_null_may_be_freed(heap: Heap) -> None:
    heap.lib.free(heap.ffi.NULL)
    assert heap.lib.malloc_usable_size(heap.ffi.NULL) == 0
    assert repr(heap).endswith("0 blocks in use after 2 calls>")


def test_mallopt_and_trim(heap: Heap) -> None:
    m_mmap_threshold = -3
    assert heap.lib.mallopt(m_mmap_threshold, 1 << 21) == 1
    assert block(heap, heap.lib.malloc(3 << 19)).state is State.IN_USE
    assert block(heap, heap.lib.malloc(1 << 22)).state is State.MMAPPED
    assert heap.lib.malloc_trim(0) in (0, 1)


# ---- large, many


def test_a_block_with_its_own_mapping(heap: Heap) -> None:
    a = heap.lib.malloc(2_000_000)
    chunk = block(heap, a)
    assert chunk.state is State.MMAPPED
    assert chunk.usable == heap.lib.malloc_usable_size(a)
    assert chunk.requested == 2_000_000
    heap.lib.memset(a, 1, chunk.usable)
    b = heap.lib.realloc(a, 4_000_000)
    assert block(heap, b).usable == heap.lib.malloc_usable_size(b)
    heap.lib.free(b)
    assert not [c for c in heap.snapshot().chunks if c.state is State.MMAPPED]
    with pytest.raises(RefusedError):
        heap.lib.free(b)


@pytest.mark.parametrize("align", [64, 4096, 1 << 16, 1 << 21])
@pytest.mark.parametrize("size", [1, 5000, 300_000])
def test_aligned_blocks_large_and_small(heap: Heap, align: int, size: int) -> None:
    a = heap.lib.aligned_alloc(align, size)
    assert address(heap, a) % align == 0
    assert block(heap, a).usable == heap.lib.malloc_usable_size(a)
    assert not heap.snapshot().faults
    heap.lib.free(a)


def test_a_heap_of_many_pieces(heap: Heap) -> None:
    """20 MB in blocks below the mmap threshold: the private libc maps piece after piece."""
    blocks = [heap.lib.malloc(100_000) for _ in range(200)]
    other = Heap()
    other.lib.malloc(24)  # comes between the pieces
    blocks += [heap.lib.malloc(100_000) for _ in range(10)]
    shot = heap.snapshot()
    assert not shot.faults
    in_use = [c for c in shot.chunks if c.state is State.IN_USE]
    assert [c.requested for c in in_use] == [100_000] * 210
    assert all(c.usable == heap.lib.malloc_usable_size(blocks[0]) for c in in_use)
    for b in blocks:
        heap.lib.memset(b, 0x55, 1000)
        heap.lib.free(b)
    shot = heap.snapshot()
    assert not shot.faults
    assert not [c for c in shot.chunks if c.state is State.IN_USE]
    other.close()


def test_thousands_of_small_blocks(heap: Heap) -> None:
    blocks = [heap.lib.malloc(24) for _ in range(5000)]
    assert len({address(heap, b) for b in blocks}) == 5000
    for b in blocks[::2]:
        heap.lib.free(b)
    states = [c.state for c in heap.snapshot().chunks]
    assert states.count(State.TCACHE) == 7
    assert states.count(State.FASTBIN) == 2493
    assert states.count(State.IN_USE) == 2500


# ---- without checks


def test_without_checks_the_calls_are_the_same() -> None:
    with Heap(check=False) as heap:
        a = heap.lib.malloc(24)
        b = heap.lib.calloc(3, 8)
        b = heap.lib.realloc(b, 100)
        heap.lib.free(a)
        shot = heap.snapshot()
        assert block(heap, b).requested == 100
        assert block(heap, a).state is State.TCACHE
        assert not shot.faults


def test_without_checks_nothing_is_refused() -> None:
    with Heap(check=False) as heap:
        blocks = [heap.lib.malloc(24) for _ in range(9)]
        for b in blocks:
            heap.lib.free(b)
        heap.lib.free(blocks[7])  # in a fastbin, not its head: glibc does not notice
        assert any(found.fault for found in heap.snapshot().lists)


def test_a_shown_heap_has_picture_and_words(heap: Heap) -> None:
    heap.lib.malloc(24)
    bundle = heap._repr_mimebundle_()
    assert "<svg" in bundle["text/html"]
    assert "text/plain" in bundle

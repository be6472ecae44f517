"""What a private heap shows is the same in every process, wherever the kernel has put it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from heapscope import Heap, child
from heapscope.model.canonical import HEAP, KEY, torn
from heapscope.model.snapshot import Role
from heapscope.recorders.heap import HeapError, RefusedError

TWO_FREED = """
d, e = lib.malloc(40), lib.malloc(40)
lib.free(e)
lib.free(d)
"""
DAMAGE = {
    "a link, four bytes": TWO_FREED + 'ffi.cast("int *", d)[0] = 42',
    "a link, two bytes": TWO_FREED + 'ffi.cast("short *", d)[0] = 42',
    "the upper half of a link": TWO_FREED + 'ffi.cast("int *", d)[1] = 42',
    "the key": TWO_FREED + 'ffi.cast("int *", d)[2] = 42',
    "a link of a bin": """
d = lib.malloc(2000)
wall = lib.malloc(24)
lib.free(d)
ffi.cast("int *", d)[0] = 42""",
    "the head of a list": """
d, e = lib.malloc(40), lib.malloc(40)
table = ffi.cast("char *", d) - 0x290
lib.free(e)
lib.free(d)
ffi.cast("int *", table + 128)[2] = 42""",
    "a size word, with an address": """
d, e, f = lib.malloc(24), lib.malloc(40), lib.malloc(24)
ffi.cast("void **", d)[3] = f""",
}

MARK = "=" * 20
TORN = f"""
from heapscope import Heap, child

for check in (True, False):
    for name, damage in {DAMAGE!r}.items():
        print("{MARK}", name, check)
        heap = Heap(check=check)
        lib, ffi = heap.lib, heap.ffi
        exec(damage)
        print(heap._repr_mimebundle_()["text/plain"])
        print(heap.snapshot())
        try:
            if check:
                lib.malloc(40)
        except RuntimeError as refusal:
            print(refusal)
        with child() as c:
            lib.malloc(40)
            lib.malloc(40)
        print(c.signal, c.message, c.snapshot)
        heap.close()
"""


def two_runs(script: str) -> tuple[str, str]:
    """Run a script in two processes of its own, and return what they print."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    first, second = (run.communicate(timeout=60)[0] for run in runs)
    assert all(run.returncode == 0 for run in runs), first
    return first, second


def test_torn_words_look_the_same() -> None:
    first, second = two_runs(TORN)
    for one, other in zip(first.split(MARK), second.split(MARK), strict=True):
        assert one == other
    assert first.count("Broken: ") >= 2 * len(DAMAGE)


WHERE = """
import mmap, resource
from heapscope import Heap

holes = [mmap.mmap(-1, 3 << 20) for _ in range(9)]
for hole in holes[::2]:
    hole.close()
resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
for _ in range(3):
    heap = Heap()
    d, e = heap.lib.malloc(40), heap.lib.malloc(40)
    big = heap.lib.malloc(2000)
    wall = heap.lib.malloc(24)
    for block in e, d, big:
        heap.lib.free(block)
    print(d, *(heap.ffi.buffer(block, 16)[:].hex() for block in (d, big)))
"""


def test_the_heap_itself_lies_at_the_same_place() -> None:
    """A written byte is the same as the one before in every run, or in none."""
    first, second = two_runs(WHERE.replace("MOST", "-1"))
    assert first == second
    lines = [line.split() for line in first.splitlines()]
    assert len(lines) == 3
    for words in lines:
        assert words[3].endswith("555592a0>")  # the lower half is the picture's
        assert bytes.fromhex(words[4])[8:] == KEY.to_bytes(8, "little")
        assert int.from_bytes(bytes.fromhex(words[5])[:8], "little") >> 40 == 0x7E  # its libc too


def test_where_there_is_no_room_to_steer_it_is_a_heap_all_the_same() -> None:
    first, second = two_runs(WHERE.replace("MOST", "4 << 30"))
    for line in [*first.splitlines(), *second.splitlines()]:
        assert re.search(r"92a0> .{10}", line)


@pytest.fixture
def heap() -> Iterator[Heap]:
    with Heap() as opened:
        yield opened


def tear(heap: Heap) -> None:
    """Write 42 over the lower half of the link of the first of two blocks."""
    d, e = heap.lib.malloc(40), heap.lib.malloc(40)
    heap.name(d=d, e=e)
    heap.lib.free(e)
    heap.lib.free(d)
    heap.ffi.cast("int *", d)[0] = 42


def test_the_left_half_is_that_of_the_link_in_the_picture(heap: Heap) -> None:
    tear(heap)
    shot = heap.snapshot()
    d, e = shot.block("d").user, shot.block("e").user
    whole = e ^ d >> 12
    half = whole >> 32 << 32 | 42
    word = next(w for w in shot.words if w.at == d)
    assert (word.role, word.value, word.target) == (Role.LINK, half, half ^ d >> 12)
    assert f"{half ^ d >> 12:#x}" in str(word.fault)
    with pytest.raises(RefusedError, match=f"It held {whole:#x} and holds {half:#x}, with addr"):
        heap.lib.malloc(40)


def test_bits_12_to_15_are_those_of_the_picture() -> None:
    """So a torn link is a multiple of 16 in fact where it is one in the picture."""
    for _ in range(8):
        with Heap() as heap:
            block = int(heap.ffi.cast("uintptr_t", heap.lib.malloc(24)))
            assert (block - HEAP) % (1 << 16) == heap.snapshot().chunks[1].user - HEAP
            tear(heap)
            with child() as c:
                heap.lib.malloc(40)
                heap.lib.malloc(40)
            assert c.message == "malloc(): unaligned tcache chunk detected"


def test_nothing_stays_mapped_beside_the_first_piece() -> None:
    def ranges() -> int:
        with open("/proc/self/maps") as maps:
            return sum(" ---p 00000000 00:00 0" in line for line in maps)

    with Heap() as heap:
        before = ranges()
        heap.lib.malloc(24)
        assert ranges() == before


def test_a_freed_block_reads_the_same() -> None:
    first, second = two_runs("""
from heapscope import Heap

heap = Heap()
block = heap.lib.malloc(9000)
wall = heap.lib.malloc(24)
heap.lib.memset(block, 7, 9000)
heap.lib.free(block)
print(heap.shown(block, 9000).hex())
""")
    assert first == second
    assert "07" * 16 in first


def test_shown_is_memory_but_for_addresses(heap: Heap) -> None:
    block, wall = heap.lib.malloc(9000), heap.lib.malloc(24)
    raw = heap.ffi.buffer(block, 9000)
    raw[:] = bytes(i * 7 & 255 for i in range(9000))
    assert heap.shown(block, 9000) == raw[:]
    heap.lib.free(block)
    assert heap.shown(block, 9000)[16:] == raw[16:]
    arena = int.from_bytes(heap.shown(block, 8), "little")
    assert arena >> 28 == 0x7FFFF
    assert heap.shown(wall, 24) == bytes(24)
    with pytest.raises(RuntimeError, match="not all in this heap"):
        heap.shown(block, 1 << 24)


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (0x7F1234560000002A, 0x555555550000002A),  # the lower half was written
        (0x7F1234567890002A, 0x555555555555002A),  # two bytes
        (0x0000002A7890BCDE, 0x0000002A55559999),  # the upper half
        (0x7F12FFFFFF90BCDE, 0x5555FFFFFF559999),  # the middle
    ],
)
def test_bytes_that_were_left_keep_their_fixed_form(value: int, made: int) -> None:
    assert torn(value, 0x7F1234567890BCDE, 0x5555555555559999) == made


def test_zero_bytes_at_the_top_prove_nothing() -> None:
    assert torn(0x2A, 0x7F1234567890, 0x555555559000) is None
    assert torn(0x7FFD00001111, 0x7F1234567890, 0x555555559000) is None
    assert torn(0x7F000000002A, 0x7F0034567890, 0x555555559000) == 0x55550000002A
    assert torn(42, 41, 41) is None


def test_bytes_that_are_not_there_cannot_be_shown() -> None:
    with Heap() as heap:
        block = heap.lib.malloc(24)
        heap.ffi.buffer(block, 24)[:] = b"twenty-four bytes, plain"
        assert heap.shown(block, 24) == b"twenty-four bytes, plain"
        for size in (-1, 1 << 40):
            with pytest.raises(
                HeapError, match=f"{size:,} bytes .* not all in this heap: ask for 0"
            ):
                heap.shown(block, size)
        with pytest.raises(HeapError, match="not in this heap: pass a pointer"):
            heap.shown(heap.ffi.NULL, 8)

"""The decoder on real heaps, read from a running program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from heapscope.glibc.decode import decode
from heapscope.glibc.layout import Layout, numbers
from heapscope.glibc.reading import Asked, Reading
from heapscope.model.canonical import HEAP, KEY, MMAP_TOP, THREAD_HEAP, Canon
from heapscope.model.film import Reel
from heapscope.model.snapshot import HEADER, Chunk, Role, Snapshot, State, Word
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from puppet import GLIBC, Puppet

LAYOUT = Layout.for_version(GLIBC)
FULL = LAYOUT.tcache.default_count


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    with Puppet() as running:
        yield running


def tiles(shot: Snapshot) -> None:
    """Chunks follow each other without gap or overlap, and every word has its place."""
    for region in shot.regions:
        inside = [c for c in shot.chunks if region.base <= c.at < region.end]
        for one, other in zip(inside, inside[1:], strict=False):
            assert one.end == other.at
    assert [w.at for w in shot.words] == sorted({w.at for w in shot.words})
    for word in shot.words:
        home = next(r for r in shot.regions if r.base <= word.at < r.end)
        assert home.read(word.at) == word.data


def whose(shot: Snapshot, name: str) -> Chunk:
    return shot.block(name)


def word(shot: Snapshot, at: int) -> Word:
    return next(w for w in shot.words if w.at == at)


def test_fresh_blocks(puppet: Puppet) -> None:
    a = puppet.malloc(10, "a")
    puppet.malloc(24, "b")
    shot = decode(puppet.reading())
    tiles(shot)
    assert not shot.faults
    one, two = whose(shot, "a"), whose(shot, "b")
    assert (one.size, one.usable, one.requested, one.flags) == (32, 24, 10, 1)
    assert one.state is State.IN_USE
    assert two.at == one.end
    assert shot.regions[0].base == HEAP
    assert one.user % 4096 == a % 4096
    roles = [(w.role, w.payload) for w in shot.words_of(one)]
    assert roles == [
        (Role.SIZE, None),
        (Role.PAYLOAD, None),
        (Role.PAYLOAD, 2),
        (Role.SLACK, None),
    ]
    # the last word of a lies where b's prev_size is, and belongs to a
    assert word(shot, two.at).chunk == one.at
    assert [w.role for w in shot.words_of(two)] == [Role.SIZE, *[Role.PAYLOAD] * 3]
    assert shot.chunks[-1].state is State.TOP
    assert shot.chunks[-1].end == shot.regions[0].end


def test_tcache_list_in_order_with_links_and_keys(puppet: Puppet) -> None:
    for name in "abc":
        puppet.malloc(24, name)
    users = list(puppet.blocks)
    for user in users:
        puppet.free(user)
    shot = decode(puppet.reading())
    assert not shot.faults
    (found,) = shot.lists
    assert (found.name, found.count, found.size) == ("tcache[0x20]", 3, 32)
    assert [link.name for link in found.links] == ["c", "b", "a"]
    for link, following in zip(found.links, [*found.links[1:], None], strict=True):
        assert link.raw ^ (link.at >> 12 if LAYOUT.safe_linking else 0) == link.target
        assert link.target == (following.at if following else 0)
        assert link.protected == LAYOUT.safe_linking
    block = whose(shot, "b")
    assert block.state is State.TCACHE
    assert block.requested == 24
    _, link_word, key, stale = shot.words_of(block)
    assert (link_word.role, link_word.target) == (Role.LINK, whose(shot, "a").user)
    assert (key.role, key.value) == (Role.KEY, KEY)
    assert stale.role is Role.STALE


def test_full_tcache_goes_on_elsewhere(puppet: Puppet) -> None:
    blocks = [puppet.malloc(24) for _ in range(FULL + 2)]
    puppet.malloc(24, "guard")
    for user in blocks:
        puppet.free(user)
    shot = decode(puppet.reading())
    assert not shot.faults
    states = [c.state for c in shot.chunks if c.state.free]
    assert states.count(State.TCACHE) == FULL
    if LAYOUT.arena.fastbins is not None:
        found = next(f for f in shot.lists if f.kind is State.FASTBIN)
        assert found.name == "fastbin[0x20]"
        assert [link.chunk for link in found.links] == [link.at for link in found.links]
        assert len(found.links) == 2
        assert found.links[0].target == found.links[1].at


def test_bins(puppet: Puppet) -> None:
    small, _, large, _, more, _ = [
        puppet.malloc(size, name)
        for size, name in (
            (1040, "s"),
            (24, "x"),
            (3000, "l"),
            (24, "y"),
            (2000, "u"),
            (24, "z"),
        )
    ]
    reel = Reel()
    reel.add(puppet.reading())
    puppet.free(large)
    puppet.free(small)
    shot = reel.add(puppet.reading())
    assert not shot.faults
    found = next(f for f in shot.lists if f.kind is State.UNSORTED)
    assert [link.name for link in found.links] == ["l", "s"]  # the next malloc looks at l first
    after = next(c for c in shot.chunks if c.at == whose(shot, "s").end)
    assert not after.flags & 1
    first = word(shot, after.at)
    assert (first.role, first.value) == (Role.PREV_SIZE, whose(shot, "s").size)
    assert word(shot, after.at + 8).why == "size: P cleared"
    assert first.why == f"prev_size: {whose(shot, 's').size}"

    puppet.free(more)
    puppet.malloc(60000, "big")  # sorts what is unsorted
    shot = reel.add(puppet.reading())
    assert not shot.faults
    names = {link.name: f.name for f in shot.lists for link in f.links}
    assert names == {"s": "large[0x400]", "l": "large[0xbc0]", "u": "large[0x7c0]"}
    links = [w for w in shot.words_of(whose(shot, "l")) if w.role is Role.LINK]
    assert len(links) == 4
    assert links[0].why == "fd → large[0xbc0]"

    rest = puppet.malloc(1000)  # takes the smallest that is large enough, leaves no rest
    assert rest == small
    taken = decode(puppet.reading(), shot, reel.canon)
    again = taken.chunk_at(whose(shot, "s").at)
    assert again is not None
    assert again.state is State.IN_USE


def test_small_bin(puppet: Puppet) -> None:
    blocks = [puppet.malloc(200) for _ in range(2 * FULL + 2)]
    puppet.malloc(24)
    for user in (*blocks[::2], *blocks[1::2])[: FULL + 1]:
        puppet.free(user)
    puppet.malloc(5000)
    shot = decode(puppet.reading())
    assert not shot.faults
    assert "small[0xd0]" in [f.name for f in shot.lists]
    chunk = next(c for c in shot.chunks if c.state is State.SMALL)
    assert [w.role for w in shot.words_of(chunk)][:3] == [Role.SIZE, Role.LINK, Role.LINK]
    assert shot.words_of(chunk)[-1].role is Role.PREV_SIZE


def test_coalesced_neighbours_are_one_chunk(puppet: Puppet) -> None:
    one, two = puppet.malloc(2000, "a"), puppet.malloc(3000, "b")
    puppet.malloc(24, "guard")
    puppet.free(one)
    puppet.free(two)
    shot = decode(puppet.reading())
    assert not shot.faults
    merged = whose(shot, "a")
    assert merged.size == 2016 + 3008
    assert merged.requested is None  # it is no longer the block that was asked for
    with pytest.raises(KeyError, match="named blocks: a, guard"):
        shot.block("b")


def test_mmapped_block(puppet: Puppet) -> None:
    puppet.malloc(24)
    user = puppet.malloc(200000, "m")
    puppet.write(user + 100, b"here")
    shot = decode(puppet.reading())
    assert not shot.faults
    block = whose(shot, "m")
    assert block.state is State.MMAPPED
    assert block.flags == 2
    usable = block.size - LAYOUT.mmap_usable_less
    assert block.usable == usable >= 200000
    region = next(r for r in shot.regions if r.name == "mmap 1")
    assert region.end <= MMAP_TOP
    assert region.base == block.at
    assert region.length == 200704
    assert len(region.data) < 200  # the untouched zeros are not kept
    assert word(shot, block.user).role is Role.PAYLOAD
    assert shot.words_of(block)[-1].role is Role.SLACK


def test_aligned_block(puppet: Puppet) -> None:
    user = puppet.aligned(4096, 100)
    puppet.malloc(24)
    shot = decode(puppet.reading())
    assert user % 4096 == 0
    assert not shot.faults
    block = next(c for c in shot.chunks if c.requested == 100)
    assert block.user % 4096 == 0


def test_thread_arena(puppet: Puppet) -> None:
    puppet.malloc(24, "main")
    one = puppet.malloc(24, "t", thread=1)
    two = puppet.malloc(3000, "u", thread=1)
    puppet.malloc(24, "guard", thread=1)
    puppet.free(one, thread=1)
    puppet.free(two, thread=1)
    shot = decode(puppet.reading())
    assert not shot.faults
    region = next(r for r in shot.regions if r.name == "thread heap 1")
    assert region.base == THREAD_HEAP
    assert whose(shot, "t").arena == "thread 1"
    assert whose(shot, "t").flags & 4
    assert not whose(shot, "main").flags & 4
    assert {(f.name, f.arena) for f in shot.lists} == {
        ("tcache[0x20]", "thread 1"),
        ("unsorted", "thread 1"),
    }
    assert [c.state for c in shot.chunks].count(State.TABLE) == 2
    assert [c.state for c in shot.chunks].count(State.TOP) == 2


def test_freed_on_another_thread(puppet: Puppet) -> None:
    user = puppet.malloc(24, "a")
    puppet.malloc(24, thread=1)
    puppet.free(user, thread=1)
    shot = decode(puppet.reading())
    assert not shot.faults
    assert whose(shot, "a").state is State.TCACHE
    assert whose(shot, "a").arena == "main"
    (found,) = shot.lists
    assert found.arena == "thread 1"


def test_letters_and_reuse(puppet: Puppet) -> None:
    a = puppet.malloc(24)
    puppet.malloc(24)
    puppet.free(a)
    assert puppet.malloc(24) == a
    shot = decode(puppet.reading())
    assert {c.name for c in shot.chunks if c.name} == {"C", "B"}


def test_strange_blocks_are_folded(puppet: Puppet) -> None:
    for _ in range(3):
        puppet.tell("m", 100)  # nobody recorded these
    puppet.malloc(24, "a")
    shot = decode(puppet.reading())
    folded = [c for c in shot.chunks if c.state is State.FOLDED]
    assert len(folded) == 1
    assert folded[0].size == 3 * 112
    assert folded[0].label == "3 blocks the program did not ask for"
    assert not shot.faults
    tiles(shot)
    reading = dataclasses.replace(puppet.reading(), complete=False)
    assert not [c for c in decode(reading).chunks if c.state is State.FOLDED]


def test_what_changed_and_why(puppet: Puppet) -> None:
    reel = Reel()
    reel.add(puppet.reading())
    a = puppet.malloc(24, "a")
    shot = reel.add(puppet.reading())
    size = word(shot, whose(shot, "a").at + 8)
    assert size.why == "size: 0x21 = 32 + P"
    assert size.changed == (0,)
    puppet.write(a, b"0123456789")
    shot = reel.add(puppet.reading())
    first, second = (word(shot, whose(shot, "a").user + o) for o in (0, 8))
    assert (first.why, first.changed) == ("10 bytes changed", tuple(range(8)))
    assert (second.why, second.changed) == (None, (0, 1))
    puppet.free(a)
    shot = reel.add(puppet.reading())
    assert [w.why for w in shot.words_of(whose(shot, "a"))] == [
        None,
        "link → ∅",
        "key: “already free”",
        None,
    ]
    table = [w.why for w in shot.words if w.role is Role.INTERNAL and w.changed]
    assert "tcache[0x20]: 1" in table
    assert "tcache[0x20] → a" in table
    puppet.write(a + 16, b"late")
    shot = reel.add(puppet.reading())
    assert word(shot, whose(shot, "a").user + 16).why == "written after free"
    assert puppet.malloc(20, "b") == a
    shot = reel.add(puppet.reading())
    assert [w.why for w in shot.words_of(whose(shot, "b"))][2] == "key: cleared"
    assert not shot.faults


def test_long_blocks_show_their_ends_and_what_changed(puppet: Puppet) -> None:
    reel = Reel()
    user = puppet.malloc(4000, "a")
    reel.add(puppet.reading())
    puppet.write(user + 2000, b"x")
    shot = reel.add(puppet.reading())
    block = whose(shot, "a")
    rows = sorted({(w.at - block.at) // 16 for w in shot.words_of(block)})
    assert rows == [0, *range(1, 9), 126, *range(250, 252)]


def test_pointers(puppet: Puppet) -> None:
    a = puppet.malloc(24, "a")
    m = puppet.malloc(300000, "m")
    for name, value in (("p", a), ("q", a + 4), ("n", 0), ("s", None), ("m", m), ("w", 12345)):
        puppet.point(name, value)
    reel = Reel()
    shot = reel.add(puppet.reading())
    found = {p.name: p for p in shot.pointers}
    assert {n: p.state for n, p in found.items()} == {
        "p": "ok",
        "q": "ok",
        "n": "null",
        "s": "unset",
        "m": "ok",
        "w": "value",
    }
    assert found["q"].value == whose(shot, "a").user + 4
    assert found["q"].to == whose(shot, "a").at
    puppet.free(a)
    puppet.free(m)
    shot = reel.add(puppet.reading())
    found = {p.name: p for p in shot.pointers}
    assert found["p"].state == found["m"].state == "dangling"
    assert found["m"].value == next(p for p in reel.frames[0].pointers if p.name == "m").value
    # the block gets a new owner: the old pointer still dangles
    assert puppet.malloc(24, "b") == a
    puppet.point("b", a)
    found = {p.name: p for p in reel.add(puppet.reading()).pointers}
    assert (found["p"].state, found["b"].state) == ("dangling", "ok")


def test_without_main_arena(puppet: Puppet) -> None:
    a, _ = puppet.malloc(24, "a"), puppet.malloc(24, "b")
    puppet.free(a)
    shot = decode(dataclasses.replace(puppet.reading(), main_arena=None))
    assert whose(shot, "a").state is State.TCACHE
    assert shot.chunks[-1].state is State.TOP
    assert "main_arena was not found" in (shot.note or "")
    assert not shot.faults


def test_table_is_found_without_help(puppet: Puppet) -> None:
    a = puppet.malloc(24, "a")
    puppet.free(a)
    reading = dataclasses.replace(puppet.reading(), tcache=())
    assert decode(reading).lists == decode(puppet.reading()).lists


def test_unknown_version_shows_sizes_and_flags(puppet: Puppet) -> None:
    a = puppet.malloc(24, "a")
    puppet.malloc(100, "b")
    puppet.free(a)
    known = decode(puppet.reading())
    shot = decode(dataclasses.replace(puppet.reading(), glibc="2.99"))
    assert shot.note == (
        "this build of heapscope knows glibc up to 2.43, found 2.99: showing sizes and flags only"
    )
    assert not shot.lists
    assert not shot.faults
    assert [(c.at, c.size, c.flags) for c in shot.chunks if c.name == "b"] == [
        (c.at, c.size, c.flags) for c in known.chunks if c.name == "b"
    ]


def test_reading_round_trip(puppet: Puppet) -> None:
    puppet.free(puppet.malloc(24, "a"))
    puppet.point("p", 5)
    reading = puppet.reading()
    assert Reading.from_json(reading.to_json()) == reading
    with pytest.raises(ValueError, match="no reading of a heap"):
        Reading.from_json({"mappings": []})
    with pytest.raises(ValueError, match="kind 'shelf'"):
        Reading.from_json({"glibc": "2.36", "mappings": [{"base": 0, "data": "", "kind": "shelf"}]})


class TestCorruption:
    """What a program can do to its heap, and what the snapshot says."""

    def test_one_byte_overflow(self, puppet: Puppet) -> None:
        reel = Reel()
        a, b, _ = (puppet.malloc(24, n) for n in "abc")
        reel.add(puppet.reading())
        puppet.write(a, b"A" * 24 + b"\x41")
        shot = reel.add(puppet.reading())
        block = whose(shot, "b")
        assert (block.size, block.claims) == (32, 64)
        assert whose(shot, "c").at == block.end
        (fault,) = shot.faults
        assert fault.at == block.at + 8
        assert fault.text.startswith(
            "the size word of b is 0x41, 64 bytes, which reaches into c; it should be 0x21"
        )
        assert word(shot, fault.at).fault == fault.text
        assert word(shot, fault.at).why == "size: 0x21 became 0x41"
        tiles(shot)
        puppet.free(b)
        shot = reel.add(puppet.reading())
        assert "the next malloc(56) gets it and 32 bytes that belong to others" in str(shot.faults)
        assert [f.name for f in shot.lists] == ["tcache[0x40]"]

    def test_the_same_without_a_frame_before(self, puppet: Puppet) -> None:
        a, *_ = (puppet.malloc(24, n) for n in "abc")
        puppet.write(a, b"A" * 24 + b"\x41")
        shot = decode(puppet.reading())
        assert (whose(shot, "b").size, whose(shot, "b").claims) == (32, 64)

    @pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 16, 17, 24, 32, 40, 64])
    @pytest.mark.parametrize("filler", [b"\xff", b"A", b"\x20", b"\0"])
    def test_overflow_is_found(self, puppet: Puppet, length: int, filler: bytes) -> None:
        a, *_ = (puppet.malloc(24, n) for n in "abcd")
        clean = decode(puppet.reading())
        puppet.write(a + 24, filler * length)
        shot = decode(puppet.reading())
        assert shot.faults, "an overwritten size word was not noticed"
        assert [(c.name, c.at, c.size) for c in shot.chunks] == [
            (c.name, c.at, c.size) for c in clean.chunks
        ]
        tiles(shot)

    def test_smaller_size(self, puppet: Puppet) -> None:
        a, _, _ = (puppet.malloc(s, n) for s, n in ((24, "a"), (100, "b"), (24, "c")))
        puppet.write(a + 24, b"\x21")
        shot = decode(puppet.reading())
        assert (whose(shot, "b").size, whose(shot, "b").claims) == (112, 32)
        assert "ends inside the chunk itself; it should be 0x71" in shot.faults[0].text

    def test_write_after_free_breaks_the_link(self, puppet: Puppet) -> None:
        a, b = puppet.malloc(24, "a"), puppet.malloc(24, "b")
        puppet.free(a)
        puppet.free(b)
        reel = Reel()
        reel.add(puppet.reading())
        puppet.write(b, (7).to_bytes(8, "little"))
        shot = reel.add(puppet.reading())
        (found,) = shot.lists
        assert [link.name for link in found.links] == ["b"]
        assert found.fault
        assert "which is no block" in found.fault
        link = word(shot, whose(shot, "b").user)
        assert link.value == 7
        if LAYOUT.safe_linking:
            assert link.target == 7 ^ (link.at >> 12)
            assert link.target == found.links[0].target
        assert link.why is not None
        assert link.why.endswith("no block")
        lost = whose(shot, "a")
        assert lost.state is State.UNKNOWN
        assert lost.label == "free, but no list leads to it any more"

    def test_partly_overwritten_link_keeps_its_other_bytes(self, puppet: Puppet) -> None:
        a, b = puppet.malloc(24, "a"), puppet.malloc(24, "b")
        puppet.free(a)
        puppet.free(b)
        reel = Reel()
        old = word(reel.add(puppet.reading()), HEAP + b % 4096).data
        puppet.write(b, b"Z")
        new = word(reel.add(puppet.reading()), HEAP + b % 4096)
        assert new.data == b"Z" + old[1:]
        assert new.changed == (0,)

    def test_overwritten_key(self, puppet: Puppet) -> None:
        a, b, c = (puppet.malloc(24, n) for n in "abc")
        for user in (a, b, c):
            puppet.free(user)
        puppet.write(b + 8, bytes(8))
        shot = decode(puppet.reading())
        (fault,) = shot.faults
        assert fault.at == whose(shot, "b").user + 8
        assert "the key of b was overwritten" in fault.text

    def test_double_free_makes_a_loop(self, puppet: Puppet) -> None:
        a = puppet.malloc(24, "a")
        puppet.free(a)
        puppet.write(a + 8, bytes(8))
        puppet.free(a)
        shot = decode(puppet.reading())
        (found,) = shot.lists
        assert [link.name for link in found.links] == ["a"]
        assert "the list never ends" in (found.fault or "")
        user = puppet.malloc(24, "b")
        assert user == a
        shot = decode(puppet.reading())
        block = whose(shot, "b")
        assert block.state is State.IN_USE
        assert block.free_list == "tcache[0x20]"
        assert "malloc will give it to a second owner" in str(shot.faults)

    def test_lost_count(self, puppet: Puppet) -> None:
        a = puppet.malloc(24, "a")
        puppet.free(a)
        reading = puppet.reading()
        count = reading.tcache[0] + LAYOUT.tcache.counts
        shown = puppet.read(count, 1)[0]
        puppet.write(count, bytes([shown + 1]))
        shot = decode(puppet.reading())
        if not LAYOUT.tcache.down:
            assert "tcache[0x20] counts 2 blocks and holds 1" in str(shot.faults)

    def test_bin_pointer(self, puppet: Puppet) -> None:
        a, _, c, _ = (puppet.malloc(2000, n) for n in "abcd")
        puppet.free(a)
        puppet.free(c)
        clean = decode(puppet.reading())
        puppet.write(a + 8, (0x41414141).to_bytes(8, "little"))
        shot = decode(puppet.reading())
        assert "bk of a leads to 0x41414141, which is no block" in str(shot.faults)
        assert [c.state for c in shot.chunks] == [c.state for c in clean.chunks]
        puppet.write(c, (0).to_bytes(8, "little"))
        assert "fd of c leads to" in str(decode(puppet.reading()).faults)

    def test_prev_size_and_flags(self, puppet: Puppet) -> None:
        a, b = puppet.malloc(2000, "a"), puppet.malloc(100, "b")
        puppet.malloc(24, "guard")
        puppet.free(a)
        puppet.write(b - 16, b"\x10")
        assert "prev_size of b is" in str(decode(puppet.reading()).faults)
        puppet.write(b - 8, b"\x71")
        assert "P of b is set, but a before it is free" in str(decode(puppet.reading()).faults)
        puppet.write(b - 8, b"\x76")
        text = str(decode(puppet.reading()).faults)
        assert "M of b is set" in text
        assert "A of b is set" in text

    def test_cleared_p(self, puppet: Puppet) -> None:
        puppet.malloc(24, "a")
        b = puppet.malloc(24, "b")
        puppet.write(b - 8, b"\x20")
        assert "P of b is clear, but a before it is in use" in str(decode(puppet.reading()).faults)

    def test_top_size(self, puppet: Puppet) -> None:
        a = puppet.malloc(24, "a")
        puppet.write(a + 24, b"\xff" * 8)
        shot = decode(puppet.reading())
        assert shot.chunks[-1].state is State.TOP
        assert shot.chunks[-1].end == shot.regions[0].end
        assert "malloc(): corrupted top size" in shot.faults[0].text
        puppet.write(a + 24, (0x1001).to_bytes(8, "little"))
        assert "are left of the heap" in decode(puppet.reading()).faults[0].text

    def test_nobody_knows_the_blocks(self, puppet: Puppet) -> None:
        a, *_ = (puppet.malloc(24) for _ in range(4))
        clean = decode(puppet.reading())
        puppet.write(a + 24, b"IJKLMNOP")
        reading = dataclasses.replace(
            puppet.reading(), blocks={}, names={}, events=(), complete=False
        )
        shot = decode(reading)
        states = [c.state for c in shot.chunks]
        assert states[-2:] == [State.UNKNOWN, State.TOP]
        assert shot.chunks[-2].end == clean.chunks[-1].at
        assert "which is no multiple of 16" in shot.faults[0].text
        tiles(shot)

    def test_poisoned_list_is_not_followed(self, puppet: Puppet) -> None:
        a, b, c = (puppet.malloc(40, n) for n in "abc")
        puppet.free(a)
        puppet.free(b)
        inside = c + 16
        value = inside ^ (b >> 12) if LAYOUT.safe_linking else inside
        puppet.write(b, value.to_bytes(8, "little"))
        shot = decode(puppet.reading())
        (found,) = shot.lists
        assert [link.name for link in found.links] == ["b"]
        assert found.links[0].target == whose(shot, "c").user + 16
        assert "leads to byte 16 of c, which is no block" in (found.fault or "")
        assert whose(shot, "c").state is State.IN_USE


def same_but_for_addresses(one: Snapshot, other: Snapshot) -> None:
    assert one.regions == other.regions
    assert one == other


def story(puppet: Puppet) -> list[Snapshot]:
    """Do a bit of everything, a picture at each step."""
    reel = Reel()

    def look() -> None:
        reel.add(puppet.reading())

    look()
    blocks = [puppet.malloc(24 + 16 * (i % 5), f"b{i}") for i in range(12)]
    puppet.write(blocks[0], blocks[1].to_bytes(8, "little"))  # a pointer in the data
    look()
    for user in blocks[2:9]:
        puppet.free(user)
        look()
    puppet.write(blocks[3] + 2, b"overwritten")
    look()
    big, _ = puppet.malloc(3000, "big"), puppet.malloc(24)
    puppet.free(big)
    look()
    moved = puppet.realloc(blocks[9], 500)
    puppet.write(moved + 40, moved.to_bytes(8, "little"))
    puppet.malloc(250000, "m")
    puppet.malloc(24, "t", thread=1)
    look()
    again = puppet.malloc(40)
    copied = puppet.realloc(again, 9000)  # carries an old link to another page
    assert copied != again
    look()
    return reel.frames


def test_two_runs_give_equal_pictures() -> None:
    with Puppet() as one, Puppet() as other:
        first, second = story(one), story(other)
        bases = [{m.base for m in p.reading().mappings} for p in (one, other)]
    if bases[0] & bases[1]:
        pytest.skip("address randomisation is off here")
    for a, b in zip(first, second, strict=True):
        same_but_for_addresses(a, b)


def test_pointer_in_the_data_is_moved(puppet: Puppet) -> None:
    frames = story(puppet)
    shot = frames[1]
    assert word(shot, whose(shot, "b0").user).value == whose(shot, "b1").user


STEP = st.tuples(st.integers(0, 4), st.integers(0, 1300), st.integers(0, 1 << 16))


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(STEP, max_size=40))
def test_any_sequence_of_calls_decodes(steps: list[tuple[int, int, int]]) -> None:
    canon = Canon()
    before: Snapshot | None = None
    with Puppet() as puppet:
        live: list[int] = []
        for kind, size, pick in steps:
            if kind <= 1 or not live:
                live.append(puppet.malloc(size) if kind else puppet.calloc(1, size))
            elif kind == 2:
                puppet.free(live.pop(pick % len(live)))
            elif kind == 3 and size:
                live.append(puppet.realloc(live.pop(pick % len(live)), size))
            else:
                user = live[pick % len(live)]
                asked = puppet.blocks[user].requested or 0
                puppet.write(user, bytes([pick & 0xFF]) * asked)
            before = decode(puppet.reading(), before, canon)
            assert not before.faults, before.faults
            tiles(before)
            for user, asked_ in puppet.blocks.items():
                check_block(puppet, before, canon, user, asked_)


def check_block(puppet: Puppet, shot: Snapshot, canon: Canon, user: int, asked: Asked) -> None:
    chunk = shot.chunk_at(canon.pointer(user - HEADER))
    if asked.freed is None:
        assert chunk is not None
        assert chunk.state is State.IN_USE
        assert chunk.requested == asked.requested
        assert chunk.usable >= (asked.requested or 0)
        assert chunk.size == puppet.u64(user - 8) & ~7
    elif chunk is not None:
        assert chunk.state.free or chunk.state is State.TOP


def test_version_is_one_we_know() -> None:
    assert numbers(GLIBC) is not None
    assert LAYOUT.known

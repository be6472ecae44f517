"""Real heaps, and heaps built by hand, for the tests of the views."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "glibc"))

from heapscope.glibc.decode import decode
from heapscope.model.film import Film, Reel
from heapscope.model.snapshot import Snapshot
from puppet import Puppet
from synthetic import Builder


def recorded() -> Film:
    """A real program: three blocks, text in two of them, a write past the first, two frees."""
    with Puppet() as puppet:
        reel = Reel()
        reel.add(puppet.reading())
        a, b, c = (puppet.malloc(n, name) for n, name in ((24, "a"), (10, "b"), (24, "c")))
        puppet.point("a", a)
        puppet.point("b", b)
        puppet.point("nil", 0)
        puppet.write(a, b"A" * 24)
        puppet.write(b, b"hello\0")
        reel.add(puppet.reading())
        puppet.free(c)
        puppet.free(a)
        reel.add(puppet.reading())
        puppet.write(a + 24, b"\x41")
        reel.add(puppet.reading())
        return reel.film(title="Three blocks")


def built(version: str = "2.36") -> Builder:
    """A heap with every kind of chunk that fits into one arena."""
    builder = Builder(version)
    large, _, small, _ = (builder.block(n) for n in (0x500, 24, 0x420, 100))
    first, second, third = (builder.block(40) for _ in range(3))
    fast, _ = builder.block(40), builder.block(3000)
    builder.tcache(1, second, first)
    if builder.facts.fastbins is not None:
        builder.fastbin(1, fast)
    builder.bin(1, large, small)
    builder.put(third, int.from_bytes(b"longtext", "little"))
    builder.put(third + 8, int.from_bytes(b"s", "little"))
    builder.mmapped(300_000)
    return builder


def many(count: int) -> Snapshot:
    builder = Builder("2.36")
    for _ in range(count):
        builder.block(24)
    return decode(builder.reading())

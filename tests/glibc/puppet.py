"""A small recorder for tests: a C program that makes allocator calls on command."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from heapscope.glibc.layout import Layout
from heapscope.glibc.reading import Asked, Mapping, RawPointer, Reading
from heapscope.model.snapshot import Event

GLIBC = platform.libc_ver()[1]
SOURCE = Path(__file__).with_name("puppet.c")
MASK = ~7


@functools.cache
def program() -> Path:
    """Compile the puppet once."""
    tag = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"heapscope-tests-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    target = folder / f"puppet-{tag}"
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-std=c17", "-O0", "-fno-builtin", "-Wall", "-Werror", "-pthread"]
        subprocess.run([*command, "-o", fresh, SOURCE], check=True)
        fresh.replace(target)
    return target


class Puppet:
    """One running program, its calls and its memory."""

    def __init__(self, complete: bool = True) -> None:
        self.process = subprocess.Popen(
            [program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.blocks: dict[int, Asked] = {}
        self.names: dict[int, str] = {}
        self.pointers: list[RawPointer] = []
        self.events: list[Event] = []
        self.calls = self.allocations = 0
        self.complete = complete
        self.threads = {0}
        self.layout = Layout.for_version(GLIBC)
        self.memory = os.open(f"/proc/{self.process.pid}/mem", os.O_RDONLY)
        self.tell("t")  # once it answers, its libraries are loaded

    def __enter__(self) -> Puppet:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.memory)
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()

    # ---- calls

    def tell(self, letter: str, *arguments: int, thread: int = 0) -> int:
        self.threads.add(thread)
        text = f"{thread} {letter} " + " ".join(f"{a:x}" for a in arguments) + "\n"
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(text.encode())
        answer = b""
        while not answer.endswith(b"\n"):
            part = self.process.stdout.read(64)
            assert part, f"the puppet died at {text!r}"
            answer += part
        return int(answer, 16)

    def _got(self, user: int, requested: int, name: str | None, text: str) -> int:
        self.blocks[user] = Asked(requested, self.calls, order=self.allocations)
        if name is not None:
            self.names[user] = name
        else:
            self.names.pop(user, None)
        kind = text.split("(")[0].split()[-1]
        self.events.append(Event(kind, text, (requested,), user))
        self.calls += 1
        self.allocations += 1
        return user

    def malloc(self, size: int, name: str | None = None, thread: int = 0) -> int:
        user = self.tell("m", size, thread=thread)
        return self._got(user, size, name, f"malloc({size})")

    def calloc(self, count: int, size: int, name: str | None = None) -> int:
        return self._got(self.tell("c", count, size), count * size, name, f"calloc({count * size})")

    def aligned(self, align: int, size: int) -> int:
        return self._got(self.tell("a", align, size), size, None, f"aligned_alloc({size})")

    def realloc(self, user: int, size: int) -> int:
        old = self.blocks.pop(user)
        new = self.tell("r", user, size)
        self.blocks[new] = Asked(size, self.calls, order=old.order)
        self.calls += 1
        return new

    def free(self, user: int, thread: int = 0) -> None:
        self.tell("f", user, thread=thread)
        old = self.blocks[user]
        self.blocks[user] = Asked(old.requested, old.call, self.calls, old.name, old.order)
        self.events.append(Event("free", "free()", (user,)))
        self.calls += 1

    def write(self, at: int, data: bytes) -> None:
        for start in range(0, len(data), 8):
            part = data[start : start + 8]
            self.tell("w", at + start, int.from_bytes(part, "little"), len(part))

    def point(self, name: str, value: int | None) -> None:
        self.pointers = [p for p in self.pointers if p.name != name]
        self.pointers.append(RawPointer(name, "char *", value))

    # ---- memory

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self.memory, size, at)

    def u64(self, at: int) -> int:
        return int.from_bytes(self.read(at, 8), "little")

    def maps(self) -> list[tuple[int, int, str, str]]:
        result = []
        for line in Path(f"/proc/{self.process.pid}/maps").read_text().splitlines():
            span, flags, *rest = line.split(None, 5)
            low, high = (int(x, 16) for x in span.split("-"))
            result.append((low, high, flags, rest[3] if len(rest) > 3 else ""))
        return result

    def reading(self) -> Reading:
        maps = self.maps()
        mappings = []
        for low, high, flags, name in maps:
            if name == "[heap]":
                mappings.append(Mapping.trimmed(low, self.read(low, high - low), "heap"))
            elif not name and flags.startswith("rw") and low % self.layout.heap_max == 0:
                pointer = self.u64(low)
                if pointer % self.layout.heap_max == self.layout.heap_info:
                    data = self.read(low, high - low)
                    mappings.append(Mapping.trimmed(low, data, "thread heap"))
        inside = [(m.base, m.end) for m in mappings]
        for user in self.blocks:
            if any(low <= user < high for low, high in inside):
                continue
            try:
                size, before = self.u64(user - 8), self.u64(user - 16)
            except OSError:
                continue
            if size & 2:
                offset = before & self.layout.mmap_offset_mask
                length = offset + (size & MASK) + self.layout.mmap_extra
                base = user - 16 - offset
                mappings.append(Mapping.trimmed(base, self.read(base, length), "mmap"))
        libc = min(low for low, _, _, name in maps if "libc.so" in name)
        arena = libc + arena_offset()
        return Reading(
            glibc=GLIBC,
            mappings=tuple(mappings),
            main_arena=(arena, self.read(arena, self.layout.arena.size)),
            tcache=tuple(t for n in sorted(self.threads) for t in self._table(n, mappings)),
            blocks=dict(self.blocks),
            names=dict(self.names),
            pointers=tuple(self.pointers),
            complete=self.complete,
            events=tuple(self._taken()),
        )

    def _taken(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def _table(self, thread: int, mappings: list[Mapping]) -> list[int]:
        block, size = self.tell("t", thread=thread), self.tell("T", thread=thread)
        for at in range(block, block + size, 8):
            value = self.u64(at)
            for m in mappings:
                if m.kind == "mmap" or not m.base < value < m.end:
                    continue
                if self.u64(value - 8) & MASK in self.layout.tcache.chunks:
                    return [value]
        return []


@functools.cache
def arena_offset() -> int:
    """Where main_arena is in libc: a lone unsorted chunk points to its `top` field."""
    with Puppet() as puppet:
        block = puppet.tell("m", 0x500)
        puppet.tell("m", 0x18)
        puppet.tell("f", block)
        libc = min(low for low, _, _, name in puppet.maps() if "libc.so" in name)
        # bin_at(1): its `fd` stands at the start of bins
        return puppet.u64(block) + 16 - puppet.layout.arena.bins - libc

"""Damaged input for everything that reads: the decoder, films, recordings, traces, layouts, ELF.

Each target gets inputs that were right and are cut, flipped, overwritten and mixed at random, for a
number of seconds. It may succeed, or raise the error that it documents, with a sentence; anything
else, or an input that takes longer than `SLOW` seconds, is a finding. ``--seconds N`` is the time
for each target; if not given, all of them together take ten minutes. A seed that failed is named.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heapscope.glibc.decode import decode
from heapscope.glibc.layout import Layout
from heapscope.glibc.reading import Mapping, Reading
from heapscope.model.film import Film
from heapscope.traces import TraceError, report

from .record import Check

COMMAND = "python -m tests.trust.fuzz"
SLOW = 5.0  # seconds for one input
WHOLE = 600.0  # seconds for all targets together
TESTS = Path(__file__).resolve().parents[1]
VERSIONS = ("2.31", "2.36", "2.41", "2.43", "9.99", "nonsense")
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1 << 31, 1 << 63, 1 << 64, -(1 << 70), 1.5, float("nan"), float("inf"),
    "", "x", "0x", "0x10", "-0x1", "zz", "\ud800", [], {}, [[]], [0], {"a": 1},
)  # fmt: skip


@dataclass
class Found:
    """What came of one target."""

    inputs: int = 0
    refused: int = 0
    sentences: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0


def cut(dice: random.Random, data: bytes) -> bytes:
    """Return `data` damaged at random."""
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 5, 40))):
        kind = dice.randrange(7)
        at = dice.randrange(len(made)) if made else 0
        if kind == 0 and made:
            made[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del made[at:]
        elif kind == 2:
            made[at : at + 8] = dice.choice((0, 1, 0xFF, 1 << 63, 1 << 32, (1 << 64) - 1)).to_bytes(
                8, "little"
            )
        elif kind == 3:
            made[at : at + 8] = dice.randbytes(8)
        elif kind == 4:
            del made[at : at + dice.randrange(1, 4096)]
        elif kind == 5:
            other = dice.randrange(len(made)) if made else 0
            made[at : at + 64] = made[other : other + 64]
        else:
            made[at:at] = dice.randbytes(dice.randrange(1, 64))
    return bytes(made)


def bend(dice: random.Random, form: Any) -> Any:
    """Return a JSON form in which a few values were taken away, exchanged or repeated."""
    form = copy.deepcopy(form)
    for _ in range(dice.choice((1, 1, 2, 6))):
        node = form
        for _ in range(dice.randrange(1, 9)):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            inner = [k for k in keys if isinstance(node[k], (dict, list)) and node[k]]
            if not inner or dice.random() < 0.2:
                break
            node = node[dice.choice(inner)]
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            continue
        key = dice.choice(keys)
        kind = dice.randrange(5)
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(node[key], str) and node[key]:
            at = dice.randrange(len(node[key]))
            node[key] = node[key][:at] + dice.choice("0fFxg \n\0") + node[key][at + 1 :]
        elif kind == 2 and isinstance(node[key], int):
            node[key] += dice.choice((-1, 1, 8, 16, -4096, 1 << 40))
        elif kind == 3 and isinstance(node, dict):
            node[dice.choice(("x", "kind", "at", "set", "regions", "size"))] = dice.choice(ODD)
        else:
            node[key] = copy.deepcopy(dice.choice(ODD))
    return form


class Target:
    """One reader: `make` gives its input from dice, `read` reads it; `error` is documented."""

    def __init__(self, name: str, make: Callable[[random.Random], Any], read: Callable[[Any], Any],
                 error: type[Exception] | tuple[()]) -> None:  # fmt: skip
        self.name, self.make, self.read, self.error = name, make, read, error

    def run(self, seconds: float, seed: int = 0, most: int = 1 << 40) -> Found:
        """Read inputs until the time is over."""
        found = Found()
        end = time.monotonic() + seconds
        while time.monotonic() < end and found.inputs < most and len(found.wrong) < 20:
            number = seed + found.inputs
            made = self.make(random.Random(number))
            found.inputs += 1
            began = time.monotonic()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "error", RuntimeWarning
                    )  # an overflow that numpy only mentions counts
                    self.read(made)
            except self.error as error:
                found.refused += 1
                said = str(error)
                if len(said) < 12 or " " not in said or "Traceback" in said:
                    found.wrong.append(f"seed {number}: no sentence: {said!r}")
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                found.wrong.append(
                    f"seed {number}: {type(error).__name__} at {place}: {str(error)[:80]}"
                )
            took = time.monotonic() - began
            found.slowest = max(found.slowest, took)
            if took > SLOW:
                found.wrong.append(f"seed {number}: took {took:.1f} s")
        return found


def _tests_of(folder: str, module: str) -> Any:
    """Import a helper of another folder of tests."""
    sys.path.insert(0, str(TESTS / folder))
    try:
        return __import__(module)
    finally:
        sys.path.pop(0)


def _heaps() -> list[Reading]:
    builder = _tests_of("glibc", "synthetic").Builder
    heaps = []
    for version in ("2.31", "2.36", "2.41", "2.42", "2.43"):
        made = builder(version, size=0x3000)
        blocks = [made.block(24) for _ in range(6)]
        large, _ = made.block(1200), made.block(24)
        odd, _ = made.block(1500), made.block(24)
        made.tcache(0, *blocks[:3])
        made.bin(1, odd)
        made.bin(67, large)
        heaps.append(made.reading())
    return heaps


def _damaged(dice: random.Random, heaps: Sequence[Reading]) -> Reading:
    reading = dice.choice(heaps)
    mappings = []
    for mapping in reading.mappings:
        data = cut(dice, mapping.data) if dice.random() < 0.8 else mapping.data
        data = data[: mapping.length]
        mappings.append(Mapping(mapping.base, data, mapping.kind, mapping.length, mapping.first))
    arena = reading.main_arena
    if arena and dice.random() < 0.5:
        arena = (arena[0], cut(dice, arena[1]))
    change: dict[str, Any] = {"mappings": tuple(mappings), "main_arena": arena}
    if dice.random() < 0.3:
        change["glibc"] = dice.choice(VERSIONS)
    if dice.random() < 0.3:
        change |= {"blocks": {}, "complete": False, "tcache": ()}
    return dataclasses.replace(reading, **change)


def _film(folder: Path) -> Any:
    from heapscope.recorders.gdb_recorder import record_c

    text = 'char *a = malloc(24);\nstrcpy(a, "text");\nchar *b = malloc(2000);\nfree(a);\n' \
        "a = realloc(b, 4000);\nfree(a);\nfree(a);\n"  # fmt: skip
    film = record_c(text).to_json()
    (folder / "film.json").write_text(json.dumps(film))
    return film


def _trace(folder: Path) -> list[bytes]:
    """Record a trace of a program with two threads; return its file, and one written by hand."""
    source = folder / "traced.c"
    source.write_text(
        "#include <pthread.h>\n#include <stdlib.h>\n"
        "static void *work(void *p) {\n    for (int i = 1; i < 300; i++)\n"
        "        free(realloc(malloc(i), i % 7 ? 3 * i : 70000));\n    return p;\n}\n"
        "int main(void) {\n    pthread_t t;\n    pthread_create(&t, 0, work, 0);\n    work(0);\n"
        "    pthread_join(t, 0);\n    return malloc(100) == 0;\n}\n"
    )
    program, kept = folder / "traced", folder / "kept"
    subprocess.run(["gcc", "-g", "-pthread", "-o", str(program), str(source)], check=True)
    words = [sys.executable, "-m", "heapscope", "trace", "--keep", str(kept), "--", str(program)]
    subprocess.run(words, check=True, capture_output=True)
    files = [path.read_bytes() for path in kept.glob("*.heap")]
    # The tracer's file is mostly room that was not used; its full blocks are what matters.
    return [data[: 65536 * 6] for data in files]


def _read_trace(place: Path) -> Callable[[bytes], None]:
    from heapscope.traces import format as traces

    def read(data: bytes) -> None:
        path = place / "fuzzed.heap"
        path.write_bytes(data)
        if zlib.crc32(data) % 20:  # the whole report takes long
            traces.read(path)
            return
        made = report(path, symbols=False)
        made.text(10)
        made.page()
        made.pprof()
        json.dumps(made.to_json())

    return read


def _film_text(data: bytes) -> None:
    """Read a film as a file: the damage is in its text."""
    Film.from_json(json.loads(data.decode("utf-8", "replace")))


def _binary(place: Path) -> Callable[[bytes], None]:
    from heapscope.traces import format as traces
    from heapscope.traces.symbols import Symbols

    image = traces.read(place / "kept").images[0]
    path = str(place / "fuzzed.elf")
    image = dataclasses.replace(image, maps=(traces.Mapping(0x1000, 0x9000, 0, path),))

    def read(data: bytes) -> None:
        Path(path).write_bytes(data)
        addresses = [0x2000, 0x2139, 0x2180, 0x21C0, 0x8FFF, 1 << 63]
        found = Symbols(cache=False).resolve(image, addresses)
        assert all(found[address] for address in addresses)

    return read


def targets(folder: Path) -> list[Target]:
    """Make every target; what they start from is recorded in `folder`."""
    heaps = _heaps()
    film = _film(folder)
    text = json.dumps(film).encode()
    traces = _trace(folder)
    elf = (folder / "traced").read_bytes()
    forms = [reading.to_json() for reading in heaps]

    def recorded(form: Any) -> None:
        decode(Reading.from_json(form))

    return [
        Target(
            "the decoder: heaps of five versions of glibc", lambda d: _damaged(d, heaps), decode, ()
        ),
        Target(
            "recordings of heaps, as JSON", lambda d: bend(d, d.choice(forms)), recorded, ValueError
        ),
        Target("films, as JSON", lambda d: bend(d, film), Film.from_json, ValueError),
        Target("films, as the text of a file", lambda d: cut(d, text), _film_text, ValueError),
        Target("traces", lambda d: cut(d, d.choice(traces)), _read_trace(folder), TraceError),
        Target("programs, for names and lines", lambda d: cut(d, elf), _binary(folder), ()),
        Target(
            "versions, for layouts",
            lambda d: cut(d, d.choice((b"2.36", b"2.41-9+deb12u1", b"99999999999.7"))).decode(
                "utf-8", "replace"
            ),
            Layout.for_version,
            (),
        ),
    ]


def main(words: Sequence[str]) -> int:
    """Fuzz each target for some seconds and write the figures."""
    few = float(words[words.index("--seconds") + 1]) if "--seconds" in words else None
    said = COMMAND if few is None else f"{COMMAND} --seconds {few:g}"
    check = Check("fuzz", "Damaged input", said)
    with tempfile.TemporaryDirectory(prefix="trust-") as name:
        every = targets(Path(name))
        for target in every:
            # A short run repeats the same inputs; ten minutes try new ones each time.
            found = (
                target.run(WHOLE / len(every), seed=int(time.time()))
                if few is None
                else target.run(few)
            )
            value = f"{found.inputs:,} inputs, {found.refused:,} refused with a sentence"
            value += f", the slowest took {found.slowest * 1000:,.0f} ms"
            if found.wrong:
                value += f"; {len(found.wrong)} wrong: {'; '.join(found.wrong[:3])}"
            aim = f"no crash, at most {SLOW:g} s, an error is a sentence"
            check.figure(target.name, value, aim, not found.wrong)
    return check.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

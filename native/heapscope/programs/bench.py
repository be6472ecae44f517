"""Measure: how long C takes over several runs, and Go's own benchmarks."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heapscope.programs import runner
from heapscope.programs.c import compile_c, execute, file_name, find_compiler
from heapscope.programs.go import FILE, build_go
from heapscope.programs.result import Run
from heapscope.programs.scan import mask
from heapscope.programs.wrap import wrap_go
from heapscope.teaching.table import Table

C_RUNS = 11
GO_RUNS = 5
_GO_TIME = "100ms"  # of each benchmark, each time


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that was measured several times.

    `values` are nanoseconds for each run, `bytes` and `allocations` Go's own count for each
    operation (None in C).
    """

    name: str
    values: tuple[float, ...]
    bytes: int | None = None
    allocations: int | None = None

    @property
    def median(self) -> float:
        """Nanoseconds: half of the runs took no longer."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Nanoseconds between the fastest run and the slowest."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True, slots=True, repr=False)
class Bench:
    """What was measured; shows a table. `run` is the last run, or the failed build."""

    language: str
    run: Run
    measures: tuple[Measure, ...]

    def __getitem__(self, name: str) -> Measure:
        """Return one measure; KeyError lists them."""
        for measure in self.measures:
            if measure.name == name:
                return measure
        known = ", ".join(measure.name for measure in self.measures) or "none"
        raise KeyError(f"nothing called {name!r} was measured; there are {known}")

    def table(self) -> Table:
        """Return the measures as a table."""
        if self.language != "go":
            head = ["", "runs", "median", "fastest", "slowest"]
            rows = [
                [m.name, len(m.values), *map(_time, (m.median, min(m.values), max(m.values)))]
                for m in self.measures
            ]
            return Table(head, rows)
        head = ["", "median per op", "fastest", "slowest", "bytes per op", "allocations per op"]
        return Table(
            head,
            [
                [
                    m.name,
                    *map(_time, (m.median, min(m.values), max(m.values))),
                    m.bytes,
                    m.allocations,
                ]
                for m in self.measures
            ],
        )

    def __repr__(self) -> str:
        return f"<Bench: {', '.join(f'{m.name} {_time(m.median)}' for m in self.measures)}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        if not self.measures:
            return self.run._repr_mimebundle_()
        return self.table()._repr_mimebundle_()


def _time(nanoseconds: float) -> str:
    """Return "12.3 ns", "4.56 µs", "7.89 ms"."""
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def bench_c(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    std: str | None = None,
    cc: str = "gcc",
    language: str = "c",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 10,
    name: str | None = None,
    times: int = C_RUNS,
) -> Bench:
    """Compile a C program once and run it `times` times; the other arguments are `run_c`'s.

    What is measured is the whole process, from its start to its end; measuring stops at a run that
    fails, and then there is nothing to report but that run. ValueError if `times` is not positive.
    """
    if times < 1:
        raise ValueError(f"times is at least 1, not {times}")
    compiler = find_compiler(cc, language)
    with runner.own_folder() as folder:
        built = compile_c(text, folder, compiler, runner.words(flags), std, language, name)
        if not built.compiled:
            return Bench(language, built, ())
        command = [str(folder / "program"), *runner.words(args)]
        seconds: list[float] = []
        run = built
        for _ in range(times):
            run = execute(
                built, command, folder, stdin=stdin, env=env, timeout=timeout, sanitized=False
            )
            if run.exit is None:
                return Bench(language, run, ())
            seconds.append(run.seconds * 1e9)
    return Bench(language, run, (Measure(file_name(name, language), tuple(seconds)),))


_BENCHMARK = re.compile(r"^func\s+(Benchmark\w*)\s*\(\s*\w+\s+\*testing\.B\s*\)", re.MULTILINE)
_LINE = re.compile(
    r"^(Benchmark\S*?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op(?:.*?\s(\d+) B/op\s+(\d+) allocs/op)?",
    re.MULTILINE,
)


def bench_go(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    times: int = GO_RUNS,
) -> Bench:
    """Run a text's ``func Benchmark…(b *testing.B)`` with ``go test -bench``, `times` times each.

    `args` go to the test binary: "-test.benchtime=1s". ValueError if there is no such function.
    """
    names = _BENCHMARK.findall(mask(text, raw_strings=True))
    if not names:
        raise ValueError(
            "there is no benchmark in this program: write func BenchmarkName(b *testing.B) "
            "with a loop `for b.Loop() { … }`"
        )
    # cgo may not stand in a test file, so the benchmarks are called from one beside the program.
    calls = "".join(f"func {name}(b *testing.B) {{ p.{name}(b) }}\n" for name in names)
    test = f'package main_test\n\nimport (\n\tp "program"\n\t"testing"\n)\n\n{calls}'
    given: dict[str, Any] = {"flags": flags, "stdin": stdin, "args": args, "env": env}
    with runner.own_folder() as folder:
        built = build_go(
            text,
            wrap_go(text, FILE),
            folder,
            runner.words(flags),
            more={"bench_test.go": test},
            tests=True,
        )
        built = replace(built, options=given | {"timeout": timeout})
        if not built.compiled:
            return Bench("go", built, ())
        command = [
            str(folder / "program"),
            *("-test.run=^$", "-test.bench=.", "-test.benchmem", f"-test.count={times}"),
            f"-test.benchtime={_GO_TIME}",
            *runner.words(args),
        ]
        run = execute(
            built, command, folder, stdin=stdin, env=env, timeout=timeout, sanitized=False
        )
    if run.exit != 0:
        return Bench("go", run, ())
    found: dict[str, list[tuple[float, str, str]]] = {}
    for name, value, size, count in _LINE.findall(run.stdout):
        found.setdefault(name, []).append((float(value), size, count))
    return Bench(
        "go",
        run,
        tuple(
            Measure(
                name.removeprefix("Benchmark"),
                tuple(value for value, _, _ in lines),
                int(lines[-1][1]) if lines[-1][1] else None,
                int(lines[-1][2]) if lines[-1][2] else None,
            )
            for name, lines in found.items()
        ),
    )

"""What recording costs: nanoseconds that each malloc and free takes longer than without a tool.

One program runs plain, under ``heapscope trace`` and under its peers, all in turn in each round.
The peers are installed from Debian when they are missing and the user is root; one that cannot be
had is named. Wall-clock time counts for the peers, for part of their work is in another process;
the program's own CPU time is shown as well, for it bears a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.spread import Spread

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "native"))

from heapscope.recorders import trace as recorder  # noqa: E402

Wrap = Callable[[Path], tuple[list[str], dict[str, str]]]  # a folder to its argv and environment


@dataclass(frozen=True)
class Case:
    """One way to run the loop; `frames` above the calls, `depth` frames recorded."""

    name: str
    frames: int
    threads: int
    depth: int
    aim: float | None  # nanoseconds an event over plain


@dataclass(frozen=True)
class Tool:
    """How a tool runs a program. `pairs` of calls in all: slow tools get fewer."""

    name: str
    pairs: int
    wrap: Wrap
    package: str = ""


@dataclass
class Result:
    """Nanoseconds an event, one for each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


CASES = (
    Case("1 thread, call sites", 0, 1, 0, 30),
    Case("1 thread, 16 frames", 20, 1, 16, 100),
    Case("8 threads, call sites", 0, 8, 0, None),
    Case("8 threads, 16 frames", 20, 8, 16, None),
)


def tools(depth: int) -> tuple[Tool, ...]:
    """Return what is compared: the plain program first, then ours, then the peers."""

    def plain(folder: Path) -> tuple[list[str], dict[str, str]]:
        return [], {}

    def ours(folder: Path) -> tuple[list[str], dict[str, str]]:
        env = recorder.environment(folder, depth=depth, base={})
        return [], env

    def peer(*argv: str) -> Wrap:
        return lambda folder: ([word.format(folder=folder) for word in argv], {})

    memcheck = peer("valgrind", "-q", "--tool=memcheck")
    dhat = peer("valgrind", "-q", "--tool=dhat", "--dhat-out-file={folder}/dhat")
    ltrace = peer("ltrace", "-f", "-e", "malloc+free", "-o", "{folder}/ltrace")
    return (
        Tool("plain", 4_000_000, plain),
        Tool("heapscope trace", 2_000_000, ours),
        Tool("heaptrack", 400_000, peer("heaptrack", "-o", "{folder}/heaptrack"), "heaptrack"),
        Tool("valgrind memcheck", 400_000, memcheck, "valgrind"),
        Tool("valgrind DHAT", 400_000, dhat, "valgrind"),
        Tool("ltrace", 2_000, ltrace, "ltrace"),
    )


def install(packages: set[str]) -> None:
    """Install Debian packages; what goes wrong shows by the tool not being there."""
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update"], check=False, env=env, **quiet)  # type: ignore[call-overload]
    for package in sorted(packages):
        command = ["apt-get", "install", "-y", "--no-install-recommends", package]
        subprocess.run(command, check=False, env=env, **quiet)  # type: ignore[call-overload]


def once(tool: Tool, case: Case, program: Path) -> tuple[float, float]:
    """Run the loop under a tool; return wall-clock and CPU nanoseconds an event."""
    with tempfile.TemporaryDirectory() as folder:
        argv, env = tool.wrap(Path(folder))
        pairs = str(tool.pairs // case.threads)
        words = [*argv, str(program), pairs, str(case.frames), str(case.threads)]
        run = subprocess.run(
            words, env=dict(os.environ) | env, capture_output=True, text=True, check=False
        )
        numbers = [line.split() for line in run.stdout.splitlines()]
        found = [line for line in numbers if len(line) == 2 and line[0].replace(".", "").isdigit()]
        if run.returncode != 0 or not found:
            raise RuntimeError(f"{tool.name} failed: {run.stderr.strip()[-300:]}")
        return float(found[-1][0]), float(found[-1][1])


def measure(rounds: int, cases: tuple[Case, ...] = CASES) -> dict[str, dict[str, Result]]:
    """Return case → tool → result. Tools that are missing or fail are left out, and named."""
    results: dict[str, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "loop"
        source = str(Path(__file__).with_name("trace_loop.c"))
        flags = ["-O1", "-fno-builtin", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
        subprocess.run(["gcc", *flags, source, "-o", str(program), "-lpthread"], check=True)
        for case in cases:
            mine = results.setdefault(case.name, {})
            there = [tool for tool in tools(case.depth) if available(tool)]
            for _ in range(rounds):
                for tool in list(there):
                    try:
                        wall, cpu = once(tool, case, program)
                    except RuntimeError as error:
                        print(error, file=sys.stderr)
                        there.remove(tool)
                        continue
                    result = mine.setdefault(tool.name, Result())
                    result.wall.append(wall)
                    result.cpu.append(cpu)
    return results


def available(tool: Tool) -> bool:
    """Whether the tool's command is there; the plain program and our own tracer always are."""
    argv, _ = tool.wrap(Path("/nonexistent"))
    return not argv or shutil.which(argv[0]) is not None


def over(took: list[float], plain: list[float]) -> Spread:
    """Return by how many nanoseconds an event took longer, round by round."""
    return Spread.of([a - b for a, b in zip(took, plain, strict=False)])


def table(results: dict[str, dict[str, Result]], rounds: int) -> str:
    """Write the results down."""
    load = os.getloadavg()[0]
    lines = [
        f"{os.cpu_count()} cores, {rounds} rounds, load {load:.1f} at the end; "
        "ns an event: median (least to greatest)"
    ]
    for case in CASES:
        if case.name in results:
            lines += ["", *_rows(case, results[case.name])]
    return "\n".join(lines)


def _rows(case: Case, mine: dict[str, Result]) -> list[str]:
    plain = mine["plain"]
    head = ("wall clock", "over plain", "× plain", "CPU of the program", "over plain")
    rows = [(case.name, *head)]
    for name, result in mine.items():
        wall, cpu = Spread.of(result.wall), Spread.of(result.cpu)
        row = (f"{wall:,.1f}", f"{over(result.wall, plain.wall).median:,.1f}")
        ratio = f"{wall.median / Spread.of(plain.wall).median:,.1f}"
        rows.append(
            (name, *row, ratio, f"{cpu:,.1f}", f"{over(result.cpu, plain.cpu).median:,.1f}")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    ours = mine["heapscope trace"]
    if case.aim is not None:
        # All that the tracer does, it does in the program's own threads.
        both = {"CPU": over(ours.cpu, plain.cpu), "wall clock": over(ours.wall, plain.wall)}
        verdict = " and ".join(
            f"{what} {took.median:.0f}, {'met' if took.median <= case.aim else 'missed'}"
            for what, took in both.items()
        )
        lines.append(f"aim, at most {case.aim:.0f} ns over plain: {verdict}")
    beyond = max(over(ours.wall, plain.wall).median, 0.1)
    for name, times in (("heaptrack", 10), ("ltrace", 1000)):
        if name in mine:
            cheaper = over(mine[name].wall, plain.wall).median / beyond
            verdict = "met" if cheaper >= times else "missed"
            lines.append(f"aim, {times:,} times cheaper than {name}: {cheaper:,.0f}, {verdict}")
    missing = [tool.name for tool in tools(0) if tool.name not in mine]
    if missing:
        lines.append(f"not measured, missing or failed: {', '.join(missing)}")
    return lines


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure what recording allocations costs.")
    parser.add_argument("--rounds", type=int, default=5, help="how often (default: 5)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all numbers to a file")
    parser.add_argument("--no-install", action="store_true", help="do not install missing peers")
    args = parser.parse_args()
    if not args.no_install:
        install({tool.package for tool in tools(0) if tool.package and not available(tool)})
    results = measure(args.rounds)
    print(table(results, args.rounds))
    if args.json:
        plain = {case: {n: vars(r) for n, r in rows.items()} for case, rows in results.items()}
        args.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

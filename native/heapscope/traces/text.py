"""The report of a trace in words and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from heapscope.traces.report import Process, Report, Site, Usage
from heapscope.traces.symbols import Frame

SCHEMA = 1
MOST_STACKS = 3
"""So many stacks of a call site are written out in the text."""
MOST_PROCESSES = 8
"""So many processes are told of one by one, those that allocated most."""


def text(report: Report, most: int) -> str:
    """Return the report in words, with the `most` largest call sites."""
    parts = [conclusion(report)]
    shown, hidden = busiest(report)
    parts += [process_line(process) for process in shown]
    if hidden:
        parts.append(f"and {hidden:,} smaller processes")
    notes = all_notes(report)
    sites = report.sites
    if sites:
        parts.append(f"Not freed, by call site ({len(sites):,})")
    parts += [site_text(site) for site in sites[:most]]
    if len(sites) > most:
        rest = sites[most:]
        size, blocks = sum(site.bytes for site in rest), sum(site.blocks for site in rest)
        parts.append(f"{len(rest):,} more call sites: {bytes_(size)} in {blocks_(blocks)}")
    parts.append(peak_text(report.main))
    table = sizes_text(report.main)
    if table:
        parts.append(table)
    if notes:
        parts.append("\n".join(f"Note: {note}." for note in notes))
    return "\n\n".join(parts)


def conclusion(report: Report) -> str:
    """Say what was not freed, and the largest call site."""
    ends = all(process.finished for process in report.ended)
    when = "when the program ended" if ends else "when the recording ended"
    if not report.leaked_blocks:
        return f"Nothing was left {when}: every block was freed."
    return (
        f"{bytes_(report.leaked)} in {blocks_(report.leaked_blocks)} had not been freed {when}. "
        f"Most of it: {most_of_it(report)}."
    )


def busiest(report: Report) -> tuple[list[Process], int]:
    """Return the processes that allocated most, in their order, and how many others there are."""
    rank = sorted(report.processes, key=lambda process: -process.allocated)[:MOST_PROCESSES]
    shown = [process for process in report.processes if any(process is one for one in rank)]
    return shown, len(report.processes) - len(shown)


def all_notes(report: Report) -> list[str]:
    """Return what the reader must know, each note once."""
    if len(report.processes) == 1:
        return [*report.notes, *report.processes[0].notes]
    found: dict[str, list[Process]] = {}
    for process in report.processes:
        for note in process.notes:
            found.setdefault(note, []).append(process)
    notes = list(report.notes)
    for note, processes in found.items():
        who = whose(processes[0]) if len(processes) == 1 else f"{len(processes)} processes: "
        notes.append(f"{who}{note}")
    return notes


def most_of_it(report: Report) -> str:
    """Name the call site with most bytes."""
    site = report.sites[0]
    return f"{bytes_(site.bytes)} by {title(site.stacks[0])}"


def process_line(process: Process) -> str:
    """Return the command of a process and its counts."""
    command = shlex.join(process.command) or process.exe or "?"
    if len(command) > 200:
        command = command[:199] + "…"
    threads = _count(process.threads, "thread")
    failed = f", {process.failed:,} that failed" if process.failed else ""
    return (
        f"{command}  (process {process.pid}{kind(process)})\n"
        f"  {process.seconds:,.3f} s, {threads}, {_count(process.allocations, 'allocation')} of "
        f"{bytes_(process.allocated)}, {_count(process.frees, 'release')}{failed}"
    )


def kind(process: Process) -> str:
    """Say how a process began and ended, if that was not by exec and exit."""
    forked = ", forked" if process.forked else ""
    return forked + (", then replaced by exec" if process.replaced else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def whose(process: Process) -> str:
    """Begin a sentence that is about one of several processes."""
    return f"process {process.pid}, {process.name}: "


def title(usage: Usage) -> str:
    """Name the call site of a stack, and who called it."""
    site = usage.site
    name = label(site)
    if usage.border:
        name += f", calling {usage.border}"
    caller = usage.caller
    if caller is not None:
        name += f", called by {label(caller)}"
    return name


def label(frame: Frame) -> str:
    """Return a function with its line."""
    if not frame.function and not frame.line:
        return frame.name if frame.module else "an unknown place"
    return f"{frame.name} ({frame.short})" if frame.short else frame.name


def site_text(site: Site) -> str:
    """Return a call site with its largest stacks."""
    lines = [f"{bytes_(site.bytes)} in {blocks_(site.blocks)}: {title(site.stacks[0])}"]
    many = len(site.stacks) > 1
    for usage in site.stacks[:MOST_STACKS]:
        if many:
            lines.append(f"  {bytes_(usage.bytes)} in {blocks_(usage.blocks)} through")
        lines += [f"    {line}" for line in stack_lines(usage)]
    rest = len(site.stacks) - MOST_STACKS
    if rest > 0:
        lines.append(f"  and through {rest:,} more stack{'' if rest == 1 else 's'}")
    return "\n".join(lines)


def stack_lines(usage: Usage) -> list[str]:
    """Return the frames of a stack, one a line: language, function, place."""
    frames = usage.frames or usage.stack
    if not frames:
        return ["(the stack is not known)"]
    names = [call(usage, number) for number, _ in enumerate(frames)]
    width = min(max(len(name) for name in names), 40)
    return [
        f"{'Go' if frame.go else 'C '} {name:<{width}}  {frame.place}".rstrip()
        for frame, name in zip(frames, names, strict=True)
    ]


def call(usage: Usage, number: int) -> str:
    """Return the name of a frame, with what is remarkable about it."""
    frame = (usage.frames or usage.stack)[number]
    remark = f" → {usage.border}" if number == 0 and usage.border else ""
    return f"{frame.name}{remark}{' (inlined)' if frame.inlined else ''}"


def peak_text(process: Process) -> str:
    """Say when most memory was live, and whose it was."""
    peak = process.peak
    lines = [
        f"Peak: {bytes_(peak.bytes)} in {blocks_(peak.blocks)}, {peak.seconds:,.3f} s after the "
        "beginning"
    ]
    for usage in peak.usage[:3]:
        share = 100 * usage.bytes / peak.bytes if peak.bytes else 0
        lines.append(f"  {share:3.0f} %  {bytes_(usage.bytes)} by {title(usage)}")
    return "\n".join(lines)


def sizes_text(process: Process) -> str:
    """Return the histogram of sizes."""
    sizes = process.sizes
    if not sizes:
        return ""
    most = max(size.blocks for size in sizes)
    lines = ["Sizes of allocations, in bytes"]
    names = [f"up to {short(size.high)}" for size in sizes]
    width = max(len(name) for name in names)
    for name, size in zip(names, sizes, strict=True):
        bar = "█" * max(round(30 * size.blocks / most), 1 if size.blocks else 0)
        left = f", {size.live:,} not freed" if size.live else ""
        lines.append(f"  {name:>{width}}  {bar} {size.blocks:,}{left}".rstrip())
    return "\n".join(lines)


def range_(low: int, high: int) -> str:
    """Write a range of sizes."""
    return f"{low:,} to {high:,}"


def short(number: int) -> str:
    """Write a power of two briefly: 4096 is 4K."""
    for shift, unit in ((60, "E"), (50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")):
        if number >= 1 << shift:
            return f"{number >> shift}{unit}"
    return str(number)


def bytes_(number: int) -> str:
    """Write an amount of memory: exact up to a megabyte, with the larger unit beyond."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if number >= 1 << shift:
            return f"{number / (1 << shift):,.1f} {unit}"
    return "1 byte" if number == 1 else f"{number:,} bytes"


def blocks_(number: int) -> str:
    """Write a number of blocks."""
    return "1 block" if number == 1 else f"{number:,} blocks"


# ---- JSON


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; stacks refer to one table of frames."""
    table = _Table()
    processes = [_process(process, table) for process in report.processes]
    return {
        "schema": SCHEMA,
        "trace": str(report.path),
        "leaked_bytes": report.leaked,
        "leaked_blocks": report.leaked_blocks,
        "notes": list(report.notes),
        "leaks": [_usage(usage, table) for usage in report.leaks],
        "sites": [
            {"bytes": site.bytes, "blocks": site.blocks, "frame": table.number(site.frame)}
            for site in report.sites
        ],
        "processes": processes,
        "frames": table.rows,
    }


class _Table:
    """Each frame once."""

    def __init__(self) -> None:
        self._numbers: dict[Frame, int] = {}
        self.rows: list[dict[str, Any]] = []

    def number(self, frame: Frame) -> int:
        number = self._numbers.get(frame)
        if number is None:
            number = self._numbers[frame] = len(self.rows)
            self.rows.append(
                {
                    "function": frame.function,
                    "file": frame.file,
                    "line": frame.line,
                    "module": frame.module,
                    "address": frame.offset,
                    "go": frame.go,
                    "inlined": frame.inlined,
                    "glue": frame.glue,
                }
            )
        return number

    def numbers(self, frames: Iterable[Frame]) -> list[int]:
        return [self.number(frame) for frame in frames]


def _usage(usage: Usage, table: _Table) -> dict[str, Any]:
    return {
        "bytes": usage.bytes,
        "blocks": usage.blocks,
        "calls": usage.border,
        "stack": table.numbers(usage.stack),
    }


def _process(process: Process, table: _Table) -> dict[str, Any]:
    peak = process.peak
    return {
        "pid": process.pid,
        "parent": process.parent,
        "exe": process.exe,
        "command": list(process.command),
        "began": process.began.isoformat(),
        "seconds": process.seconds,
        "finished": process.finished,
        "replaced": process.replaced,
        "forked": process.forked,
        "depth": process.depth,
        "threads": process.threads,
        "allocations": process.allocations,
        "allocated_bytes": process.allocated,
        "releases": process.frees,
        "failed": process.failed,
        "reallocs": process.reallocs,
        "leaked_bytes": process.leaked,
        "leaked_blocks": process.leaked_blocks,
        "peak": {
            "seconds": peak.seconds,
            "bytes": peak.bytes,
            "blocks": peak.blocks,
            "usage": [_usage(usage, table) for usage in peak.usage],
        },
        "timeline": [[p.seconds, p.bytes, p.blocks] for p in process.timeline],
        "sizes": [
            {"from": s.low, "to": s.high, "blocks": s.blocks, "bytes": s.bytes, "live": s.live}
            for s in process.sizes
        ],
        "notes": list(process.notes),
    }

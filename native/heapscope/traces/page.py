"""The report of a trace as HTML: a page of its own, or the output of a cell."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterable
from pathlib import Path

from heapscope.traces import text as words
from heapscope.traces.report import Process, Report, Site, Usage
from heapscope.views import theme
from heapscope.views.grid import Grid
from heapscope.views.picture import Picture, picture, style_sheet
from heapscope.views.pictures import plot

MOST_SITES = 200
"""So many call sites a page shows; JSON and pprof have all."""
MOST_STACKS = 20
OPEN = 3
"""The stacks of so many call sites are open from the start."""
MOST_PROCESSES = 8
"""So many processes have their pictures on a page, those with the highest peaks."""


@functools.cache
def sheet() -> str:
    """Return ``page.css`` without comments and needless blanks."""
    text = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


def page(report: Report) -> str:
    """Return one self-contained HTML page."""
    name = html.escape(report.main.name)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Memory of {name}</title><style>{style_sheet()}{sheet()}"
        "html{color-scheme:light dark}body{margin:0;background:var(--hs-paper)}"
        "main{max-width:1100px;margin:0 auto;padding:16px 12px}</style></head>"
        f"<body><main><h1 class=hs-report-title>Memory of {name}</h1>{body(report)}</main>"
        "</body></html>\n"
    )


def output(report: Report) -> str:
    """Return the report as the output of a cell."""
    return f'<style class="hs-style">{style_sheet()}{sheet()}</style>{body(report)}'


def body(report: Report) -> str:
    """Return the report without a style sheet."""
    broken = " hs-broken" if report.leaked_blocks else ""
    several = len(report.processes) > 1
    parts = [
        f'<p class="hs-say{broken}">{html.escape(words.conclusion(report))}</p>',
        _processes(report.processes),
        _list("hs-report-notes", (f"{note}." for note in words.all_notes(report))),
        _sites(report.sites),
    ]
    shown = sorted(report.processes, key=lambda process: -process.peak.bytes)[:MOST_PROCESSES]
    for process in shown:
        head = words.whose(process).removesuffix(": ") if several else ""
        parts += [_part(timeline(process, head)), _peak(process), _part(sizes(process, head))]
    return f'<section class="hs-figure hs-report">{"".join(parts)}</section>'


def _part(drawn: Picture | None) -> str:
    """Return a picture within the report, which has a frame of its own."""
    return drawn.figure().replace('class="hs-figure"', 'class="hs-report-picture"') if drawn else ""


def _list(name: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<ul class="{name}">{items}</ul>' if items else ""


def _processes(processes: tuple[Process, ...]) -> str:
    if len(processes) == 1:
        command, _, counts = words.process_line(processes[0]).partition("\n")
        return (
            f'<p class="hs-base"><code>{html.escape(command)}</code><br>'
            f"{html.escape(counts.strip())}</p>"
        )
    rows = [
        (
            f"{process.pid}{words.kind(process)}",
            words.process_line(process).partition("  (process")[0],
            f"{process.seconds:,.3f} s",
            f"{process.allocations:,}",
            words.bytes_(process.peak.bytes),
            words.bytes_(process.leaked),
        )
        for process in processes
    ]
    head = ("process", "command", "time", "allocations", "peak", "not freed")
    return _scroll(Grid.of(head, rows, "Processes").html(), "Processes")


def _scroll(inner: str, name: str) -> str:
    return (
        f'<div class="hs-scroll" role="group" tabindex="0" '
        f'aria-label="{html.escape(name, quote=True)}">{inner}</div>'
    )


def _sites(sites: tuple[Site, ...]) -> str:
    if not sites:
        return ""
    total = sum(site.bytes for site in sites) or 1
    rows = []
    for number, site in enumerate(sites[:MOST_SITES]):
        share = 100 * site.bytes / total
        shown = " open" if number < OPEN else ""
        rows.append(
            f'<tr><td class="hs-number">{html.escape(words.bytes_(site.bytes))}</td>'
            f'<td class="hs-number">{site.blocks:,}</td>'
            f'<td class="hs-number hs-share">{share:.0f} %</td>'
            f"<td><details{shown}><summary>{html.escape(words.title(site.stacks[0]))}</summary>"
            f"{_stacks(site)}</details></td></tr>"
        )
    rest = sites[MOST_SITES:]
    more = ""
    if rest:
        size = words.bytes_(sum(site.bytes for site in rest))
        more = f"<p>{len(rest):,} more call sites, {html.escape(size)}, are in JSON and pprof.</p>"
    head = "".join(
        f'<th scope="col" class="{name}">{text}</th>'
        for text, name in (
            ("not freed", "hs-number"),
            ("blocks", "hs-number"),
            ("share", "hs-number hs-share"),
            ("call site and stacks", ""),
        )
    )
    table = (
        '<table class="hs-grid hs-leaks"><caption>Not freed, by call site</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
    return _scroll(table, "Not freed, by call site") + more


def _stacks(site: Site) -> str:
    parts = []
    many = len(site.stacks) > 1
    for usage in site.stacks[:MOST_STACKS]:
        if many:
            amount = f"{words.bytes_(usage.bytes)} in {words.blocks_(usage.blocks)} through"
            parts.append(f"<p>{html.escape(amount)}</p>")
        parts.append(_stack(usage))
    rest = len(site.stacks) - MOST_STACKS
    if rest > 0:
        parts.append(f"<p>and through {rest:,} more stacks</p>")
    return "".join(parts)


def _stack(usage: Usage) -> str:
    frames = usage.frames or usage.stack
    if not frames:
        return "<p>The stack is not known.</p>"
    items = "".join(
        f'<li class="{"hs-go" if frame.go else "hs-c"}-frame"><b>{"Go" if frame.go else "C"}</b> '
        f"<code>{html.escape(words.call(usage, number))}</code> "
        f'<span class="hs-dim"><code>{html.escape(frame.place)}</code></span></li>'
        for number, frame in enumerate(frames)
    )
    return f'<ol class="hs-stack">{items}</ol>'


def _peak(process: Process) -> str:
    head, *rows = words.peak_text(process).split("\n")
    items = "".join(f"<li>{html.escape(row.strip())}</li>" for row in rows)
    return f'<p class="hs-peak">{html.escape(head)}</p><ul class="hs-peak">{items}</ul>'


def timeline(process: Process, head: str = "") -> Picture | None:
    """Draw live memory over time, with its peak."""
    points = process.timeline
    if len(points) < 2:
        return None
    peak = process.peak
    shift, unit = _unit(peak.bytes)
    scale = 1 << shift
    # times begin where the program did
    milli = points[-1].seconds < 1
    factor, clock = (1000, "ms") if milli else (1, "s")
    xs = [point.seconds * factor for point in points]
    ys = [point.bytes / scale for point in points]
    fig, ax = plot(280, 76)
    colour = theme.COLOUR
    with theme.style():
        ax.fill_between(xs, ys, step="post", color=colour["payload"], linewidth=0)
        ax.step(xs, ys, where="post", color=colour["header"], linewidth=1.8)
        top = peak.bytes / scale or 1
        place = peak.seconds * factor
        left = place > (xs[0] + xs[-1]) / 2
        ax.plot([place], [top], marker="v", markersize=8, color=colour["fault-text"])
        ax.annotate(
            f"peak {words.bytes_(peak.bytes)}",
            (place, top),
            (-8 if left else 8, 6),
            textcoords="offset points",
            ha="right" if left else "left",
            color=colour["fault-text"],
        )
        ax.set_ylim(0, top * 1.2)
        ax.set_xlim(0, xs[-1] * 1.02 or 1)
        ax.set_xlabel(f"{clock} since the program began")
        ax.set_ylabel(unit)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    end = points[-1]
    alt = (
        f"Live memory rose to {words.bytes_(peak.bytes)} after {peak.seconds:,.3f} s and was "
        f"{words.bytes_(end.bytes)} at the end, after {end.seconds:,.3f} s."
    )
    step = max(1, len(points) // 20)
    some = sorted({*points[::step], points[-1]}, key=lambda point: point.seconds)
    rows = [(f"{p.seconds:,.4f}", f"{p.bytes:,}", f"{p.blocks:,}") for p in some]
    table = Grid.of(("seconds", "live bytes", "live blocks"), rows)
    title = "Live memory over time" + (f": {head}" if head else "")
    return picture(fig, title=title, alt=alt, table=table, caption="recorded by heapscope trace")


def _unit(number: int) -> tuple[int, str]:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number >= 4 << shift:
            return shift, unit
    return 0, "bytes"


def sizes(process: Process, head: str = "") -> Picture | None:
    """Draw how many allocations there were of each size, and how many of them are left."""
    found = process.sizes
    if not found:
        return None
    names = [f"{words.short(size.high)}" for size in found]
    most = max(size.blocks for size in found)
    fig, ax = plot(260, 104 if most >= 100_000 else 84)
    colour = theme.COLOUR
    with theme.style():
        places = range(len(found))
        ax.bar(
            places, [s.blocks for s in found], color=colour["payload"], edgecolor=colour["header"]
        )
        ax.bar(
            places,
            [s.live for s in found],
            width=0.4,
            color=colour["fault"],
            label="not freed",
        )
        if most > 200:
            ax.set_yscale("log")
            ax.set_ylim(0.7, most * 3)
        every = max(1, -(-len(found) // 12))
        ax.set_xticks(list(places)[::every], names[::every])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        ax.set_xlabel("bytes asked for, up to")
        ax.set_ylabel("allocations")
        if any(size.live for size in found):
            ax.legend(loc="upper right", fontsize=11, labelcolor=theme.ink)
    usual = max(found, key=lambda size: size.blocks)
    left = sum(size.live for size in found)
    alt = (
        f"Most of the {process.allocations:,} allocations, {usual.blocks:,}, were of "
        f"{words.range_(usual.low, usual.high)} bytes; {left:,} of all were not freed."
    )
    rows = [
        (words.range_(s.low, s.high), f"{s.blocks:,}", f"{s.bytes:,}", f"{s.live:,}") for s in found
    ]
    table = Grid.of(("size", "allocations", "bytes", "not freed"), rows)
    title = "Sizes of allocations" + (f": {head}" if head else "")
    caption = "recorded by heapscope trace" + (" · log scale" if most > 200 else "")
    return picture(fig, title=title, alt=alt, table=table, caption=caption)

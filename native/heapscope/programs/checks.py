"""What the tools said, side by side: the object that ``check_c`` and ``Run.check`` return."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapscope.programs.result import Run, visible
from heapscope.programs.verdict import Kind, Place, Report, Source, Verdict

if TYPE_CHECKING:
    from heapscope.model.film import Film

VERSION = 1
_LINES = 12  # of a program's output are shown in a cell
_WIDTH = 56  # columns that a cell takes in plain text
# Whose word counts where tools differ: the one that sees most first.
_ORDER = ("asan", "valgrind", "race", "plain")
_MORE = 4  # further findings of one tool are shown


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning of the compiler."""

    line: int
    text: str

    def __str__(self) -> str:
        """Return "line 9: pointer ‘tmp’ used after ‘free’ [-Wuse-after-free]"."""
        return f"line {self.line}: {self.text}"


# A line of a cell: words, then code, then the number of the program's line they speak of.
_Line = tuple[str, str, int | None]
_Cell = list[_Line]


class Checks:
    """A program and what each tool says about it.

    ``checks["asan"]`` is a tool's `Report`; ``checks.plain``, ``.asan``, ``.valgrind`` and
    ``.race`` are the words of its first finding, "" when there is none. In a notebook it shows a
    table.

    Attributes:
        source: the program's text with its name.
        language: "c", "c++" or "go".
        run: the plain run; `run.compiled` is False if nothing could be checked.
        reports: one for each tool, in the order of display.
        warnings: what the compiler says without running the program.

    """

    def __init__(
        self,
        source: Source,
        language: str,
        run: Run,
        reports: tuple[Report, ...],
        warnings: tuple[Warned, ...] = (),
    ) -> None:
        self.source = source
        self.language = language
        self.run = run
        self.reports = reports
        self.warnings = warnings
        self._anchors: dict[int, str] = {}

    def link(self, film: Film, name: str) -> None:
        """Link each line of the table to the first frame of `film` that shows it as executed.

        `name` is the id of the film's element on the page.
        """
        for number, shot in enumerate(film.frames):
            if shot.line is not None:
                self._anchors.setdefault(shot.line, f"{name}-{number}")

    def __getitem__(self, name: str) -> Report:
        """Return a tool's report; KeyError lists the tools."""
        for report in self.reports:
            if report.name == name:
                return report
        known = ", ".join(report.name for report in self.reports) or "none: it does not compile"
        raise KeyError(f"no tool called {name!r} ran; there are {known}")

    def _words(self, name: str) -> str:
        return next((r.verdict.text for r in self.reports if r.name == name), "")

    @property
    def plain(self) -> str:
        """What the program's own libraries said, or how it was killed."""
        return self._words("plain")

    @property
    def asan(self) -> str:
        """What ASan, UBSan or LeakSanitizer said first."""
        return self._words("asan")

    @property
    def valgrind(self) -> str:
        """What valgrind said first."""
        return self._words("valgrind")

    @property
    def race(self) -> str:
        """What Go's race detector said first."""
        return self._words("race")

    @property
    def verdict(self) -> Verdict:
        """The finding of the tool that sees most, or a verdict of kind none."""
        found = {report.name: report.verdict for report in self.reports if report.fault}
        for name in _ORDER:
            if name in found:
                return found[name]
        return Verdict(Kind.NONE, "", "none")

    @property
    def kind(self) -> Kind:
        """What kind of fault the program has."""
        return self.verdict.kind

    @property
    def fault(self) -> bool:
        """Whether any tool that ran found something."""
        return any(report.fault for report in self.reports)

    def sentence(self) -> str:
        """Say in one sentence what was found and by whom."""
        if not self.run.compiled:
            return "The program does not compile."
        ran = [report for report in self.reports if report.run is not None]
        found: dict[Kind, list[str]] = {}
        for report in ran:
            if report.fault:
                found.setdefault(report.verdict.kind, []).append(report.label)
        if not found:
            who = _list([report.label for report in ran])
            return f"No fault found by {who}."
        parts = [f"{kind.value} ({_list(labels)})" for kind, labels in found.items()]
        silent = [report.label for report in ran if not report.fault]
        end = f"; nothing from {_list(silent)}" if silent else ""
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}{end}."

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "version": VERSION,
            "file": self.source.file,
            "language": self.language,
            "compiled": self.run.compiled,
            "diagnostics": self.run.diagnostics,
            "fault": self.fault,
            "kind": self.kind.value,
            "sentence": self.sentence(),
            "tools": [report.to_json() for report in self.reports],
            "warnings": [{"line": w.line, "text": w.text} for w in self.warnings],
        }

    # ------------------------------------------------------------------ display

    def _rows(self) -> list[tuple[str, list[_Cell]]]:
        """Return the table's rows: a heading and a cell for each tool."""

        def leak(verdict: Verdict) -> bool:
            return verdict.kind is Kind.LEAK

        reports = self.reports
        verdicts = [report.verdict for report in reports]
        rows: list[tuple[str, list[_Cell]]] = [
            ("it says", [_says(report) for report in reports]),
        ]
        rows += [
            ("it is", [_text(v.kind.value if v.fault else "") for v in verdicts]),
            ("about", [_place(v.at) for v in verdicts]),
            ("and", [_place(v.also) for v in verdicts]),
            (
                "first freed at" if self.kind is Kind.DOUBLE_FREE else "freed at",
                [_place(v.freed) or _text("" if leak(v) else v.note) for v in verdicts],
            ),
            (
                "allocated at",
                [_place(v.allocated) or _text(v.note if leak(v) else "") for v in verdicts],
            ),
            ("also found", [_further(report) for report in reports]),
        ]
        rows = [(head, cells) for head, cells in rows if head == "it says" or any(cells)]
        rows.append(("the program printed", [_printed(report.run) for report in reports]))
        rows.append(("ended", [_text(r.run.ended() if r.run else "") for r in reports]))
        return rows

    def __repr__(self) -> str:
        return f"<Checks: {self.sentence()}>"

    def __str__(self) -> str:
        """Return the table as plain text."""
        if not self.run.compiled:
            return f"{visible(self.run.diagnostics).rstrip()}\n{self.sentence()}"
        head = ["", *(report.label for report in self.reports)]
        table = [[[cell] for cell in head]]
        for name, cells in self._rows():
            table.append([[name], *([_plain(line) for line in cell] for cell in cells)])
        lines = [self.sentence(), "", *_aligned(table)]
        if self.warnings:
            lines += ["", "the compiler, without running it:"]
            lines += [f"  {visible(str(warning))}" for warning in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the table as HTML; each line of the program carries ``data-line``."""
        sentence = f'<p class="hs-verdict"><strong>{_escape(self.sentence())}</strong></p>'
        if not self.run.compiled:
            said = _escape(self.run.diagnostics.rstrip())
            return f'<div class="hs-checks"><pre>{said}</pre>{sentence}</div>'
        head = "".join(f'<th scope="col">{_escape(r.label)}</th>' for r in self.reports)
        body = []
        for name, cells in self._rows():
            row = "".join(f"<td>{'<br>'.join(map(self._rich, cell))}</td>" for cell in cells)
            body.append(f'<tr><th scope="row">{name}</th>{row}</tr>')
        warnings = ""
        if self.warnings:
            items = "".join(
                f'<li><span data-line="{w.line}">{_escape(str(w))}</span></li>'
                for w in self.warnings
            )
            warnings = f"<p>The compiler, without running it:</p><ul>{items}</ul>"
        return (
            f'<div class="hs-checks">{sentence}<table class="hs-table"><thead><tr><td></td>{head}'
            f"</tr></thead><tbody>{''.join(body)}</tbody></table>{warnings}</div>"
        )

    def _rich(self, line: _Line) -> str:
        words, code, number = line
        text = _escape(words) + (f"<code>{_escape(code)}</code>" if code else "")
        if number is None:
            return text
        if anchor := self._anchors.get(number):
            return f'<a href="#{html.escape(anchor)}" data-line="{number}">{text}</a>'
        return f'<span data-line="{number}">{text}</span>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _list(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _text(words: str) -> _Cell:
    return [(words, "", None)] if words else []


def _place(place: Place | None) -> _Cell:
    if place is None:
        return []
    words = f"line {place.line}: " if place.text else f"line {place.line}"
    return [(words, place.text, place.line)]


def _says(report: Report) -> _Cell:
    if report.verdicts:
        return _text(report.verdict.text)
    return _text(report.missing or "nothing")


def _further(report: Report) -> _Cell:
    cell: _Cell = []
    for verdict in report.verdicts[1 : _MORE + 1]:
        place = verdict.at or verdict.allocated
        where = f", line {place.line}" if place else ""
        cell.append((f"{verdict.kind.value}{where}", "", place.line if place else None))
    left = len(report.verdicts) - 1 - _MORE
    if left > 0:
        cell.append((f"and {left} more", "", None))
    return cell


def _printed(run: Run | None) -> _Cell:
    if run is None:
        return []
    if not run.stdout:
        return _text("nothing")
    lines = visible(run.stdout).rstrip("\n").split("\n")
    cell: _Cell = [(line, "", None) for line in lines[:_LINES]]
    if len(lines) > _LINES:
        cell.append((f"[{len(lines) - _LINES} more lines]", "", None))
    return cell


def _escape(text: str) -> str:
    return html.escape(visible(text))


def _plain(line: _Line) -> str:
    text = visible(line[0] + line[1])
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _aligned(table: list[list[list[str]]]) -> list[str]:
    """Lay a table out in columns; each cell is a list of lines."""
    columns = range(len(table[0]))
    width = [max((len(line) for row in table for line in row[c]), default=0) for c in columns]
    out = []
    for number, row in enumerate(table):
        for i in range(max(1, *(len(cell) for cell in row))):
            parts = [(row[c][i] if i < len(row[c]) else "").ljust(width[c]) for c in columns]
            out.append("  ".join(parts).rstrip())
        if number == 0:
            out.append("  ".join("-" * w for w in width))
    return out

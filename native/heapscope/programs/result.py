"""What came of a program: the object that ``run_c`` and ``run_go`` return and a cell shows."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heapscope.programs.reports import go_trace

if TYPE_CHECKING:
    from heapscope.model.film import Film
    from heapscope.programs.bench import Bench
    from heapscope.programs.checks import Checks

# Control characters, and those that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# Inline, so that a notebook looks the same without the site's style sheet; the classes are there
# for the site. Only the current text colour is used, so it follows any theme.
_PRE = "margin:0;padding:0.1em 0.6em;white-space:pre-wrap;background:none;border:0;color:inherit"
_MARKED = "border-left:3px solid currentColor;margin:0.3em 0"
_LABEL = "font-size:0.8em;padding-left:0.8em;opacity:0.8"
_END = "margin:0.2em 0;padding:0 0.6em"


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    r"""A program that was compiled and, if that worked, run.

    Attributes:
        source: the text as it was given.
        language: "c", "c++" or "go".
        compiled: False if the compiler refused it; then nothing ran.
        diagnostics: all that the compiler said, under the names and line numbers of `source`.
        warnings: the compiler's warnings, one a line: "line 3: unused variable ‘x’ [-Wunused…]".
        stdout, stderr: what the program wrote, apart. Bytes that are not UTF-8 read ``\xff``.
        exit: the exit status, or None if a signal ended it, it was stopped or it never ran.
        signal: the name of the signal that ended it, "SIGABRT", or None.
        stopped: None, or why it was ended from outside: "stopped after 10 s".
        timed_out: True if it was stopped because of the time.
        report: what valgrind or a sanitizer said, without process numbers, addresses and paths.
        peak_rss: the largest resident size in bytes; small programs show the runner's own 10 MB.
        seconds: how long it ran, in seconds of wall-clock time.
        options: what `run_c` or `run_go` was given besides the text.

    """

    source: str
    language: str
    compiled: bool
    diagnostics: str = ""
    warnings: str = ""
    stdout: str = ""
    stderr: str = ""
    exit: int | None = None
    signal: str | None = None
    stopped: str | None = None
    timed_out: bool = False
    report: str = ""
    peak_rss: int = 0
    seconds: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    kept: dict[str, Any] = field(default_factory=dict, compare=False)  # film and checks, once made

    def ended(self) -> str:
        """Say how it ended: "exit status 0", "killed by SIGSEGV", "stopped after 10 s"."""
        if not self.compiled:
            return "not compiled"
        if self.stopped:
            return self.stopped
        if self.signal:
            return f"killed by {self.signal}"
        return f"exit status {self.exit}"

    @property
    def film(self) -> Film:
        """The program stepped line by line, with its heap; recorded when it is first asked for."""
        if "film" not in self.kept:
            from heapscope.programs.filming import record

            self.kept["film"] = record(self.source, self.language, self.options)
        film: Film = self.kept["film"]
        return film

    @property
    def bench(self) -> Bench:
        """What ``--bench`` measured; AttributeError when the cell did not ask for it."""
        if "bench" not in self.kept:
            raise AttributeError("nothing was measured: run the cell with --bench")
        bench: Bench = self.kept["bench"]
        return bench

    def check(self) -> Checks:
        """Run the program again under each tool and return what they say, side by side.

        C: plain glibc, ASan with UBSan, valgrind. Go: plain, ``-asan`` and, where the program
        starts goroutines, ``-race``.
        """
        if "checks" not in self.kept:
            from heapscope.programs.check import check

            self.kept["checks"] = check(self.source, self.language, self.options)
        checks: Checks = self.kept["checks"]
        return checks

    def _parts(self) -> list[tuple[str, str]]:
        """Return (what, text) in the order of display; "end" comes last."""
        parts = [
            ("compiler", self.diagnostics),
            ("stdout", self.stdout),
            ("stderr", go_trace(self.stderr) if self.language == "go" else self.stderr),
            ("report", self.report),
        ]
        shown = [(what, text) for what, text in parts if text.strip()]
        # A program that printed something and succeeded needs no further word.
        if self.exit != 0 or not any(what == "stdout" for what, _ in shown):
            shown.append(("end", f"[{self.ended()}]"))
        return shown

    def __repr__(self) -> str:
        return f"<Run: {self.ended()}>"

    def __str__(self) -> str:
        """Return what a cell shows, as plain text; lines of stderr begin with "stderr | "."""
        lines: list[str] = []
        for what, text in self._parts():
            mark = "" if what in ("stdout", "end") else f"{what} | "
            lines += [mark + line for line in visible(text).rstrip("\n").split("\n")]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return what a cell shows, as HTML."""
        pieces = []
        for what, text in self._parts():
            words = html.escape(visible(text).rstrip("\n"), quote=False)
            if what == "end":
                pieces.append(f'<p class="hs-end" style="{_END}"><code>{words}</code></p>')
            elif what == "stdout":
                pieces.append(f'<pre class="hs-stdout" style="{_PRE}">{words}</pre>')
            else:
                pieces.append(
                    f'<div class="hs-{what}" style="{_MARKED}"><span style="{_LABEL}">{what}</span>'
                    f'<pre style="{_PRE}">{words}</pre></div>'
                )
        return f'<div class="hs-run">{"".join(pieces)}</div>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def visible(text: str) -> str:
    r"""Write control characters out, so that a program cannot garble the page: ``\x1b``."""

    def written(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _CONTROL.sub(written, text.replace("\r\n", "\n"))

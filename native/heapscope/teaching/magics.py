"""The cell magics ``%%c`` and ``%%go``: the rest of the cell is a program.

They are a thin dress of ``run_c`` and ``run_go`` and of what looks closer at a program: its film,
its checks, its time. How their line is read stands in ``options``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import heapscope
from heapscope.programs import runner
from heapscope.programs.c import run_c
from heapscope.programs.go import run_go
from heapscope.programs.result import Run
from heapscope.teaching import options
from heapscope.teaching.options import Request, UsageError

if TYPE_CHECKING:
    from heapscope.model.film import Film
    from heapscope.programs.checks import Checks

# What a notebook has after `%load_ext heapscope`, unless it has something of that name already.
_GIVEN = ("run_c", "run_go", "Table", "claim", "question", "check", "Heap")

# Programs that exercises start from, by (magic, exercise).
_starts: dict[tuple[str, str], str] = {}


class CompileError(UsageError):
    """The program in a cell does not compile. What the compiler said stands above."""


def c_magic(line: str, cell: str) -> None:
    """Do what the line of a ``%%c`` cell asks; the help is made by `options.help_text`."""
    _Cell("c", line, cell).do()


def go_magic(line: str, cell: str) -> None:
    """Do what the line of a ``%%go`` cell asks; the help is made by `options.help_text`."""
    _Cell("go", line, cell).do()


class _Cell:
    """One cell at work."""

    def __init__(self, magic: str, line: str, cell: str) -> None:
        from IPython.core.getipython import get_ipython

        self.request: Request = options.parse(line, magic)
        self.magic = magic
        self.cell = cell
        shell = get_ipython()
        self.names: dict[str, Any] = {} if shell is None else shell.user_ns
        self.language = "go" if magic == "go" else self.request.arguments.get("language", "c")

    def do(self) -> None:
        """Run the cell, keep and show what came of it."""
        request = self.request
        text = self.cell
        if "after" in request.names:
            text = self._earlier("after").source.rstrip("\n") + "\n" + text
        against = self._film_of("against") if "against" in request.names else None
        try:
            if "exercise" in request.names:
                self._exercise(request.names["exercise"])
            elif "bench" in request.modes:
                self._bench(text)
            else:
                self._run(text, against)
        except (RuntimeError, ValueError) as error:  # a missing tool, what cannot be filmed
            raise UsageError(f"%%{self.magic}: {error}") from error

    # ------------------------------------------------------------ the modes

    def _run(self, text: str, against: Film | None) -> None:
        """Run the program; --film and --check look closer at it."""
        modes, arguments = self.request.modes, dict(self.request.arguments)
        checks = None
        if "check" in modes:
            checks = self._checks(text, arguments)
            run = replace(checks.run, options=arguments)
            run.kept["checks"] = checks
        elif self.magic == "go":
            if "race" in modes:
                arguments["flags"] = [*runner.words(arguments.get("flags", "")), "-race"]
            run = run_go(text, **arguments)
        else:
            run = run_c(text, **arguments)
        self._keep(run)
        if not run.compiled or checks is None or "film" in modes:
            _display(run)
        self._compiled(run)
        if not run.compiled:
            return
        if "film" in modes:
            self._show_film(run, against)
        if checks is not None:
            if "film" in modes and self.request.name:
                views = import_module("heapscope.views.film")
                checks.link(run.film, views.player(run.film, name=self.request.name).id)
            _display(checks)

    def _checks(self, text: str, arguments: dict[str, Any]) -> Checks:
        from heapscope.programs.check import check_c, check_go

        if self.magic == "c":
            return check_c(text, **arguments)
        return check_go(text, **arguments, race=True if "race" in self.request.modes else None)

    def _show_film(self, run: Run, against: Film | None) -> None:
        views = import_module("heapscope.views.film")
        name = self.request.name
        film = run.film
        if name:
            film = run.kept["film"] = replace(film, title=name)
        if against is None:
            asked = _frames_of(film, self.request.questions, self.magic)
            _display(views.player(film, name=name, questions=asked))
        else:
            _display(views.compare(film, against, name=name))

    def _bench(self, text: str) -> None:
        from heapscope.programs import bench

        measure = bench.bench_go if self.magic == "go" else bench.bench_c
        found = measure(text, **self.request.arguments)
        found.run.kept["bench"] = found
        self._keep(found.run)
        _display(found)
        self._compiled(found.run)

    def _exercise(self, name: str) -> None:
        """Define an exercise, or judge an answer to it."""
        from heapscope.teaching import attempt as attempts
        from heapscope.teaching.exercises import check

        place = attempts.place_in(self.cell)
        if place is not None:
            _starts[self.magic, name] = self.cell
            _display(_Said(f"Exercise {name}: write what belongs in the place of {place}."))
            return
        start = _starts.get((self.magic, name))
        text = attempts.fill(start, self.cell) if start else self.cell
        arguments = self.request.arguments
        answer = attempts.Attempt(
            text, name=name, cell=self.cell, language=self.language, options=arguments
        )
        self._keep(answer.run())
        if not answer.run().compiled:
            _display(answer.run())
        try:
            check(name, answer)
        except LookupError as error:
            raise UsageError(f"%%{self.magic} --exercise: {error.args[0]}.") from None

    # ------------------------------------------------------------ what they share

    def _keep(self, run: Run) -> None:
        if self.request.name:
            self.names[self.request.name] = run

    def _compiled(self, run: Run) -> None:
        if not run.compiled and "may-fail" not in self.request.modes:
            raise CompileError("The program does not compile. The compiler's message stands above.")

    def _earlier(self, option: str) -> Run:
        """Return the run that --after or --against names."""
        name = self.request.names[option]
        run = self.names.get(name)
        if not isinstance(run, Run):
            runs = [key for key, value in self.names.items() if isinstance(value, Run)]
            known = f"There are {', '.join(runs)}." if runs else "No cell has a name yet."
            raise UsageError(
                f"%%{self.magic} --{option}: no earlier cell is called {name}. {known} "
                f"A cell is named after the magic: %%{self.magic} {name}"
            )
        if option == "after" and (run.language == "go") != (self.magic == "go"):
            raise UsageError(
                f"%%{self.magic} --after: {name} is a program in {run.language.upper()}, and this "
                f"cell is one in {self.language.upper()}."
            )
        return run

    def _film_of(self, option: str) -> Film:
        from heapscope.model.film import Film

        value = self.names.get(self.request.names[option])
        return value if isinstance(value, Film) else self._earlier(option).film


def _frames_of(film: Film, questions: Mapping[int, str], magic: str) -> dict[int, str]:
    """Return the questions by frame: each belongs to the first time that its line has run."""
    asked = {}
    for line, text in questions.items():
        frame = next((n for n, shot in enumerate(film.frames) if n and shot.line == line), None)
        if frame is None:
            ran = sorted({shot.line for shot in film.frames if shot.line is not None})
            raise UsageError(
                f"%%{magic}: --predict asks about line {line}, which is not in the film. "
                f"Lines that ran: {', '.join(map(str, ran))}."
            )
        asked[frame] = text
    return asked


class _Said:
    """A sentence as a cell's output."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from html import escape

        return {"text/plain": self.text, "text/html": f'<p class="hs-note">{escape(self.text)}</p>'}


def _display(thing: object) -> None:
    from IPython.display import display

    display(thing)  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------- IPython


def _complete(shell: Any, event: Any) -> list[str]:
    """Complete the options on the line of a magic (IPython's hook ``complete_command``)."""
    runs = {name: value.language for name, value in shell.user_ns.items() if isinstance(value, Run)}
    line = event.line[: len(event.text_until_cursor)] if event.text_until_cursor else event.line
    return options.complete(line, event.symbol, runs)


def load_ipython_extension(shell: Any) -> None:
    """Register ``%%c`` and ``%%go`` and give the notebook the names that its cells use."""
    _starts.clear()
    for name, function in (("c", c_magic), ("go", go_magic)):
        function.__doc__ = options.help_text(name)
        shell.register_magic_function(function, magic_kind="cell", magic_name=name)
        shell.set_hook("complete_command", _complete, str_key=f"%%{name}")
    for name in _GIVEN:
        if name not in shell.user_ns:
            shell.user_ns[name] = _public(name)


def _public(name: str) -> Any:
    """Return a public name of the package, or a function that says why it cannot be had.

    The private heap needs glibc and a compiled module; the rest of a notebook works without.
    """
    try:
        return getattr(heapscope, name)
    except (ImportError, OSError) as error:
        reason = f"heapscope.{name} cannot be used here: {error}"

        def missing(*args: object, **options: object) -> None:
            raise ImportError(reason)

        return missing

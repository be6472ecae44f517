"""The cell magics ``%%c`` and ``%%go``: the rest of the cell is a program.

They are a thin dress of ``run_c`` and ``run_go``; here is only what a command line needs.
"""

from __future__ import annotations

import keyword
import shlex
from collections.abc import Callable
from typing import Any

import heapscope
from heapscope.programs.c import run_c
from heapscope.programs.go import run_go
from heapscope.programs.result import Run

# What a notebook has after `%load_ext heapscope`, unless it has something of that name already.
_GIVEN = ("run_c", "run_go", "Table", "claim", "question", "check", "Heap")

_C_OPTIONS = ("std", "flags", "cc", "language", "under", "stdin", "args", "timeout", "env")
_GO_OPTIONS = ("flags", "stdin", "args", "timeout", "env")
_LATER = ("film", "check", "race", "bench", "after", "exercise", "against")


class UsageError(Exception):
    """A magic was used in a way it does not know; shown as one sentence, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class CompileError(UsageError):
    """The program in a cell does not compile. What the compiler said stands above."""


def c_magic(line: str, cell: str) -> None:
    r"""Compile and run the C program in this cell.

    %%c [NAME] [options]

    NAME                 keep the run as a variable: NAME.stdout .stderr .exit .signal .ended()
                         .warnings .diagnostics .report .peak_rss
    --flags "-O2 …"      more options for the compiler
    --std c17            the language standard
    --cc clang           another compiler than gcc
    --language c++       C++
    --under valgrind     run it under valgrind
    --stdin "text\n"     its standard input
    --args "a b"         its arguments
    --env NAME=value     an environment variable; may stand several times
    --timeout 10         seconds after which it is stopped
    --may-fail           a program that does not compile is no error of the cell

    A cell without main becomes the body of one, with the usual includes. It is compiled with
    -std=c17 -g -O0 -fno-builtin -Wall -Wextra. Shown are what the compiler said, stdout, stderr and
    how the program ended.
    """
    _cell(line, cell, "c", _C_OPTIONS, run_c)


def go_magic(line: str, cell: str) -> None:
    r"""Compile and run the Go program in this cell.

    %%go [NAME] [options]

    NAME                 keep the run as a variable: NAME.stdout .stderr .exit .signal .ended()
                         .diagnostics .report .peak_rss
    --flags "-gcflags=-m"  more options for go build
    --stdin "text\n"     its standard input
    --args "a b"         its arguments
    --env NAME=value     an environment variable; may stand several times
    --timeout 60         seconds after which it is stopped
    --may-fail           a program that does not compile is no error of the cell

    A cell without func main becomes the body of one. Package, imports and, where C. is used,
    import "C" are added; a comment at the very beginning is then cgo's preamble.
    """
    _cell(line, cell, "go", _GO_OPTIONS, run_go)


def _cell(
    line: str, cell: str, magic: str, options: tuple[str, ...], run: Callable[..., Run]
) -> None:
    """Run a cell, keep and show the result."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    name, arguments, may_fail = parse(line, magic, options)
    result = run(cell, **arguments)
    shell = get_ipython()
    if name and shell is not None:
        shell.user_ns[name] = result
    display(result)  # type: ignore[no-untyped-call]
    if not result.compiled and not may_fail:
        raise CompileError("The program does not compile. The compiler's message stands above.")


def parse(
    line: str, magic: str, options: tuple[str, ...]
) -> tuple[str | None, dict[str, Any], bool]:
    """Read the line of a magic: return (NAME or None, arguments, whether it may fail to compile).

    Raises UsageError with a sentence for a line it does not understand.
    """
    known = ", ".join(f"--{option}" for option in (*options, "may-fail"))
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%{magic}: {error}. A value with spaces stands in quotes.") from None
    name: str | None = None
    arguments: dict[str, Any] = {}
    may_fail = False
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            if name is not None:
                raise UsageError(
                    f"%%{magic} takes one name, and here are two: {name} and {word}. "
                    f"Options begin with two hyphens: {known}."
                )
            if not word.isidentifier() or keyword.iskeyword(word):
                raise UsageError(
                    f"%%{magic}: {word} is not a name for a variable. Options are {known}."
                )
            name = word
            continue
        option, equals, value = word[2:].partition("=")
        if option == "may-fail":
            may_fail = True
            continue
        if option in _LATER:
            raise UsageError(
                f"%%{magic} --{option} is planned and not there yet. What is there: {known}."
            )
        if option not in options:
            raise UsageError(f"%%{magic} does not know --{option}. It knows {known}.")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise UsageError(f"%%{magic}: --{option} needs a value after it.")
            value = following
        _set(arguments, magic, option, value)
    return name, arguments, may_fail


def _set(arguments: dict[str, Any], magic: str, option: str, value: str) -> None:
    """Put one option's value among the arguments, in the type that run_c and run_go take."""
    if option == "timeout":
        try:
            arguments[option] = float(value)
        except ValueError:
            raise UsageError(f"%%{magic}: --timeout is a number of seconds, not {value}.") from None
        if not arguments[option] > 0:
            raise UsageError(f"%%{magic}: --timeout is more than 0 seconds.")
    elif option == "env":
        variable, equals, content = value.partition("=")
        if not equals or not variable:
            raise UsageError(f"%%{magic}: --env takes NAME=value, not {value}.")
        arguments.setdefault("env", {})[variable] = content
    elif option == "stdin":
        arguments[option] = value.replace("\\n", "\n").replace("\\t", "\t")
    elif option == "cc" and value not in ("gcc", "clang"):
        raise UsageError(f"%%{magic}: --cc is gcc or clang, not {value}.")
    elif option == "language" and value not in ("c", "c++"):
        raise UsageError(f"%%{magic}: --language is c or c++, not {value}.")
    elif option == "under" and value != "valgrind":
        raise UsageError(f"%%{magic}: --under is valgrind, not {value}.")
    else:
        arguments[option] = value


def load_ipython_extension(shell: Any) -> None:
    """Register ``%%c`` and ``%%go`` and give the notebook the names that its cells use."""
    for name, function in (("c", c_magic), ("go", go_magic)):
        shell.register_magic_function(function, magic_kind="cell", magic_name=name)
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

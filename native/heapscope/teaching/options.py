"""The line after ``%%c`` and ``%%go``: which options there are, and how they are read."""

from __future__ import annotations

import difflib
import keyword
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


class UsageError(Exception):
    """A magic was used in a way it does not know; shown as one sentence, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its name, what stands for its value (None: it takes none), which magics know it.

    `choices` are its only values, `elsewhere` what the magics that do not know it say.
    """

    name: str
    value: str | None
    text: str
    magics: tuple[str, ...] = ("c", "go")
    choices: tuple[str, ...] = ()
    elsewhere: str = ""


# In the order of the help. The first group is what is done with the program, the second how it is
# compiled and run.
OPTIONS = (
    Option("film", None, "step through it line by line and show the heap: NAME.film"),
    Option("check", None, "run it under each tool, side by side: NAME.check()"),
    Option("bench", None, "measure: C the whole program, Go its func Benchmark…: NAME.bench"),
    Option(
        "race",
        None,
        "build it with Go's race detector",
        ("go",),
        elsewhere="it is Go's; in C try --flags -fsanitize=thread",
    ),
    Option("after", "NAME", "put the source of an earlier cell in front of this one"),
    Option("exercise", "NAME", "this cell is the answer to an exercise: judge it"),
    Option("against", "NAME", "with --film: on one slider with the film of an earlier cell"),
    Option(
        "predict",
        '"LINE: …?"',
        "with --film: ask before it shows what that line did; may stand often",
    ),
    Option("flags", '"-O2 …"', "more options for the compiler (Go: for go build)"),
    Option("std", "c17", "the language standard", ("c",), elsewhere="it is C's"),
    Option("cc", "clang", "another compiler than gcc", ("c",), ("gcc", "clang"), "it is C's"),
    Option("language", "c++", "C++", ("c",), ("c", "c++"), "it is C's"),
    Option("under", "valgrind", "run it under valgrind", ("c",), ("valgrind",), "it is C's"),
    Option("stdin", '"text\\n"', "its standard input"),
    Option("args", '"a b"', "its arguments"),
    Option("env", "NAME=value", "an environment variable; may stand several times"),
    Option("timeout", "10", "seconds after which it is stopped"),
    Option("may-fail", None, "a program that does not compile is no error of the cell"),
)

_SEVERAL = ("env", "predict")
"""Options that may stand there more than once."""

# Options that do not go together, with the reason.
_CLASHES = (
    ("bench", "film", "a film stops at each line, so there is nothing to measure"),
    ("bench", "check", "the tools make the program slow, so there is nothing to measure"),
    ("bench", "race", "the race detector makes the program slow, so there is nothing to measure"),
    ("bench", "under", "valgrind makes the program slow, so there is nothing to measure"),
    ("bench", "exercise", "an exercise is judged by what it does, not by its speed"),
    ("film", "race", "a film has one thread at a time"),
    ("film", "under", "a film is of the program alone"),
    ("film", "language", "a film is of a C or Go program"),
    ("against", "predict", "a question belongs to one film"),
    ("check", "under", "the check runs valgrind itself"),
    ("exercise", "after", "the exercise brings its own program"),
    ("exercise", "check", "an exercise is checked in any case"),
    ("exercise", "film", "give the cell to %%{magic} --film without --exercise to see it"),
    ("exercise", "against", "an exercise is compared with no other program"),
    ("exercise", "race", "an exercise is checked in any case"),
    ("exercise", "under", "an exercise is checked in any case"),
)


@dataclass(slots=True)
class Request:
    """What a line asks for.

    `arguments` are those of `run_c` or `run_go`; `modes` the options without a value; `names` the
    values of --after, --exercise and --against; `questions` those of --predict, by line.
    """

    magic: str
    name: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    modes: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    questions: dict[int, str] = field(default_factory=dict)


def known(magic: str) -> tuple[Option, ...]:
    """Return the options of a magic."""
    return tuple(option for option in OPTIONS if magic in option.magics)


def parse(line: str, magic: str) -> Request:
    """Read the line of a magic. Raises UsageError with a sentence for one it does not know."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%{magic}: {error}. A value with spaces stands in quotes.") from None
    request = Request(magic)
    seen: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            seen.append(_option(request, word, rest))
        else:
            _name(request, word)
    _clash(request, seen)
    return request


def _listed(magic: str) -> str:
    return ", ".join(f"--{option.name}" for option in known(magic))


def _name(request: Request, word: str) -> None:
    magic = request.magic
    if word.startswith("-"):
        raise UsageError(
            f"%%{magic} does not know {word}. Options of the compiler stand in --flags, "
            f'as in --flags "{word}".'
        )
    if request.name is not None:
        raise UsageError(
            f"%%{magic} takes one name, and here are two: {request.name} and {word}. "
            f"Options begin with two hyphens: {_listed(magic)}."
        )
    if not word.isidentifier() or keyword.iskeyword(word):
        raise UsageError(
            f"%%{magic}: {word} is not a name for a variable. Options are {_listed(magic)}."
        )
    request.name = word


def _option(request: Request, word: str, rest: Iterator[str]) -> str:
    """Read one option, with its value from `rest`; return its name."""
    magic = request.magic
    name, equals, value = word[2:].partition("=")
    option = next((option for option in known(magic) if option.name == name), None)
    if option is None:
        raise UsageError(_unknown(magic, name))
    if option.value is None:
        if equals:
            raise UsageError(f"%%{magic}: --{name} takes no value.")
        request.modes.add(name)
        return name
    if not equals:
        following = next(rest, None)
        if following is None:
            raise UsageError(f"%%{magic}: --{name} needs a value after it: {option.value}.")
        value = following
    if option.choices and value not in option.choices:
        raise UsageError(f"%%{magic}: --{name} is {' or '.join(option.choices)}, not {value}.")
    if name in ("after", "exercise", "against"):
        if value.startswith("-"):
            raise UsageError(f"%%{magic}: --{name} needs a name after it, not {value}.")
        request.names[name] = value
    elif name == "predict":
        _ask(request, value)
    else:
        _set(request, name, value)
    return name


def _ask(request: Request, value: str) -> None:
    """Read ``LINE: question``."""
    line, _, text = value.partition(":")
    if not line.strip().isdecimal() or not text.strip():
        raise UsageError(
            f"%%{request.magic}: --predict takes the number of a line and a question, as in "
            f'--predict "3: What will this word be?"; this is {value}.'
        )
    if int(line) in request.questions:
        raise UsageError(f"%%{request.magic}: --predict asks twice about line {int(line)}.")
    request.questions[int(line)] = text.strip()


def _unknown(magic: str, name: str) -> str:
    for option in OPTIONS:
        if option.name == name:
            return f"%%{magic} does not know --{name}: {option.elsewhere}."
    near = difflib.get_close_matches(name, [option.name for option in known(magic)], n=1)
    hint = f" Did you mean --{near[0]}?" if near else ""
    return f"%%{magic} does not know --{name}.{hint} It knows {_listed(magic)}."


def _set(request: Request, name: str, value: str) -> None:
    """Put one option's value among the arguments, in the type that run_c and run_go take."""
    magic, arguments = request.magic, request.arguments
    if name == "timeout":
        try:
            seconds = float(value)
        except ValueError:
            raise UsageError(f"%%{magic}: --timeout is a number of seconds, not {value}.") from None
        if not 0 < seconds < 1e6:
            raise UsageError(f"%%{magic}: --timeout is more than 0 seconds, and finite.")
        arguments[name] = seconds
    elif name == "env":
        variable, equals, content = value.partition("=")
        if not equals or not variable:
            raise UsageError(f"%%{magic}: --env takes NAME=value, not {value}.")
        arguments.setdefault("env", {})[variable] = content
    elif name == "stdin":
        arguments[name] = value.replace("\\n", "\n").replace("\\t", "\t")
    else:
        arguments[name] = value


def _clash(request: Request, seen: list[str]) -> None:
    for one, other, reason in _CLASHES:
        if one in seen and other in seen:
            # --language c is what is meant anyway.
            if other == "language" and request.arguments["language"] == "c":
                continue
            words = reason.format(magic=request.magic)
            raise UsageError(
                f"%%{request.magic}: --{one} and --{other} do not go together: {words}."
            )
    if "against" in request.names and "film" not in request.modes:
        raise UsageError(
            f"%%{request.magic}: --against compares two films: write --film "
            f"--against {request.names['against']}."
        )
    if request.questions and "film" not in request.modes:
        raise UsageError(
            f"%%{request.magic}: --predict asks within a film: write --film --predict."
        )
    twice = {name for name in seen if seen.count(name) > 1 and name not in _SEVERAL}
    if twice:
        raise UsageError(f"%%{request.magic}: --{min(twice)} stands there twice.")


_EXAMPLES = {
    "c": (
        "Compile and run the C program in this cell.",
        """\
    %%c                                what it prints, and how it ended
    char *p = malloc(24);
    free(p);
    free(p);

    %%c --film                         the same, line by line, with its heap
    %%c --film --predict "3: Why?"       ask before the film shows what line 3 does
    %%c --check                        glibc, ASan with UBSan, and valgrind, side by side
    %%c twice                          keep it: twice.stdout, twice.signal, twice.check()
    %%c --check --after twice          that cell's lines, then this cell's
    %%c fixed --film --against twice   two programs on one slider
    %%c --flags -O2 --stdin "3 4\\n"    other options for gcc; something to read
    %%c --bench                        the whole program, several times""",
        "A cell without main becomes the body of one, with the usual includes. It is compiled\n"
        "    with -std=c17 -g -O0 -fno-builtin -Wall -Wextra: no call of malloc is removed.",
    ),
    "go": (
        "Compile and run the Go program in this cell.",
        """\
    %%go                               what it prints, and how it ended
    p := C.CString("hello")
    fmt.Println(C.GoString(p))

    %%go --film                        the same, line by line, with both heaps
    %%go --check                       plain, with -asan, and with -race where it says something
    %%go --race                        with the race detector
    %%go lost                          keep it: lost.stdout, lost.exit, lost.check()
    %%go --bench                       each func BenchmarkName(b *testing.B) of the cell
    %%go --flags -gcflags=-m           what the compiler lets escape""",
        'A cell without func main becomes the body of one. Package, imports and import "C" are\n'
        "    added where they are missing; a comment at the very beginning is cgo's preamble.",
    ),
}


def help_text(magic: str) -> str:
    """Return what ``%%c?`` shows: examples first, then each option."""
    first, examples, last = _EXAMPLES[magic]
    forms = {o.name: f"--{o.name} {o.value or ''}".rstrip() for o in known(magic)}
    width = max(map(len, forms.values()))
    listed = "\n".join(f"    {forms[o.name]:<{width}}  {o.text}" for o in known(magic))
    name = "NAME"
    kept = "keep the run: NAME.stdout .stderr .exit .signal .ended() .check() .film"
    return (
        f"{first}\n\n    %%{magic} [NAME] [options]\n\n    Examples:\n\n{examples}\n\n"
        f"    Options:\n\n    {name:<{width}}  {kept}\n{listed}\n\n    {last}\n"
    )


def complete(line: str, symbol: str, names: dict[str, str]) -> list[str]:
    """Return what may stand in place of `symbol`, the word at the end of a magic's line.

    `names` are the runs of earlier cells with their languages.
    """
    words = line.split()
    magic = words[0].lstrip("%") if words else ""
    options = {option.name: option for option in known(magic)}
    if not options:
        return []
    before = words[:-1] if symbol and not line.endswith(" ") else words
    last = before[-1][2:] if len(before) > 1 and before[-1].startswith("--") else ""
    if last in options and options[last].value is not None:
        option = options[last]
        if option.choices:
            return [choice for choice in option.choices if choice.startswith(symbol)]
        if last in ("after", "against"):
            ours = ("go",) if magic == "go" else ("c", "c++")
            return [n for n, language in names.items() if language in ours and n.startswith(symbol)]
        return []
    used = {word[2:].partition("=")[0] for word in before if word.startswith("--")} - {*_SEVERAL}
    left = [f"--{name}" for name in options if name not in used]
    return [word for word in left if word.startswith(symbol)]

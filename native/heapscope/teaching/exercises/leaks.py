"""Chapter 7: a small C program that leaks on every way out."""

from __future__ import annotations

import re
from functools import cache

from heapscope.programs.c import run_c
from heapscope.programs.result import Run
from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise

ORIGINAL = r"""#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char *join(const char *a, const char *b) {
    char *left = strdup(a), *right = strdup(b);
    char *both = malloc(strlen(left) + strlen(right) + 2);
    sprintf(both, "%s %s", left, right);
    return both;
}
int main(int argc, char **argv) {
    char *text = join(argc > 1 ? argv[1] : "other", "heap");
    if (strlen(text) > 20)
        return 1;
    puts(text);
    return 0;
}"""
"""The program as the chapter shows it: what it prints is what is right."""

_WATCHED = ((), ("C",), ("c" * 30,))  # no word, a short one, one that does not fit
_PLAIN = (("",), ("a" * 15,), ("b" * 16,))  # the longest that fits, and one letter more

# In valgrind's report, the text of the program is program.c.
_LINE = re.compile(r"\(program\.c:(\d+)\)")
_ERROR = re.compile(
    r"^(?:\S*/)?program\.c:(\d+):(?:(?:\d+:)? (?:fatal )?error:| (?=undefined reference)) ?(.*)$",
    re.MULTILINE,
)
_IN_USE = re.compile(r"in use at exit: ([\d,]+) bytes? in ([\d,]+) block")

# valgrind's headlines, and what they mean
_FAULTS = (
    (
        re.compile(r"Invalid free\(\).*\n(?:.*\n)*?.*0 bytes inside a block.* free'd"),
        "A block was freed a second time",
    ),
    (re.compile(r"Invalid free\(\)"), "Something was freed that is no block from `malloc`"),
    (re.compile(r"Invalid read.*\n(?:.*\n)*?.* free'd"), "A block was read after it was freed"),
    (re.compile(r"Invalid read"), "Bytes were read that are no block's"),
    (re.compile(r"Invalid write.*\n(?:.*\n)*?.* free'd"), "A freed block was written to"),
    (re.compile(r"Invalid write"), "Bytes were written that are no block's"),
    (
        re.compile(r"Conditional jump|Use of uninit|Syscall param"),
        "Bytes that nobody had written were used",
    ),
    (re.compile(r"Mismatched free"), "A block was given back with the wrong function"),
)


@exercise("plug", takes=str)
def plug(answer: str) -> Verdict:
    """Check the text of the program: it prints what the original prints and frees what it makes."""
    for args in _WATCHED:
        # Blocks that are still reachable are named as well.
        watch = {"VALGRIND_OPTS": "--show-leak-kinds=all"}
        run = run_c(answer, args=args, under="valgrind", env=watch, timeout=60)
        _clean(run, args)
        _same(run, args)
    for args in _PLAIN:
        _same(run_c(answer, args=args), args)
    return Right(
        f"It prints what it printed before, and valgrind finds no block in use at the end, for "
        f"{_shown(())}, a short word and a long one."
    )


@cache
def _expected(args: tuple[str, ...]) -> Run:
    """Run the original."""
    return run_c(ORIGINAL, args=args)


def _same(run: Run, args: tuple[str, ...]) -> None:
    """Hint when the program does not compile, does not end well or prints something else."""
    if not run.compiled:
        raise Hint(_refused(run))
    shown, expected = _shown(args), _expected(args)
    if run.stopped or run.signal:
        said = run.stderr.strip().split("\n")[-1].replace("`", "'")
        raise Hint(f"{shown} was {run.ended()}." + (f" It said: {said}" if said else ""))
    if run.stdout != expected.stdout:
        raise Hint(
            f"{shown} should print {_printed(expected)}, and prints {_printed(run)}. What it "
            "prints must stay as it was."
        )
    if run.exit != expected.exit:
        raise Hint(
            f"{shown} should end with exit status {expected.exit}, as it did, and ends with "
            f"{run.exit}."
        )


def _clean(run: Run, args: tuple[str, ...]) -> None:
    """Hint when valgrind has found a fault, a lost block or one that is still in use."""
    shown = _shown(args)
    paragraphs = run.report.split("\n\n")
    for paragraph in paragraphs:
        for headline, words in _FAULTS:
            if headline.match(paragraph):
                raise Hint(f"valgrind says about {shown}: {words}{_at(run, paragraph)}")
    kept = [paragraph for paragraph in paragraphs if " in loss record " in paragraph]
    if kept:
        places = sorted({int(found[-1]) for p in kept if (found := _LINE.findall(p)[:1])})
        where = "\n".join(f"The block comes from {_line(run, place)}" for place in places)
        count = _in_use(run)
        raise Hint(
            f"{shown} ends with {count} block{'' if count == 1 else 's'} in use. Who frees "
            f"{'it' if count == 1 else 'them'}?" + (f"\n{where}" if where else "")
        )
    if count := _in_use(run):
        raise Hint(f"{shown} ends with {count} block{'' if count == 1 else 's'} in use.")


def _in_use(run: Run) -> int:
    found = _IN_USE.search(run.report)
    return int(found[2].replace(",", "")) if found else 0


def _refused(run: Run) -> str:
    """Return what the compiler said first."""
    if found := _ERROR.search(run.diagnostics):
        message = found[2].replace("`", "'").rstrip("?.")
        return f"It does not compile: {message}. See {_line(run, int(found[1]))}"
    lines = [line for line in run.diagnostics.replace("`", "'").splitlines() if line.strip()]
    return "It does not compile. " + " ".join(lines[-2:])


def _at(run: Run, paragraph: str) -> str:
    """Return ", at line 8: …" for the line of the program in which it happened."""
    found = _LINE.search(paragraph)
    return f", at {_line(run, int(found[1]))}" if found else "."


def _line(run: Run, number: int) -> str:
    lines = run.source.split("\n")
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"line {number}: `{text}`" if text and "`" not in text else f"line {number}."


def _shown(args: tuple[str, ...]) -> str:
    """Return the command line in words."""
    if not args:
        return "`./program`"
    (word,) = args
    if len(word) > 1:
        return f"`./program {word[0]}…` with a word of {len(word)} letters"
    return f"`./program {word}`" if word else '`./program ""`'


def _printed(run: Run) -> str:
    return repr(run.stdout) if run.stdout else "nothing"

"""Chapter 13: a benchmark that measures what it says."""

from __future__ import annotations

import re

from heapscope.programs.findings import go
from heapscope.programs.go import FILE, run_go
from heapscope.programs.scan import mask
from heapscope.programs.verdict import Source
from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.go_program import refused

_ROW = 512  # bytes of a [64]int
_REPORT = re.compile(r"^(\d+) allocations of (\d+) bytes$", re.MULTILINE)
_NEEDED = {
    r"\btesting\s*\.\s*Benchmark\s*\(": "`testing.Benchmark`, which chooses the number of rounds",
    r"\.\s*N\b|\.\s*Loop\s*\(": "a loop over `b.N`, the number of rounds",
    r"\.\s*AllocsPerOp\s*\(": "`r.AllocsPerOp()`, which the last line prints",
    r"\.\s*AllocedBytesPerOp\s*\(": "`r.AllocedBytesPerOp()`, which the last line prints",
    r"\[\s*64\s*\]\s*int\b": "the `[64]int` whose price is the question",
}
_STAYS = re.compile(r"(\d+):\d+: (?:new\(row\)|&row\{.*\}) does not escape")
_LEAVES = re.compile(r"(?:new\(row\)|&row\{.*\}) escapes to heap|moved to heap: ")


@exercise("measure", takes=str)
def measure(answer: str) -> Verdict:
    """Check the text of the program: each round of its benchmark allocates a row."""
    masked = mask(answer, raw_strings=True)
    for pattern, what in _NEEDED.items():
        if not re.search(pattern, masked):
            raise Hint(f"The benchmark has lost {what}.")
    run = run_go(answer, flags="-gcflags=-m=1")  # the compiler says what escapes
    if not run.compiled:
        raise Hint(refused(run))
    if findings := go(run, Source(answer, FILE)):
        at = f", at {findings[0].at}" if findings[0].at else ""
        raise Hint(f"The program ended with this complaint{at}\n{findings[0].text}")
    reports = _REPORT.findall(run.stdout)
    if run.exit != 0 or len(reports) != 1:
        raise Hint(
            f"The last line should print `1 allocations of {_ROW} bytes` or the like, once. It "
            f"ended with {run.ended()} and printed {run.stdout[-200:]!r}."
        )
    count, size = map(int, reports[0])
    stays = _STAYS.search(run.diagnostics)
    leaves = _LEAVES.search(run.diagnostics)
    if count == 0 or size < _ROW:
        raise Hint(
            f"It reports {count} allocation{'' if count == 1 else 's'} of {size} bytes in a round, "
            f"and a row has {_ROW}. {_why(stays, leaves is not None)}"
        )
    if stays and not leaves:
        raise Hint(
            f"It reports {size} bytes in a round, but they are not the row's: the compiler says "
            f"that the row of line {stays[1]} does not escape. Something else was allocated."
        )
    if count > 1 or size >= 2 * _ROW:
        raise Hint(
            f"It reports {count} allocation{'' if count == 1 else 's'} of {size} bytes in a round, "
            f"and a row is one of {_ROW}. What else is measured with it?"
        )
    return Right(
        f"{count} allocation of {size} bytes in each round: now the row is on the heap, because "
        "somebody outside of the round can still see it. Only now do the nanoseconds mean "
        "something."
    )


def _why(stays: re.Match[str] | None, leaves: bool) -> str:
    """Say why a row is not allocated in each round."""
    if stays:
        return (
            f"The compiler says of line {stays[1]} that the row does not escape: nobody uses `p` "
            "after the round, so it stays on the stack, or is not made at all."
        )
    if leaves:
        return (
            "A row does escape to the heap, but not in every round: the allocation belongs inside "
            "of the loop over `b.N`."
        )
    return "No row escapes to the heap: who outside of the round has to see `p`?"

"""Chapter 17: four mistakes in a small service."""

from __future__ import annotations

import re

from heapscope.programs.c import execute
from heapscope.programs.go import build, run_go
from heapscope.programs.result import Run
from heapscope.programs.runner import own_folder
from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise

_SESSIONS = {
    "a text of 24 letters": (
        "put ann exactly twenty-four ltrs\nput bob second\nget ann\nget bob\n",
        "exactly twenty-four ltrs\nsecond\n",
    ),
    "the empty text": ("put ann \nget ann\nstats\n", "\n1 texts\n"),
    "upper": (
        "put ann Some Text\nupper ann\nupper ann\nget ann\n",
        "SOME TEXT\n" * 2 + "Some Text\n",
    ),
    "put again": ("put ann one\nput ann two\nput ann three\nget ann\nstats\n", "three\n1 texts\n"),
    "drop twice": (
        "put ann one\ndrop ann\ndrop ann\nget ann\nstats\n",
        "ann is not here\n0 texts\n",
    ),
    "last after put": (
        "put ann the first one\nget ann\nput ann another one\nput bob x\nlast\n",
        "the first one\n" * 2,
    ),
    "last after drop": ("put ann gone\nget ann\ndrop ann\nput bob here\nlast\n", "gone\n" * 2),
    "nobody": ("get ann\nupper ann\ndrop ann\nlast\n", "ann is not here\n" * 2 + "\n"),
}
"""Commands, and what the service must answer."""
_ALL = "".join(commands for commands, _ in _SESSIONS.values())
_ASAN = re.compile(r"AddressSanitizer: ([\w-]+)")


@exercise("capstone", takes=str)
def capstone(answer: str) -> Verdict:
    """Run the repaired service, plainly and under ASan, through each of its commands."""
    with own_folder() as folder:
        program = folder / "service"
        built = build(answer, program)
        if not built.compiled:
            raise Hint(f"It does not compile.\n```\n{built.diagnostics.strip()[:600]}\n```")
        for what, (commands, expected) in _SESSIONS.items():
            run = execute(
                built,
                [str(program)],
                folder,
                stdin=commands,
                env=None,
                timeout=30,
                sanitized=False,
            )
            if run.stdout != expected or run.exit != 0:
                raise Hint(f"“{what}” goes wrong: {_difference(run, expected)}")
    watched = run_go(answer, stdin=_ALL, flags="-asan", timeout=120)
    if not watched.compiled:
        raise Hint(f"It does not build with `-asan`: {watched.diagnostics.strip()[:300]}")
    if watched.exit != 0:
        raise Hint(f"The answers are right, but `go build -asan` complains. {_complaint(watched)}")
    return Right(
        "All four are repaired: every command is answered right, and `-asan` has nothing to say. "
        "Each text has one owner that frees it once, and nobody keeps a view of it."
    )


def _difference(run: Run, expected: str) -> str:
    if run.exit != 0:
        words = next((s for s in run.stderr.splitlines() if s.strip()), "nothing")
        return f"it ended with {run.ended()}, and said `{words}`."
    said, wanted = run.stdout.splitlines(), expected.splitlines()
    for number, (got, right) in enumerate(zip(said, wanted, strict=False), 1):
        if got != right:
            return f"answer {number} should be `{right}`, and is `{got[:60]}`."
    return f"it gave {len(said)} answers, and {len(wanted)} were due."


def _complaint(run: Run) -> str:
    kind = _ASAN.search(run.report)
    frames = re.findall(r"#\d+ (\S+)", run.report)
    ours = next((f for f in frames if f in ("keep", "capitals") or f.startswith("main.")), "")
    if "LeakSanitizer" in run.report or "leaked" in run.report:
        return f"A block is lost; it was allocated in `{ours}`." if ours else "A block is lost."
    where = f" in `{ours}`" if ours else ""
    return f"It found a {kind[1] if kind else 'fault'}{where}."

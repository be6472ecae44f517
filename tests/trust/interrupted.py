"""kill -9 at random moments: the next run works, nothing is half-written, nothing is left.

Killed are the build of a small book (the process alone, and with its group), a notebook's kernel in
a cell, a film, and a trace. ``--times N`` is how often each is killed, 20 if not given.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from heapscope.programs import runner
from heapscope.programs.c import run_c

from .around import Around, around, below
from .kernel import kernel
from .record import Check

COMMAND = "python -m tests.trust.interrupted"
TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 12.0  # seconds in which what a killed process started has to end
LONG_CELL = "%%c --timeout 60\nfor (;;)\n    sleep(1);\n"
FILMED = "char *p = malloc(24);\nfor (int i = 0; i < 200; i++) {\n    p[i % 24] = i;\n}\nfree(p);\n"
_MARKS = re.compile(rb"\?(?:v|digest)=[0-9a-f]+")


def later() -> None:
    """Have the folders of killed processes count as old, without waiting for it."""
    runner._YOUNG = 0.0  # type: ignore[misc]
    runner.sweep()
    runner._YOUNG = 5.0  # type: ignore[misc]


def killed(words: Sequence[str], seconds: float, *, group: bool, cwd: Path) -> bool:
    """Start a command and kill it after `seconds`; False when it had ended before."""
    with subprocess.Popen(
        words, cwd=cwd, start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        running = process.poll() is None
        if running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
    return running


def moments(count: int, whole: float, seed: int) -> list[float]:
    """Return moments within a run that takes `whole` seconds."""
    dice = random.Random(seed)
    return [dice.uniform(0.05, whole) for _ in range(count)]


def _told(check: Check, what: str, times: int, hit: int, wrong: list[str]) -> None:
    value = f"{hit} of {times} came while it ran"
    value += f"; {len(wrong)} went wrong: {'; '.join(wrong[:3])}" if wrong else (
        "; after each the next run worked and nothing was left"
    )  # fmt: skip
    aim = "the next run works, nothing half-written, no process or folder left"
    check.figure(what, value, aim, not wrong and hit > 0)


def pages(html: Path) -> dict[str, str]:
    """Return a hash of every page and of the search index; scripts and styles by name alone.

    The marks that tell a browser of a new style sheet are left out: that one may change meanwhile.
    """
    found = {}
    for path in sorted(html.rglob("*")):
        if path.is_file() and path.name != ".buildinfo":
            data = b"" if "_static" in path.parts else path.read_bytes()
            if path.name == "searchindex.js":  # its order depends on what was built before
                assert data.endswith(b"})"), path
                json.loads(data[len(b"Search.setIndex(") : -1])
                data = b"whole"
            data = _MARKS.sub(b"", data)
            found[str(path.relative_to(html))] = hashlib.sha256(data).hexdigest()
    return found


def sample(folder: Path) -> Any:
    """Return a small book that takes some seconds: two notebooks, one with C."""
    sys.path.insert(0, str(TESTS / "build"))
    try:
        from sample import SUM, SampleBook, code  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    book = SampleBook(folder)
    book.notebook("sums", SUM)
    book.notebook("c", code("%load_ext heapscope"), code('%%c\nputs("from C");\n'))
    return book


def book(check: Check, place: Around, times: int) -> None:
    """Kill the build of a book, and build again."""
    reference = sample(place.folder / "reference")
    began = time.monotonic()
    first = reference.build()
    whole = time.monotonic() - began
    assert not first.red, first.log
    wanted = pages(reference.html)
    place.accept()
    for group in (False, True):
        wrong: list[str] = []
        hit = 0
        made = sample(place.folder / f"book-{group}")
        place.accept()
        tool = Path(sys.executable).with_name("jupyter-book")
        words = [str(tool), "build", "-W", "-n", "--keep-going", str(made.folder)]
        for number, moment in enumerate(moments(times, whole * 1.05, seed=int(group))):
            if number % 3 == 0:  # sometimes from nothing, sometimes over what is there
                runner.remove(made.folder / "_build")
            elif number % 3 == 1:
                made.page("cover", f"# A sample\n\nOne page. Number {number}.")
            hit += killed(words, moment, group=group, cwd=made.folder)
            wrong += _left(place, f"after {moment:.2f} s", made.folder)
            made.page("cover", "# A sample\n\nOne page.")
            again = made.build()
            if again.red:
                wrong.append(f"after {moment:.2f} s the next build is red: {again.log[-200:]}")
                continue
            now = pages(made.html)
            differs = [
                name for name in wanted.keys() | now.keys() if wanted.get(name) != now.get(name)
            ]
            if differs:
                said = ", ".join(sorted(differs)[:4])
                said += f" ({_first(reference.html, made.html, sorted(differs)[0])})"
                wrong.append(f"after {moment:.2f} s other bytes: {said}")
            wrong += _left(place, f"after {moment:.2f} s and a build", made.folder)
        who = "its process group" if group else "its process"
        _told(
            check, f"make book of a small book: kill -9 of {who}, {times} times", times, hit, wrong
        )
        place.accept()


def _first(one: Path, other: Path, name: str) -> str:
    """Return the first line in which a file differs."""
    if not ((one / name).exists() and (other / name).exists()):
        return "one is missing"
    mine, theirs = (
        _MARKS.sub(b"", (folder / name).read_bytes()).decode(errors="replace").splitlines()
        for folder in (one, other)
    )
    pairs = ((a, b) for a, b in zip_longest(mine, theirs, fillvalue="nothing") if a != b)
    return " | ".join(line.strip()[:80] for line in next(pairs, ("nothing", "nothing")))


def _left(place: Around, when: str, own: Path | None = None) -> list[str]:
    """Return what is left, but for what lies in the work's own folder."""
    later()
    found = place.left(PATIENCE) if own is None else _outside(place, own)
    return [f"{when}: {thing} was left" for thing in found]


def _outside(place: Around, own: Path) -> list[str]:
    inside = f"file {own.relative_to(place.folder)}"
    end = time.monotonic() + PATIENCE
    while True:
        later()
        place.files |= {str(path.relative_to(place.folder)) for path in own.rglob("*")} | {
            str(own.relative_to(place.folder))
        }
        found = [thing for thing in place.left(0.0) if not thing.startswith(inside)]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)


def kernels(check: Check, place: Around, times: int) -> None:
    """Kill a kernel while a cell runs a program, compiles one, or films one."""
    wrong: list[str] = []
    hit = 0
    cells = (
        LONG_CELL,
        "%%c --film\n" + FILMED,
        "%%go --timeout 60\nfor {\n}\n",
        "%%c --check\n" + FILMED,
    )
    for number, moment in enumerate(moments(times, 1.5, seed=3)):
        with kernel(str(place.folder)) as started:
            started.start(cells[number % len(cells)])
            time.sleep(moment)
            hit += bool(below(started.pid))
            os.kill(started.pid, signal.SIGKILL)
        wrong += _left(place, f"after {moment:.2f} s")
        with kernel(str(place.folder)) as started:
            if "from C" not in started.run('%%c\nputs("from C");\n'):
                wrong.append(f"after {moment:.2f} s the next kernel does not run C")
        wrong += _left(place, f"after {moment:.2f} s and a kernel")
    _told(check, f"a kernel in a cell: kill -9, {times} times", times, hit, wrong)


def commands(
    check: Check, place: Around, times: int, groups: Sequence[bool] = (False, True)
) -> None:
    """Kill a film and a trace."""
    work = place.folder / "work"
    work.mkdir()
    (work / "filmed.c").write_text(FILMED)
    (work / "traced.c").write_text(
        "#include <stdlib.h>\n#include <unistd.h>\nint main(void) {\n"
        "    for (int i = 0; i < 3000; i++) {\n        free(malloc(i));\n"
        "        usleep(300);\n    }\n    return 0;\n}\n"
    )
    subprocess.run(["gcc", "-o", "traced", "traced.c"], cwd=work, check=True)
    heapscope = [sys.executable, "-m", "heapscope"]
    film = [*heapscope, "film", "filmed.c", "-o", "film.html"]
    trace = [*heapscope, "trace", "-o", "report.html", "--", "./traced"]
    place.accept()
    for name, words, page in (("film", film, "film.html"), ("trace", trace, "report.html")):
        for group in groups:
            place.accept()
            _command(check, place, name, words, work, page, times, group)


def _command(
    check: Check,
    place: Around,
    name: str,
    words: list[str],
    work: Path,
    page: str,
    times: int,
    group: bool,
) -> None:
    began = time.monotonic()
    done = subprocess.run(words, cwd=work, capture_output=True, check=False)
    whole = time.monotonic() - began
    wrong = [] if done.returncode == 0 else [done.stderr.decode(errors="replace")[-200:]]
    hit = 0
    for moment in moments(times, whole, seed=7 + group):
        (work / page).unlink(missing_ok=True)
        hit += killed(words, moment, group=group, cwd=work)
        if (work / page).exists() and not (work / page).read_text("utf-8").rstrip().endswith(
            "</html>"
        ):
            wrong.append(f"after {moment:.2f} s {page} is half-written")
        wrong += _left(place, f"after {moment:.2f} s", work)
        done = subprocess.run(words, cwd=work, capture_output=True, check=False)
        if done.returncode or not (work / page).read_text("utf-8").rstrip().endswith("</html>"):
            wrong.append(f"after {moment:.2f} s: {done.stderr.decode(errors='replace')[-200:]}")
        wrong += _left(place, f"after {moment:.2f} s and a run", work)
    who = "its process group" if group else "its process"
    _told(check, f"heapscope {name}: kill -9 of {who}, {times} times", times, hit, wrong)


def main(words: Sequence[str]) -> int:
    """Kill everything as often as asked and write the figures."""
    times = int(words[words.index("--times") + 1]) if "--times" in words else 20
    check = Check(
        "interrupted", "Interruption", COMMAND if times == 20 else f"{COMMAND} --times {times}"
    )
    steps: tuple[Callable[[Check, Around, int], None], ...] = (commands, kernels, book)
    for step in steps:
        with around() as place:
            runtime = place.folder / "runtime"
            runtime.mkdir()
            os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
            assert run_c('puts("warm");').ended() == "exit status 0"
            place.accept()
            step(check, place, times)
    return check.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

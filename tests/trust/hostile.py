"""Hostile programs through every door: the cell magics, run_c, run_go, and the commands.

After each: the kernel answers, nothing is left, a sentence says what happened.
``--long`` corrupts 10,000 heaps instead of 500, and films 200 of them instead of 50.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from heapscope.programs import runner
from heapscope.programs.c import compile_c, find_compiler, run_c
from heapscope.programs.go import build, run_go

from . import programs
from .around import Around, around, below, mounts
from .kernel import Kernel, kernel
from .programs import Hostile
from .record import Check

COMMAND = "python -m tests.trust.hostile"
ROOT = Path(__file__).resolve().parents[2]
ENDED = re.compile(r"exit status \d+|killed by SIG[A-Z]+|stopped (?:after|when) .+")
LONGEST = 150  # seconds that one run of anything may take
HEAPSCOPE = [sys.executable, "-m", "heapscope"]


@dataclass
class Tally:
    """What came of the runs through one door."""

    runs: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)  # no sentence, or the wrong one
    left: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)  # the kernel did not answer

    @property
    def wrong(self) -> list[str]:
        """All that is not as it should be."""
        return [*self.silent, *self.left, *self.slow, *self.dead]

    def take(self, place: Around, program: Hostile, run: Callable[[], str]) -> None:
        """Do one run; `run` returns a sentence, or raises AssertionError with what is wrong."""
        self.runs += 1
        began = time.monotonic()
        try:
            self.ended[run()] += 1
        except AssertionError as error:
            self.silent.append(f"{program.name}: {error}")
        except TimeoutError as error:
            self.dead.append(f"{program.name}: {error}")
        if time.monotonic() - began > LONGEST:
            self.slow.append(f"{program.name} took longer than {LONGEST} s")
        self.left += [f"{program.name} left {thing}" for thing in place.left()]

    def figure(self, check: Check, what: str) -> None:
        """Write down what came of it."""
        value = f"{self.runs} runs"
        if self.wrong:
            value += f", {len(self.wrong)} went wrong: {'; '.join(self.wrong[:4])}"
        else:
            kinds = ", ".join(f"{count} × {ended}" for ended, count in _kinds(self.ended))
            value += f", nothing left after any: {kinds}"
        check.figure(
            what, value, "each ends with its sentence, and nothing is left", not self.wrong
        )


def _kinds(ended: Counter[str]) -> list[tuple[str, int]]:
    kinds: Counter[str] = Counter()
    for sentence, count in ended.items():
        kinds[re.sub(r"^exit status [1-9]\d*$", "other exit status", sentence)] += count
    return sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))


def as_it_should(program: Hostile, ended: str) -> str:
    """Return the sentence; AssertionError when it is not the program's."""
    assert re.fullmatch(program.ended, ended), f"{ended!r}, not {program.ended!r}"
    return ended


def through_run(program: Hostile, language: str) -> str:
    """Run it with `run_c` or `run_go`."""
    if language == "go":
        run = run_go(program.text, timeout=program.timeout, stdin="some input\n")
    else:
        run = run_c(program.text, timeout=program.timeout, stdin="some input\n")
    assert run.compiled, run.diagnostics
    assert len(str(run)) < 1_000_000, "the output is not cut"
    return as_it_should(program, run.ended())


def through_cell(program: Hostile, language: str, started: Kernel) -> str:
    """Run it in a cell of a notebook, and ask the kernel something afterwards."""
    line = f"%%{language} hostile --timeout {program.timeout:g}\n"
    said = started.run(line + program.text, timeout=LONGEST)
    ended = started.run("hostile.ended()").strip().strip("'")
    as_it_should(program, ended)
    assert ended == "exit status 0" or f"[{ended}]" in said, "the cell does not say how it ended"
    if started.run("6 * 7").strip() != "42":
        raise TimeoutError("the kernel does not answer")
    return ended


def command(words: Sequence[str], seconds: float = LONGEST) -> subprocess.CompletedProcess[bytes]:
    """Run a command of heapscope; AssertionError when it shows a Python traceback or hangs."""
    try:
        done = subprocess.run(
            [*HEAPSCOPE, *words],
            capture_output=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"took longer than {seconds:g} s") from None
    said = done.stderr.decode(errors="replace")
    assert "Traceback (most recent" not in said, f"a traceback: {said.strip()[-300:]}"
    return done


def _source(folder: Path, program: Hostile, language: str) -> str:
    path = folder / f"hostile.{language}"
    path.write_text(program.text)
    return str(path)


def through_check(program: Hostile, language: str, folder: Path) -> str:
    """Run it under every tool; each tool's run has a sentence of its own."""
    source = _source(folder, program, language)
    seconds = f"{min(program.timeout, 10):g}"
    done = command(["check", source, "--json", "--timeout", seconds])
    assert done.returncode in (0, 1), done.stderr.decode(errors="replace")[-300:]
    form = json.loads(done.stdout)
    assert form["sentence"].endswith("."), form["sentence"]
    for tool in form["tools"]:
        said = tool.get("missing") or tool["run"]["ended"]
        assert tool.get("missing") or ENDED.fullmatch(said), f"{tool.get('tool')}: {said!r}"
    return "no fault" if done.returncode == 0 else "a fault found"


def through_film(program: Hostile, language: str, folder: Path) -> str:
    """Film it; the last frame says how it ended, or the command says why there is no film."""
    source = _source(folder, program, language)
    words = ["film", source, "--json", "--frames", "60", "--timeout", f"{program.timeout:g}"]
    done = command(words)
    if done.returncode == 2:
        said = done.stderr.decode(errors="replace").strip()
        assert said.startswith("heapscope film: "), said
        return "no film, and why"
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-300:]
    stops = [frame["stop"] for frame in json.loads(done.stdout)["frames"] if frame.get("stop")]
    assert stops, "no frame says how it ended"
    stop = stops[-1]
    assert stop.get("message") or stop.get("signal") or stop.get("status") is not None, stop
    return {"exit": "to the end", "signal": "to a signal"}.get(
        stop["kind"], "stopped with a reason"
    )


def through_trace(program: Hostile, binary: Path, place: Around) -> str:
    """Trace it, with few limits; those that do not end are told to, and then killed."""
    limits = ["prlimit", f"--as={8 << 30}", f"--fsize={64 << 20}", "--core=0"]
    with subprocess.Popen(
        [*limits, *HEAPSCOPE, "trace", "--", str(binary)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=binary.parent,
    ) as tracing:
        assert tracing.stdout is not None
        assert tracing.stderr is not None
        how = "to its end"
        for fd in (tracing.stdout, tracing.stderr):
            os.set_blocking(fd.fileno(), False)
        end, seen, said = time.monotonic() + SECONDS_TRACED, 0, b""
        while tracing.poll() is None and time.monotonic() < end and seen < 4_000_000:
            seen += len(tracing.stdout.read() or b"")
            said += tracing.stderr.read() or b""
            time.sleep(0.02)
        if tracing.poll() is None:
            how = "told to end"
            tracing.send_signal(signal.SIGTERM)
            for _ in range(150):
                tracing.stdout.read()
                said += tracing.stderr.read() or b""
                if tracing.poll() is not None:
                    break
                time.sleep(0.02)
        if tracing.poll() is None:
            how = "killed with its heapscope"
            tracing.kill()
            tracing.wait()
        said += tracing.stderr.read() or b""
    text = said.decode(errors="replace")
    assert "Traceback (most recent" not in text, text[-300:]
    if how != "killed with its heapscope" and program.name != "endless output to stderr":
        assert re.search(r"\d|Nothing", text), "no report"
    if program.leaves:  # a traced program is let be: what it detaches goes on, as without a trace
        for pid in below(os.getpid()) - place.known:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        how += " while its child went on"
    if how.startswith("killed"):  # the next one sweeps
        for folder in place.folder.glob("heapscope-trace-*"):
            os.utime(folder)
        time.sleep(5.2)
        runner.sweep()
    return how


SECONDS_TRACED = 4.0


def through_commands(check: Check, place: Around, language: str, chosen: Sequence[Hostile]) -> None:
    """Check, film and trace each program."""
    folder = place.folder / "sources"
    folder.mkdir(exist_ok=True)
    (folder / f"hostile.{language}").touch()
    place.accept()
    name = {"c": "C", "go": "Go"}[language]
    checked, filmed, traced = Tally(), Tally(), Tally()
    for program in chosen:
        checked.take(place, program, lambda p=program: through_check(p, language, folder))  # type: ignore[misc]
        filmed.take(place, program, lambda p=program: through_film(p, language, folder))  # type: ignore[misc]
    checked.figure(check, f"{name} programs with heapscope check, each under every tool")
    filmed.figure(check, f"{name} programs with heapscope film")
    for program in chosen:
        if program.name in ("files without end", "a mount in its folder", "goroutines without end"):
            continue  # a traced program has no limits and no folder of its own
        work = place.folder / "work"
        work.mkdir()
        binary = work / "program"
        if language == "go":
            assert build(program.text, binary).compiled
        else:
            with runner.own_folder() as own:
                assert compile_c(program.text, own, find_compiler("gcc", "c"), ["-w"]).compiled
                (own / "program").rename(binary)

        def run(p: Hostile = program, b: Path = binary, w: Path = work) -> str:
            try:
                return through_trace(p, b, place)
            finally:
                w.chmod(0o700) if w.is_dir() else None
                runner.remove(w)

        traced.take(place, program, run)
    traced.figure(check, f"{name} programs with heapscope trace, which sets no limits")


def corrupted(check: Check, place: Around, count: int, filmed: int) -> None:
    """Corrupt heaps at random; film some of them."""
    ends: Counter[str] = Counter()
    odd: list[str] = []
    for first in range(0, count, 500):
        seeds = range(first, min(first + 500, count))
        for seed, run in zip(seeds, programs.runs(programs.corruptions(seeds), seeds), strict=True):
            ends[run.ended()] += 1
            if not ENDED.fullmatch(run.ended()) or (run.stopped and not run.timed_out):
                odd.append(f"seed {seed}: {run.ended()}")
    left = place.left()
    said = ", ".join(f"{n:,} × {ended}" for ended, n in ends.most_common())
    check.figure(
        f"{count:,} heaps corrupted at random",
        f"{sum(ends.values()):,} ended and nothing was left: {said}"
        if not odd + left
        else "; ".join((odd + left)[:5]),
        "each ends with its sentence, and nothing is left",
        not odd and not left and sum(ends.values()) == count,
    )
    films = Tally()
    folder = place.folder / "films"
    folder.mkdir()
    (folder / "hostile.c").touch()
    place.accept()
    for seed in range(filmed):
        program = Hostile(f"seed {seed}", programs.corruption(seed), "", timeout=5)
        films.take(place, program, partial(through_film, program, "c", folder))
    films.figure(check, f"{filmed} of them filmed, line by line")


def small_disk(check: Check, place: Around) -> None:
    """Fill a disk of 8 MB with everything that heapscope makes."""
    what = "a program that fills a disk of 8 MB"
    aim = "the program's own words, and nothing is left"
    disk = place.folder / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        check.figure(
            what, f"not tried: no disk can be mounted here: {made.stderr.strip()}", aim, None
        )
        return
    before = os.environ["TMPDIR"]
    import tempfile

    try:
        tempfile.tempdir = os.environ["TMPDIR"] = str(disk)
        run = run_c(
            'FILE *f = fopen("big", "w");\nstatic char b[1 << 20];\n'
            "for (int i = 0; i < 64; i++)\n    if (fwrite(b, sizeof b, 1, f) != 1) {\n"
            '        perror("write");\n        return 4;\n    }\nreturn 0;\n',
            timeout=10,
        )
        empty = not list(disk.iterdir())
        said = f"{run.stderr.strip()}, {run.ended()}"
        met = run.ended() == "exit status 4" and "No space left" in run.stderr and empty
    finally:
        tempfile.tempdir = os.environ["TMPDIR"] = before
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()
    check.figure(what, f"{said}; {'nothing was left' if empty else 'files were left'}", aim, met)


BOMBS = """
import json, sys
from heapscope.programs.c import run_c
from tests.trust import programs
said = [run_c(text, timeout=10, flags="-w").ended() for text in (programs.BOMB, programs.THREADS)]
print(json.dumps(said))
"""


def bombs(check: Check, place: Around) -> None:
    """A fork bomb and a bomb of threads, where nothing outside can be hit."""
    what = "a fork bomb and a bomb of threads, in a PID namespace, as another user, at most 6,000"
    aim = "both are stopped, and nothing is left"
    jail = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # It may read everything, as Python may be installed where only its owner may look.
    jail += ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups"]
    jail += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    jail += ["prlimit", "--nproc=6000"]
    tried = subprocess.run([*jail, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        check.figure(what, f"skipped: no PID namespace here: {tried.stderr.strip()}", aim, None)
        return
    home = place.folder / "jail"
    home.mkdir()
    home.chmod(0o777)
    place.folder.chmod(0o755)
    done = subprocess.run(
        [*jail, sys.executable, "-B", "-c", BOMBS],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(home), "HOME": str(home)},
        check=False,
    )
    said = json.loads(done.stdout) if done.returncode == 0 else [done.stderr.strip()[-300:]]
    inside = [path.name for path in home.iterdir()]
    runner.remove(home)
    left = place.left() + inside
    wanted = [
        "stopped when it had more than 256 processes",
        "stopped when it had more than 4,096 threads",
    ]
    value = "; ".join([*said, *left]) + ("" if left else "; nothing was left")
    check.figure(what, value, aim, said == wanted and not left)


def doors(check: Check, place: Around) -> None:
    """Take every program through the magics and the functions."""
    for language, chosen in (("c", programs.C), ("go", programs.GO)):
        tally = Tally()
        place.accept()
        for program in chosen:
            tally.take(place, program, lambda p=program, to=language: through_run(p, to))  # type: ignore[misc]
        tally.figure(
            check, f"{len(chosen)} {'C' if language == 'c' else 'Go'} programs with run_{language}"
        )
        tally = Tally()
        with kernel(str(place.folder)) as started:
            place.accept()
            for program in chosen:
                tally.take(place, program, partial(through_cell, program, language, started))
        tally.figure(
            check, f"the same in cells with %%{language}, in one kernel, which answered after each"
        )
        place.accept()


def main(words: Sequence[str]) -> int:
    """Do everything and write the figures."""
    long = "--long" in words
    check = Check("hostile", "Hostile programs", COMMAND + (" --long" if long else ""))
    before = mounts()
    with around() as place:
        doors(check, place)
        small_disk(check, place)
        bombs(check, place)
        for language, chosen in (("c", programs.C), ("go", programs.GO)):
            through_commands(check, place, language, chosen)
        corrupted(check, place, 10_000 if long else 500, 200 if long else 50)
    check.figure(
        "mounts after all of them",
        "as before" if mounts() == before else ", ".join(sorted(mounts() - before)),
        "as before",
        mounts() == before,
    )
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False)
    return check.finish(gcc=gcc.stdout.strip() or "unknown")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

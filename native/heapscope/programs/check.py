"""The same program under several tools, and what each of them says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from heapscope.programs import crash, findings, runner
from heapscope.programs.c import VALGRIND, compile_c, execute, file_name, find_compiler
from heapscope.programs.checks import Checks, Warned
from heapscope.programs.go import FILE, build_go
from heapscope.programs.result import Run
from heapscope.programs.scan import mask
from heapscope.programs.verdict import Kind, Place, Report, Source, Verdict
from heapscope.programs.wrap import wrap_go

# ASan itself stops a program whose malloc fails; C's malloc returns NULL, and so it does here.
_ASAN = "allocator_may_return_null=1:detect_stack_use_after_return=1"
_SLOWER = 4  # valgrind may take so many times as long as the program alone


def check(text: str, language: str, options: Mapping[str, Any]) -> Checks:
    """Check a program with the options with which it was run."""
    known = ["flags", "stdin", "args", "env", "timeout"]
    if language != "go":
        known += ["std", "cc", "name"]
    taken = {name: options[name] for name in known if name in options}
    return (
        check_go(text, **taken) if language == "go" else check_c(text, language=language, **taken)
    )


def check_c(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    std: str | None = None,
    cc: str = "gcc",
    language: str = "c",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 30,
    name: str | None = None,
    analyzer: bool = False,
) -> Checks:
    """Run a C program three times, plain, under ASan with UBSan, and under valgrind.

    The arguments are those of `run_c`. The compiler's warnings come from compiles of their own, in
    which it knows what malloc and free are. `analyzer` adds those of gcc's ``-fanalyzer``.

    Raises:
        MissingToolError: the compiler is not installed. Where valgrind is missing its column says
            so; without gdb a crash of the plain program has no line.
        ValueError: `flags` bring a sanitizer of their own, or an argument is not known.

    """
    compiler = find_compiler(cc, language)
    options = runner.words(flags)
    if any(option.startswith("-fsanitize") for option in options):
        raise ValueError("a check brings its own sanitizers: leave -fsanitize out of the flags")
    given = (compiler, options, std, language, name)
    source = Source(text, file_name(name, language))
    running: dict[str, Any] = {"stdin": stdin, "timeout": timeout}
    words = runner.words(args)
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(_plain_and_valgrind, text, given, source, words, env, running)
        asan = pool.submit(_asan, text, given, source, words, env, running)
        warned = pool.submit(_warnings, text, given, analyzer)
        run, reports = plain.result()
        sanitized = asan.result()
        reports.insert(1, _excuse_slowness(sanitized, reports))
    if not run.compiled:
        return Checks(source, language, run, ())
    return Checks(source, language, run, tuple(reports), warned.result())


_Given = tuple[str, list[str], str | None, str, str | None]


def _compile(text: str, folder: Path, given: _Given, more: Sequence[str] = (), **how: Any) -> Run:
    compiler, options, std, language, name = given
    return compile_c(text, folder, compiler, [*options, *more], std, language, name, **how)


def _plain_and_valgrind(
    text: str,
    given: _Given,
    source: Source,
    words: list[str],
    env: Mapping[str, str] | None,
    running: dict[str, Any],
) -> tuple[Run, list[Report]]:
    """Compile once; run the program alone, then under valgrind."""
    with runner.own_folder() as folder:
        compiled = _compile(text, folder, given, checked=True)
        if not compiled.compiled:
            return compiled, []
        command = [str(folder / "program"), *words]
        run = execute(compiled, command, folder, env=env, sanitized=False, **running)
        found = None
        if run.signal:
            found = crash.find(
                command,
                folder,
                signal=run.signal,
                env=runner.plain_environment(folder, env),
                **running,
            )
        verdict = findings.signalled(run, found.address if found else None)
        if verdict and found:
            verdict = replace(verdict, at=_innermost(found, source))
        plain = Report("plain", "plain glibc", run, (verdict,) if verdict else ())
        return run, [plain, _valgrind(compiled, folder, command, source, run, env, running)]


def _innermost(found: crash.Crash, source: Source) -> Place | None:
    for file, line, function in found.frames:
        if source.mine(file) and (place := source.place(line, function)):
            return place
    return None


def _valgrind(
    compiled: Run,
    folder: Path,
    command: list[str],
    source: Source,
    plain: Run,
    env: Mapping[str, str] | None,
    running: dict[str, Any],
) -> Report:
    name, label = "valgrind", "valgrind"
    if plain.stopped:
        return Report(name, label, None, missing=f"not run: the plain program was {plain.stopped}")
    try:
        valgrind = runner.find_tool("valgrind", "apt-get install valgrind")
    except runner.MissingToolError as error:
        return Report(name, label, None, missing=str(error))
    if not Path(command[0]).exists():
        return Report(name, label, None, missing="not run: the program removed its own folder")
    with runner.own_folder() as reports:  # the program may remove its own folder
        file = reports / "report.xml"
        watched = [valgrind, *VALGRIND, "--xml=yes", f"--xml-file={file}", *command]
        run = execute(
            compiled,
            watched,
            folder,
            env=env,
            sanitized=False,
            **running | {"timeout": running["timeout"] * _SLOWER},
        )
        try:
            xml = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            xml = ""
    run = replace(run, stderr=_without_valgrind(run.stderr))
    verdicts = findings.valgrind(xml, source)
    if not verdicts and run.stopped:
        return Report(name, label, run, missing=f"nothing until it was {run.stopped}")
    if not verdicts and (verdict := findings.signalled(run, None)):
        verdicts = [verdict]
    return Report(name, label, run, tuple(verdicts))


def _without_valgrind(stderr: str) -> str:
    """Leave out what valgrind writes to stderr beside its XML."""
    return re.sub(r"^(?:==|--|\*\*)\d+(?:==|--|\*\*).*\n?", "", stderr, flags=re.MULTILINE)


def _asan(
    text: str,
    given: _Given,
    source: Source,
    words: list[str],
    env: Mapping[str, str] | None,
    running: dict[str, Any],
) -> Report:
    with runner.own_folder() as folder:
        more = ("-fsanitize=address,undefined", "-fno-omit-frame-pointer")
        compiled = _compile(text, folder, given, more, checked=True)
        label = "ASan + UBSan"
        if not compiled.compiled:
            missing = compiled.diagnostics.strip().split("\n")[-1]
            return Report("asan", label, None, missing=f"does not compile: {missing}")
        environment = {"ASAN_OPTIONS": _ASAN} | dict(env or {})
        command = [str(folder / "program"), *words]
        run = execute(compiled, command, folder, env=environment, sanitized=True, **running)
        verdicts = findings.sanitizers(run.report, source)
        if not verdicts and (verdict := findings.signalled(run, None)):
            verdicts = [verdict]
        return Report("asan", label, run, tuple(verdicts))


def _excuse_slowness(report: Report, others: Sequence[Report]) -> Report:
    """Do not blame a program for the time that a tool takes."""
    run = report.run
    alone = others[0].run if others else None
    if run and run.stopped and alone and not alone.stopped:
        verdicts = tuple(v for v in report.verdicts if v.tool != "system")
        words = "" if verdicts else f"nothing until it was {run.stopped}"
        return replace(report, verdicts=verdicts, missing=words)
    return report


def _warnings(text: str, given: _Given, analyzer: bool) -> tuple[Warned, ...]:
    """Collect the compiler's warnings: without optimisation and with, as each hides some."""
    ways: list[tuple[tuple[str, ...], bool]] = [((), True), (("-O2",), True)]
    if analyzer:
        ways.append((("-fanalyzer",), True))
    found: dict[tuple[int, str], Warned] = {}
    for more, builtin in ways:
        with runner.own_folder() as folder:
            run = _compile(text, folder, given, more, builtin=builtin, link=False)
        for line in run.warnings.splitlines():
            if match := re.match(r"line (\d+): (.*)", line):
                warning = Warned(int(match[1]), match[2])
                found.setdefault((warning.line, warning.text), warning)
    return tuple(sorted(found.values(), key=lambda warning: warning.line))


# ---------------------------------------------------------------------------- Go

# LeakSanitizer takes every word in Go's memory and on a thread's stack for a pointer, also where it
# is left over. So, before the program ends, it collects its garbage, gives free memory back, and
# wipes what dead calls left on main's stack and on the one C was called on: main stays on its
# thread for that. Names of packages are ours, because main may have a variable called runtime.
_COLLECT = """package main

/*
static __attribute__((noinline, no_sanitize_address)) void heapscope_wipe(void) {
    volatile char old[16384];
    for (unsigned i = 0; i < sizeof old; i++)
        old[i] = 0;
}
*/
import "C"

import (
	heapscopeRuntime "runtime"
	heapscopeDebug "runtime/debug"
)

func init() { heapscopeRuntime.LockOSThread() }

//go:noinline
func heapscopeScrub() byte {
	var old [2048]byte
	for i := range old {
		old[i] = byte(i) & 1
	}
	return old[len(old)/2]
}

func heapscopeCollect() {
	heapscopeScrub()
	heapscopeRuntime.GC()
	heapscopeDebug.FreeOSMemory()
	C.heapscope_wipe()
}
"""
_GO_MAIN = re.compile(r"^func\s+main\s*\(\s*\)\s*\{", re.MULTILINE)
_GOES = re.compile(r"\bgo\s+(?:func\b|[\w.]+\s*\()")
_ALLOCATES = re.compile(r"(?<![\w.])C\.(?:malloc|calloc|realloc|CString|CBytes|strdup)\s*\(")


def check_go(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    race: bool | None = None,
) -> Checks:
    """Run a Go program plain and with ``-asan``, and with ``-race`` where it starts goroutines.

    The arguments are those of `run_go`. `race` set to True or False asks for the race detector or
    leaves it out. Before the program ends under ``-asan`` its garbage is collected: otherwise lost
    blocks of C go unreported.

    Raises:
        MissingToolError: Go or, for cgo, gcc is not installed.
        ValueError: `flags` bring a sanitizer of their own.

    """
    options = runner.words(flags)
    if any(re.fullmatch(r"--?(race|asan|msan)", option) for option in options):
        raise ValueError("a check brings its own -asan and -race: leave them out of the flags")
    source = Source(text, FILE)
    whole = wrap_go(text, FILE)
    wanted = bool(_GOES.search(mask(text, raw_strings=True))) if race is None else race

    with ThreadPoolExecutor(2) as pool:

        def start(work: Callable[..., Report], *more: Any) -> Any:
            job = partial(work, text, whole, source, options, runner.words(args), *more)
            return pool.submit(job, stdin=stdin, env=dict(env or {}), timeout=timeout)

        first = start(_go_plain)
        second = start(_go_asan)
        third = start(_go_race) if wanted else None
        plain: Report = first.result()
        asan: Report = second.result()
        raced: Report | None = third.result() if third else None
    assert plain.run is not None
    if not plain.run.compiled:
        return Checks(source, "go", plain.run, ())
    reports = [plain, _excuse_slowness(asan, [plain])]
    if raced and (race or raced.fault):
        reports.append(_excuse_slowness(raced, [plain]))
    return Checks(source, "go", plain.run, tuple(reports))


def _go_plain(
    text: str,
    whole: str,
    source: Source,
    options: list[str],
    words: list[str],
    **running: Any,
) -> Report:
    with runner.own_folder() as folder:
        run = build_go(text, whole, folder, options)
        if run.compiled:
            command = [str(folder / "program"), *words]
            run = execute(run, command, folder, sanitized=False, **running)
        return Report("plain", "plain", run, tuple(findings.go(run, source)))


def _go_asan(
    text: str,
    whole: str,
    source: Source,
    options: list[str],
    words: list[str],
    *,
    env: dict[str, str],
    **running: Any,
) -> Report:
    # Without cgo there is no C block to lose.
    cgo = 'import "C"' in whole
    main = _GO_MAIN.search(mask(whole, raw_strings=True)) if cgo else None
    if main:
        whole = f"{whole[: main.end()]} defer heapscopeCollect();{whole[main.end() :]}"
    more = {"collect.go": _COLLECT} if main else {}
    with runner.own_folder() as folder:
        built = build_go(text, whole, folder, [*options, "-asan"], more=more)
        if not built.compiled:
            missing = built.diagnostics.strip().split("\n")[-1]
            return Report("asan", "-asan", None, missing=f"does not compile: {missing}")
        command = [str(folder / "program"), *words]

        def execute_with(asan: str) -> Run:
            joined = ":".join(filter(None, (asan, env.get("ASAN_OPTIONS"))))
            environment = env | {"ASAN_OPTIONS": joined}
            return execute(built, command, folder, env=environment, sanitized=True, **running)

        run = execute_with(_ASAN)
        verdicts = findings.go_asan(run, source)
        if verdicts and verdicts[0].tool == "asan" and verdicts[0].at is None:
            # ASan's stacks end where C begins. When ASan aborts, Go's runtime prints its own.
            for file in folder.glob("report*"):
                file.unlink()
            again = execute_with(f"{_ASAN}:abort_on_error=1")
            if found := findings.go_asan(again, source):
                run, verdicts = replace(again, stderr=run.stderr), found
        only = _only_allocation(source)
        if only:
            verdicts = [_with_allocation(verdict, only) for verdict in verdicts]
        return Report("asan", "-asan", run, tuple(verdicts))


def _only_allocation(source: Source) -> Place | None:
    """Return the one place at which the program asks C for memory, None if there are more."""
    masked = mask("\n".join(source.lines), raw_strings=True)
    lines = [masked.count("\n", 0, found.start()) + 1 for found in _ALLOCATES.finditer(masked)]
    return source.place(lines[0]) if len(lines) == 1 else None


def _with_allocation(verdict: Verdict, only: Place) -> Verdict:
    """Add where the block came from: ASan sees no Go lines, but there may be one place only."""
    if verdict.allocated is None and verdict.kind in (
        Kind.DOUBLE_FREE,
        Kind.USE_AFTER_FREE,
    ):
        return replace(verdict, allocated=only)
    return verdict


def _go_race(
    text: str,
    whole: str,
    source: Source,
    options: list[str],
    words: list[str],
    **running: Any,
) -> Report:
    with runner.own_folder() as folder:
        run = build_go(text, whole, folder, [*options, "-race"])
        if not run.compiled:
            missing = run.diagnostics.strip().split("\n")[-1]
            return Report("race", "-race", None, missing=f"does not compile: {missing}")
        command = [str(folder / "program"), *words]
        run = execute(run, command, folder, sanitized=True, **running)
        return Report("race", "-race", run, tuple(findings.race(run, source)))

"""Compile and run C, for teaching: what you read is what runs."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from heapscope.programs import reports, runner
from heapscope.programs.result import Run
from heapscope.programs.wrap import has_main, wrap_c

_COMPILERS = {
    ("gcc", "c"): ("gcc", "apt-get install build-essential"),
    ("gcc", "c++"): ("g++", "apt-get install build-essential"),
    ("clang", "c"): ("clang", "apt-get install clang"),
    ("clang", "c++"): ("clang++", "apt-get install clang"),
}
_STANDARDS = {"c": "c17", "c++": "c++17"}
_COMPILE = runner.Limits(timeout=60, file_size=1 << 30, disk=4 << 30)

VALGRIND = (
    "--tool=memcheck",
    "--leak-check=full",
    "--track-origins=yes",
    "--child-silent-after-fork=yes",
    "--vgdb=no",  # its pipes would stay behind in /tmp
)
# setvbuf without a buffer allocates nothing: the heap is what it would have been. When main has
# returned, what dead calls left on the stack is wiped: LeakSanitizer takes each word there for a
# pointer, and would miss a block that was printed last.
_AROUND_FILE = "heapscope_around.c"
_AROUND = """#include <stdio.h>
#ifdef __cplusplus
extern "C" {
#endif
int __real_main(int, char **, char **);
int __wrap_main(int, char **, char **);
__attribute__((noinline, no_sanitize_address)) static void heapscope_wipe(void) {
    volatile char old[16384];
    for (unsigned i = 0; i < sizeof old; i++)
        old[i] = 0;
}
__attribute__((constructor)) static void heapscope_line_buffered(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
}
int __wrap_main(int argc, char **argv, char **envp) {
    int status = __real_main(argc, argv, envp);
    heapscope_wipe();
    return status;
}
#ifdef __cplusplus
}
#endif
"""
_WARNING = re.compile(r"^[\w.+-]+:(\d+):(?:\d+:)? warning: (.*)$", re.MULTILINE)
_LINKER_WARNING = re.compile(r"^.*: warning: (the `.*)$", re.MULTILINE)
# Debian has clang's sanitizers in a package of their own, which clang only recommends.
_NO_RUNTIME = re.compile(r"(?:cannot find|no such file)\b.*?/clang/(\d+)\S*/libclang_rt\.(\w+)")
_NO_SYMBOLIZER = re.compile(r"^WARNING: .*\bexternal symbolizer!$", re.MULTILINE)


def run_c(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    std: str | None = None,
    cc: str = "gcc",
    language: str = "c",
    under: str | None = None,
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 30,
    name: str | None = None,
) -> Run:
    """Compile a C program or part of one, run it, and return what came of it.

    A text without ``main`` becomes the body of one, with the usual includes; a text with ``main``
    is compiled as it stands. It is compiled with ``-std=c17 -g -O0 -fno-builtin -Wall -Wextra``
    and ``_GNU_SOURCE``, so that the compiler removes no call of malloc and free. Where `flags` ask
    for optimisation, ``-fno-builtin`` is left out too: then the compiler may do what it does.

    Args:
        text: the program.
        flags: more options for the compiler, "-O2 -fsanitize=address"; they come last.
        std: the language standard, "c17" or "c++17" if not given.
        cc: "gcc" or "clang".
        language: "c" or "c++".
        under: None, or "valgrind".
        stdin: the program's standard input; by default it is empty.
        args: the program's arguments.
        env: more environment variables for the program; it sees few others.
        timeout: seconds after which the program is stopped.
        name: what messages call the file, without its ending: "program".

    Raises:
        MissingToolError: the compiler or valgrind is not installed.
        ValueError: an argument has a value that is not known.

    A program that does not compile raises nothing: `Run.compiled` is False.

    """
    given = {
        "flags": flags,
        "std": std,
        "cc": cc,
        "language": language,
        "under": under,
        "stdin": stdin,
        "args": args,
        "env": env,
        "timeout": timeout,
        "name": name,
    }
    compiler = find_compiler(cc, language)
    if under not in (None, "valgrind"):
        raise ValueError(f'under is "valgrind" or None, not {under!r}')
    watcher = runner.find_tool("valgrind", "apt-get install valgrind") if under else None
    options = runner.words(flags)
    with runner.own_folder() as folder:
        run = compile_c(text, folder, compiler, options, std, language, name)
        run = replace(run, options=given)
        if not run.compiled:
            return run
        command = [str(folder / "program"), *runner.words(args)]
        if watcher:
            command = [watcher, *VALGRIND, f"--log-file={folder}/report", *command]
        return execute(
            run,
            command,
            folder,
            stdin=stdin,
            env=env,
            timeout=timeout,
            sanitized=any(option.startswith("-fsanitize") for option in options),
        )


def find_compiler(cc: str, language: str) -> str:
    """Return the path of a compiler.

    Raises ValueError for one that is not known, MissingToolError for one that is not installed.
    """
    if (cc, language) not in _COMPILERS:
        raise ValueError(
            f'cc is "gcc" or "clang" and language "c" or "c++", not {cc!r} and {language!r}'
        )
    return runner.find_tool(*_COMPILERS[cc, language])


def file_name(name: str | None, language: str) -> str:
    """Return what messages call the program: "program.c"."""
    stem = re.sub(r"[^\w.-]", "_", name or "program")
    return stem + (".c" if language == "c" else ".cpp")


def compile_c(
    text: str,
    folder: Path,
    compiler: str,
    options: Sequence[str],
    std: str | None = None,
    language: str = "c",
    name: str | None = None,
    *,
    builtin: bool = False,
    link: bool = True,
    checked: bool = False,
) -> Run:
    """Write the program's file and compile it to `folder`/program.

    `builtin` lets the compiler know what malloc and free are; without `link` it only says what it
    has to say. With `checked` stdout keeps what was printed before a program was killed, and no
    dead pointer hides a leak.
    """
    file = file_name(name, language)
    stem, suffix = file.rsplit(".", 1)[0], "." + file.rsplit(".", 1)[1]
    # The compiler quotes lines from the file that #line names, so that one holds the reader's text
    # and the completed program stands in another.
    (folder / file).write_text(text, encoding="utf-8")
    source = file
    if not has_main(text):
        source = f"{stem}.whole{suffix}"
        (folder / source).write_text(wrap_c(text, file), encoding="utf-8")
    more = []
    if checked and link:
        (folder / _AROUND_FILE).write_text(_AROUND, encoding="utf-8")
        more = [_AROUND_FILE, "-Wl,--wrap=main"]
    optimised = any(re.fullmatch(r"-O([1-9sgz]|fast)?", option) for option in options)
    command = [
        compiler,
        f"-std={std or _STANDARDS[language]}",
        *("-g", "-O0", "-Wall", "-Wextra", f"-ffile-prefix-map={folder}=."),
        *([] if optimised or builtin else ["-fno-builtin"]),
        *([] if re.search(r"#\s*define\s+_GNU_SOURCE", text) else ["-D_GNU_SOURCE"]),
        *options,
        "-pthread",
        *(("-o", "program", source, *more, "-lm") if link else ("-c", "-o", os.devnull, source)),
    ]
    environment = runner.build_environment(folder)
    outcome = runner.run(command, folder=folder, env=environment, limits=_COMPILE)
    absent = _NO_RUNTIME.search(outcome.stderr)
    if outcome.status and absent:
        raise runner.MissingToolError(
            f"clang's runtime for {absent[2]} is not installed: "
            f"apt-get install libclang-rt-{absent[1]}-dev"
        )
    said = reports.compiler(outcome.stderr, folder, source, file)
    if outcome.stopped:
        said += f"the compiler was {outcome.stopped}\n"
    found = [f"line {line}: {words}" for line, words in _WARNING.findall(said)]
    found += _LINKER_WARNING.findall(said)
    return Run(
        source=text,
        language=language,
        compiled=outcome.status == 0,
        diagnostics=said,
        warnings="\n".join(found),
    )


def execute(
    run: Run,
    command: Sequence[str],
    folder: Path,
    *,
    stdin: str,
    env: Mapping[str, str] | None,
    timeout: float,
    sanitized: bool,
) -> Run:
    """Run a compiled program and return `run` completed; reports of tools are read from files."""
    environment = runner.plain_environment(folder)
    if sanitized:
        common = f"log_path={folder}/report:color=never"
        for tool in ("ASAN", "LSAN", "MSAN", "TSAN", "UBSAN"):
            environment[f"{tool}_OPTIONS"] = common
        environment["GORACE"] = f"log_path={folder}/report"
    for variable, value in (env or {}).items():
        # Options of a sanitizer are added to ours, which say where the report goes.
        joined = sanitized and variable.endswith("SAN_OPTIONS") and variable in environment
        environment[variable] = f"{environment[variable]}:{value}" if joined else str(value)
    outcome = runner.run(
        command,
        folder=folder,
        env=environment,
        stdin=stdin,
        limits=runner.Limits(timeout=timeout),
        # Two runs of one program shall look the same: what a torn link points to, for instance.
        randomise=False,
    )
    status = outcome.status
    found = _report(folder, sanitized)
    if _NO_SYMBOLIZER.search(found):
        raise runner.MissingToolError(
            "clang's sanitizers find no llvm-symbolizer, and name no line without it: "
            "apt-get install llvm"
        )
    report, stderr = "", reports.replace_paths(outcome.stderr, folder)
    if sanitized:
        report, stderr = reports.split_runtime_errors(stderr)
    return replace(
        run,
        stdout=reports.replace_paths(outcome.stdout, folder),
        stderr=stderr,
        exit=status if status is not None and status >= 0 else None,
        signal=signal_name(-status) if status is not None and status < 0 else None,
        stopped=outcome.stopped,
        timed_out=outcome.timed_out,
        report=report + found,
        peak_rss=outcome.peak_rss,
        seconds=outcome.seconds,
    )


def signal_name(number: int) -> str:
    """Return "SIGSEGV" for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _report(folder: Path, sanitized: bool) -> str:
    """Read what tools have left in the folder, the first process's first."""
    texts = []
    for file in sorted(folder.glob("report*")):
        with file.open(encoding="utf-8", errors="backslashreplace") as stream:
            texts.append(stream.read(runner.Limits().output))
    clean = reports.sanitizer if sanitized else reports.valgrind
    return "".join(clean(text, folder) for text in texts)

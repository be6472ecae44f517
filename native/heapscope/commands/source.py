"""What ``film`` and ``check`` share: the program's file, and the options it is run with."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from heapscope.cli import CommandError

_LANGUAGES = {
    ".c": "c",
    ".go": "go",
    ".cc": "c++",
    ".cpp": "c++",
    ".cxx": "c++",
}
_MOST = 1 << 20  # bytes of a source file


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which program, and how it is compiled and run."""
    parser.add_argument("file", metavar="FILE", help="a C program (.c) or a Go program (.go)")
    parser.add_argument(
        "--flags", default="", metavar='"-O2 …"', help="more options for gcc, or for go build"
    )
    parser.add_argument("--std", metavar="c17", help="C: the language standard")
    parser.add_argument(
        "--stdin", metavar="FILE", help="a file that is its standard input; else it is empty"
    )
    parser.add_argument("--args", default="", metavar='"a b"', help="its arguments")
    parser.add_argument(
        "--timeout", type=float, default=10, metavar="S", help="seconds until it is stopped (10)"
    )


def read(args: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Return the program's text, its language, and the options for `run_c` or `run_go`.

    Raises CommandError for a file that cannot be read, or is no program.
    """
    path = Path(args.file)
    language = _LANGUAGES.get(path.suffix.lower())
    if language is None:
        ending = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise CommandError(f"{path.name} {ending}; a program's name ends in .c or .go")
    text = _text(path)
    if not args.timeout > 0:
        raise CommandError(f"--timeout is more than 0 seconds, not {args.timeout:g}")
    try:
        options: dict[str, Any] = {
            "flags": shlex.split(args.flags),
            "args": shlex.split(args.args),
            "timeout": args.timeout,
        }
    except ValueError as error:
        raise CommandError(f"--flags or --args: {error}") from None
    if args.stdin:
        options["stdin"] = _text(Path(args.stdin))
    if language == "go":
        if args.std:
            raise CommandError("--std is for C; a Go program has no such option")
    else:
        options["name"] = path.stem
        # A header beside the program is found as the compiler would find it there.
        options["flags"] = [f"-iquote{path.resolve().parent}", *options["flags"]]
        if args.std:
            options["std"] = args.std
    return text, language, options


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST:
            raise CommandError(f"{path} is larger than {_MOST >> 20} MiB, which is no source file")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise CommandError(f"{path} is a folder, and a file is needed") from None
    except PermissionError:
        raise CommandError(f"{path} may not be read by you") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


def write(path: Path, text: str) -> None:
    """Write a file. Raises CommandError when that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None

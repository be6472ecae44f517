"""Make what tools say the same in every run: no process numbers, no addresses, no paths.

The words stay the tool's own. What goes is what changes from run to run or says nothing about the
program: banners, shadow bytes, the frames of the C library below ``main``.
"""

from __future__ import annotations

import re
from pathlib import Path

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{5,}")
_PID = re.compile(r"^==\d+== ?", re.MULTILINE)

# AddressSanitizer, LeakSanitizer, MemorySanitizer, ThreadSanitizer
_REGISTERS = re.compile(r" (?:at pc|\(pc) 0x\S+.*$", re.MULTILINE)
_FRAME = re.compile(r"^(\s*#\d+) 0x[0-9a-f]+ in ", re.MULTILINE)
_MODULE = re.compile(r" \((?:/[^()]*/)?([^()/]+)\+0x[0-9a-f]+\)(?: \(BuildId: \w+\))?")
_RUNTIME_FRAME = re.compile(
    r"^\s*#\d+ (?:__libc_start_call_main|__libc_start_main\S*|_start|__libc_start_call)\b.*\n?",
    re.MULTILINE,
)
_SHADOW = re.compile(r"^Shadow bytes around.*?(?=^SUMMARY|^==|\Z)", re.MULTILINE | re.DOTALL)
_LIBRARY_SOURCE = re.compile(r" \.\./(?:[\w.+-]+/)*([\w.+-]+:\d+)(?::\d+)?")
_ABORTING = re.compile(r"^(?:==\d+==)?ABORTING\n?", re.MULTILINE)
_RULE = re.compile(r"^=+\n", re.MULTILINE)

# valgrind
_BANNER = re.compile(
    r"^(?:Memcheck, a memory error detector|Copyright \(C\)|Using Valgrind|Command:|Parent PID:"
    r"|For lists of detected|For counts of detected|Rerun with|Use --track).*\n",
    re.MULTILINE,
)
_VALGRIND_FRAME = re.compile(r"^(\s+(?:at|by)) 0x[0-9A-Fa-f]+: ", re.MULTILINE)
_VALGRIND_SELF = re.compile(r" \((?:in \S*/vgpreload_[^)]*|vg_replace_\w+\.c:\d+)\)")
_IN_FILE = re.compile(r"\(in /[^)]*/([^)/]+)\)")


# Go
_STACK = re.compile(r"\n*(?:goroutine \d+.*\[|runtime stack:)")
_REGISTER_DUMP = re.compile(r"\n*(?:[re]?[a-z]\w{1,4}|lr|sp)\s+0x[0-9a-f]+\n")
_WORK = re.compile(
    r"(?:\$WORK/\S*?/|/tmp/go-build\d*/(?:\S*/)?|/\S*/go-link-\d+/|\bcommand-line-arguments/)(?=[\w.-])"
)
_CGO_HASH = re.compile(r"\b_cgo_[0-9a-f]{12}_")

_HERE = re.compile(r"(?<![\w./])\./(?=[\w.-]+\.(?:c|cpp|go|h)\b)")
_RUNTIME_ERROR = re.compile(r"^\S+:\d+:\d+: runtime error: .*\n?", re.MULTILINE)


def replace_paths(text: str, folder: Path) -> str:
    """Leave the temporary folder out of what a tool says."""
    return _HERE.sub("", text.replace(f"{folder}/", "").replace(str(folder), "."))


def split_runtime_errors(stderr: str) -> tuple[str, str]:
    """Take UBSan's lines out of stderr: return (report, the rest).

    Beside AddressSanitizer, gcc's UBSan does not write to the file that its options name.
    """
    return "".join(_RUNTIME_ERROR.findall(stderr)), _RUNTIME_ERROR.sub("", stderr)


def compiler(text: str, folder: Path, source: str, file: str) -> str:
    """Return what a C compiler said about `file`, which it knew as `source`."""
    text = replace_paths(text, folder).replace(source, file)
    text = re.sub(r"/tmp/[\w.-]+\.o: ", f"{file}: ", text)  # the linker's view of our file
    text = re.sub(r"^/usr/\S*/ld: ", "ld: ", text, flags=re.MULTILINE)
    text = re.sub(
        r"^\d+ (?:warning|error)s?(?: and \d+ errors?)? generated\.\n", "", text, flags=re.MULTILINE
    )
    return re.sub(r"^/\S*/((?:gcc|g\+\+|clang|clang\+\+): )", r"\1", text, flags=re.MULTILINE)


def go_compiler(text: str, source: Path) -> str:
    """Return what ``go build`` said about the package in `source`."""
    text = re.sub(r"^# .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^/.*/pkg/tool/\w+/(?=\w+: )", "", text, flags=re.MULTILINE)  # Go's own linker
    return _WORK.sub("", replace_paths(text, source))


def number_addresses(text: str) -> str:
    """Replace each address by ``@1``, ``@2`` … in the order in which they appear."""
    numbers: dict[str, int] = {}

    def name(found: re.Match[str]) -> str:
        key = found[0].lower().replace("0x", "").lstrip("0")
        return f"@{numbers.setdefault(key, len(numbers) + 1)}"

    return _ADDRESS.sub(name, text)


def go_trace(text: str) -> str:
    """Shorten what a dying Go program says to what is about the program, the same in each run.

    Of the stacks, the frames outside the runtime stay; goroutines that the runtime runs for itself
    and registers go. Addresses read ``0x…``.
    """
    text = re.sub(r"^(PC=\S+) m=\d+ ", r"\1 ", text, flags=re.MULTILINE)
    blocks = []
    for block in text.split("\n\n"):
        kept = _own_frames(block) if _STACK.match(block) else block
        if kept and not _REGISTER_DUMP.match(kept):
            blocks.append(kept)
    return _ADDRESS.sub("0x…", "\n\n".join(blocks).rstrip("\n") + "\n" if text else "")


def _own_frames(block: str) -> str:
    """Return a goroutine's stack without the runtime's frames, or "" if no other is left."""
    head, *lines = block.strip("\n").split("\n")
    head = re.sub(r" gp=\S+ m=\S+(?: mp=\S+)?", "", head)
    frames: list[str] = []
    keep = False
    for line in lines:
        if not line.startswith("\t"):
            name = line.removeprefix("created by ")
            # `runtime.gopark` is the runtime's; `panic` is its word for a panic on the stack.
            keep = not re.match(r"(?:runtime[./]|panic\(|exit status)", name)
        if keep:
            line = re.sub(r"(?: \+0x[0-9a-f]+| (?:fp|sp|pc)=0x[0-9a-f]+)+$", "", line)
            frames.append(re.sub(r"\((?:0x|\{|\.\.\.).*\)$", "(…)", line))
    return "\n".join([head, *frames]) if frames else ""


def valgrind(text: str, folder: Path) -> str:
    """Return valgrind's report in its own words, the same in each run."""
    text = replace_paths(text, folder)
    text = _PID.sub("", text)
    text = _BANNER.sub("", text)
    text = _VALGRIND_FRAME.sub(r"\1 ", text)
    text = _VALGRIND_SELF.sub("", text)
    text = _IN_FILE.sub(r"(in \1)", text)
    text = re.sub(r"\n{3,}", "\n\n", number_addresses(text))
    return text.strip("\n") + "\n" if text.strip() else ""


def sanitizer(text: str, folder: Path) -> str:
    """Return the report of gcc's, clang's or Go's sanitizers, the same in each run."""
    text = replace_paths(text, folder)
    text = _SHADOW.sub("", text)
    text = _ABORTING.sub("", text)
    text = re.sub(r"^==\d+== ?", "", text, flags=re.MULTILINE)
    text = _RULE.sub("", text)
    text = _REGISTERS.sub("", text)
    text = _FRAME.sub(r"\1 ", text)
    text = _RUNTIME_FRAME.sub("", text)
    text = _MODULE.sub(r" (\1)", text)
    text = _LIBRARY_SOURCE.sub(r" \1", text)
    text = re.sub(r" \(pid=\d+\)", "", text)
    text = re.sub(r" \+0x[0-9a-f]+$", "", text, flags=re.MULTILINE)  # Go's race detector
    text = _CGO_HASH.sub("_cgo_", _WORK.sub("", text))
    text = re.sub(r"\n{3,}", "\n\n", number_addresses(text))
    return text.strip("\n") + "\n" if text.strip() else ""

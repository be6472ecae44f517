"""Read what tools say about a program: glibc, gcc's sanitizers, valgrind and Go's own checks.

Each function takes a tool's report and returns verdicts in the order of the report. Reports are
read leniently: one that was cut short, because the program was stopped, gives what it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from heapscope.programs.result import Run
from heapscope.programs.verdict import Kind, Place, Source, Verdict

# ---------------------------------------------------------------------------- glibc

# What glibc writes before it calls abort(): malloc/malloc.c, debug/stack_chk_fail.c and
# debug/chk_fail.c. A message says which word was impossible, not who wrote it.
_GLIBC = re.compile(
    r"^(?:(?:malloc|free|realloc|calloc|munmap_chunk|mremap_chunk|malloc_consolidate|_int_free"
    r"|malloc_check_get_size|sysmalloc|unlink_chunk|tcache_thread_shutdown|systrim)\(\): .*"
    r"|corrupted (?:size|double-linked).*|double free or corruption.*"
    r"|break adjusted to free malloc space|top chunk is corrupt"
    r"|\*\*\* .* \*\*\*: terminated|Fatal glibc error: .*)$",
    re.MULTILINE,
)
_ASSERTION = re.compile(r"^(?:[^\s:]+: )?(\S+:\d+: .*Assertion `.*' failed)\.$", re.MULTILINE)


def glibc(stderr: str) -> Verdict | None:
    """Return what glibc said before it called abort, or None."""
    said = _GLIBC.findall(stderr)
    if not said:
        return None
    text = said[-1]
    return Verdict(_glibc_kind(text), text, "glibc")


def _glibc_kind(text: str) -> Kind:
    if text.startswith("***"):  # stack smashing, and the checks of _FORTIFY_SOURCE
        return Kind.OVERFLOW
    # "double free or corruption (out)" and "(top)" are about a chunk that lies outside the arena.
    if "double free" in text:
        return Kind.INVALID_FREE if "(out)" in text else Kind.DOUBLE_FREE
    if re.match(r"(?:free|realloc|munmap_chunk|mremap_chunk)\(\): invalid (?:pointer|size)", text):
        return Kind.INVALID_FREE
    return Kind.CORRUPTED_HEAP


def signalled(run: Run, address: int | None) -> Verdict | None:
    """Return a verdict on how a plain run ended, or None when nothing is wrong with that.

    `address` is where the memory access failed, if a debugger could tell.
    """
    if run.stopped:
        return Verdict(Kind.OTHER, run.stopped, "system")
    if run.signal is None:
        return None
    if run.signal == "SIGABRT":
        if found := glibc(run.stderr):
            return found
        asserted = _ASSERTION.findall(run.stderr)
        return Verdict(Kind.OTHER, asserted[-1] if asserted else "abort", "system")
    if run.signal in ("SIGSEGV", "SIGBUS"):
        kind = Kind.NULL if address is not None and address < 4096 else Kind.INVALID_ACCESS
        return Verdict(kind, run.ended(), "system")
    return Verdict(Kind.OTHER, run.ended(), "system")


# ---------------------------------------------------------------------------- sanitizers

_ASAN_KINDS = (
    ("attempting double-free", Kind.DOUBLE_FREE),
    ("attempting free on address which was not malloc", Kind.INVALID_FREE),
    ("attempting to call malloc_usable_size", Kind.INVALID_FREE),
    ("heap-use-after-free", Kind.USE_AFTER_FREE),
    ("stack-use-after", Kind.USE_AFTER_RETURN),
    ("alloc-dealloc-mismatch", Kind.MISMATCHED_FREE),
    ("new-delete-type-mismatch", Kind.MISMATCHED_FREE),
    ("use-of-uninitialized-value", Kind.UNINITIALISED),
    ("stack-overflow", Kind.OTHER),
    ("buffer-overflow", Kind.OVERFLOW),
    ("buffer-underflow", Kind.OVERFLOW),
    ("negative-size-param", Kind.OVERFLOW),
    ("SEGV", Kind.INVALID_ACCESS),
    ("BUS", Kind.INVALID_ACCESS),
)
_UBSAN_KINDS = (
    ("signed integer overflow", Kind.INTEGER_OVERFLOW),
    ("null pointer", Kind.NULL),
    ("out of bounds", Kind.OVERFLOW),
    ("insufficient space", Kind.OVERFLOW),
)
_RUNTIME_ERROR = re.compile(r"^(\S+?):(\d+):\d+: runtime error: (.*)$", re.MULTILINE)
_ASAN_HEAD = re.compile(r"^ERROR: (?:Address|Memory)Sanitizer: (.*)$", re.MULTILINE)
_SAN_FRAME = re.compile(r"^\s*#\d+ (.+?) (\S+?):(\d+)(?::\d+)?$")
_LEAK = re.compile(
    r"^((?:Direct|Indirect) leak of .*?) allocated from:\n((?:\s*#.*\n?)*)", re.MULTILINE
)


def sanitizers(report: str, source: Source) -> list[Verdict]:
    """Return what AddressSanitizer, UBSan and LeakSanitizer found."""
    verdicts = [
        Verdict(_kind(text, _UBSAN_KINDS), text, "ubsan", source.place(line))
        for file, line, text in _RUNTIME_ERROR.findall(report)
        if source.mine(file)
    ]
    for found in _ASAN_HEAD.finditer(report):
        end = report.find("\nSUMMARY", found.end())
        verdicts.append(_asan(found[1], report[found.end() : end if end > 0 else None], source))
    leaks = _LEAK.findall(report)
    # What only a lost block points to is lost with it: it is no finding of its own.
    chosen = [leak for leak in leaks if leak[0].startswith("Direct")] or leaks
    for text, stack in chosen:
        allocated = _sanitizer_place(stack.splitlines(), source)
        note = ""
        if allocated is None:
            allocated, note = _from_go(stack, source)
        verdicts.append(Verdict(Kind.LEAK, text, "lsan", allocated=allocated, note=note))
    return _distinct(verdicts)


def _kind(text: str, kinds: Iterable[tuple[str, Kind]]) -> Kind:
    return next((kind for words, kind in kinds if words in text), Kind.OTHER)


def _asan(head: str, body: str, source: Source) -> Verdict:
    """Read one error of AddressSanitizer: its headline and the stacks below it."""
    text = re.sub(r" in thread .*$|:? @\d.*$|:? 0x.*$|:\s*$", "", head)
    text = re.sub(r" on (?:unknown )?address$| on$|: \(size$", "", text).strip()
    kind = _kind(head, _ASAN_KINDS)
    if kind is Kind.INVALID_ACCESS and "points to the zero page" in body:
        kind = Kind.NULL
    if kind is Kind.INVALID_ACCESS and re.search(r"^\s*#[1-9] __interceptor_c?free\b", body, re.M):
        kind = Kind.INVALID_FREE  # ASan itself stumbled over what free was given
    stacks: dict[str, list[str]] = {"at": []}
    heading = "at"
    note = ""
    for line in body.splitlines():
        if found := re.match(r"(freed|previously allocated|allocated) by thread (\S+)", line):
            heading = "freed" if found[1] == "freed" else "allocated"
            here = re.search(r" in thread (T\d+)", head)
            if heading == "freed" and here and found[2] != here[1]:
                note = "freed on another thread"
        elif line.startswith(("Thread T", "Address ", "HINT")):
            heading = "rest"
        if re.match(r"\s*#\d+ ", line):
            stacks.setdefault(heading, []).append(line)
    places = {
        name: _sanitizer_place(stacks.get(name, ()), source)
        for name in ("at", "allocated", "freed")
    }
    for name in ("allocated", "freed"):
        if places[name] is None and stacks.get(name):
            places[name] = _from_go("\n".join(stacks[name]), source)[0]
    return Verdict(kind, text, "asan", **places, note=note)


def _sanitizer_place(stack: Iterable[str], source: Source) -> Place | None:
    """Return the innermost frame of a stack that lies in the program."""
    for line in stack:
        found = _SAN_FRAME.match(line)
        if found and source.mine(found[2]) and (place := source.place(found[3])):
            return replace(place, function=found[1])
    return None


_FROM_GO = re.compile(r"\b_cgo_(?:[0-9a-f]{6,}_)?Cfunc_(\w+)")


def _from_go(stack: str, source: Source) -> tuple[Place | None, str]:
    """Say where Go asked for a block: (the line, a word when there is none to name).

    The stacks of sanitizers end where Go's begins (at ``runtime.asmcgocall``). Which of C's
    functions was called they do say, and a program may call it on one line only.
    """
    called = _FROM_GO.search(stack)
    if called is None:
        return None, "no line of the program is in the tool’s stack"
    places = source.calls_of_c(called[1])
    if len(places) == 1:
        return places[0], ""
    unseen = "the tool cannot see Go’s stack"
    if not places:
        return None, unseen
    lines = [str(place.line) for place in places]
    return None, f"line {', '.join(lines[:-1])} or {lines[-1]}: {unseen}"


def _distinct(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Leave out what says the same about the same line once more, as UBSan and ASan may.

    A pointer that leads nowhere is often misaligned too, which UBSan remarks first: what is fatal
    on the same line says more.
    """
    kept: list[Verdict] = []
    for number, verdict in enumerate(verdicts):
        if verdict.at is not None and verdict.kind is not Kind.LEAK:
            here = [other for other in verdicts[number + 1 :] if other.at == verdict.at]
            if verdict.kind is Kind.OTHER and any(o.kind is not Kind.OTHER for o in here):
                continue
            if any(other.kind is verdict.kind and other.at == verdict.at for other in kept):
                continue
        kept.append(verdict)
    return kept


# ---------------------------------------------------------------------------- valgrind

_VALGRIND_KINDS = {
    "InvalidFree": Kind.INVALID_FREE,
    "MismatchedFree": Kind.MISMATCHED_FREE,
    "UninitCondition": Kind.UNINITIALISED,
    "UninitValue": Kind.UNINITIALISED,
    "SyscallParam": Kind.UNINITIALISED,
    "ClientCheck": Kind.OTHER,
    "InvalidRead": Kind.INVALID_ACCESS,
    "InvalidWrite": Kind.INVALID_ACCESS,
    "InvalidJump": Kind.INVALID_ACCESS,
    "Overlap": Kind.OTHER,
    "FishyValue": Kind.OTHER,
    "Leak_DefinitelyLost": Kind.LEAK,
    "Leak_PossiblyLost": Kind.LEAK,
}
_ERROR = re.compile(r"<error>.*?</error>", re.DOTALL)
_BAD_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_WHERE = re.compile(r"Address 0x([0-9a-fA-F]+) is (.*)")


def valgrind(xml: str, source: Source) -> list[Verdict]:
    """Return what memcheck found, from the XML that it writes with ``--xml=yes``.

    Blocks that are still reachable, or lost only with another one, are no findings.
    """
    verdicts = []
    for piece in _ERROR.findall(_BAD_XML.sub("", xml)):
        try:
            error = ElementTree.fromstring(piece)
        except ElementTree.ParseError:
            continue  # cut short
        if verdict := _memcheck(error, source):
            verdicts.append(verdict)
    # Leaks come sorted by size; the program's order is easier to follow.
    faults = [verdict for verdict in verdicts if verdict.kind is not Kind.LEAK]
    leaks = [verdict for verdict in verdicts if verdict.kind is Kind.LEAK]
    leaks.sort(key=lambda leak: leak.allocated.line if leak.allocated else 0)
    return _distinct([*faults, *leaks])


def _memcheck(error: ElementTree.Element, source: Source) -> Verdict | None:
    code = error.findtext("kind", "")
    kind = _VALGRIND_KINDS.get(code)
    if kind is None:  # Leak_StillReachable, Leak_IndirectlyLost
        return None
    text = error.findtext("what") or error.findtext("xwhat/text") or code
    text = re.sub(r" in loss record .*$| / delete.*$", "", text)
    text = re.sub(r"\s*\(?0x[0-9a-fA-F]+\)?", "", text)
    text = re.sub(r"(?:, [^(]+)? (?:are|is) (definitely|possibly) lost", r" are \1 lost", text)
    stacks = [_valgrind_place(stack, source) for stack in error.findall("stack")]
    at = stacks[0] if stacks else None
    if kind is Kind.LEAK:
        return Verdict(kind, text, "valgrind", allocated=at)
    about = " ".join(aux.text or "" for aux in error.findall("auxwhat"))
    allocated = freed = None
    others = stacks[1:]
    if "not stack'd" in about:  # "… malloc'd or (recently) free'd": nobody's
        pass
    elif "free'd" in about:
        freed = others[0] if others else None
        allocated = others[1] if len(others) > 1 else None
    elif "alloc'd" in about or "created by a heap allocation" in about:
        allocated = others[0] if others else None
    return Verdict(_memcheck_kind(kind, about), text, "valgrind", at, allocated, freed)


def _memcheck_kind(kind: Kind, about: str) -> Kind:
    """Tell faults apart that memcheck calls by one name, by what it says of the address."""
    where = _WHERE.search(about)
    if where is None:
        return kind
    if kind is Kind.INVALID_FREE:
        # A block is freed again only at its beginning.
        return Kind.DOUBLE_FREE if re.match(r"0 bytes inside a block .* free'd", where[2]) else kind
    if kind is not Kind.INVALID_ACCESS:
        return kind
    if where[2].startswith("not stack'd"):
        return Kind.NULL if int(where[1], 16) < 4096 else kind
    if "free'd" in where[2]:
        return Kind.USE_AFTER_FREE
    if re.search(r"bytes (?:after|before|inside) a(?:n unallocated)? block", where[2]):
        return Kind.OVERFLOW
    if "below stack pointer" in where[2]:
        return Kind.USE_AFTER_RETURN
    return kind


def _valgrind_place(stack: ElementTree.Element, source: Source) -> Place | None:
    for frame in stack.findall("frame"):
        if source.mine(frame.findtext("file", "")):
            return source.place(frame.findtext("line"), frame.findtext("fn", ""))
    return None


# ---------------------------------------------------------------------------- Go

_GO_FRAME = re.compile(r"^(?P<function>\S.*)\n\t(?P<file>\S+?):(?P<line>\d+)\b", re.MULTILINE)
_GOROUTINE = re.compile(r"^goroutine \d+ .*:$", re.MULTILINE)
_GO_HEAD = re.compile(
    r"^(panic: .*|fatal error: .*|runtime: (?:bad|found bad|pointer|cgo).*"
    r"|write of unpinned Go pointer.*|SIG[A-Z]+: .*|runtime error: .*)$",
    re.MULTILINE,
)
# With code 128 (SI_KERNEL) the kernel does not tell the address.
_FAULT_ADDRESS = re.compile(r"\b(?:sig)?code=(?!128\b|0x80\b)\S+ addr=0x([0-9a-f]+)")


def go(run: Run, source: Source) -> list[Verdict]:
    """Return what a Go program that died says: a panic, cgo's check, a signal in C."""
    if run.stopped:
        return [Verdict(Kind.OTHER, run.stopped, "system")]
    if run.exit in (0, None) and not run.signal:
        return []
    said = _GO_HEAD.search(run.stderr)
    if said is None:
        # A status that the program chose is no fault.
        return [Verdict(Kind.OTHER, run.ended(), "system")] if run.signal else []
    at = go_place(run.stderr[said.start() :], source)
    if found := glibc(run.stderr[: said.start()]):
        return [replace(found, at=at)]
    text = _go_text(said[1])
    kind = _go_kind(said[1], run.stderr)
    return [Verdict(kind, text, "go", at)]


def _go_text(head: str) -> str:
    """Return the headline without addresses and without what Go says about recovering."""
    text = re.sub(r"^panic: (?=runtime error: )|^fatal error: | \[recovered.*$", "", head)
    return re.sub(r" ?0x[0-9a-f]+", "", text)


def _go_kind(head: str, stderr: str) -> Kind:
    if "Go pointer" in head or "bad pointer in Go heap" in stderr:
        return Kind.CGO
    if "checkptr" in head:
        straddles = "multiple allocations" in head or "invalid allocation" in head
        return Kind.OVERFLOW if straddles else Kind.OTHER
    if "nil pointer dereference" in head:
        return Kind.NULL
    if "concurrent map" in head:
        return Kind.RACE
    if re.search(r"SIG(?:SEGV|BUS)|unexpected signal|fault address", head):
        where = _FAULT_ADDRESS.search(stderr)
        return Kind.NULL if where and int(where[1], 16) < 4096 else Kind.INVALID_ACCESS
    return Kind.OTHER


def go_place(stack: str, source: Source) -> Place | None:
    """Return the innermost frame of the first goroutine with one in the program."""
    for part in _GOROUTINE.split(stack)[1:]:
        for frame in _GO_FRAME.finditer(part):
            if frame["function"].startswith("created by"):
                break
            if source.mine(frame["file"]) and (place := source.place(frame["line"])):
                return replace(place, function=_go_name(frame["function"]))
    return None


def _go_name(function: str) -> str:
    """Return the reader's name of a function: main.main.func2(...) is in main."""
    name = re.sub(r"\((?:0x|\{|\.\.\.|_).*\)$|\(\)$", "", function)
    name = re.sub(r"(?:\.(?:func|gowrap)\d+|\.\d+)+$", "", name)
    return name.removeprefix("main.")


def go_asan(run: Run, source: Source) -> list[Verdict]:
    """Return what ``go build -asan`` found; Go's own stack gives the line when it was printed."""
    verdicts = sanitizers(run.report, source)
    if not verdicts:
        return go(run, source)
    first = verdicts[0]
    if first.at is None and first.kind is not Kind.LEAK:
        verdicts[0] = replace(first, at=go_place(run.stderr, source))
    return verdicts


_RACE = re.compile(r"WARNING: DATA RACE\n(.*?)(?=\nWARNING: DATA RACE|\nFound \d|\Z)", re.DOTALL)
_ACCESS = re.compile(r"^(?:Previous )?(?:atomic )?(read|write) ", re.MULTILINE | re.IGNORECASE)
_RACE_FRAME = re.compile(r"^  (\S.*)\n      (\S+?):(\d+)", re.MULTILINE)


def race(run: Run, source: Source) -> list[Verdict]:
    """Return what Go's race detector found."""
    verdicts = []
    for body in _RACE.findall(run.report):
        places = []
        words = []
        for block in body.split("\n\n"):
            found = _ACCESS.match(block)
            if found is None:
                continue
            words.append(found[1].lower())
            places.append(_race_place(block, source))
        if len(places) >= 2:
            text = f"data race: {words[0]} against {words[1]}"
            verdicts.append(Verdict(Kind.RACE, text, "race", places[0], also=places[1]))
    return _distinct(verdicts) or go(run, source)


def _race_place(block: str, source: Source) -> Place | None:
    for function, file, line in _RACE_FRAME.findall(block):
        if source.mine(file) and (place := source.place(line)):
            return replace(place, function=_go_name(function))
    return None

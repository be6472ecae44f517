"""Chapter 8: a Go wrapper around a C block whose copies are harmless."""

from __future__ import annotations

import re

from heapscope.programs.findings import go, go_asan
from heapscope.programs.go import FILE, run_go
from heapscope.programs.result import Run
from heapscope.programs.scan import closed, mask
from heapscope.programs.verdict import Kind, Source
from heapscope.programs.verdict import Verdict as Finding
from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.go_program import FUNC_MAIN, MARK, refused, renamed, steps

MAIN = """func main() {
	b := New(40)
	c := b
	b.Free()
	b.Free()
	c.Free()
	fmt.Println("ok")
}"""
"""What the answer has to leave as it is."""


# Larger than what the tcache keeps (mallinfo2 takes its blocks for blocks in use), smaller than
# what malloc gives a mapping of its own. What Go's runtime allocates with malloc is far below half.
_SIZE = 100_000

# How many bytes of the C heap are in use.
_PREAMBLE = """
/*
#include <malloc.h>
static long heapscopeInUse(void) {
#if __GLIBC_PREREQ(2, 33)
	return mallinfo2().uordblks;
#else
	return mallinfo().uordblks;
#endif
}
*/
import "C"
import hsfmt "fmt"
import hsruntime "runtime"
"""

# The reader's main runs under another name. Around it, lives of blocks are watched from outside.
# Each step prints its name, so that an abort has a place.
_TRIAL = f"""
//line check.go:1:1
func main() {{
	hsruntime.LockOSThread() // one arena: the address that was freed is given out again
	before := 0
	inUse := func() int {{ return int(C.heapscopeInUse()) - before }}
	step := func(name string) {{ hsfmt.Printf("\\n{MARK}%s %d\\n", name, inUse()) }}
	before = inUse()
	b := New({_SIZE})
	step("made")
	c := b
	b.Free()
	step("freed")
	heapscopeMain()
	step("main")
	c.Free()
	b.Free()
	for i := 0; i < 10; i++ {{
		b := New({_SIZE})
		c := b
		c.Free()
		b.Free()
	}}
	step("many")
	before += inUse()
	d, e := New({_SIZE}), New({_SIZE})
	d.Free()
	step("one-of-two")
	e.Free()
	step("none-of-two")
	before += inUse()
	f := New({_SIZE})
	g := f
	f.Free()
	h := New({_SIZE})
	step("again")
	g.Free()
	step("late")
	h.Free()
	step("end")
}}
"""


@exercise("one-owner", takes=str)
def one_owner(answer: str) -> Verdict:
    """Check the text of the program: each block is freed once, however often Buf is copied."""
    _main_is_unchanged(answer)
    _watch(answer)
    run = run_go(answer, flags="-asan")
    missing = ""
    if run.compiled:
        _ended(run, go_asan(run, Source(answer, FILE)), "Built with `-asan`, ")
        if run.report.strip():
            raise Hint(f"Built with `-asan`, it complains: {run.report.strip().splitlines()[0]}")
    else:  # without it, it has compiled
        missing = " (`-asan` cannot be used on this machine, so that was not tried.)"
    return Right(
        "The block is freed once, by the first `Free`, whichever copy it is called on. A late "
        "`Free` on an old copy leaves the next owner of the address alone." + missing
    )


def _main_is_unchanged(answer: str) -> None:
    masked = mask(answer, raw_strings=True)
    found = FUNC_MAIN.search(masked)
    if found is None:
        raise Hint("There is no `func main()`. Leave it as it was, below your type.")
    theirs = answer[found.start() : closed(masked, found.end() - 1)]
    ours, lines = _normal(MAIN), _normal(theirs)
    if lines == ours:
        return
    n = next((n for n, (a, b) in enumerate(zip(lines, ours, strict=False)) if a != b), None)
    where = ""
    if n is not None and "`" not in lines[n]:
        where = f" It says `{lines[n]}` where `{ours[n]}` was."
    raise Hint(
        f"`main` is to stay as it is: it is what users of `Buf` write.{where} Change the type and "
        "its functions."
    )


def _normal(text: str) -> list[str]:
    """Return the lines of Go without comments, empty lines and doubled spaces."""
    lines = (" ".join(re.sub(r"//.*", "", line).split()) for line in text.split("\n"))
    return [line for line in lines if line]


def _watch(answer: str) -> None:
    """Run the program, and then more buffers, and look at what is in use."""
    run = run_go("".join(renamed(answer, _PREAMBLE)) + _TRIAL)
    if not run.compiled:
        alone = run_go(answer)
        if not alone.compiled:
            raise Hint(refused(alone))
        said = run.diagnostics.strip().split("\n")[0].replace("`", "'")
        raise Hint(f"`main` works, but `New({_SIZE})` is not possible: {said}")
    seen, printed = steps(run.stdout, "freed")
    findings = go(run, Source(answer, FILE))
    half = _SIZE // 2
    if seen.get("made", half) < half:
        raise Hint(
            f"`New({_SIZE})` does not allocate with `C.malloc`: no more of the C heap is in use "
            "afterwards. The wrapper is to own a C block."
        )
    if seen.get("freed", 0) > half:
        raise Hint(
            "Nothing is freed twice, but the block is never freed: after `b.Free()` it is still in "
            "use. Where is `C.free`?"
        )
    if "main" not in seen:
        _ended(run, findings, "")
        raise Hint("The program ended before `main` had returned.")
    if printed != "ok\n":
        raise Hint(f"`main` should print `ok` and nothing else, and prints {printed!r}.")
    if seen.get("many", 0) > half:
        raise Hint(
            "The first block is freed, but later ones are not: after ten more buffers "
            f"{seen['many'] // _SIZE} of their blocks are still in use. What remembers that a "
            "block is gone must exist once for each block, and an address may be given out again."
        )
    if "one-of-two" in seen and seen["one-of-two"] < half:
        raise Hint("Of two buffers one was freed, and the other one's block went with it.")
    if seen.get("none-of-two", 0) > half:
        raise Hint("Of two buffers both were freed, and a block is still in use.")
    if "late" in seen and seen["late"] < half:
        raise Hint(
            "A late `Free` on an old copy freed somebody else's block: `malloc` had given the same "
            "address to a new buffer. An address does not tell whose block it is."
        )
    _ended(run, findings, "`main` works. With more buffers ")
    if "end" not in seen:
        raise Hint("`main` works. With more buffers the program ended too early.")
    if seen["end"] > half:
        raise Hint("A block is never freed: its buffer was made after an old copy's late `Free`.")


def _ended(run: Run, findings: list[Finding], how: str) -> None:
    """Hint unless the program ended well; `how` begins the sentence."""
    if findings:
        finding = findings[0]
        at = finding.at or finding.allocated
        place = f", at {at}" if at else ""
        words = f"{how}it ended with this complaint{place}\n{finding.text}"
        if finding.kind is Kind.DOUBLE_FREE:
            words += (
                "\nA copy of a `Buf` has its own fields: what one copy writes into them, the other "
                "does not see."
            )
        raise Hint(_capital(words))
    if run.exit != 0:
        raise Hint(_capital(f"{how}it ended with {run.ended()} instead of exit status 0."))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]

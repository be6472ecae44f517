"""Chapter 12: a Go slice lent to C for one call."""

from __future__ import annotations

import re

from heapscope.programs.findings import go
from heapscope.programs.go import FILE, run_go
from heapscope.programs.result import Run
from heapscope.programs.scan import closed, line_of, mask
from heapscope.programs.verdict import Source
from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.go_program import FUNC_MAIN, MARK, refused, renamed, steps

C = """static void upper(char *p, size_t n) {
	for (size_t i = 0; i < n; i++) if (p[i] >= 'a' && p[i] <= 'z') p[i] -= 32;
}"""
MAIN = 'func main() { data := []byte("heap"); Upper(data); fmt.Println(string(data)) }'
"""What the answer has to leave as it is, and C as well."""

_UPPER = re.compile(r"^func\s+Upper\s*\(\s*\w+\s+\[\]byte\s*\)\s*\{", re.MULTILINE)
# A preamble may stand in // comments as well.
_TOKEN = re.compile(r"^[ \t]*//|\s+|(\w+|'[^'\n]*'|\"[^\"\n]*\"|[^\s\w])", re.MULTILINE)

_COPIES = {
    "CBytes": "makes a C block and copies the slice into it",
    "CString": "makes a C block and copies the text into it",
    "GoBytes": "makes a Go slice and copies C's bytes into it",
    "GoString": "makes a Go string and copies C's bytes into it",
    "GoStringN": "makes a Go string and copies C's bytes into it",
}
_USED = re.compile(
    rf"\bC\s*\.\s*({'|'.join(_COPIES)}|malloc|calloc|realloc|strdup|strndup|aligned_alloc|free)\b"
)
_C_BLOCK = re.compile(
    r"(?<![\w.])((?:m|c|re|v|pv)alloc|reallocarray|strn?dup|aligned_alloc|posix_memalign|memalign)"
    r"\s*\("
)
_HEADER = re.compile(r"\*\s*C\s*\.\s*char\s*\)\s*\(\s*unsafe\s*\.\s*Pointer\s*\(\s*&\s*(\w+)\s*\)")
_NARROW = re.compile(r"\b(?:C\s*\.\s*u?(?:int|short|char)|u?int(?:8|16|32))\s*\(\s*len\b")


# While it watches, upper writes down what it is given: where the first byte is, where the next
# should be, and whether one was left out. While it only watches, it touches nothing.
_PREAMBLE = """
/*
#include <stddef.h>
#include <stdint.h>
static int heapscopeWatches;
static uintptr_t heapscopeFirst, heapscopeNext;
static int heapscopeGap;
static inline int heapscopeSees(const char *p, size_t n) {
	if (heapscopeWatches && n > 0) {
		if (heapscopeFirst == 0) heapscopeFirst = (uintptr_t)p;
		else if (heapscopeNext != (uintptr_t)p) heapscopeGap = 1;
		heapscopeNext = (uintptr_t)p + n;
	}
	return heapscopeWatches;
}
static void heapscopeWatch(int on) {
	heapscopeWatches = on;
	heapscopeFirst = heapscopeNext = 0;
	heapscopeGap = 0;
}
static uintptr_t heapscopeWhere(void) { return heapscopeFirst; }
static size_t heapscopeLength(void) {
	return heapscopeGap ? (size_t)-1 : heapscopeNext - heapscopeFirst;
}
*/
import "C"
import hsbytes "bytes"
import hsfmt "fmt"
import hstesting "testing"
import hsunsafe "unsafe"
"""

_HUGE = (1 << 32) + 5

_TRIAL = f"""
//line check.go:1:1
func main() {{
	step := func(name string, number int) {{
		hsfmt.Printf("\\n{MARK}%s %d\\n", name, number)
	}}
	yes := func(name string, right bool) {{
		if right {{
			step(name, 1)
		}} else {{
			step(name, 0)
		}}
	}}
	step("start", 1)
	heapscopeMain()
	step("main", 1)
	Upper(nil)
	step("nil", 1)
	Upper([]byte{{}})
	Upper(make([]byte, 0, 8))
	Upper(hsbytes.Repeat([]byte("x"), 8)[8:])
	step("empty", 1)
	part := []byte("abcdefgh")
	Upper(part[2:5])
	yes("part", string(part) == "abCDEfgh")
	large := hsbytes.Repeat([]byte("az{{`@"), 1<<20)
	want := hsbytes.ToUpper(large)
	Upper(large)
	yes("large", hsbytes.Equal(large, want))
	small := []byte("a zero \\x00 and more")
	Upper(small)
	yes("zero", string(small) == "A ZERO \\x00 AND MORE")
	watch := func(name string, data []byte) bool {{
		C.heapscopeWatch(1)
		Upper(data)
		at := uintptr(hsunsafe.Pointer(hsunsafe.SliceData(data)))
		where, length := uintptr(C.heapscopeWhere()), int(C.heapscopeLength())
		C.heapscopeWatch(0)
		yes(name+"-at", where == at)
		step(name+"-length", length)
		return where == at
	}}
	lent := watch("small", small) && watch("large", large)
	most := 0.0
	for _, data := range [][]byte{{nil, small, part, large}} {{
		most = max(most, hstesting.AllocsPerRun(20, func() {{ Upper(data) }}))
	}}
	step("allocations", int(most))
	// An address space can hold it; nobody touches it.
	if lent && most == 0 {{
		watch("huge", hsunsafe.Slice(&small[0], {_HUGE}))
	}}
	step("end", 1)
}}
"""


@exercise("lend", takes=str)
def lend(answer: str) -> Verdict:
    """Check the text of the program: Upper gives C the slice's own bytes, whatever its length."""
    _unchanged(answer)
    _lends(answer)
    _watch(answer)
    return Right(
        "C worked on Go's own bytes: the address that it got is the slice's, nothing was "
        "allocated on either side, and `nil`, an empty slice and 5 MiB all work."
    )


# ---------------------------------------------------------------- the text


def _unchanged(answer: str) -> None:
    """Hint unless main and the C function are as they were."""
    masked = mask(answer, raw_strings=True)
    found = FUNC_MAIN.search(masked)
    if found is None:
        raise Hint("There is no `func main()`. Leave it as it was, below `Upper`.")
    theirs = answer[found.start() : closed(masked, found.end() - 1)]
    if _words(theirs) != _words(MAIN):
        raise Hint("`main` is to stay as it is: it is what users of `Upper` write.")
    if _UPPER.search(masked) is None:
        raise Hint("There is no `func Upper(data []byte)` any more, and `main` calls it.")
    if _body_of_c(answer) is None:
        raise Hint("The C function `upper` is to stay as it is. Change `Upper`, which calls it.")
    if not re.search(r"\bC\s*\.\s*upper\b", masked):
        raise Hint("Nothing calls `C.upper` any more. C is to do the work, on a slice lent to it.")


def _words(text: str) -> list[str]:
    """Return the words and signs of Go; where a line ends, a semicolon may be left out."""
    text = re.sub(r"//.*|/\*.*?\*/", " ", text)
    return [found[1] for found in _TOKEN.finditer(text) if found[1] and found[1] != ";"]


def _body_of_c(text: str) -> int | None:
    """Return the place after the brace that opens the body of the C function, if it is there."""
    found = [token for token in _TOKEN.finditer(text) if token[1]]
    words = [token[1] for token in found]
    wanted = [token[1] for token in _TOKEN.finditer(C) if token[1]]
    brace = wanted.index("{")
    for n in range(len(words) - len(wanted) + 1):
        if words[n : n + len(wanted)] == wanted:
            return found[n + brace].end()
    return None


def _lends(answer: str) -> None:
    """Hint when the text shows a copy, a C block, a wrong address or a narrow length."""
    masked = mask(answer, raw_strings=True)
    if found := _USED.search(masked):
        name = found[1]
        line = line_of(answer, found.start())
        if name == "free":
            what = "frees a C block. None is needed here: a loan makes nothing that must be freed"
        else:
            what = _COPIES.get(name, "makes a C block")
        raise Hint(f"`C.{name}` in line {line} {what}. Lend the slice's own bytes instead.")
    if found := _C_BLOCK.search(answer):
        line = line_of(answer, found.start())
        raise Hint(f"`{found[1]}` in line {line} makes a C block. A loan needs none.")
    if found := _HEADER.search(masked):
        line = line_of(answer, found.start())
        raise Hint(
            f"`&{found[1]}` in line {line} is the address of the slice itself, three words: an "
            "address, a length and a capacity. C is to get the address of the bytes."
        )
    if found := _NARROW.search(masked):
        line = line_of(answer, found.start())
        raise Hint(
            f"In line {line} the length is put into a type that is too narrow for the length of a "
            "large slice. The C function takes a `size_t`: `C.size_t(len(data))`."
        )


# ---------------------------------------------------------------- the run


def _watch(answer: str) -> None:
    """Run the program, and then more slices, and look at what C gets."""
    run = run_go(_whole(answer))
    if not run.compiled:
        alone = run_go(answer)
        said = alone if not alone.compiled else run
        raise Hint(refused(said))
    seen, printed = steps(run.stdout, "start")
    _ended(run, seen, answer)
    if printed != "HEAP\n":
        raise Hint(f"`main` should print `HEAP` and nothing else, and prints {printed!r}.")
    if not seen["part"]:
        raise Hint(
            'After `part := []byte("abcdefgh"); Upper(part[2:5])`, exactly the three letters of '
            "the part should be large. How many bytes does C get, and which?"
        )
    if not seen["large"] or not seen["zero"]:
        what = "5 MiB" if not seen["large"] else "a text with a zero byte in it"
        raise Hint(f"`Upper` on {what} does not do all of it. How many bytes does C get?")
    for name in ("small", "large"):
        if not seen.get(f"{name}-at"):
            raise Hint(
                "The result is right, but C did not get the slice's own bytes: the address that "
                "it was given is another one. That is a copy, and not a loan."
            )
    if seen["allocations"]:
        raise Hint(
            f"The result is right, and C gets the slice's own bytes, but each call makes "
            f"{seen['allocations']} or more allocations in Go's heap. A loan needs none."
        )
    if seen["huge-length"] != _HUGE or not seen["huge-at"]:
        raise Hint(
            f"Of a slice of 2**32 + 5 bytes C gets {seen['huge-length']:,}. The length goes "
            "through a type that is too narrow. `C.size_t` has 64 bits, as `len` has."
        )


def _ended(run: Run, seen: dict[str, int], answer: str) -> None:
    """Hint unless the program came to its end."""
    if "end" in seen and run.exit == 0:
        return
    how = f"it ended with {run.ended()}"
    if findings := go(run, Source(answer, FILE)):
        at = findings[0].at
        how = f"the program ended with this complaint{f', at {at}' if at else ''}\n"
        how += findings[0].text
    if "main" not in seen:
        raise Hint(f"In `main`, {how}")
    for step, what in (("nil", "`Upper(nil)`"), ("empty", "an empty slice")):
        if step not in seen:
            raise Hint(
                f"`main` works. With {what} {how}\nThere is no first byte. `unsafe.SliceData` "
                "gives an address all the same."
            )
    if "allocations" in seen:
        raise Hint(f"`main` works. With a slice of more than 4 GiB {how}")
    raise Hint(f"`main` works. With other slices {how}")


def _whole(answer: str) -> str:
    """Return the answer with its main renamed and ours behind it; the C function is watched."""
    head, rest = renamed(answer, _PREAMBLE)
    if (body := _body_of_c(rest)) is not None:
        rest = f"{rest[:body]} if (heapscopeSees(p, n)) return;{rest[body:]}"
    return head + rest + _TRIAL

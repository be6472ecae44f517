"""Chapters 14, 17 and 18: complaints, four bugs in a service, and what gives things back."""

from __future__ import annotations

from pathlib import Path

import pytest
from heapscope.teaching.exercises import NotYet, Right, judge

SERVICE = Path(__file__).parents[2] / "native" / "examples" / "capstone" / "service.go"
REPAIRS = {
    "the size": ("char *copy = malloc(n);", "char *copy = malloc(n + 1);"),
    "the view": (
        "s.last = unsafe.String((*byte)(unsafe.Pointer(text)), int(C.strlen(text)))",
        "s.last = C.GoString(text)",
    ),
    "the leak": (
        "\treturn C.GoString(out), true",
        "\tdefer C.free(unsafe.Pointer(out))\n\treturn C.GoString(out), true",
    ),
    "the second free": (
        "\tC.free(unsafe.Pointer(s.texts[key]))",
        "\tC.free(unsafe.Pointer(s.texts[key]))\n\tdelete(s.texts, key)",
    ),
}
LEFT = {
    "the size": "a text of 24 letters",
    "the view": "last after",
    "the leak": "A block is lost",
    "the second free": "drop twice",
}
DIAGNOSIS = {
    "Invalid write of size 1 ... 0 bytes after a block of size 24 alloc'd": "overflow",
    "free(): double free detected in tcache 2": "double free",
    "790 bytes in 100 blocks had not been freed": "leak",
    "Invalid read of size 8 ... inside a block of size 40 free'd": "use after free",
}
RELEASE = {
    "C.CString(s)": "C.free",
    "C.CBytes(b)": "C.free",
    "fopen(name, mode), in C": "fclose",
    "new int[10], in C++": "delete[]",
    "unsafe.SliceData(b), lent for a call": "nothing",
    "a Buf of chapter 11": "Close",
}


def repaired(*names: str) -> str:
    text = SERVICE.read_text(encoding="utf-8")
    for name in names:
        wrong, right = REPAIRS[name]
        assert text.count(wrong) == 1
        text = text.replace(wrong, right)
    return text


def hint(name: str, answer: object) -> str:
    verdict = judge(name, answer)
    assert isinstance(verdict, NotYet), verdict
    return verdict.hint


def test_the_repaired_service_is_right() -> None:
    assert isinstance(judge("capstone", repaired(*REPAIRS)), Right)


@pytest.mark.parametrize("left", REPAIRS)
def test_each_mistake_that_is_left_is_found(left: str) -> None:
    others = [name for name in REPAIRS if name != left]
    assert LEFT[left] in hint("capstone", repaired(*others))


def test_a_service_that_does_not_compile() -> None:
    broken = SERVICE.read_text(encoding="utf-8").replace("func main() {", "func main() { x := 1")
    assert "declared and not used: x" in hint("capstone", broken)


@pytest.mark.parametrize(("name", "right"), [("diagnose", DIAGNOSIS), ("release", RELEASE)])
def test_tables(name: str, right: dict[str, str]) -> None:
    assert isinstance(judge(name, right), Right)
    assert isinstance(judge(name, {k: f" {v.upper()} " for k, v in right.items()}), Right)
    for thing, way in right.items():
        for other in set(right.values()) - {way}:
            said = hint(name, right | {thing: other})
            assert thing in said
            assert other in said
        assert f"Missing: {thing}." in hint(name, {k: v for k, v in right.items() if k != thing})
        assert "the answer is one of" in hint(name, right | {thing: "perhaps"})
        assert "and not 3" in hint(name, right | {thing: 3})
    assert "Nobody asked about 'the stack'." in hint(name, right | {"the stack": "leak"})

"""claim() in a real IPython shell: what it records, what it refuses, when it is red."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
import yaml
from heapscope.teaching import claims, statements, versions
from heapscope.teaching.claims import MIME, ClaimError, ClaimFailed, claim
from notebook_shell import Shell


def only(shell: Shell, cell: str) -> dict[str, Any]:
    (record,) = shell.records(cell, MIME)
    return record


def test_a_record_has_the_text_and_the_values_of_each_check(shell: Shell) -> None:
    shell.run("a = [2, 2]; text = 'two and two'")
    record = only(
        shell,
        'claim("two-and-two", sum(a) == 4, "two"  in text,\n'
        '      len(a) < 3 <= sum(a), observed=f"{sum(a)}")',
    )
    assert record["id"] == "two-and-two"
    assert record["holds"] is True
    assert record["differs"] is False
    assert record["observed"] == "4"
    assert record["checks"] == [
        {"source": "sum(a) == 4", "holds": True, "values": {"sum(a)": 4}},
        {"source": '"two"  in text', "holds": True, "values": {"text": "two and two"}},
        {"source": "len(a) < 3 <= sum(a)", "holds": True, "values": {"len(a)": 2, "sum(a)": 4}},
    ]
    assert set(record["versions"]) == {"glibc", "gcc", "go", "python"}
    bundle = shell.shown[0]
    assert bundle["text/plain"] == "two-and-two: holds; 3 of 3 checks pass; observed: 4"
    assert bundle["text/html"].startswith(
        '<p class="hs-claim hs-claim-holds" id="claim-two-and-two">'
    )
    assert "Two and two are <code>4</code>." in bundle["text/html"]


def test_what_a_check_calls_is_called_once(shell: Shell) -> None:
    shell.run("calls = []\ndef ask(x):\n    calls.append(x)\n    return len(calls)")
    record = only(shell, 'claim("two-and-two", ask("a") == 1 and ask("b") == 2, ask("c") == 3)')
    assert shell.ip.user_ns["calls"] == ["a", "b", "c"]
    assert record["checks"][0]["values"] == {'ask("a")': 1, 'ask("b")': 2}


def test_in_a_loop_and_in_a_with_block_each_call_has_its_own_values(shell: Shell) -> None:
    cell = (
        "import contextlib\n"
        "with contextlib.nullcontext([2, 2]) as numbers:\n"
        "    for n in (4, 5):\n"
        "        claim('two-and-two', n - sum(numbers) < 2)\n"
    )
    records = shell.records(cell, MIME)
    assert [r["checks"][0]["values"]["n"] for r in records] == [4, 5]


def test_a_part_that_was_not_reached_has_no_value(shell: Shell) -> None:
    record = only(shell, "yes = True\nclaim('two-and-two', yes or no_such_name)")
    assert record["checks"][0]["values"] == {"yes": True}


def test_pointers_are_recorded_without_their_addresses(shell: Shell) -> None:
    shell.run("from cffi import FFI\nffi = FFI()\np = ffi.new('int[4]'); q = ffi.NULL")
    record = only(shell, "claim('two-and-two', p != ffi.NULL, q == ffi.NULL, ffi.NULL != p)")
    assert [c["values"] for c in record["checks"]] == [
        {"p": "<int[4], not NULL>"},
        {"q": "NULL"},
        {"p": "<int[4], not NULL>"},
    ]
    assert "0x" not in str(record)


@pytest.mark.parametrize(
    "check",
    [
        "True",
        "2 + 2 == 4",
        "len('ab') == 2",
        "bytes(3) == b'\\0\\0\\0'",
        "ffi.NULL == ffi.NULL",
        "[1, 2] == sorted([2, 1])",
        "sys.maxsize > 5",
        "all(n > 0 for n in (1, 2))",
        "f'{2 + 2}' == '4'",
    ],
)
def test_a_check_without_a_value_from_the_run_is_refused(shell: Shell, check: str) -> None:
    shell.run("import sys\nfrom cffi import FFI\nffi = FFI()")
    with pytest.raises(ClaimError, match="no value in this check comes from the run"):
        shell.run(f'claim("two-and-two", {check})')
    assert not shell.shown


def test_a_builtin_that_the_cell_redefined_counts_as_the_run(shell: Shell) -> None:
    assert only(shell, "def len(x): return 7\nclaim('two-and-two', len('ab') == 7)")["holds"]


@pytest.mark.parametrize(
    "check",
    [
        "x == x",
        "x or True",
        "x or not x",
        "x < 10 or x >= 10",
        "len(text) >= 0",
        "len(text) == len(text)",
        "text.count('a') > -1",
        "x in (x, 5)",
        "text == '' or text != ''",
        "p == p",
        "yes in (True, False)",
        "x is not None if True else x",
        "-1 * abs(0) <= len(text)",
    ],
)
def test_a_check_that_cannot_fail_is_refused(shell: Shell, check: str) -> None:
    shell.run("from cffi import FFI\np = FFI().new('int *')\nx = 3; text = 'abc'; yes = True")
    with pytest.raises(ClaimError, match="this check cannot fail"):
        shell.run(f'claim("two-and-two", {check})')


@pytest.mark.parametrize(
    "check",
    [
        "x == 3",
        "x != 4",
        "x",
        "not zero",
        "x in (3, 5)",
        "x < 10 or big > 10**6",
        "2 * x == 6 and big // x > 20",
        "0.9 < ratio < 1.1",
        "'b' in text",
        "'z' not in text",
        "text.startswith('a')",
        "text[-1:] == 'c'",
        "raw == b'ab'",
        "b'z' not in raw",
        "items == [1, 2]",
        "items[0] == 1",
        "len(items) == 2",
        "[i + 1 for i in items] == [2, 3]",
        "nothing is None",
        "p != ffi.NULL",
        "q == ffi.NULL",
        "p",
        "p != r",
        "p == same",
        "table['a'] == 1",
        "table == {'a': 1}",
        "{x} == {3}",
        "isinstance(x, int)",
        "yes == True",
        "x & 4 == 0",
        "~x == -4",
        "x == 3 if yes else big == 3",
        "x * big > 5",
        "2 ** x == 8",
        "(lambda n: n)(x) == 3",
        "(y := x + 1) == 4",
    ],
)
def test_a_check_that_can_fail_is_accepted(shell: Shell, check: str) -> None:
    shell.run(
        "from cffi import FFI\nffi = FFI()\n"
        "p = ffi.new('int *'); r = ffi.new('int *'); same = p; q = ffi.NULL\n"
        "x = 3; zero = 0; big = 10**9; ratio = 1.0; text = 'abc'; raw = b'ab'; yes = True\n"
        "items = [1, 2]; nothing = None; table = {'a': 1}"
    )
    assert only(shell, f'claim("two-and-two", {check})')["holds"]


def test_a_false_check_is_red_and_says_what_was_seen(shell: Shell) -> None:
    shell.run("a = [2, 3]; fine = 1")
    with pytest.raises(ClaimFailed) as failed:
        shell.run('claim("two-and-two", fine == 1, sum(a) == 4, observed="five")')
    said = str(failed.value)
    assert "1 of 2" in said
    assert "Two and two are `4`." in said
    assert "false: sum(a) == 4" in said
    assert "sum(a) was 5" in said
    assert "fine" not in said
    record = shell.shown[0][MIME]
    assert (record["holds"], record["differs"]) == (False, False)
    assert [c["holds"] for c in record["checks"]] == [True, False]
    assert "hs-claim-fails" in shell.shown[0]["text/html"]


def test_a_false_check_on_an_untried_version_is_a_notice(shell: Shell) -> None:
    shell.run("x = 3")
    record = only(shell, 'claim("only-on-old-glibc", x == 4)')
    assert (record["holds"], record["differs"]) == (False, True)
    said = shell.shown[0]["text/plain"]
    assert "differs here" in said
    assert f"this is glibc {versions.running()['glibc']}, it was tried on <2.1" in said
    assert "hs-claim-differs" in shell.shown[0]["text/html"]


def test_a_true_check_on_an_untried_version_holds(shell: Shell) -> None:
    record = only(shell, 'x = 3\nclaim("only-on-old-glibc", x == 3)')
    assert (record["holds"], record["differs"]) == (True, False)


def test_a_false_check_on_a_tried_version_is_red(shell: Shell) -> None:
    with pytest.raises(ClaimFailed):
        shell.run('x = 3\nclaim("on-this-glibc", x == 4)')


def test_an_unknown_id_lists_near_ones(shell: Shell) -> None:
    with pytest.raises(ClaimError, match=r"two-and-too.*near it are two-and-two"):
        shell.run('x = 1\nclaim("two-and-too", x == 1)')


def test_no_check_is_refused(shell: Shell) -> None:
    with pytest.raises(ClaimError, match="nothing is checked"):
        shell.run('claim("two-and-two")')


def test_a_star_is_refused(shell: Shell) -> None:
    with pytest.raises(ClaimError, match="without a star"):
        shell.run('x = [True]\nclaim("two-and-two", *x)')


def test_neither_true_nor_false_is_refused(shell: Shell) -> None:
    with pytest.raises(ClaimError, match="neither true nor false"):
        shell.run("import numpy as np\na = np.zeros(3)\nclaim('two-and-two', a == 0)")


def test_another_function_called_claim_is_left_alone(shell: Shell) -> None:
    shell.run("def claim(*a, **k): got.append((a, k))\ngot = []\nclaim('x', 1 + 1 == 2, deposit=3)")
    assert shell.ip.user_ns["got"] == [(("x", True), {"deposit": 3})]


def test_the_first_cell_may_import_and_claim(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = [3]
    claim("two-and-two", x[0] == 3, len(x) == 1, observed="here")
    assert capsys.readouterr().out == "two-and-two: holds; 2 of 2 checks pass; observed: here\n"


def test_outside_a_notebook_a_call_is_not_made_twice(folder: Path) -> None:
    calls: list[int] = []

    def ask() -> int:
        calls.append(1)
        return len(calls)

    with pytest.raises(ClaimError, match=r"ask\(\) would have to be evaluated twice"):
        claim("two-and-two", ask() == 1)
    assert calls == [1]


def test_without_a_file_of_claims_the_error_says_where_to_run(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "NAME", "no-such-claims.yml")
    with pytest.raises(ClaimError, match=r"no no-such-claims\.yml in .*inside the book"):
        shell.run('x = 1\nclaim("two-and-two", x == 1)')


def test_the_file_is_found_from_above_and_from_below(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = (folder / "notebooks" / "claims.yml").resolve()
    below = folder / "notebooks" / "deep" / "er"
    below.mkdir(parents=True)
    for start in (folder, folder / "notebooks", below):
        monkeypatch.chdir(start)
        assert statements.find() == expected


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"id": "a", "statement": "", "section": "s", "verdict": "holds"}, "statement is missing"),
        ({"id": "a", "statement": "x", "section": "s", "verdict": "true"}, "verdict is one of"),
        ({"id": "a", "statement": "x", "section": "s", "verdict": "holds", "claim": 1}, "unknown"),
        (
            {"id": "a", "statement": "x", "section": "s", "verdict": "holds"}
            | {"versions": {"glibc": 2.36}},
            "in quotes",
        ),
        (
            {"id": "a", "statement": "x", "section": "s", "verdict": "holds"}
            | {"versions": {"rust": "1"}},
            "rust is none of",
        ),
        (
            {"id": "a", "statement": "x", "section": "s", "verdict": "holds"}
            | {"versions": {"go": "~1.2"}},
            "no version range",
        ),
        ({"statement": "x"}, "no id"),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump([entry]))
    with pytest.raises(ValueError, match=said):
        statements.load(path)


def test_an_id_twice_is_named(tmp_path: Path) -> None:
    one = {"id": "a", "statement": "x", "section": "s", "verdict": "holds"}
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump([one, one]))
    with pytest.raises(ValueError, match="a stands there twice"):
        statements.load(path)


@pytest.mark.parametrize(
    ("ranges", "version", "inside"),
    [
        ("2.36", "2.36", True),
        ("2.36", "2.3", False),
        ("2.3", "2.36", False),
        ("12", "12.2.0", True),
        ("12.2", "12.20.0", False),
        (">=2.26", "2.9", False),
        (">=2.26", "2.100", True),
        (">=1.24, <1.26", "1.25.3", True),
        (">=1.24, <1.26", "1.26", False),
        ("<=1.26", "1.26.4", True),
        (">1.26", "1.26.4", False),
        (["2.31", "2.36"], "2.36", True),
        (["2.31", "2.36"], "2.34", False),
        (">=2.36.1", "2.36", False),
    ],
)
def test_ranges(ranges: str | list[str], version: str, inside: bool) -> None:
    assert versions.covers(ranges, version) is inside


def test_the_running_versions_are_the_tools_own_words() -> None:
    import ctypes
    import platform
    import subprocess

    here = versions.running()
    libc = ctypes.CDLL(None).gnu_get_libc_version
    libc.restype = ctypes.c_char_p
    assert here["glibc"] == libc().decode()
    assert here["python"] == platform.python_version()
    said = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout
    assert here["gcc"] is not None
    assert here["gcc"] in said.splitlines()[0]
    assert here["go"] is not None


def test_a_tool_that_is_not_there_excuses_nothing() -> None:
    one = statements.Statement("a", "x", "s", "holds", (), {"go": ">=1.27"}, "")
    assert one.elsewhere({"go": None}) == {}
    assert one.elsewhere({"go": "1.26.1"}) == {"go": "1.26.1"}


def test_values_are_json_without_addresses() -> None:
    class Thing:
        pass

    assert claims.plain({"a": (1, Thing()), "b": b"\0"}) == {"a": [1, "<Thing>"], "b": "b'\\x00'"}
    assert len(claims.plain("x" * 10_000)) == 400
    assert len(claims.plain(list(range(100)))) == 21


def test_in_a_real_kernel(folder: Path) -> None:
    """The cells of a chapter, as the book's build executes them."""
    new = nbformat.v4.new_code_cell
    sources = [
        f"import sys; sys.path.insert(0, {str(Path(claims.__file__).parents[2])!r})\n"
        "from heapscope import claim, question",
        "made = []\ndef make():\n    made.append(1)\n    return len(made)",
        "if True:\n    claim('two-and-two', make() == 1, made == [1], observed=str(made))",
        "question('how-many', right='b' if len(made) == 1 else 'a')",
        "claim('two-and-two', make() == 1)",
    ]
    nb = nbformat.v4.new_notebook(cells=[new(s) for s in sources])  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(
        nb,
        timeout=60,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder / "notebooks")}},
    )
    client.execute()
    outputs = [cell["outputs"] for cell in nb.cells]
    assert outputs[0] == outputs[1] == []
    record = outputs[2][0]["data"][MIME]
    assert record["holds"] is True
    assert record["checks"][0]["values"] == {"make()": 1}
    assert outputs[3][0]["data"]["application/vnd.heapscope.question+json"]["right"] == "b"
    shown, error = outputs[4]
    assert shown["data"][MIME]["holds"] is False
    assert error["ename"] == "ClaimFailed"
    assert "make() was 2" in "\n".join(error["traceback"])
    assert len(error["traceback"]) == 1, "the words alone, without a traceback"

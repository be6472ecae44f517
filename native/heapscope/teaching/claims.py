"""``claim``: a statement of fact, checked by what this run gave.

The statement stands in claims.yml; the cell has its conditions.  Their text and the values in them
travel in the cell's output.  To have the values without calling anything twice, cells are rewritten
before they run (IPython's ``ast_transformers``): each operand of a condition passes through
:func:`note`, which keeps its value.  Elsewhere (a script, a test) the operands are read again where
reading is harmless, and a call that is not harmless must be given a name first.
"""

from __future__ import annotations

import ast
import copy
import itertools
import linecache
import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from sys import _getframe
from types import FrameType
from typing import Any

from _cffi_backend import FFI  # has the type of every pointer; cffi.FFI has it in instances
from IPython.core.getipython import get_ipython

from heapscope.teaching import statements
from heapscope.teaching.conditions import Condition, Operand, map_operands
from heapscope.teaching.display import inline, show
from heapscope.teaching.statements import Statement
from heapscope.teaching.versions import running

MIME = "application/vnd.heapscope.claim+json"

_LONGEST_TEXT = 400  # characters of a text that the record keeps
_MOST_ITEMS = 20  # of a list
_Trees = tuple[ast.expr, ...]


class ClaimError(ValueError):
    """The claim is not well put: unknown, without a value from the run, or unable to fail."""

    def _render_traceback_(self) -> list[str]:
        """Show the words alone; IPython asks for this."""
        return [f"{type(self).__name__}: {self}"]


class ClaimFailed(AssertionError):  # noqa: N818  it is no error of the program
    """The run contradicts the claim."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def claim(id: str, *checks: object, observed: object = "") -> None:  # noqa: A002  the book's word
    """Check a statement of claims.yml with conditions on what this run gave, and show the record.

    Each of `checks` is an expression with at least one value from the run; all must be true.
    `observed` says in words what was seen, for the ledger.

    ClaimFailed when a check is false on versions that the claim was tried on; on others the record
    says "differs here".  ClaimError when the id is not in claims.yml, when a condition has no value
    from the run, or when no other value could make it false.
    """
    frame = _getframe(1)
    trees, text = _call_in(frame)
    if len(trees) != len(checks):
        raise ClaimError(f"{id}: write each check out, without a star")
    conditions = [Condition(tree, text) for tree in trees]
    values = [{n: _read_again(one, frame) for n, one in enumerate(c.operands)} for c in conditions]
    _record(id, checks, conditions, values, {**frame.f_globals, **frame.f_locals}, observed)


def _record(
    name: str,
    checks: Sequence[object],
    conditions: Sequence[Condition],
    values: Sequence[Mapping[int, object]],
    namespace: Mapping[str, object],
    observed: object,
) -> None:
    statement = _statement(name)
    if not checks:
        raise ClaimError(f"{name}: nothing is checked; give a condition on what the run gave")
    results = []
    for check, condition, seen in zip(checks, conditions, values, strict=True):
        from_run = condition.from_run(namespace)
        if not from_run:
            raise ClaimError(
                f"{name}: no value in this check comes from the run: {condition.source}"
            )
        true = _truth(name, condition, check)
        if true and condition.counterexample(seen, namespace) is None:
            raise ClaimError(
                f"{name}: this check cannot fail: {condition.source}; "
                "no other value of the run makes it false"
            )
        shown = {
            one.source: seen[n]
            for n, one in enumerate(condition.operands)
            if one in from_run and n in seen
        }
        results.append((condition, true, shown))
    here = running()
    elsewhere = statement.elsewhere(here)
    holds = all(true for _, true, _ in results)
    record = {
        "id": name,
        "holds": holds,
        "differs": not holds and bool(elsewhere),
        "checks": [
            {"source": c.source, "holds": true, "values": {s: plain(v) for s, v in shown.items()}}
            for c, true, shown in results
        ],
        "observed": str(observed),
        "versions": dict(here),
    }
    show(_bundle(statement, record, elsewhere))
    if not holds and not elsewhere:
        raise ClaimFailed(_in_words(statement, results))


def _statement(name: str) -> Statement:
    try:
        path = statements.find()
        known = statements.load(path)
    except (FileNotFoundError, ValueError) as error:
        raise ClaimError(str(error)) from None
    if name not in known:
        close = statements.near(name, known)
        hint = f"; near it are {', '.join(close)}" if close else ""
        raise ClaimError(f"no claim is called {name!r} in {path.parent.name}/{path.name}{hint}")
    return known[name]


def _truth(name: str, condition: Condition, value: object) -> bool:
    try:
        return bool(value)
    except Exception as error:
        raise ClaimError(
            f"{name}: {condition.source} is neither true nor false ({error})"
        ) from error


# ---------------------------------------------------------------- showing


def plain(value: object) -> Any:
    """Return a value as JSON that does not depend on where things lie in memory."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else value[: _LONGEST_TEXT - 1] + "…"
    if isinstance(value, bytes | bytearray):
        return plain(repr(bytes(value)))
    if isinstance(value, FFI.CData):
        return _pointer(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in itertools.islice(value.items(), _MOST_ITEMS)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value[:_MOST_ITEMS]] + ["…"] * (len(value) > _MOST_ITEMS)
    return f"<{type(value).__name__}>"


def _pointer(value: object) -> str:
    # cffi writes <cdata 'void *' NULL> and <cdata 'int *' 0x55…>
    kind = repr(value).split("'")[1] if "'" in repr(value) else "cdata"
    return "NULL" if repr(value).endswith("NULL>") else f"<{kind}, not NULL>"


def _bundle(
    statement: Statement, record: Mapping[str, Any], elsewhere: Mapping[str, str]
) -> dict[str, Any]:
    checks = record["checks"]
    passed = sum(check["holds"] for check in checks)
    noun, verb = ("check", "passes") if len(checks) == 1 else ("checks", "pass")
    count = f"{passed} of {len(checks)} {noun} {verb}"
    if record["holds"]:
        state, mark, word = "holds", "✓", "holds"
    elif record["differs"]:
        tried = "; ".join(
            f"this is {tool} {here}, it was tried on {_ranges(statement.versions[tool])}"
            for tool, here in elsewhere.items()
        )
        state, mark, word = "differs", "≠", f"differs here ({tried})"
    else:
        state, mark, word = "fails", "✗", "fails"
    observed = f"; observed: {record['observed']}" if record["observed"] else ""
    false = [check["source"] for check in checks if not check["holds"]]
    not_so = "".join(f"<br>false: <code>{escape(source)}</code>" for source in false)
    html = (
        f'<p class="hs-claim hs-claim-{state}" id="claim-{statement.id}">'
        f"<strong>{mark} {escape(word)}</strong> {inline(statement.statement)} "
        f"<small>({escape(statement.id)}: {count}{escape(observed)})</small>{not_so}</p>"
    )
    return {
        MIME: dict(record),
        "text/plain": f"{statement.id}: {word}; {count}{observed}",
        "text/html": html,
    }


def _ranges(ranges: str | Sequence[str]) -> str:
    return ranges if isinstance(ranges, str) else " or ".join(ranges)


def _in_words(
    statement: Statement, results: Sequence[tuple[Condition, bool, Mapping[str, object]]]
) -> str:
    false = [(c, shown) for c, true, shown in results if not true]
    count = f"{len(false)} of {len(results)}" if len(results) > 1 else "its check"
    lines = [f"{statement.id}: false ({count}). The run contradicts this: {statement.statement}"]
    short = reprlib.Repr()
    short.maxstring = short.maxother = _LONGEST_TEXT
    for condition, shown in false:
        lines.append(f"  false: {condition.source}")
        lines += [f"    {source} was {short.repr(value)}" for source, value in shown.items()]
    return "\n".join(lines)


# ---------------------------------------------------------------- values, in a notebook

_plans: dict[int, tuple[_Trees, dict[tuple[int, int], object]]] = {}
_numbers = itertools.count()


def note(plan: int, check: int, operand: int, value: object) -> object:
    """Keep the value of one operand and pass it on; rewritten cells call this."""
    _plans[plan][1][check, operand] = value
    return value


def recorded(plan: int, function: Callable[..., object]) -> Callable[..., object]:
    """Return `claim` bound to the values of one call; any other function is passed through."""
    if function is not claim:
        return function
    _plans[plan][1].clear()  # the cell may come here again, in a loop
    return partial(_claim_recorded, plan)


def _claim_recorded(plan: int, id: str, *checks: object, observed: object = "") -> None:  # noqa: A002
    frame = _getframe(1)
    trees, notes = _plans[plan]
    text = "".join(linecache.getlines(frame.f_code.co_filename))
    conditions = [Condition(tree, text) for tree in trees]
    values: list[dict[int, object]] = [{} for _ in trees]
    for (check, operand), value in notes.items():
        values[check][operand] = value
    notes.clear()  # do not keep the reader's heaps alive
    _record(id, checks, conditions, values, {**frame.f_globals, **frame.f_locals}, observed)


class Recorder(ast.NodeTransformer):
    """Rewrites the calls of ``claim`` in a cell so that the operands' values are kept."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Rewrite one call, and those inside it."""
        self.generic_visit(node)
        if not _is_claim(node) or any(isinstance(arg, ast.Starred) for arg in node.args):
            return node
        plan = next(_numbers)
        trees = tuple(copy.deepcopy(arg) for arg in node.args[1:])
        _plans[plan] = (trees, {})

        def kept(check: int, arg: ast.expr) -> ast.expr:
            order = itertools.count()
            return map_operands(arg, lambda part: _call("note", plan, check, next(order), part))

        new = ast.Call(
            func=_call("recorded", plan, node.func),
            args=[node.args[0], *(kept(n, arg) for n, arg in enumerate(node.args[1:]))],
            keywords=node.keywords,
        )
        return ast.copy_location(new, node)


def _is_claim(node: ast.Call) -> bool:
    if not node.args:
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id == "claim"
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "claim"
        and isinstance(node.func.value, ast.Name)
    )


def _call(function: str, *args: int | ast.expr) -> ast.Call:
    """Return a call of one of this module's functions that needs no name in the cell."""
    module = ast.Call(
        func=ast.Name("__import__", ast.Load()),
        args=[ast.Constant(__name__)],
        keywords=[
            ast.keyword("fromlist", ast.List([ast.Constant(function)], ast.Load())),
        ],
    )
    parts = [arg if isinstance(arg, ast.expr) else ast.Constant(arg) for arg in args]
    call = ast.Call(func=ast.Attribute(module, function, ast.Load()), args=parts, keywords=[])
    last = parts[-1]
    for part in ast.walk(call):
        if not hasattr(part, "lineno") and isinstance(part, ast.expr | ast.keyword):
            ast.copy_location(part, last)
    return call


def watch(shell: Any) -> None:
    """Have an IPython shell record the values in claims from its next cell on.  Once is enough."""
    if not any(type(one).__name__ == Recorder.__name__ for one in shell.ast_transformers):
        shell.ast_transformers.append(Recorder())


# ---------------------------------------------------------------- values, elsewhere

_HARMLESS = {
    *(
        "abs",
        "all",
        "any",
        "bool",
        "bytes",
        "dict",
        "enumerate",
        "float",
        "frozenset",
        "hex",
        "int",
    ),
    *(
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
    ),
    *("sorted", "str", "sum", "tuple", "type", "zip"),
}
_HARMLESS_METHODS = {
    *("count", "decode", "encode", "endswith", "find", "get", "index", "items", "keys", "lower"),
    *("lstrip", "replace", "rstrip", "split", "splitlines", "startswith", "strip", "upper"),
    "values",
}


def _call_in(frame: FrameType) -> tuple[_Trees, str]:
    """Return the checks of the call of ``claim`` that `frame` is at, and the text around them."""
    text = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    position = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    _, end_line, _, end_column = position
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and (node.end_lineno, node.end_col_offset) == (end_line, end_column)
        and node.args
    ]
    if not calls:
        raise ClaimError(
            "claim records its checks as they are written, and their text cannot be found: "
            "call claim directly, in a notebook cell or a file"
        )
    # Where calls end together, the inner one begins later; claim's own is the outermost.
    node = min(calls, key=lambda one: (one.lineno, one.col_offset))
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        raise ClaimError("write each check of a claim out, without a star")
    return tuple(node.args[1:]), text


def _read_again(operand: Operand, frame: FrameType) -> object:
    """Evaluate an operand a second time, if that changes nothing."""
    for node in ast.walk(operand.tree):
        harmless = True
        if isinstance(node, ast.Call):
            func = node.func
            harmless = (isinstance(func, ast.Name) and func.id in _HARMLESS) or (
                isinstance(func, ast.Attribute) and func.attr in _HARMLESS_METHODS
            )
        elif isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            harmless = False
        if not harmless:
            raise ClaimError(
                f"{operand.source} would have to be evaluated twice here: give its value a name in "
                "a line of its own, or import claim in an earlier cell"
            )
    code = compile(ast.Expression(operand.tree), "<operand>", "eval")
    value: object = eval(code, {**frame.f_globals, **frame.f_locals})
    return value


if (_shell := get_ipython()) is not None:
    watch(_shell)

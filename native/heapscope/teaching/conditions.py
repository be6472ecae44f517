"""Conditions as they stand in a cell: what in them came from the run, and whether they can fail.

A condition is split into *operands*: the largest parts below comparisons, boolean operators,
arithmetic and list displays that are no literals.  Each operand's value is recorded once.  To ask
whether the condition can fail, its tree is evaluated again with other values in the operands'
places, so nothing the cell called is called a second time.
"""

from __future__ import annotations

import ast
import builtins
import copy
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, ModuleType
from typing import Any

from _cffi_backend import FFI  # has the type of every pointer; cffi.FFI has it in instances

_MOST_PAIRS = 4_000  # evaluations for each pair of operands; one takes about a microsecond
_MOST_MIXED = 2_000  # evaluations with all operands changed at once
_BIG = 1 << 40
_ITEMS_CHANGED = 3  # how many items at each end of a list get another value
_UNBOUND = object()


@dataclass(frozen=True, slots=True)
class Operand:
    """A part of a condition that has a value."""

    source: str  # as it stands in the cell, on one line
    tree: ast.expr
    key: str  # equal for operands that read alike

    @property
    def names(self) -> frozenset[str]:
        """The names it reads, those bound inside it (by a comprehension, a lambda) left out."""
        return frozenset(_names(self.tree))


class Condition:
    """One condition of a claim."""

    def __init__(self, tree: ast.expr, text: str = "") -> None:
        """Take the condition's tree, and the text of the cell or file that it was parsed from."""
        self.tree = tree
        self.source = _written(tree, text)
        found: list[Operand] = []

        def place(node: ast.expr) -> ast.expr:
            found.append(Operand(_written(node, text), node, ast.dump(node)))
            return ast.Name(f"_{len(found) - 1}", ast.Load())

        skeleton = ast.fix_missing_locations(ast.Expression(map_operands(tree, place)))
        self.operands: tuple[Operand, ...] = tuple(found)
        self._code = compile(skeleton, "<condition>", "eval")

    @classmethod
    def parse(cls, source: str) -> Condition:
        """Return the condition written in `source`; SyntaxError when it is no expression."""
        return cls(ast.parse(source.strip(), mode="eval").body, source.strip())

    def evaluate(self, values: Sequence[object]) -> bool:
        """Return the condition's truth with these values of its operands, in their order."""
        names = {f"_{n}": value for n, value in enumerate(values) if value is not _UNBOUND}
        return bool(eval(self._code, {"__builtins__": {}}, names))

    def from_run(self, namespace: Mapping[str, object] | None = None) -> tuple[Operand, ...]:
        """Return the operands whose value the run decides.

        Literals do not count, nor what is computed from literals by Python's built-in functions,
        nor attributes of modules, nor a `NULL` (``ffi.NULL``).  With `namespace`, the names the
        cell sees, a built-in that the cell has redefined counts.
        """
        return tuple(one for one in self.operands if _decided_by_run(one, namespace))

    def counterexample(
        self,
        recorded: Mapping[int, object] | None = None,
        namespace: Mapping[str, object] | None = None,
    ) -> dict[str, object] | None:
        """Return values of the operands that make the condition false; None if none was found.

        `recorded` has the values that the run gave, by the operand's index.  They are varied
        within their kind: another number, another text, the other truth value, NULL for a pointer.
        Without `recorded` nothing is known of the kinds, and values of every kind are tried.
        """
        return _Search(self, recorded, namespace).run()


def map_operands(node: ast.expr, replace: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """Return a copy of `node` with each operand replaced; `node` itself stays as it is."""
    if not any(isinstance(part, ast.Name) for part in ast.walk(node)):
        return node  # made of literals alone
    if not _is_structure(node):
        return replace(node)
    new = copy.copy(node)
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.expr):
            setattr(new, name, map_operands(value, replace))
        elif isinstance(value, list):
            setattr(
                new,
                name,
                [map_operands(v, replace) if isinstance(v, ast.expr) else v for v in value],
            )
    return new


def _is_structure(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Pow | ast.LShift):  # 2 ** (another value) may not end
            return False
        if isinstance(node.op, ast.Mult):  # so may "text" * (another value)
            return any(
                isinstance(side, ast.Constant) and isinstance(side.value, int | float)
                for side in (node.left, node.right)
            )
        return True
    return isinstance(
        node,
        ast.BoolOp
        | ast.UnaryOp
        | ast.Compare
        | ast.IfExp
        | ast.Tuple
        | ast.List
        | ast.Set
        | ast.Dict
        | ast.Starred,
    )


def _written(node: ast.expr, text: str) -> str:
    """Return the expression as it stands in `text`, on one line."""
    source = (ast.get_source_segment(text, node) if text else None) or ast.unparse(node)
    return source if "\n" not in source else " ".join(source.split())


def _names(tree: ast.expr) -> Iterator[str]:
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in bound:
            yield node.id


def _decided_by_run(operand: Operand, namespace: Mapping[str, object] | None) -> bool:
    tree = operand.tree
    if isinstance(tree, ast.Attribute) and tree.attr == "NULL":
        return False

    def given(name: str) -> bool:
        """Whether Python itself gives the name."""
        if namespace is None or name not in namespace:
            return hasattr(builtins, name)
        value = namespace[name]
        return isinstance(value, BuiltinFunctionType) and hasattr(builtins, name)

    names = [name for name in operand.names if not given(name)]
    if not names:
        return False
    root = tree
    while isinstance(root, ast.Attribute):
        root = root.value
    attribute_of_module = (
        isinstance(tree, ast.Attribute)
        and isinstance(root, ast.Name)
        and namespace is not None
        and isinstance(namespace.get(root.id), ModuleType)
    )
    return not attribute_of_module


# ---------------------------------------------------------------- other values


class _Search:
    """The search for a counterexample, each step wider than the one before."""

    def __init__(
        self,
        condition: Condition,
        recorded: Mapping[int, object] | None,
        namespace: Mapping[str, object] | None,
    ) -> None:
        self.condition = condition
        operands = condition.operands
        self.base = [
            _UNBOUND if recorded is None else recorded.get(n, _UNBOUND)
            for n in range(len(operands))
        ]
        # Operands that read alike get one value: `x == x` cannot fail, `len(x) == len(x)` neither.
        groups: dict[str, list[int]] = {}
        free = {id(one) for one in condition.from_run(namespace)}
        for n, one in enumerate(operands):
            if id(one) in free or self.base[n] is _UNBOUND:
                groups.setdefault(one.key, []).append(n)
        constants = tuple(
            node.value for node in ast.walk(condition.tree) if isinstance(node, ast.Constant)
        )
        known = [value for value in self.base if value is not _UNBOUND]
        self.groups: list[tuple[int, ...]] = []
        self.pools: list[list[object]] = []
        for members in groups.values():
            value = next((self.base[n] for n in members if self.base[n] is not _UNBOUND), _UNBOUND)
            for n in members:
                if self.base[n] is _UNBOUND:
                    self.base[n] = value
            pool = list(_others(value, constants, known))
            if _counts_something(operands[members[0]].tree):
                pool = [v for v in pool if not isinstance(v, int | float) or v >= 0]
            self.groups.append(tuple(members))
            self.pools.append(pool)

    def run(self) -> dict[str, object] | None:
        for changes in self._changes():
            values = list(self.base)
            for group, value in changes:
                for n in self.groups[group]:
                    values[n] = value
            try:
                if not self.condition.evaluate(values):
                    return {
                        self.condition.operands[self.groups[group][0]].source: value
                        for group, value in changes
                    }
            except Exception:  # such values do not go together: no counterexample
                continue
        return None

    def _changes(self) -> Iterator[list[tuple[int, object]]]:
        count = len(self.groups)
        for group in range(count):
            for value in self.pools[group]:
                yield [(group, value)]
        for one, two in itertools.combinations(range(count), 2):
            pairs = itertools.product(self.pools[one], self.pools[two])
            for left, right in itertools.islice(pairs, _MOST_PAIRS):
                yield [(one, left), (two, right)]
        if count > 2:
            draw = random.Random(count)  # the same search each time
            for _ in range(_MOST_MIXED):
                yield [(g, draw.choice(self.pools[g])) for g in range(count) if self.pools[g]]


def _counts_something(tree: ast.expr) -> bool:
    """Whether the expression's value is a number that cannot be negative."""
    if not isinstance(tree, ast.Call):
        return False
    if isinstance(tree.func, ast.Name):
        return tree.func.id == "len"
    return isinstance(tree.func, ast.Attribute) and tree.func.attr == "count"


class _Falsy:
    """Something that is equal only to itself, and false."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "something false"


class _Other:
    """Something that is equal only to itself."""

    def __repr__(self) -> str:
        return "something else"


def _others(
    value: object, constants: Iterable[object], known: Sequence[object]
) -> Iterator[object]:
    """Yield values of the same kind that the run might have given in place of `value`."""
    constants = tuple(constants)
    if value is _UNBOUND:
        yield from (None, False, True)
        kinds: tuple[object, ...] = (0, "", b"")
        for kind in kinds:
            yield from _others(kind, constants, known)
        yield from ([], (), {}, _Other(), _Falsy())
        return
    kind = FFI.CData if isinstance(value, FFI.CData) else type(value)
    same = [v for v in (*constants, *known) if _is_of(v, kind) and v is not value]
    yield from same
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        near = [value, *(v for v in same if isinstance(v, int))]
        yield from (n + step for n in near for step in (-1, 1))
        yield from (0, 1, -1, _BIG, -_BIG)
    elif isinstance(value, float):
        near_floats = [
            value,
            *(float(v) for v in (*same, *constants) if isinstance(v, int | float)),
        ]
        yield from (n + step for n in near_floats for step in (-1.0, 1.0))
        yield from (0.0, float(_BIG), -float(_BIG))
    elif isinstance(value, str):
        yield from ("", value + "~", "~" + value, value[::-1])
        yield from (value + v for v in constants if isinstance(v, str))
    elif isinstance(value, bytes):
        yield from (b"", value + b"~", b"~" + value, value[::-1])
        yield from (value + v for v in constants if isinstance(v, bytes))
    elif isinstance(value, list | tuple):
        yield from _other_sequences(value, constants)
    elif isinstance(value, dict):
        yield {}
        for key, item in itertools.islice(value.items(), _ITEMS_CHANGED):
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in _others(item, constants, ()))
    elif isinstance(value, set | frozenset):
        yield type(value)()
        yield value | {_BIG}
        yield from (value - {item} for item in itertools.islice(value, _ITEMS_CHANGED))
        yield from (value | {item} for item in constants)
    else:  # None, a pointer, an object
        yield from (_Other(), _Falsy(), None)


def _is_of(value: object, kind: type) -> bool:
    """Whether `value` is of this kind; a truth value is no number here."""
    return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)


def _other_sequences(
    value: list[Any] | tuple[Any, ...], constants: tuple[object, ...]
) -> Iterator[object]:
    make = list if isinstance(value, list) else tuple
    items = list(value)
    yield make()
    yield make(items[:-1])
    yield make([*items, 0])
    yield make(items[::-1])
    yield from (make([*items, extra]) for extra in constants)
    ends = sorted({*range(len(items))[:_ITEMS_CHANGED], *range(len(items))[-_ITEMS_CHANGED:]})
    for n in ends:
        for other in _others(items[n], constants, ()):
            yield make([*items[:n], other, *items[n + 1 :]])

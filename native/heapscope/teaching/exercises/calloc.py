"""Chapter 3: a table of zeroes, or NULL."""

from __future__ import annotations

from collections.abc import Callable

from heapscope.teaching.exercises.base import Hint, Right, Verdict, exercise
from heapscope.teaching.exercises.trial import NEW, Trial

_INT = 4  # bytes
_TABLES = ((1, 1), (3, 5), (7, 100), (1000, 300), (5, 6))
# rows and columns whose product in bytes does not fit into a size_t, or is above PTRDIFF_MAX
_IMPOSSIBLE = ((2**62 + 1, 4), (2**59, 8), (2**61, 8), (2**63, 1), (2**58, 8))
_SIZE_T = 1 << 64


@exercise("zeroed-table")
def zeroed_table(answer: Callable[..., object]) -> Verdict:
    """Check ``table(heap, rows, columns)``: 4-byte zeroes, or NULL when they cannot be had."""
    with Trial() as trial:
        for rows, columns in _TABLES:
            _zeroes(trial, answer, rows, columns)
        trial.no_memory = True
        at = trial.address(trial.ask(answer, 10, 10, shown="table(heap, 10, 10)"))
        if at:
            raise Hint("When there is no memory, `table` should return NULL, and it did not.")
    for rows, columns in _IMPOSSIBLE:
        with Trial() as trial:
            _refused(trial, answer, rows, columns)
    return Right(
        "Zeroes where there was garbage, and NULL for numbers whose product does not fit: "
        "the multiplication is checked."
    )


def _zeroes(trial: Trial, answer: Callable[..., object], rows: int, columns: int) -> None:
    shown = f"table(heap, {rows}, {columns})"
    need = rows * columns * _INT
    before = set(trial.live)
    at = trial.address(trial.ask(answer, rows, columns, shown=shown))
    if not at:
        raise Hint(f"`{shown}` returned NULL, although {need} bytes can be had.")
    if at not in trial.live or at in before:
        raise Hint(f"`{shown}` returned an address that is no new block.")
    size = trial.live[at].size
    if size < need:
        raise Hint(f"`{shown}` needs {need} bytes, {_INT} for each integer, and asked for {size}.")
    data = trial.read(at, need)
    if data.strip(b"\0"):
        first = need - len(data.lstrip(b"\0"))
        old = "old bytes" if data[first] == NEW else "something else"
        raise Hint(
            f"`{shown}` is not all zero: byte {first} is {data[first]:#04x}, {old}. `malloc` "
            "does not clear a block."
        )
    if extra := trial.leaks(at, *before):
        raise Hint(f"`{shown}` left another block behind: the {extra[0].call}.")
    trial.sound()


def _refused(trial: Trial, answer: Callable[..., object], rows: int, columns: int) -> None:
    product = rows * columns * _INT
    shown = f"table(heap, {_power(rows)}, {columns})"
    try:
        at = trial.address(trial.ask(answer, rows, columns, shown=shown))
    except Hint as hint:
        if not isinstance(hint.__cause__, OverflowError):
            raise
        raise Hint(
            f"`{shown}`: Python refused a number that does not fit into 64 bits. C does not: "
            f"there the product would have wrapped to {product % _SIZE_T} bytes without a word. "
            "Leave that multiplication to a function that checks it."
        ) from hint
    if at:
        size = trial.live[at].size if at in trial.live else 0
        raise Hint(
            f"`{shown}` returned a block of {size} bytes. The table would have {product:,}. "
            "NULL is the only right answer."
        )
    if leaked := trial.leaks():
        raise Hint(f"`{shown}` returned NULL and left a block behind: the {leaked[0].call}.")


def _power(number: int) -> str:
    power = number.bit_length() - 1
    rest = number - (1 << power)
    return f"2**{power}" + (f" + {rest}" if rest else "")

"""Heaps and children in a real notebook kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nbformat.v4
import pytest
from nbclient import NotebookClient

v4: Any = nbformat.v4  # its functions have no types


@pytest.fixture(scope="module")
def kernel() -> Iterator[NotebookClient]:
    book = v4.new_notebook()
    client = NotebookClient(book, timeout=60, kernel_name="python3")
    with client.setup_kernel():
        yield client


def run(kernel: NotebookClient, text: str) -> str:
    """Execute a cell; return what it printed. An exception in it is one here."""
    cell = v4.new_code_cell(text)
    kernel.nb.cells.append(cell)
    kernel.execute_cell(cell, len(kernel.nb.cells) - 1)
    return "".join(
        output.get("text", "") or "".join(output.get("data", {}).get("text/plain", ""))
        for output in cell.outputs
    )


SETUP = "import os, time\nfrom heapscope import Heap, child\nheap = Heap()\nlib, ffi = heap.lib, heap.ffi"  # noqa: E501


@pytest.fixture
def cells(kernel: NotebookClient) -> NotebookClient:
    run(kernel, SETUP)
    return kernel


def test_a_double_free(cells: NotebookClient) -> None:
    said = run(
        cells,
        "a = lib.malloc(24)\nwith child() as c:\n    print('in the child')\n    lib.free(a)\n"
        "    lib.free(a)\nc",
    )
    assert said == ("in the child\nfree(): double free detected in tcache 2\n[killed by SIGABRT]")
    assert run(cells, "print(c.snapshot.block('a').state, heap.snapshot().block('a').state)") == (
        "tcache in use\n"
    )


def test_a_crash_without_a_heap_has_no_traceback(kernel: NotebookClient) -> None:
    """ipykernel turns faulthandler on; its words are not the program's."""
    said = run(
        kernel,
        "import ctypes\nfrom heapscope import child\nwith child() as c:\n"
        "    ctypes.string_at(16)\nprint(c.signal, repr(c.message), repr(c.stderr))",
    )
    assert said == "SIGSEGV '' ''\n"


@pytest.mark.parametrize(
    "text",
    [
        "with child() as c: os._exit(3)\nprint(c.exit)",
        "def f():\n    with child() as c:\n        os._exit(3)\n    return c.exit\nprint(f())",
        "import asyncio\nawait asyncio.sleep(0)\nwith child() as c:\n    os._exit(3)\nprint(c.exit)",  # noqa: E501
        "with child() as c:\n    !true\n    os._exit(3)\nprint(c.exit)",
        "for _ in range(1):\n    with child() as c:\n        os._exit(3)\nprint(c.exit)",
        "with child() as c:\n    os._exit(3)\nc.exit",
    ],
)
def test_forms(cells: NotebookClient, text: str) -> None:
    assert run(cells, text).strip() == "3"


def test_after_a_child_the_cell_goes_on_once(cells: NotebookClient) -> None:
    said = run(cells, "with child() as c:\n    pass\nprint('behind')")
    assert said == "behind\n"
    assert run(cells, "import sys\nprint(sys.gettrace())") == "None\n"


def test_floods_and_timeouts(cells: NotebookClient) -> None:
    said = run(
        cells,
        "with child(timeout=0.5) as c:\n    while True:\n        print('x' * 1000)\n"
        "print(c.timed_out, len(c.stdout))",
    )
    assert said == "True 200000\n"


def test_a_smashed_heap_leaves_the_kernel_alive(cells: NotebookClient) -> None:
    text = (
        "a, b = lib.malloc(24), lib.malloc(24)\nlib.memset(a, 65, 64)\n"
        "for call in (lambda: lib.malloc(24), lambda: lib.calloc(3, 8),\n"
        "             lambda: lib.realloc(b, 100), lambda: lib.free(b)):\n"
        "    try:\n        call()\n    except Exception as error:\n"
        "        print(type(error).__name__, end=' ')\n"
    )
    assert run(cells, text) == "RefusedError " * 4
    cell = v4.new_code_cell("heap")
    cells.nb.cells.append(cell)
    cells.execute_cell(cell, len(cells.nb.cells) - 1)
    assert "<svg" in "".join(cell.outputs[0]["data"]["text/html"])
    run(cells, "heap.close()")


def test_a_cell_that_opens_a_heap_may_be_run_a_hundred_times(cells: NotebookClient) -> None:
    for _ in range(40):
        run(cells, "heap = Heap()\na = heap.lib.malloc(24)\nheap")
    assert run(cells, "print(heap.snapshot().block('a').size)") == "32\n"

"""IPython as a test uses it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config


class Shell:
    """IPython, as a notebook runs it: a cell in, records out."""

    def __init__(self) -> None:
        quiet = Config({"HistoryManager": {"enabled": False}})  # it keeps a thread each
        self.ip = InteractiveShell(config=quiet)  # type: ignore[no-untyped-call]

    def run(self, cell: str) -> list[dict[str, Any]]:
        """Run a cell; return the mime bundles it displayed; raise what it raised."""
        with capture_output(display=True) as captured, redirect_stdout(io.StringIO()):
            result = self.ip.run_cell(cell, store_history=True)  # type: ignore[no-untyped-call]
        self.shown = [dict(output.data) for output in captured.outputs]
        result.raise_error()
        return self.shown

    def records(self, cell: str, mime: str) -> list[dict[str, Any]]:
        """Run a cell; return the payloads of one mime type, as JSON carries them."""
        shown = self.run(cell)
        return [json.loads(json.dumps(b[mime])) for b in shown if mime in b]

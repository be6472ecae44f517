"""Execute notebooks side by side and keep the results in jupyter-cache.

Each notebook has a kernel of its own; a kernel that dies is that notebook's error and no other's.
The cache is right at every moment: a result counts only when its key stands in ``heapscope.json``
beside the cache, and the key is written after the result.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

from heapscope.programs.runner import own_folder

KEYS = "heapscope.json"
_PDEATHSIG = 1  # prctl(2)
_STILL_RUNNING = 15.0  # seconds between two lines about what is still running


@dataclass(slots=True)
class Notebook:
    """One notebook of the book."""

    path: Path
    name: str  # what a reader calls it: "02-malloc"
    key: str  # everything its outputs depend on besides its cells (see fingerprint.py)
    nb: Any  # the NotebookNode; executed outputs are put into it
    alone: bool = False  # run after all others, with nothing beside it
    error: str | None = None  # why it has no outputs
    fresh: bool = False  # executed in this build
    at: str = "not started"  # for progress


@dataclass(slots=True)
class Keys:
    """The file that says under which key each result was made, and how long it took."""

    path: Path
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, cache: Path) -> Keys:
        """Read the file; a missing or broken one counts as empty."""
        path = cache / KEYS
        try:
            known = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
        return cls(path, known if isinstance(known, dict) else {})

    def save(self) -> None:
        """Replace the file in one step, so that an interrupted build leaves the old one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.known, indent=1, sort_keys=True), "utf-8")
        os.replace(new, self.path)

    def seconds(self, name: str) -> float | None:
        """Return how long the notebook called `name` took last time."""
        times = [float(e["seconds"]) for e in self.known.values() if e.get("name") == name]
        return max(times) if times else None


def read(path: Path) -> Any:
    """Read a notebook; ValueError says what is wrong with the file."""
    try:
        return nbformat.reads(path.read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:  # nbformat raises many kinds
        raise ValueError(f"{path.name} is not a notebook: {error}") from error


def execute(
    notebooks: Iterable[Notebook],
    cache_path: Path,
    *,
    timeout: int,
    workers: int = 0,
    say: Callable[[str], object] = print,
) -> list[Notebook]:
    """Give each notebook its outputs, from the cache where key and cells are unchanged.

    `timeout` is in seconds for each cell, `workers` the number of kernels at once (0: one a core).
    Notebooks come back in the order they were given, with `error` set where execution failed.
    """
    books = list(notebooks)
    cache = get_cache(str(cache_path))
    keys = Keys.load(cache_path)
    stale = [book for book in books if not _from_cache(book, cache, keys)]
    if stale:
        count = workers or len(os.sched_getaffinity(0))
        with own_folder() as folder:
            runner = _Runner(cache, keys, stale, timeout, count, say, folder)
            asyncio.run(runner.run())
    return books


def _from_cache(book: Notebook, cache: Any, keys: Keys) -> bool:
    """Fill `book` from the cache; remove what was made under another key."""
    _, cell_hash = cache.create_hashed_notebook(book.nb)
    try:
        record = cache.match_cache_notebook(book.nb)
    except KeyError:
        return False
    entry = keys.known.get(cell_hash, {})
    if entry.get("key") == book.key:
        try:
            _, book.nb = cache.merge_match_into_notebook(book.nb)
        except KeyError:  # the record is there, its file is not: an interrupted run
            pass
        else:
            return True
    try:
        cache.remove_cache(record.pk)
    except KeyError:
        from jupyter_cache.cache.db import NbCacheRecord

        NbCacheRecord.remove_record(record.pk, cache.db)
    return False


class _Runner:
    """Runs the stale notebooks of one build."""

    def __init__(
        self,
        cache: Any,
        keys: Keys,
        books: list[Notebook],
        timeout: int,
        workers: int,
        say: Callable[[str], object],
        folder: Path,
    ) -> None:
        self.folder = folder
        self.cache = cache
        self.keys = keys
        # The longest first: the last one to end then ends soonest.
        self.books = sorted(books, key=lambda b: -(keys.seconds(b.name) or len(b.nb.cells)))
        self.timeout = timeout
        self.workers = max(1, min(workers, len(books)))
        self.say = say
        self.done = 0
        self.running: list[Notebook] = []

    async def run(self) -> None:
        plural = "notebook" if len(self.books) == 1 else "notebooks"
        self.say(f"executing {len(self.books)} {plural}, {self.workers} at a time")
        progress = asyncio.create_task(self._progress())
        try:
            gate = asyncio.Semaphore(self.workers)
            together = [b for b in self.books if not b.alone]
            await asyncio.gather(*(self._gated(gate, book) for book in together))
            for book in self.books:
                if book.alone:
                    await self._one(book)
        finally:
            progress.cancel()

    async def _gated(self, gate: asyncio.Semaphore, book: Notebook) -> None:
        async with gate:
            await self._one(book)

    async def _one(self, book: Notebook) -> None:
        self.running.append(book)
        number = self.books.index(book)
        started = time.perf_counter()
        cells = _CellTimes(book)
        client = NotebookClient(
            book.nb,
            timeout=self.timeout,
            kernel_name=book.nb.metadata.get("kernelspec", {}).get("name", "python3"),
            resources={"metadata": {"path": str(book.path.parent)}},
            # Its file of ports would stay behind where this process is killed.
            config=Config(
                {"KernelManager": {"connection_file": str(self.folder / f"{number}.json")}}
            ),
            record_timing=False,  # the time of day has no place in a page
            on_cell_start=cells.start,
            on_cell_executed=cells.executed,
        )
        said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed below
        try:
            await client.async_execute(stderr=said, preexec_fn=_die_with(os.getpid()))
        except CellExecutionError as error:
            book.error = cells.where(_tidy(str(error)))
        except CellTimeoutError:
            book.error = cells.where(f"took longer than {self.timeout} seconds")
        except DeadKernelError:
            book.error = cells.where(f"killed the kernel (native code?){_last_words(said)}")
        except Exception as error:  # a kernel that does not start, a lost connection
            book.error = cells.where(f"{type(error).__name__}: {error}")
        finally:
            self.running.remove(book)
            said.close()
        seconds = time.perf_counter() - started
        self.done += 1
        count = f"[{self.done}/{len(self.books)}] {book.name}"
        if book.error is not None:
            self.say(f"{count} failed after {seconds:.1f} s")
            return
        self._keep(book, seconds, cells.seconds)
        self.say(f"{count} {seconds:.1f} s")

    def _keep(self, book: Notebook, seconds: float, cell_seconds: float) -> None:
        """Put the results into the cache, and take them from there as the next build will.

        A value has its keys in another order there, and both builds shall give the same page.
        """
        book.fresh = True
        bundle = CacheBundleIn(book.nb, str(book.path), data={"execution_seconds": seconds})
        self.cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        _, cell_hash = self.cache.create_hashed_notebook(book.nb)
        others = {h: e for h, e in self.keys.known.items() if e.get("name") != book.name}
        self.keys.known = others
        self.keys.known[cell_hash] = {
            "key": book.key,
            "name": book.name,
            "seconds": round(seconds, 3),
            "cell_seconds": round(cell_seconds, 3),
        }
        self.keys.save()
        _, book.nb = self.cache.merge_match_into_notebook(book.nb)

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(_STILL_RUNNING)
            if self.running:
                self.say("running: " + ", ".join(f"{b.name} ({b.at})" for b in self.running))


def _die_with(parent: int) -> Callable[[], None]:
    """Return what a kernel does before it starts: ask to be killed when `parent` ends.

    ipykernel asks who its parent is, once a second from when it has started. A kernel whose parent
    was killed before that, on a machine where orphans do not go to process 1, would stay for ever.
    """
    prctl = ctypes.CDLL(None).prctl  # here: no library is to be opened between fork and exec

    def ask() -> None:
        prctl(_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)

    return ask


class _CellTimes:
    """Knows which cell of a notebook is running and how long the cells took together."""

    def __init__(self, book: Notebook) -> None:
        self.book = book
        self.seconds = 0.0
        self.began = 0.0
        self.cell: Any = None
        self.number = 0
        self.total = len(book.nb.cells)

    def start(self, cell: Any, cell_index: int) -> None:
        if cell.cell_type != "code":
            return
        self.began = time.perf_counter()
        self.cell, self.number = cell, cell_index + 1
        self.book.at = f"cell {self.number} of {self.total}"

    def executed(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        if cell.cell_type == "code":
            self.seconds += time.perf_counter() - self.began

    def where(self, what: str) -> str:
        """Say in which cell it happened."""
        if self.cell is None:
            return f"before the first cell: {what}"
        first = str(self.cell.source).strip().splitlines()
        shown = f" ({first[0]!r})" if first else ""
        return f"cell {self.number} of {self.total}, id {self.cell.get('id', '?')}{shown}: {what}"


def _last_words(said: IO[str]) -> str:
    """Return what a dead kernel wrote to its stderr, such as glibc's message before an abort."""
    said.seek(0)
    lines = [line.rstrip() for line in said if line.strip() and "[IPKernelApp]" not in line]
    return "".join(f"\n  {line}" for line in lines[-8:])


def _tidy(text: str) -> str:
    """Drop nbclient's preamble and terminal colours from an error's text."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    kept = text.split("------------------\n")
    return "\n" + kept[-1].strip()

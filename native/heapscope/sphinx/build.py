"""Before Sphinx reads the pages: execute the notebooks and judge what they recorded."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.util import logging

from heapscope.sphinx import execute, fingerprint, records
from heapscope.teaching import statements
from heapscope.teaching.statements import Statement

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

_log = logging.getLogger(__name__)
_TYPE = "heapscope"  # what suppress_warnings could name


def register(app: Sphinx) -> None:
    """Run before the pages are read, when Sphinx knows which of them changed."""
    # Before the toc extensions' own handlers: they look at the pages to be read as well.
    app.connect("env-before-read-docs", prepare, priority=100)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)


def note_live(env: BuildEnvironment, *, records: bool = False) -> None:
    """Have the page being read written again whenever a build finds other tools.

    With `records`, also when a notebook recorded something else.
    """
    _live(env)[env.docname] = records or _live(env).get(env.docname, False)


def _live(env: BuildEnvironment) -> dict[str, bool]:
    """Return the pages made from what a build finds: docname, and whether from the records too."""
    if not hasattr(env, "heapscope_live"):
        env.heapscope_live = {}  # type: ignore[attr-defined]
    docs: dict[str, bool] = env.heapscope_live  # type: ignore[attr-defined]
    return docs


def _purge(_app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _live(env).pop(docname, None)


def _merge(
    _app: Sphinx, env: BuildEnvironment, _docnames: Iterable[str], other: BuildEnvironment
) -> None:
    _live(env).update(_live(other))


def checked(env: BuildEnvironment) -> list[records.Checked]:
    """Return this build's claim records, in the order of the pages."""
    found: list[records.Checked] = getattr(env, "heapscope_checked", [])
    return found


def claims(env: BuildEnvironment) -> dict[str, Statement]:
    """Return claims.yml as this build read it."""
    found: dict[str, Statement] = getattr(env, "heapscope_claims_by_id", {})
    return found


def prepare(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Execute what has to be executed, collect the records, and ask for pages to be read again."""
    source = Path(app.srcdir)
    claims_path = source / app.config.heapscope_claims
    try:
        claims_by_id = dict(statements.load(claims_path)) if claims_path.is_file() else {}
    except ValueError as error:
        _log.warning("%s", error, location=str(claims_path), type=_TYPE)
        claims_by_id = {}
    base = fingerprint.base(source, claims_path.parent, claims_path)
    books = _executed(app, env, base, claims_by_id)
    found: list[records.Checked] = []
    problems: list[records.Problem] = []
    for docname, book in books.items():
        if book.fresh and docname not in docnames:
            docnames.append(docname)
        here = records.claims_in(docname, book.nb)  # up to the cell that failed, if one did
        found += here
        if book.error is not None:  # says what was wrong with the cell's claim, if that was it
            problems.append(records.Problem(docname, book.error))
            continue
        problems += records.claim_problems(here, claims_by_id)
        problems += records.question_problems(docname, book.nb)
    for problem in problems:
        _log.warning("%s", problem.text, location=problem.docname, type=_TYPE)
    for one in found:
        if one.state == "differs":
            _log.info("%s: claim %s differs here (other versions)", one.docname, one.id)
    _again(app, env, docnames, base, found, claims_by_id)


def _executed(
    app: Sphinx, env: BuildEnvironment, base: str, claims_by_id: dict[str, Statement]
) -> dict[str, execute.Notebook]:
    """Execute the book's notebooks and return them by docname, in the order of the pages."""
    config = env.mystnb_config  # type: ignore[attr-defined]  # set by myst-nb
    wanted = sorted(d for d in env.found_docs if str(env.doc2path(d)).endswith(".ipynb"))
    if config.execution_mode != "cache" or not wanted:
        return {}
    started = time.perf_counter()
    books: dict[str, execute.Notebook] = {}
    for docname in wanted:
        path = Path(env.doc2path(docname))
        try:
            nb = execute.read(path)
        except ValueError as error:
            _log.warning("%s", error, location=docname, type=_TYPE)
            continue
        ours = nb.metadata.get("heapscope", {})
        depends = {
            name: fingerprint.hash_file(path.parent / name) for name in ours.get("depends", ())
        }
        books[docname] = execute.Notebook(
            path=path,
            name=path.stem,
            key=fingerprint.notebook(base, nb.cells, depends, claims_by_id),
            nb=nb,
            alone=bool(ours.get("alone", False)),
        )
    execute.execute(
        books.values(),
        Path(config.execution_cache_path),
        timeout=config.execution_timeout,
        workers=app.config.heapscope_workers,
        say=lambda text: _log.info("%s", text),
    )
    fresh = sum(book.fresh for book in books.values())
    seconds = time.perf_counter() - started
    _log.info("notebooks: %d executed, %d in all, %.1f s", fresh, len(books), seconds)
    failed = [book.path.name for book in books.values() if book.error is not None]
    if failed:
        # myst-nb would execute them a second time; their pages are made without outputs.
        patterns = [*config.execution_excludepatterns, *failed]
        env.mystnb_config = config.copy(execution_excludepatterns=patterns)  # type: ignore[attr-defined]
    return books


def _again(
    app: Sphinx,
    env: BuildEnvironment,
    docnames: list[str],
    base: str,
    found: list[records.Checked],
    claims_by_id: dict[str, Statement],
) -> None:
    """Keep the records, and have the pages made from them read again when they changed."""
    now = (base, found, claims_by_id, bool(app.config.ledger_complete))
    before = getattr(env, "heapscope_found", None)
    env.heapscope_checked = found  # type: ignore[attr-defined]
    env.heapscope_claims_by_id = claims_by_id  # type: ignore[attr-defined]
    env.heapscope_found = now  # type: ignore[attr-defined]
    if now != before:
        other_tools = before is None or before[0] != base
        live = {name for name, by_records in _live(env).items() if other_tools or by_records}
        docnames.extend(sorted((live & set(env.found_docs)) - set(docnames)))

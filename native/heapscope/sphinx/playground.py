"""The playground's scripts, on the pages that hold a ``<heap-playground>``.

``playground-wasm.js`` carries glibc's malloc, compiled for this build, as a plain script: a page
that is opened from a file may not fetch. It sets ``window.heapscopePlayground``::

    {glibc: "2.36", package: "2.36-9+deb12u14", licence: "LGPL-2.1-or-later", source: address,
     facts: what layouts.json says of that version, presets: presets.json,
     wasm: the module, as gzip and then base64}

or, where the module cannot be built, ``{missing: sentence, presets: …}``: the book is built all the
same, and the page says what to install. ``films`` names ``playground-films.js``, if there is one: a
page whose browser cannot run the module loads it, and shows the presets as recorded films.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sphinx.util import logging

import heapscope
from heapscope.glibc.layout import facts
from heapscope.playground import Module, UnbuiltError, build, find
from heapscope.playground.films import films
from heapscope.playground.source import INSTALLED, LICENCE
from heapscope.programs.runner import MissingToolError
from heapscope.recorders.gdb_recorder import FilmError
from heapscope.views import film

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ELEMENT = "heap-playground"
SCRIPT = "playground-wasm.js"
FILMS = "playground-films.js"
_PACKAGE = Path(heapscope.__file__).parent
FILES = ("decoder.js", "playground.js", "playground.css")
"""What a page with the element gets of heapscope/views, in this order, besides the module."""
_TAG = re.compile(rf"<{ELEMENT}\b[^>]*>")
_PRESET = re.compile(r'preset=\\?"([\w-]+)\\?"')  # in a notebook the marks are escaped
_log = logging.getLogger(__name__)


def register(app: Sphinx) -> None:
    """Build the module if a page wants it, and give that page its scripts."""
    app.add_config_value("heapscope_glibc_source", str(INSTALLED), "", types=[str])
    app.connect("builder-inited", _assets)
    app.connect("env-updated", _prepare)
    app.connect("html-page-context", _scripts)


def script(module: Module | UnbuiltError, recorded: str = "") -> str:
    """Return ``playground-wasm.js`` for a module, or for the reason why there is none.

    `recorded` is the text of ``playground-films.js``.
    """
    about: dict[str, Any]
    if isinstance(module, UnbuiltError):
        about = {"missing": str(module).partition("\n")[0], "presets": presets()}
    else:
        about = {
            "glibc": module.source.glibc,
            "package": module.source.package,
            "licence": LICENCE,
            "source": source_address(module.source.package),
            "facts": facts((2, module.source.minor)),
            "presets": presets(),
            "wasm": base64.b64encode(gzip.compress(module.wasm, mtime=0)).decode(),
        }
    if recorded:
        about["films"] = f"{FILMS}?v={hashlib.sha256(recorded.encode()).hexdigest()[:8]}"
    text = json.dumps(about, separators=(",", ":"), ensure_ascii=False)
    return f"window.heapscopePlayground={text};\n"


def recordings(names: Iterable[str], kept: Path) -> str:
    """Return ``playground-films.js`` for the presets of these names; "" where gdb is missing."""
    try:
        made = films(presets(), names, kept)
    except (FilmError, MissingToolError) as why:
        _log.info("The playground has no recorded films. %s", why)
        return ""
    return f"window.heapscopeFilms={json.dumps(made, separators=(',', ':'))};\n"


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Return the chapters' states by name: their titles, what to look at, and the calls."""
    text = (_PACKAGE / "playground" / "presets.json").read_text("utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


@cache
def element() -> dict[str, str]:
    """Return the element's own files by name, as pages carry them."""
    paths = [_PACKAGE / "views" / name for name in FILES]
    return {
        path.name: film.minified(path.read_text("utf-8"))
        if path.suffix == ".js"
        else path.read_text("utf-8")
        for path in paths
        if path.is_file()
    }


def source_address(package: str) -> str:
    """Return where the package's source, and each file of it, can be had for good."""
    return f"https://snapshot.debian.org/package/glibc/{quote(package, safe='')}/"


def _assets(app: Sphinx) -> None:
    if app.builder.format == "html":
        folder = _made(app).parent
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in element().items():
            (folder / name).write_text(text, "utf-8")
        app.config.html_static_path.extend(str(folder / name) for name in (SCRIPT, FILMS, *FILES))


def _made(app: Sphinx) -> Path:
    return Path(app.doctreedir) / SCRIPT


def _prepare(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Write the script if a page needs it; return the pages that must name its new version."""
    if app.builder.format != "html":
        return ()
    holders = [
        name for name in sorted(env.found_docs) if ELEMENT.encode() in _bytes(env.doc2path(name))
    ]
    if not holders:
        return ()
    module: Module | UnbuiltError
    try:
        module = build(
            find(Path(app.config.heapscope_glibc_source)),
            Path(app.outdir).parent / ".playground",
        )
    except UnbuiltError as why:
        _log.info("The playground is left out. %s", why)
        module = why
    recorded = recordings(_wanted(env, holders), Path(app.outdir).parent / ".playground")
    (_made(app).parent / FILMS).write_text(recorded, "utf-8")
    made, text = _made(app), script(module, recorded)
    if made.is_file() and made.read_text("utf-8") == text:
        return ()
    made.write_text(text, "utf-8")
    return holders


def _wanted(env: BuildEnvironment, holders: list[str]) -> set[str]:
    """Return the presets that these pages name; a full playground offers all."""
    names: set[str] = set()
    for holder in holders:
        for tag in _TAG.findall(_bytes(env.doc2path(holder)).decode("utf-8", "replace")):
            found = _PRESET.search(tag)
            names |= {found[1]} if found and " full" not in tag else presets().keys()
    return names


def _bytes(path: str | Path) -> bytes:
    found = Path(path)
    return found.read_bytes() if found.is_file() else b""


def _scripts(
    app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any
) -> None:
    if f"<{ELEMENT}" in str(context.get("body", "")):
        app.add_js_file(SCRIPT)
        for name in element():
            add = app.add_css_file if name.endswith(".css") else app.add_js_file
            add(name)

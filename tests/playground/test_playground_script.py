"""What a page with a <heap-playground> gets from the build."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest
from heapscope.glibc.layout import facts
from heapscope.playground import Module, UnbuiltError
from heapscope.sphinx import playground

sys.path.insert(0, str(Path(__file__).parents[1] / "build"))
sys.path.insert(0, str(Path(__file__).parents[1] / "site"))

from browser import chromium
from sample import SUM, SampleBook

_TRY = """async () => {
    const packed = Uint8Array.from(atob(window.heapscopePlayground.wasm), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = await new Response(stream).arrayBuffer();
    const heap = new WebAssembly.Instance(new WebAssembly.Module(bytes), {}).exports;
    const offsets = [24n, 100n, 5000n].map(n => Number(heap.malloc(n) - heap.heap_start()));
    try { heap.free(heap.heap_start() + 0x2a8n); } catch (trap) { offsets.push(trap.name); }
    const text = new Uint8Array(heap.memory.buffer, Number(heap.fatal()), 64);
    return [...offsets, new TextDecoder().decode(text.slice(0, text.indexOf(0)))];
}"""


def _about(script: str) -> dict[str, object]:
    start = "window.heapscopePlayground="
    assert script.startswith(start)
    about: dict[str, object] = json.loads(script.removeprefix(start).rstrip().removesuffix(";"))
    return about


def test_script_of_a_module(module: Module, root: Path) -> None:
    script = playground.script(module)
    about = _about(script)
    assert gzip.decompress(base64.b64decode(str(about["wasm"]))) == module.wasm
    assert about["glibc"] == module.source.glibc
    assert about["package"] == module.source.package
    assert about["licence"] == "LGPL-2.1-or-later"
    assert module.source.package.replace("+", "%2B") in str(about["source"])
    assert about["facts"] == facts((2, module.source.minor))
    presets = root / "native" / "heapscope" / "playground" / "presets.json"
    assert about["presets"] == json.loads(presets.read_text("utf-8"))
    assert playground.script(module) == script


def test_script_without_one() -> None:
    about = _about(playground.script(UnbuiltError("Install this.\nA compiler's long story")))
    assert about["missing"] == "Install this."
    assert "wasm" not in about


@pytest.fixture
def book(tmp_path: Path, cache: Path, module: Module) -> SampleBook:
    """A book of which one page has a playground; the module need not be compiled again."""
    made = SampleBook(tmp_path / "book")
    made.notebook("one", SUM)
    made.page(
        "cover", '# A sample\n\n<heap-playground preset="malloc">Calls to malloc.</heap-playground>'
    )
    shutil.copytree(cache, made.folder / "_build" / ".playground")
    return made


def test_page_from_a_file(book: SampleBook, tmp_path: Path) -> None:
    setting = "    heapscope_glibc_source: "
    book.config("    language: en", f"    language: en\n{setting}{tmp_path}/none")
    built = book.build()
    assert not built.red, built.log
    script = book.html / "_static" / playground.SCRIPT
    assert "apt-get install glibc-source" in str(_about(script.read_text())["missing"])

    book.config(f"\n{setting}{tmp_path}/none", "")  # as if somebody had installed it
    built = book.build()
    assert not built.red, built.log
    holder, other = (
        (book.html / name).read_text() for name in ("book/cover.html", "notebooks/one.html")
    )
    assert playground.SCRIPT in holder
    assert playground.SCRIPT not in other
    assert holder.index(playground.SCRIPT) < holder.index("decoder.js")
    with chromium() as browser:
        page = browser.new_page()
        page.goto((book.html / "book" / "cover.html").as_uri())
        result = page.evaluate(_TRY)
    assert result == [0x2A0, 0x2C0, 0x330, "RuntimeError", "free(): invalid pointer"]

"""Text is text: what a program, its author or its path says is shown on a page and never obeyed.

Hostile samples go through the site, the film page, the trace's report and a cell's output; a real
browser opens each page and must neither run anything nor gain an element. All built pages and all
sources of pages are searched for inline event handlers and ``javascript:``.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

from heapscope.programs.c import run_c
from heapscope.programs.result import Run

from .record import Check

COMMAND = "python -m tests.trust.text"
ROOT = Path(__file__).resolve().parents[2]
MARK = "pwned"
SAMPLES = (
    f"<script>window.{MARK}=1</script>",
    f"</script><script>window.{MARK}=1</script>",
    f"</pre></div></style></title></textarea><img src=x onerror=window.{MARK}=1>",
    "<!--",
    "<!--<script>",
    "]]>",
    "&lt;b&gt; & &amp;",
    "\"'`><b id=pwned>",
    f"{{{{ {MARK} }}}} ${{{MARK}}} `code` *stars* [x](javascript:window.{MARK}=1) $$x$$",
    "\x1b[2J\x1b]0;title\x07\x08\x0b\x7f\x9b",
    "\u202egnp.exe\u2066\u2069\u200b\ufeff",
    "שלום עולם مرحبا",
    "\ud7ff\U0010ffff\u2028\u2029",
)
RAW = (b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Reader(HTMLParser):
    """Finds elements and attributes that run something."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        for name, value in attrs:
            if re.fullmatch(r"on[a-z]+", name):
                self.found.append(f"<{tag} {name}=…> on line {self.getpos()[0]}")
            bare = re.sub(r"[\x00-\x20]", "", value or "").lower()
            leads = name in ("href", "src", "action", "formaction", "data", "xlink:href")
            if leads and bare.startswith(("javascript:", "vbscript:", "data:text/html")):
                self.found.append(f"<{tag} {name}={value!r}> on line {self.getpos()[0]}")
            if name == "srcdoc":
                self.found.append(f"<{tag} srcdoc> on line {self.getpos()[0]}")


def handlers(page: str) -> list[str]:
    """Return inline event handlers and addresses that run something, of a page."""
    reader = _Reader()
    reader.feed(page)
    return reader.found


_IN_SOURCE = re.compile(
    r"""<[a-z][^<>]*\son[a-z]+\s*=|["'(=]\s*javascript:|setAttribute\(\s*["']on|\.on[a-z]+\s*=\s*["']""",
    re.I,
)


def in_sources() -> tuple[int, list[str]]:
    """Search what makes pages: Python, scripts, templates, notebooks. Returns (files, findings)."""
    files = [
        path
        for folder in ("native/heapscope", "book", "notebooks")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".js", ".css", ".html", ".svg", ".md", ".ipynb")
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    found = [
        f"{path.relative_to(ROOT)}: {hit[0][:60]}"
        for path in files
        for hit in _IN_SOURCE.finditer(path.read_text("utf-8", "replace"))
    ]
    return len(files), found


def c_text(texts: Sequence[str | bytes]) -> str:
    """Return a C literal of texts, byte for byte."""
    data = b"\n".join(
        text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts
    )
    return "".join(f"\\{byte:03o}" for byte in data)


def hostile_c() -> str:
    """Return a C program that prints every sample, and whose comments and strings hold them."""
    safe = [s for s in SAMPLES if "\n" not in s and not CONTROL.search(s) and "\u2028" not in s]
    comments = "\n".join(f"// {sample}" for sample in safe)
    words = c_text([*SAMPLES, *RAW])
    return (
        f"{comments}\n"
        f'fputs("{words}\\n", stdout);\nfputs("{words}\\n", stderr);\n'
        f"char *text = malloc(64);\n"
        f'strcpy(text, "</script><script>window.{MARK}=1</script><!--");\n'
        "puts(text);\nfree(text);\nabort();\n"
    )


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="trust-") as name:
        yield Path(name)


def _heapscope(*words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "heapscope", *words]
    return subprocess.run(command, capture_output=True, cwd=cwd, check=False, timeout=120)


def film_page(folder: Path) -> Path:
    """Film the hostile program from a file with a hostile name."""
    source = folder / f"<img src=x onerror=window.{MARK}=1>\u202e'\".c"
    source.write_text(hostile_c(), "utf-8")
    done = _heapscope("film", str(source), "-o", "film.html", cwd=folder)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return folder / "film.html"


def report_page(folder: Path) -> Path:
    """Trace a program in a folder with a hostile name, with hostile arguments."""
    place = folder / f"<b onclick=window.{MARK}=1>"
    place.mkdir()
    source = folder / "leak.c"
    source.write_text(
        "#include <stdlib.h>\nint main(int n, char **v) { (void)v; return malloc(n * 100) == 0; }\n"
    )
    program = place / "</script><script>window.pwned=1<"[:9].replace("/", "")
    subprocess.run(["gcc", "-g", "-o", str(program), str(source)], check=True)
    samples = [sample for sample in SAMPLES if "\0" not in sample]
    done = _heapscope("trace", "-o", "report.html", "--", str(program), *samples, cwd=folder)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return folder / "report.html"


def cell_page(folder: Path) -> Path:
    """Show the hostile program's run, its check, and its film as a cell does."""
    run: Run = run_c(hostile_c())
    parts = [run._repr_html_(), run.check()._repr_html_()]
    page = folder / "cell.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Cell</title><body>'
    page.write_text(head + "\n".join(parts), "utf-8")
    return page


def site_pages(folder: Path) -> list[Path]:
    """Build a small book whose cells print the samples, with films and claims of them."""
    sys.path.insert(0, str(ROOT / "tests" / "build"))
    try:
        from sample import SampleBook, code  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    book = SampleBook(folder / "book")
    # What Python prints is the author's own; terminal codes there end the build, so only markup.
    mild = [sample for sample in SAMPLES if not CONTROL.search(sample)]
    printed = f"print({chr(10).join(mild)!a})"
    entry = {
        "id": "text",
        "statement": "Text is text.",
        "section": "Text",
        "verdict": "holds",
        "source": ["a run"],
        "article_lines": "1",
    }
    book.claims([entry])
    observed = ascii(SAMPLES[1] + SAMPLES[2])
    book.notebook(
        "text",
        code("%load_ext heapscope"),
        code(printed),
        code(ascii(mild)),
        code("%%c said\n" + hostile_c()),
        code("%%c filmed --film\n" + hostile_c()),
        code(
            "from heapscope import claim\nfour = 2 + 2\n"
            f"claim('text', four == 4, observed={observed})"
        ),
    )
    done = book.build()
    assert not done.red, done.log[-2000:]
    return sorted(path for path in book.html.rglob("*.html") if "_static" not in path.parts)


_ASK = f"""() => [
    window.{MARK} === undefined ? '' : 'a script of the sample ran',
    document.getElementById('{MARK}') ? 'the sample made an element' : '',
    document.querySelector('img[src="x"]') ? 'the sample made a picture' : '',
].filter(Boolean)"""


def in_browser(pages: Sequence[Path]) -> list[str]:
    """Open pages, press what can be pressed, and return what was run or made."""
    sys.path.insert(0, str(ROOT / "tests" / "site"))
    try:
        from browser import chromium, visit  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    wrong: list[str] = []
    with chromium() as browser:
        for page in pages:
            with visit(browser, page.as_uri()) as seen:
                seen.page.evaluate(
                    "document.querySelectorAll('details').forEach(d => { d.open = true; })"
                )
                seen.page.evaluate(
                    "[...document.querySelectorAll('button:not([data-hs-fullscreen])')]"
                    ".slice(0, 40)"
                    ".forEach(b => { try { b.click(); } catch (e) {} })"
                )
                for _ in range(12):
                    seen.page.keyboard.press("ArrowRight")
                seen.page.wait_for_timeout(200)
                said = seen.page.evaluate(_ASK)
                errors = [text for text in seen.problems if "error" in text]
                wrong += [f"{page.name}: {text}" for text in [*said, *errors]]
    return wrong


def in_file(page: Path) -> list[str]:
    """Return what is wrong with the bytes of a page."""
    data = page.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"{page.name} is not UTF-8: {error}"]
    wrong = [f"{page.name}: {found}" for found in handlers(text)]
    odd = CONTROL.search(text)
    if odd:
        around = text[max(0, odd.start() - 30) : odd.end() + 30]
        wrong.append(f"{page.name}: a control character {odd[0]!r} in {around!r}")
    return wrong


def main() -> int:
    """Try everything and write the figures."""
    check = Check("text", "Text is text", COMMAND)
    count, found = in_sources()
    aim = "none"
    check.figure(
        f"inline event handlers and javascript: in {count} sources of pages",
        "; ".join(found[:3]) or "none",
        aim,
        not found,
    )
    html = ROOT / "_build" / "html"
    built = sorted(p for p in html.rglob("*.html"))
    found = [f"{p.name}: {hit}" for p in built for hit in handlers(p.read_text("utf-8", "replace"))]
    what = "inline event handlers and javascript: in the built book"
    if built:
        check.figure(what, f"{len(built)} pages: {'; '.join(found[:3]) or 'none'}", aim, not found)
    else:
        check.figure(what, "not tried: the book is not built (make book)", aim, None)
    samples = len(SAMPLES) + len(RAW)
    with _folder() as folder:
        for what, make in (
            ("a film's page", lambda: [film_page(folder)]),
            ("a trace's report", lambda: [report_page(folder)]),
            ("a cell's outputs", lambda: [cell_page(folder)]),
            ("a book of cells, films and claims", lambda: site_pages(folder)),
        ):
            pages = make()
            wrong = [text for page in pages for text in in_file(page)] + in_browser(pages)
            check.figure(
                f"{samples} hostile texts in {what}, opened and clicked in Chromium",
                "; ".join(wrong[:3]) or f"{len(pages)} page{'s' * (len(pages) > 1)}; nothing ran",
                "nothing runs, no element is made, no control character is left",
                not wrong,
            )
    return check.finish()


if __name__ == "__main__":
    sys.exit(main())

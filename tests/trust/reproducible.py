"""Two cold builds in different folders and surroundings are the same bytes, measurements aside.

``python -m tests.trust.reproducible`` builds the whole book twice from nothing, one after the
other. What may differ is taken out by :func:`comparable` and nothing else: outputs of cells that
are tagged ``measured``, what the ledger observed in those cells, and, in the search index, the
words of the pages that hold either.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup

from .record import Check

COMMAND = "python -m tests.trust.reproducible"
ROOT = Path(__file__).resolve().parents[2]
LEDGER = "book/ledger.html"
INDEX = "searchindex.js"
_LEFT_OUT = shutil.ignore_patterns(".*", "_build", "build", "*.egg-info", "__pycache__", "*.new")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a build runs in and must not show: folder's name, umask, zone, language, hash seed."""

    name: str
    umask: str
    zone: str
    language: str
    seed: str
    fixed: bool  # without address space layout randomisation


TWO = (
    Surroundings("one", "022", "UTC", "C.UTF-8", "0", fixed=False),
    Surroundings("quite/another place", "077", "Pacific/Auckland", "C", "4711", fixed=True),
)


def can_fix() -> bool:
    """Whether a program can be started here without address space layout randomisation."""
    tool = shutil.which("setarch")
    return bool(tool) and subprocess.run([str(tool), "-R", "true"], check=False).returncode == 0


def build(book: Path, folder: Path, here: Surroundings, *, timeout: float = 1800) -> Path:
    """Build a copy of a book without a cache; return its pages. RuntimeError holds the log."""
    copy = folder / here.name
    shutil.copytree(book, copy, ignore=_LEFT_OUT)
    tool = Path(sys.executable).parent / "jupyter-book"
    prefix = ["setarch", "-R"] if here.fixed and can_fix() else []
    script = f'umask {here.umask}; exec "$@"'
    run = subprocess.run(
        ["sh", "-c", script, "sh", *prefix, str(tool), "build", "-W", "-n", "--keep-going", copy],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "TZ": here.zone,
            "LANG": here.language,
            "LC_ALL": here.language,
            "PYTHONHASHSEED": here.seed,
        },
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"the build in {here.name} failed:\n{run.stdout}{run.stderr}")
    return copy / "_build" / "html"


def measured_claims(page: str) -> set[str]:
    """Return the ids of the claims that a page's measured cells check."""
    soup = BeautifulSoup(page, "html.parser")
    return {
        str(mark["id"]).removeprefix("claim-")
        for mark in soup.select('.cell.tag_measured [id^="claim-"]')
    }


def comparable(page: str, claims: set[str] | frozenset[str] = frozenset()) -> str:
    """Return a page without its measured outputs, and without what was observed for `claims`."""
    soup = BeautifulSoup(page, "html.parser")
    for output in soup.select(".cell.tag_measured > .cell_output"):
        output.clear()
        output["class"] = "measured"
    for claim in claims:
        for fact in soup.select(f'[id="ledger-{claim}"] .hs-ledger-facts > li'):
            if fact.get_text().strip().startswith("Observed:"):
                fact.clear()
    return str(soup)


def comparable_index(script: str, loose: set[str]) -> str:
    """Return a search index without the words of the pages `loose`; titles stay."""
    index = json.loads(script[script.index("(") + 1 : script.rindex(")")])
    out = {number for number, name in enumerate(index["docnames"]) if name in loose}
    terms = {}
    for term, where in index["terms"].items():
        kept = set(where if isinstance(where, list) else [where]) - out
        if kept:
            terms[term] = sorted(kept)
    return json.dumps({**index, "terms": terms}, sort_keys=True)


def differences(one: Path, two: Path) -> list[str]:
    """Return the files that differ between two sites, or that only one of them has."""
    names, others = ({f.relative_to(d).as_posix() for f in d.rglob("*") if f.is_file()}
                     for d in (one, two))  # fmt: skip
    differ = sorted(names ^ others)
    claims: set[str] = set()
    loose: set[str] = set()
    for page in sorted(one.rglob("*.html")):
        text = page.read_text("utf-8")
        if "tag_measured" in text:
            loose.add(page.relative_to(one).with_suffix("").as_posix())
            claims |= measured_claims(text)
    if claims:
        loose.add(LEDGER.removesuffix(".html"))
    for name in sorted(names & others):
        first, second = (one / name).read_bytes(), (two / name).read_bytes()
        if first == second:
            continue
        if name.endswith(".html"):
            known = claims if name == LEDGER else set()
            equal = comparable(first.decode(), known) == comparable(second.decode(), known)
        elif name == INDEX:
            equal = comparable_index(first.decode(), loose) == comparable_index(
                second.decode(), loose
            )
        else:
            equal = False
        if not equal:
            differ.append(name)
    return differ


def excerpt(one: Path, two: Path, around: int = 200) -> str:
    """Return where two pages differ first, measured outputs aside; "" for what is no page."""
    if one.suffix != ".html" or not (one.is_file() and two.is_file()):
        return ""
    first, second = (comparable(path.read_text("utf-8")) for path in (one, two))
    pairs = enumerate(zip(first, second, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))
    part = slice(max(0, at - around), at + around)
    return f"    {first[part]!r}\n    {second[part]!r}"


def main() -> int:
    """Build the book twice and compare."""
    check = Check("reproducible", "Reproducible builds", COMMAND)
    with tempfile.TemporaryDirectory() as folder:
        one, two = (build(ROOT, Path(folder), here) for here in TWO)
        differ = differences(one, two)
        count = sum(path.is_file() for path in one.rglob("*"))
        for name in differ:
            print("  differs:", name, excerpt(one / name, two / name), sep="\n")
    what = "files of two cold builds (folder, umask, time zone, language, hash seed"
    what += " and address randomisation differ)" if can_fix() else " differ)"
    value = f"{count - len(differ):,} of {count:,} are equal, measured outputs aside"
    check.figure(what, value, "all", not differ)
    return check.finish()


if __name__ == "__main__":
    sys.exit(main())

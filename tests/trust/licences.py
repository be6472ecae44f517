"""Every file that the built book ships belongs to a package whose licence is stated."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from heapscope.sphinx import licences

from .record import Check

COMMAND = "python -m tests.trust.licences"
ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"


def pages(html: Path) -> list[str]:
    """Return the docnames of a built book."""
    names = (path.relative_to(html).with_suffix("").as_posix() for path in html.rglob("*.html"))
    return sorted(name for name in names if name.startswith(("book/", "notebooks/")))


def strangers_found(html: Path) -> int:
    """Count how many of five foreign files, put into a copy's folders, are told from the site's."""
    names = ("_static/foreign.js", "_static/vendor/a/b.woff2", "_images/a.png", "a.html", "x")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text("nobody's")
        return sum(whose is None for whose in licences.shipped(out, ROOT, pages(html)).values())


def main() -> int:
    """Lay every file to its owner."""
    if not (HTML / "index.html").is_file():
        print("the book is not built: make book")
        return 1
    check = Check("licences", "Licences", COMMAND)
    owners = licences.shipped(HTML, ROOT, pages(HTML))
    unknown = sorted(name for name, whose in owners.items() if whose is None)
    for name in unknown:
        print("  nobody's:", name)
    count = Counter(owners.values())
    check.figure(
        "files of the site that belong to a package or to the book",
        f"{len(owners) - len(unknown):,} of {len(owners):,}, from {len(count)} owners",
        "all",
        not unknown,
    )
    idle = [package for package in licences.SHIPPED if not count[package]]
    check.figure(
        "packages of the page's table that ship a file",
        f"{len(licences.SHIPPED) - len(idle)} of {len(licences.SHIPPED)}",
        "all",
        not idle,
    )
    for part in licences.PARTS:
        licences.notice(part)  # ValueError says which notice is missing
    stated = sum(bool(licences.licence(package)) for package in licences.SHIPPED)
    check.figure(
        "licences read from the packages, and notices of what they carry",
        f"{stated} and {len(licences.PARTS)}",
        f"{len(licences.SHIPPED)} and {len(licences.PARTS)}",
        stated == len(licences.SHIPPED),
    )
    found = strangers_found(HTML)
    check.figure("foreign files put among them", f"{found} of 5 were found", "all", found == 5)
    return check.finish()


if __name__ == "__main__":
    sys.exit(main())

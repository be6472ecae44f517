"""Check the book's prose with proselint: clichés, redundancy, hedging, words written twice.

``python tests/prose.py`` prints each finding with its page and exits 1 if there is one.  Code,
headings and markup are taken out first; they are not prose.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Straight quotes are the book's; "the very line" is an English phrase.
CONFIG = {"checks": {"typography.symbols": False, "weasel_words.very": False}}
NOT_PROSE = re.compile(
    r"^(`{3,}|~{3,}).*?^\1|^#.*?$|^\|.*?$|<!--.*?-->", flags=re.DOTALL | re.MULTILINE
)


def pages() -> dict[str, str]:
    """Return the Markdown of every page by its path in the repository."""
    found = {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for folder in (ROOT, ROOT / "book")
        for path in folder.glob("*.md")
    }
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        found[str(path.relative_to(ROOT))] = "\n\n".join(texts)
    return dict(sorted(found.items()))


def prose(markdown: str) -> str:
    """Return the sentences of a page; a piece of code in one becomes the word CODE."""
    text = NOT_PROSE.sub("", markdown)
    text = re.sub(r"<code>.*?</code>|`[^`\n]*`", "CODE", text)
    text = text.replace("</summary>", ".")
    return re.sub(r"<[^>]+>|\]\([^)]*\)", " ", text)


def main() -> int:
    """Return 0 when no page has a finding."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps(CONFIG), "utf-8")
        names = {}
        for number, (name, markdown) in enumerate(pages().items()):
            path = Path(folder, f"{number}.md")
            path.write_text(prose(markdown), "utf-8")
            names[path.as_uri()] = name
        tool = str(Path(sys.executable).with_name("proselint"))
        command = [tool, "check", "--config", str(config), "--output-format", "json", folder]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        result = json.loads(run.stdout)["result"]
    except (ValueError, KeyError):
        print(f"proselint did not answer:\n{run.stdout}{run.stderr}", file=sys.stderr)
        return 2
    count = 0
    for path, said in result.items():
        if "error" in said:
            print(f"proselint could not read {path}: {said['error']}", file=sys.stderr)
            return 2
        for finding in said.get("diagnostics", ()):
            count += 1
            words = finding["message"].splitlines()
            print(f"{names[path]}: {finding['check_path']}: {' '.join(words)}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())

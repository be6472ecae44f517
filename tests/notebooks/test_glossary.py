"""The glossary's terms are used where their links lead; the cheat sheet's numbers are too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docutils import nodes
from executed import stored
from heapscope.sphinx.glossary import Term, link_first_uses, terms

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "glossary.md").read_text("utf-8")
ENTRIES = dict(
    re.findall(r"^## (.+)\n(?:<!-- .+? -->\n)?\n((?:(?!^## )[^\n]*\n?)+)", PAGE, re.MULTILINE)
)
OTHERWISE = {  # what the chapter says there instead of the term
    "mmap threshold": "limit",
    "overflow": "size word of what comes next",
    "owner": "who frees it",
    "lend": "for the time of a call",
}
LINK = re.compile(r"\[([^\]]+)\]\(\.\./notebooks/([\w-]+)\.ipynb(?:#([\w-]+))?\)")


def anchor(heading: str) -> str:
    """Return the id that a heading gets in the address of a page."""
    return re.sub(r"[^\w-]", "", heading.strip().lower().replace(" ", "-"))


def prose(name: str) -> str:
    cells = stored(ROOT / "notebooks" / f"{name}.ipynb").cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def section(name: str, wanted: str) -> str:
    """Return the text of a chapter from one heading to the next of its level."""
    parts = re.split(r"^(#{1,3}) (.+)$", prose(name), flags=re.MULTILINE)
    for level, heading, at in zip(parts[1::3], parts[2::3], range(3, len(parts), 3), strict=True):
        if anchor(heading) == wanted:
            text = parts[at]
            for deeper, below in zip(parts[at + 1 :: 3], parts[at + 3 :: 3], strict=True):
                if len(deeper) <= len(level):
                    break
                text += below
            return text
    raise AssertionError(f"{name} has no section #{wanted}")


def test_the_terms_stand_in_order() -> None:
    names = [re.sub(r"^([AMP]) flag$", r"\1 flag", name).lower() for name in ENTRIES]
    assert names == sorted(names)
    assert len(names) >= 35


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_short(name: str) -> None:
    text = LINK.sub("", ENTRIES[name]).strip()
    assert 1 <= len(re.findall(r"[.?](?=\s|$)", text)) <= 4
    assert len(text.split()) <= 50


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_leads_to_where_the_chapters_use_it(name: str) -> None:
    links = LINK.findall(ENTRIES[name])
    assert len(links) == 1
    _, chapter, at = links[0]
    text = (section(chapter, at) if at else prose(chapter)).lower()
    if name in OTHERWISE:
        assert OTHERWISE[name] in text
        return
    words = [word for word in re.findall(r"\w+", name.lower()) if len(word) > 3] or [name[0]]
    stems = [word[:5].rstrip("ei") for word in words]
    assert any(stem in text or stem.upper() in text for stem in stems), (name, stems)


def test_forms_are_read() -> None:
    page = (
        "# G\n\n## leak\n<!-- forms: leak, leaks -->\n\nText.\n\n"
        "## copy\n<!-- forms: none -->\n\n## arena\n"
    )
    assert terms(page) == [Term("leak", ("leak", "leaks")), Term("arena", ("arena", "arenas"))]


def paragraph(*parts: nodes.Node) -> nodes.paragraph:
    return nodes.paragraph("", "", *parts)


def linked(*blocks: nodes.Node) -> list[str]:
    document = nodes.section("", *blocks)
    wanted = [Term("tcache", ("tcache", "tcaches")), Term("top", ("the top", "*top*"))]
    link_first_uses(document, wanted, "glossary.html")  # type: ignore[arg-type]
    return [f"{r.astext()} {r['refuri']}" for r in document.findall(nodes.reference)]


def test_the_first_use_is_linked_and_no_other() -> None:
    found = linked(paragraph(nodes.Text("A tcache. Two tcaches.")), paragraph(nodes.Text("tcache")))
    assert found == ["tcache glossary.html#tcache"]


def test_code_titles_and_links_are_left_alone() -> None:
    assert linked(
        nodes.title("", "The tcache"),
        paragraph(nodes.literal("", "tcache")),
        paragraph(nodes.reference("", "", nodes.Text("tcache"), refuri="x")),
        paragraph(nodes.strong("", "What is the tcache?")),
    ) == ["tcache x"]


def test_a_part_of_a_word_is_no_use() -> None:
    assert linked(paragraph(nodes.Text("the topmost, tcache-like"))) == []


def test_a_form_between_stars_has_to_be_emphasized() -> None:
    assert linked(paragraph(nodes.Text("on top of it"))) == []
    assert linked(paragraph(nodes.emphasis("", "top"))) == ["top glossary.html#top"]


def test_two_terms_in_one_text() -> None:
    whole = paragraph(nodes.Text("From the top, past the tcache, and on."))
    assert len(linked(whole)) == 2
    assert whole.astext() == "From the top, past the tcache, and on."


def test_numbers_of_the_cheat_sheet_occur_in_the_chapters() -> None:
    sheet = (ROOT / "book" / "cheat-sheet.md").read_text("utf-8")
    said = "\n".join(
        cell.source
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in stored(path).cells
    )
    outside = sheet.split("## Tools")[1]
    numbers = set(re.findall(r"\d+", outside))
    assert {"16", "32", "48", "128"} <= numbers
    assert numbers <= set(re.findall(r"\d+", said))

"""Links, anchors and words for pictures, read from the pages' markup."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def ids(path: Path) -> list[str]:
    soup = parsed(path)
    named = [str(tag["name"]) for tag in soup.find_all("a") if tag.get("name")]
    return [str(tag["id"]) for tag in soup.find_all(id=True)] + named


def test_no_dead_link(html: Path, page_name: str) -> None:
    page = html / page_name
    dead = []
    for tag in parsed(page).find_all(["a", "img", "link", "script", "source", "iframe"]):
        for attribute in ("href", "src"):
            target = tag.get(attribute)
            if not isinstance(target, str):
                continue
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if tag.name != "a":
                    dead.append(f"{target}: from outside")
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not path.is_file():
                dead.append(f"{target}: no such file")
            elif (
                parts.fragment
                and path.suffix == ".html"
                and unquote(parts.fragment) not in ids(path)
            ):
                dead.append(f"{target}: no such place")
    assert dead == []


def test_ids_are_unique(html: Path, page_name: str) -> None:
    found = [str(tag["id"]) for tag in parsed(html / page_name).find_all(id=True)]
    assert sorted({one for one in found if found.count(one) > 1}) == []


def words(tag: Tag) -> str:
    """Return what a picture says to a screen reader."""
    label = tag.get("alt") or tag.get("aria-label") or ""
    if not label and (by := tag.get("aria-labelledby")):
        soup = tag.find_parent("html")
        assert soup is not None
        named = [soup.find(id=name) for name in str(by).split()]
        label = " ".join(one.get_text() for one in named if one is not None)
    if not label and (title := tag.find("title")):
        label = title.get_text()
    return str(label).strip()


def test_every_picture_has_words(html: Path, page_name: str) -> None:
    article = parsed(html / page_name).find("article")
    if article is None:
        return
    mute = [
        str(picture)[:120]
        for picture in article.find_all(["img", "svg", "canvas"])
        if not picture.find_parent(attrs={"aria-hidden": "true"})
        and picture.get("aria-hidden") != "true"
        and not picture.find_parent("svg")
        and len(words(picture)) < 15
    ]
    assert mute == []


def test_every_page_says_its_language_and_has_one_title(html: Path, page_name: str) -> None:
    soup = parsed(html / page_name)
    root = soup.find("html")
    assert root is not None
    assert root.get("lang") == "en"
    assert soup.title is not None
    assert soup.title.get_text().strip()
    body = soup.find("article") or soup
    assert len(body.find_all("h1")) == 1

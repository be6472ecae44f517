"""Picture, table and words of one snapshot say the same, and are the same in every run."""

from __future__ import annotations

import dataclasses
import html
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import heapscope
import pytest
from heaps import built, many, recorded
from heapscope.glibc.decode import decode
from heapscope.model.film import Film
from heapscope.model.snapshot import Snapshot, State
from heapscope.views import alt, figure, film_frames, picture, sentence, table, theme, words
from heapscope.views.picture import style_sheet

VIEWS = Path(heapscope.__file__).parent / "views"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def film() -> Film:
    return recorded()


@pytest.fixture(scope="module")
def bins() -> Snapshot:
    return decode(built().reading())


def texts(svg: str) -> list[str]:
    """Return what is written in a drawing."""
    return ["".join(x.itertext()) for x in ET.fromstring(svg).iter(f"{SVG}text")]


def shots(film: Film, bins: Snapshot) -> list[Snapshot]:
    return [*film.frames, bins, decode(built("2.42").reading()), decode(built("2.43").reading())]


# ---- the three agree


def test_every_chunk_stands_in_picture_table_and_words(film: Film, bins: Snapshot) -> None:
    for shot in shots(film, bins):
        made = figure(shot, limit=500)
        written = [texts(drawing) for drawing in made.drawings]
        rows = {row[1]: row for row in table(shot).grids[0].rows}
        for chunk in shot.chunks:
            offset = words.offset(shot, chunk.at)
            row = rows[offset]
            assert row[0] == words.name(shot, chunk)
            assert row[2] == words.place(shot, chunk)
            assert row[5].split(" (")[0] == f"{chunk.size:,}"
            region = words.region_of(shot, chunk.at)
            assert region is not None
            for drawn, sign in zip(written, ("+", ""), strict=bool(written)):
                assert f"{sign}{chunk.at - region.base:#05x}" in drawn
            if chunk.state not in words.NOT_BLOCKS:
                assert words.name(shot, chunk) in written[0]
                assert f"<b>{words.name(shot, chunk)}</b>" in made.below
        assert len(rows) == len(shot.chunks)
        for chunk in shot.chunks[: words.MOST_DESCRIBED]:
            assert words.described(shot, chunk) in alt(shot)


def test_free_lists_agree_in_order(bins: Snapshot) -> None:
    page = figure(bins).figure()
    plain = table(bins).text()
    for found in bins.lists:
        chain = words.chain(bins, found)
        assert chain in page
        assert chain in plain
        names = re.split(" → ", chain)
        assert names[1:-1] == [link.name for link in found.links]


def test_links_decode_as_printed(film: Film) -> None:
    shot = film[2]
    (found,) = shot.lists
    assert [link.name for link in found.links] == ["a", "c"]
    for link in found.links:
        form = r"(0x[0-9a-f]+) ⊕ \((0x[0-9a-f]+) >> 12\) = (0x[0-9a-f]+|0, the end)"
        found_form = re.fullmatch(form, words.decoded(link))
        assert found_form is not None
        raw, at, target = found_form.groups()
        goal = 0 if target == "0, the end" else int(target, 16)
        assert int(raw, 16) ^ int(at, 16) >> 12 == goal
        assert html.escape(words.decoded(link)) in figure(shot).figure()


def test_the_conclusion_comes_first(film: Film) -> None:
    start, three, freed, broken = film.frames
    assert sentence(start).startswith("The heap holds no block yet")
    assert sentence(three) == "3 blocks, all in use."
    assert sentence(freed) == (
        "3 blocks, 1 in use; a is free, first in tcache[0x20]; c is free, second in tcache[0x20]."
    )
    assert sentence(broken).startswith("Broken: ")
    assert html.escape(broken.faults[0].text) in figure(broken).figure()
    for shot in film.frames:
        assert alt(shot).startswith(sentence(shot))


# ---- what is drawn


def test_sizes_flags_and_text_are_written(film: Film) -> None:
    drawn = texts(figure(film[1]).drawings[0])
    assert "requested 10 · usable 24 · chunk 32" in drawn
    assert drawn.count("0x21") == 3
    assert "hello" in drawn
    assert drawn.count("P") == 4  # three blocks and top
    assert "▼ b" in drawn
    assert "↓ higher addresses" in drawn


def test_pointers_are_drawn_or_named(film: Film) -> None:
    made = figure(film[2])
    assert "✗" in texts(made.drawings[0])  # a dangles
    assert "a = +0x2a0 ✗ dangling" in made.figure()
    assert "nil = NULL" in made.figure()


def test_a_changed_word_is_marked_with_its_reason(film: Film) -> None:
    drawn = texts(figure(film[2]).drawings[0])
    assert "▲ link → c" in drawn
    assert "▲ link → c" not in texts(figure(film[1]).drawings[0])


def test_a_lie_is_shown_beside_the_truth(film: Film) -> None:
    drawn = texts(figure(film[3]).drawings[0])
    assert "✗ claims 64, is 32" in drawn
    assert "0x41 ✗" in drawn


def test_only_folds_the_others(bins: Snapshot) -> None:
    drawn = texts(figure(bins, only=["E"]).drawings[0])
    assert "E" in drawn
    assert "D" not in drawn
    with pytest.raises(KeyError, match="no block or region is called nobody"):
        figure(bins, only="nobody")


def test_many_blocks_are_folded_and_counted() -> None:
    shot = many(200)
    drawn = texts(figure(shot).drawings[0])
    assert any(re.search(r"⋯ \d+ blocks, [\d,]+ bytes, all in use", text) for text in drawn)
    assert len(figure(shot).drawings[0]) < 150_000
    folded = sum(int(text.split()[1]) for text in drawn if text.startswith("⋯") and "block" in text)
    shown = sum(text.startswith("▼") for text in drawn)
    assert folded + shown == 200
    assert len(table(shot).grids[0].rows) == 202


def test_a_legend_from_three_roles_on(film: Film) -> None:
    made = figure(film[2]).figure()
    legend = made[made.index("hs-legend") :]
    for text in ("size word", "asked for", "usable, not asked for", "old bytes", "allocator"):
        assert text in legend


# ---- the same bytes every time, for every theme


def test_two_processes_draw_the_same_bytes() -> None:
    code = (
        "from heaps import built; from heapscope.glibc.decode import decode;"
        "from heapscope.views import figure; import hashlib;"
        "h = figure(decode(built().reading()))._repr_html_();"
        "print(hashlib.sha256(h.encode()).hexdigest())"
    )
    folder = Path(__file__).parent
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={
                "PYTHONPATH": f"{folder}:{VIEWS.parents[1]}",
                "PYTHONHASHSEED": seed,
                "PATH": "/usr/bin:/bin",
                "HOME": str(Path.home()),
            },
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def variables(text: str) -> set[str]:
    return set(re.findall(r"var\((--hs-[\w-]+)", text))


def test_no_variable_is_undefined(film: Film, bins: Snapshot) -> None:
    sheet = style_sheet()
    defined = set(re.findall(r"(--hs-[\w-]+):", sheet))
    used = variables(sheet)
    for shot in shots(film, bins):
        used |= variables(figure(shot)._repr_html_())
    used |= variables(film_frames(film).html())
    assert {"--hs-header", "--hs-ink", "--hs-mono"} < used
    assert used <= defined
    assert {f"--hs-{role}" for role in theme.COLOUR} <= defined


def test_no_colour_is_fixed(film: Film) -> None:
    for drawing in figure(film[3]).drawings:
        bare = re.sub(r"var\([^()]*\)", "", drawing)
        assert not re.search(r"#[0-9a-f]{3,8}\b", bare)


def test_light_colours_of_sheet_and_theme_agree() -> None:
    light = style_sheet().split("html[data-theme")[0]
    for role, colour in theme.COLOUR.items():
        value = re.search(rf"--hs-{role}:\s*#([0-9a-f]+)", light)
        assert value, role
        full = value[1] if len(value[1]) == 6 else "".join(2 * x for x in value[1])
        pairs = zip(bytes.fromhex(full), bytes.fromhex(colour[1:]), strict=True)
        assert max(abs(a - b) for a, b in pairs) <= 2, role


def contrast(first: str, second: str) -> float:
    """Contrast of two colours (WCAG 2, relative luminance)."""

    def light(colour: str) -> float:
        full = colour if len(colour) == 6 else "".join(2 * x for x in colour)
        parts = [x / 255 for x in bytes.fromhex(full)]
        lin = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_its_ground(dark: bool) -> None:
    parts = style_sheet().split("html[data-theme")
    values = dict(re.findall(r"--hs-([\w-]+):\s*#([0-9a-f]+)", parts[0]))
    if dark:
        values |= dict(re.findall(r"--hs-([\w-]+):\s*#([0-9a-f]+)", parts[1].split("}")[0]))
    grounds = {
        "on-dark": ("header", "fault", "go"),
        "on-dark-dim": ("header", "fault"),
        "on-light": ("payload", "link", "slack", "top"),
        "on-light-dim": ("payload", "link", "slack", "top"),
        "on-stale": ("stale",),
        "on-stale-dim": ("stale",),
        "ink": ("paper", "soft"),
        "faint": ("paper",),
        "fault-text": ("paper",),
        "go-text": ("paper",),
    }
    for text, behind in grounds.items():
        for ground in behind:
            assert contrast(values[text], values[ground]) >= 4.5, (text, ground)


def test_ids_do_not_clash() -> None:
    drawings: list[str] = []
    for number in range(2):
        fig, ax = theme.axes(100, 50)
        ax.plot([0, 10 + number], [0, 50], color=theme.ink)
        drawings += picture(fig, title="Line", alt="A line rises.").drawings
    found = [re.findall(r' id="([^"]+)"', drawing) for drawing in drawings]
    assert all(found)  # clip paths need ids
    assert not set(found[0]) & set(found[1])
    for drawing, ids in zip(drawings, found, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", drawing)) <= set(ids)
        assert "<style" not in drawing
        assert "<metadata" not in drawing


def test_a_picture_needs_words() -> None:
    fig, _ = theme.axes(10, 10)
    with pytest.raises(ValueError, match="needs its alternative text"):
        picture(fig, title="", alt=" ")


def test_pictures_carry_their_words_everywhere(film: Film) -> None:
    bundle = figure(film[2], title="A <b> & c")._repr_mimebundle_()
    assert 'role="img"' in bundle["text/html"]
    assert "A &lt;b&gt; &amp; c" in bundle["text/html"]
    assert "<details" in bundle["text/html"]
    assert sentence(film[2]) in bundle["text/plain"]
    for drawing in figure(film[2]).drawings:
        assert ET.fromstring(drawing).get("aria-label") == alt(film[2])
    assert "| a | +0x290 |" in table(film[2]).markdown()


# ---- anything can be drawn


def test_an_empty_heap_is_drawn() -> None:
    nothing = Snapshot("2.36", "x86-64")
    assert "holds no block yet" in figure(nothing)._repr_html_()
    assert alt(nothing) == "The heap holds no block yet."
    assert table(nothing).text()


@pytest.mark.parametrize("seed", range(30))
def test_a_corrupted_heap_is_drawn(seed: int) -> None:
    chance = random.Random(seed)
    builder = built()
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(builder.base, builder.at, 8)
        builder.put(at, chance.choice([0, 1, 0x41, builder.at, at, chance.getrandbits(64)]))
    shot = decode(builder.reading())
    for drawing in figure(shot).drawings:
        ET.fromstring(drawing)
    assert len(table(shot).grids[0].rows) == len(shot.chunks)
    if shot.faults:
        assert sentence(shot).startswith("Broken: ")


def test_states_nobody_knows_are_drawn(bins: Snapshot) -> None:
    lost = tuple(dataclasses.replace(c, state=State.UNKNOWN, name=None) for c in bins.chunks)
    shot = dataclasses.replace(bins, chunks=lost)
    assert "of unknown state" in sentence(shot)
    figure(shot)


# ---- films


def test_a_film_shows_each_frame(film: Film) -> None:
    made = film_frames(film)
    page = made.html()
    assert page.count("<svg") == len(film) - 1  # there is no heap yet in the first

    for number, shot in enumerate(film.frames):
        assert f"{number + 1} of {len(film)}" in page
        assert sentence(shot) in made.text()
    assert "malloc(24); malloc(10); malloc(24)" in page


def test_a_long_film_is_a_table_and_its_end(film: Film) -> None:
    frames = film.frames * 4
    made = film_frames(dataclasses.replace(film, frames=frames))
    assert made.html().count("<svg") == 2  # the last frame, wide and narrow
    assert len(made.steps.rows) == 16

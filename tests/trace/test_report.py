"""Traces written by hand: what the reader makes of them, whole, cut and damaged."""

from __future__ import annotations

import errno
import json
import random
import time
from pathlib import Path

import pytest
import tracefile as t
from heapscope import cli
from heapscope.commands.report import Bar
from heapscope.traces import Report, TraceError, report
from heapscope.traces.format import read
from heapscope.traces.summary import summarize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LIBRARY = "/nowhere/lib.so"
MAP = f"400000-500000 r-xp 00001000 08:01 42      {LIBRARY}\n"


def stack(number: int) -> list[int]:
    return [0x400010 + 16 * number, 0x400F00, 0x400F80]


def scene(seed: int, events: int = 3000, threads: int = 4) -> tuple[list[bytes], t.Plain]:
    """Make a random run of several threads, and say what is left of it."""
    chance = random.Random(seed)
    windows = [t.Window(n, 1000 + n) for n in range(threads)]
    plain = t.Plain()
    spare = [0x10000 + 32 * n for n in range(400)]
    now = 0
    for number in range(1, 9):
        windows[number % threads].frames(number, stack(number))
    for _ in range(events):
        now += chance.choice((40, 400, 30_000, 3_000_000))
        window = chance.choice(windows)
        size = chance.choice((0, 1, 24, 100, 4096, 1 << 20, 1 << 37, (1 << 49) + 7))
        number = chance.randint(1, 8)
        deed = chance.random()
        if deed < 0.5 and spare:
            address = spare.pop(chance.randrange(len(spare)))
            op = chance.choice((t.MALLOC, t.CALLOC, t.ALIGNED, t.END))
            window.add(op, address, at=now, stack=number, size=size)
            plain.allocate(address, size, number)
        elif deed < 0.52:
            window.add(t.MALLOC, 0, at=now, stack=number, size=size)
            plain.failed += 1
        elif deed < 0.65 and plain.live:
            old = chance.choice(sorted(plain.live))
            window.add(t.BEGIN, old, at=now, stack=number)
            result = chance.random()
            if result < 0.2:  # fails
                window.add(t.END, 0, at=now + 8, stack=number, size=size or 5)
                plain.failed += 1
            elif result < 0.4:  # frees
                window.add(t.END, 0, at=now + 8, stack=number)
                plain.free(old)
                spare.append(old)
            else:
                new = old if result < 0.6 or not spare else spare.pop()
                plain.free(old)
                if new != old:
                    spare.append(old)
                plain.allocate(new, size, number)
                window.add(t.END, new, at=now + 8, stack=number, size=size)
            now += 8
        elif plain.live:
            address = chance.choice(sorted(plain.live))
            window.add(t.FREE, address, at=now, stack=number)
            plain.free(address)
            spare.append(address)
    blocks = [block for window in windows for block in window.all()]
    chance.shuffle(blocks)
    return [t.maps_block(MAP), *blocks], plain


@pytest.mark.parametrize("seed", range(25))
def test_random_runs_are_followed_exactly(seed: int, tmp_path: Path) -> None:
    blocks, plain = scene(seed, events=200 if seed % 3 else 12_000)
    path = t.write(tmp_path / "1-0.heap", blocks)
    process = report(path, symbols=False).processes[0]
    assert process.allocations == plain.allocations
    assert process.frees == plain.frees
    assert process.failed == plain.failed
    assert process.peak.bytes == plain.peak
    assert process.leaked == plain.held
    assert process.timeline[-1].bytes == plain.held
    assert process.timeline[-1].blocks == len(plain.live)
    assert max(point.bytes for point in process.timeline) == plain.peak
    found = {usage.stack[0].offset: (usage.bytes, usage.blocks) for usage in process.leaks}
    wanted = {
        stack(number)[0] - 1 - 0x400000 + 0x1000: amount
        for number, amount in plain.by_stack().items()
    }
    assert found == wanted
    assert sum(size.blocks for size in process.sizes) == plain.allocations
    assert sum(size.live for size in process.sizes) == len(plain.live)
    assert not process.notes


def golden(folder: Path) -> Path:
    """A trace with two call sites, one of them reached twice."""
    first = t.Window(0, 7)
    first.frames(1, [0x400011, 0x400101])
    first.frames(2, [0x400011, 0x400201])
    first.frames(3, [0x400011, 0x400101])  # equal to 1
    second = t.Window(1, 8)
    second.frames(4, [0x400021])
    first.add(t.MALLOC, 0x1000, at=1_000, stack=1, size=100)
    first.add(t.MALLOC, 0x2000, at=2_000, stack=2, size=50)
    second.add(t.MALLOC, 0x3000, at=3_000, stack=4, size=5000)
    first.add(t.MALLOC, 0x4000, at=4_000, stack=3, size=10)
    first.add(t.FREE, 0x3000, at=5_000_000)
    blocks = [t.maps_block(MAP), *first.all(), *second.all()]
    return t.write(folder / "100-0.heap", blocks).parent


def test_leaks_by_site_and_stack(tmp_path: Path) -> None:
    result = report(golden(tmp_path))
    (site,) = result.sites
    assert (site.bytes, site.blocks, site.frame.offset) == (160, 3, 0x1010)
    assert [(usage.bytes, usage.blocks) for usage in result.leaks] == [(110, 2), (50, 1)]
    assert [frame.name for frame in result.leaks[0].stack] == ["lib.so+0x1010", "lib.so+0x1100"]
    assert (result.peak.bytes, result.peak.blocks) == (5160, 4)
    assert result.peak.usage[0].bytes == 5000
    assert result.peak.seconds == pytest.approx(4e-6)
    process = result.main
    assert process.seconds == pytest.approx(5e-3)
    assert process.threads == 2
    assert process.command == ("program", "an argument")


def test_words(tmp_path: Path) -> None:
    said = report(golden(tmp_path)).text()
    assert said.startswith(
        "160 bytes in 3 blocks had not been freed when the program ended. Most of it: 160 bytes "
        "by lib.so+0x1010"
    )
    assert "program 'an argument'  (process 100)" in said
    assert "Peak: 5,160 bytes in 4 blocks" in said
    assert "up to 8K" in said


def test_json_tells_the_same(tmp_path: Path) -> None:
    result = report(golden(tmp_path))
    form = json.loads(json.dumps(result.to_json()))
    assert form["leaked_bytes"] == 160
    leak = form["leaks"][0]
    assert (leak["bytes"], leak["blocks"]) == (110, 2)
    assert [form["frames"][n]["address"] for n in leak["stack"]] == [0x1010, 0x1100]
    assert form["processes"][0]["peak"]["bytes"] == 5160


def test_page_stands_alone_and_escapes(tmp_path: Path) -> None:
    window = t.Window(0, 7)
    window.frames(1, [0x400011])
    window.add(t.MALLOC, 0x1000, at=1_000, stack=1, size=100)
    window.add(t.MALLOC, 0x2000, at=2_000, stack=1, size=100)
    lines = MAP.replace(LIBRARY, "/x/<script>alert(1)</script>.so")
    t.write(
        tmp_path / "1-0.heap",
        [t.maps_block(lines), *window.all()],
        command=["<b>", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")],
        exe="/x/<i>",
    )
    page = report(tmp_path).page()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>&lt;" not in page
    assert "src=" not in page
    assert "<link" not in page
    assert "<text" in page  # text in pictures is text
    assert page.count("<svg") == 2
    bundle = report(tmp_path)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}


def test_nothing_left(tmp_path: Path) -> None:
    window = t.Window(0, 7)
    window.add(t.MALLOC, 0x1000, at=1_000, size=100)
    window.add(t.FREE, 0x1000, at=2_000)
    result = report(t.write(tmp_path / "1-0.heap", window.all()))
    assert result.leaks == ()
    assert result.text().startswith("Nothing was left when the program ended")
    assert "Not freed, by call site" not in result.page()


def test_a_program_that_never_allocates(tmp_path: Path) -> None:
    result = report(t.write(tmp_path / "1-0.heap", []))
    assert result.peak.bytes == 0
    assert result.page()
    assert result.pprof()
    assert result.text()


def test_clocks_of_two_cores_may_differ(tmp_path: Path) -> None:
    one, two = t.Window(0, 1), t.Window(1, 2)
    one.add(t.MALLOC, 0x1000, at=1_000, size=100)
    two.add(t.MALLOC, 0x1000, at=2_000, size=7)  # in truth after the release
    one.add(t.FREE, 0x1000, at=2_040)
    process = report(t.write(tmp_path / "1-0.heap", [*one.all(), *two.all()])).main
    assert process.leaked == 7
    assert not process.notes


def test_a_release_that_was_not_seen(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x1000, at=1_000, size=100)
    one.add(t.MALLOC, 0x1000, at=9_000_000, size=7)
    one.add(t.FREE, 0x2000, at=9_100_000)
    process = report(t.write(tmp_path / "1-0.heap", one.all())).main
    assert process.leaked == 7
    assert any("handed out again" in note for note in process.notes)
    assert any("not seen allocated" in note for note in process.notes)


def test_forked_children_may_release_what_is_their_parents(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.FREE, 0x2000, at=9_100_000)
    t.write(tmp_path / "1-0.heap", t.Window(0, 1).all(), pid=1)
    child = t.write(tmp_path / "2-0.heap", one.all(), flags=t.FORKED | t.FINISHED, pid=2, parent=1)
    assert not report(child).main.notes
    result = report(tmp_path)
    assert [process.forked for process in result.processes] == [False, True]
    assert result.text()
    assert result.page()


def test_what_exec_replaced_has_lost_nothing(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x2000, at=1_000, size=64)
    t.write(tmp_path / "1-0.heap", one.all(), flags=0)
    t.write(tmp_path / "1-1.heap", one.all())
    result = report(tmp_path)
    assert [process.replaced for process in result.processes] == [True, False]
    assert (result.leaked, result.leaked_blocks) == (64, 1)
    assert "when the program ended" in result.text()
    assert not result.processes[0].notes


def test_many_processes_are_told_briefly(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x2000, at=1_000, size=64)
    for pid in range(1, 31):
        t.write(tmp_path / f"{pid}-0.heap", one.all(), pid=pid, flags=0)
    result = report(tmp_path)
    said = result.text()
    assert "and 22 smaller processes" in said
    assert "Note: 30 processes: the program had not come to its end" in said
    assert len(said) < 3000
    assert len(result.page()) < 400_000


def test_killed_within_realloc(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x1000, at=1_000, size=100)
    one.add(t.BEGIN, 0x1000, at=2_000)
    process = report(t.write(tmp_path / "1-0.heap", one.all(), flags=0)).main
    assert process.leaked == 100
    assert "killed" in process.notes[0]


def test_shared_blocks(tmp_path: Path) -> None:
    """Events from signal handlers: a thread and a time before each."""
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x1000, at=10_000, size=100)
    one.add(t.MALLOC, 0x2000, at=30_000, size=8)
    body = b"".join(
        (
            t.record(t.THREAD, 5),
            t.record(t.TIME_ABS, 20_000 >> 2),
            t.record(t.FREE, 0x1000),
            b"\0" * 16,  # reserved and not written
            t.record(t.THREAD, 6),
            t.record(t.TIME_ABS, 40_000 >> 2),
            t.record(t.WIDE, 1 << 40),
            t.record(t.MALLOC, 0x3000, size=t.SIZE_MAX),
        )
    )
    shared = t.block(t.SHARED, body, (1 << 32) - 1, used=t.ROOM + 160)
    image = read(t.write(tmp_path / "1-0.heap", [*one.all(), shared])).images[0]
    assert image.events.thread.tolist() == [1, 5, 1, 6]
    assert image.events.time.tolist() == [10_000, 20_000, 30_000, 40_000]
    assert image.events.size.tolist()[-1] == 1 << 40
    assert summarize(image).blocks.live.sum() == 2


def test_a_window_killed_while_it_was_cleared(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x1000, at=1_000, size=100)
    whole, half = one.block(t.DONE), one.block(t.WINDOW)
    process = report(t.write(tmp_path / "1-0.heap", [whole, half])).main
    assert process.allocations == 1


def test_thread_names_stay_in_force(tmp_path: Path) -> None:
    one = t.Window(0, 1)
    one.add(t.MALLOC, 0x1000, at=1_000, size=1)
    one.push(t.record(t.THREAD, 9))
    one.add(t.MALLOC, 0x2000, at=2_000, size=1)
    image = read(t.write(tmp_path / "1-0.heap", one.all())).images[0]
    assert image.events.thread.tolist() == [1, 9]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"magic": 5}, "is not a trace"),
        ({"magic": 0}, "has no header"),
        ({"version": 9}, "version 9"),
        ({"magic": int.from_bytes(t.MAGIC.to_bytes(8, "big"), "little")}, "byte order"),
    ],
)
def test_what_is_no_trace(head: dict[str, object], words: str, tmp_path: Path) -> None:
    path = t.write(tmp_path / "1-0.heap", [], **head)
    with pytest.raises(TraceError, match=words):
        report(path)


def test_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no trace"):
        report(tmp_path)
    with pytest.raises(TraceError, match="there is no trace"):
        report(tmp_path / "nothing")
    (tmp_path / "1-0.heap").write_bytes(b"")
    with pytest.raises(TraceError, match="empty"):
        report(tmp_path)
    golden(tmp_path)
    result = report(tmp_path)
    assert result.leaked == 160
    assert "1-0.heap is empty" in result.notes[0]


def test_notes_of_a_full_disk_and_lost_events(tmp_path: Path) -> None:
    path = t.write(tmp_path / "1-0.heap", [], stopped=errno.ENOSPC, lost=3)
    notes = report(path).main.notes
    assert "the disk was full" in notes[0]
    assert "3 events could not be recorded" in notes[1]


def everything(path: Path) -> Report:
    """Use all that a report can do; what is damaged must not break any of it."""
    result = report(path, symbols=True, cache=False)
    assert result.text()
    json.dumps(result.to_json())
    assert result.pprof()
    return result


def test_every_truncation(tmp_path: Path) -> None:
    data = (golden(tmp_path / "whole") / "100-0.heap").read_bytes()
    path = tmp_path / "cut.heap"
    chance = random.Random(1)
    cuts = [0, 1, 8, 64, 5303, 5304, t.BLOCK - 1, t.BLOCK, t.BLOCK + 1, 2 * t.BLOCK + 100]
    cuts += [chance.randrange(len(data)) for _ in range(60)]
    for cut in cuts:
        path.write_bytes(data[:cut])
        if cut < 5300:
            with pytest.raises(TraceError):
                report(path)
            continue
        result = everything(path)
        assert result.leaked <= 5160
        if cut <= 3 * t.BLOCK:
            assert any("the file is cut" in note for note in result.main.notes)


def test_bits_that_flipped(tmp_path: Path) -> None:
    """Each field of each header and record, and random places; nothing but TraceError is raised."""
    blocks, _ = scene(3, events=60, threads=2)
    data = (t.write(tmp_path / "whole.heap", blocks)).read_bytes()
    chance = random.Random(2)
    used = [n for n, byte in enumerate(data) if byte]
    path = tmp_path / "bad.heap"
    for _ in range(250):
        bad = bytearray(data)
        for _ in range(chance.choice((1, 1, 5, 100))):
            bad[chance.choice(used)] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        try:
            everything(path)
        except TraceError:
            continue


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=60),
    kind=st.integers(0, 5),
    used=st.integers(0, 2**64 - 1),
    time=st.integers(0, 2**64 - 1),
)
def test_any_records(
    body: list[tuple[int, int]], kind: int, used: int, time: int, tmp_path: Path
) -> None:
    raw = b"".join(a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in body)
    parts = [t.block(kind, raw, 1, 2, 3, time, used), t.block(t.SHARED, raw, 1, 2, 3, time)]
    everything(t.write(tmp_path / "any.heap", parts))


def test_a_million_events_in_a_second(tmp_path: Path) -> None:
    """Up to leaks by call site, without symbols."""
    windows = [t.Window(n, n + 1) for n in range(4)]
    windows[0].frames(1, stack(1))
    for number, window in enumerate(windows):
        for n in range(125_000):
            at, address = n * 400 + number * 100, 0x100000 + (n * 4 + number) % 4096 * 64
            window.add(t.MALLOC, address, at=at, stack=1, size=n % 1000)
            if n % 1000:
                window.add(t.FREE, address, at=at + 60)
    path = t.write(tmp_path / "1-0.heap", [b for w in windows for b in w.all()])
    best = 9.0
    for _ in range(3):
        began = time.perf_counter()
        result = report(path, symbols=False)
        best = min(best, time.perf_counter() - began)
    assert result.main.allocations == 500_000
    assert best < 1, f"{best:.2f} s"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(golden(tmp_path / "trace"))
    assert cli.main(["report", folder]) == cli.OK
    assert "160 bytes in 3 blocks" in capsys.readouterr().out
    assert cli.main(["report", folder, "--json", "--no-symbols"]) == cli.OK
    assert json.loads(capsys.readouterr().out)["leaked_blocks"] == 3
    page, profile = tmp_path / "o.html", tmp_path / "o.pb.gz"
    assert cli.main(["report", folder, "-o", str(page), "--pprof", str(profile)]) == cli.OK
    assert capsys.readouterr().out == ""
    assert page.stat().st_size > 10_000
    assert profile.read_bytes()[:2] == b"\x1f\x8b"
    assert cli.main(["report", str(tmp_path / "nothing")]) == cli.MISUSE
    assert "there is no trace" in capsys.readouterr().err
    assert cli.main(["report", folder, "-o", str(tmp_path / "no" / "o.html")]) == cli.MISUSE
    assert "cannot be written" in capsys.readouterr().err


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    report(golden(tmp_path), progress=lambda what, part: told.append((what, part)))
    assert told[0][0] == "reading"
    assert told[-1] == ("", 1.0)
    assert all(0 <= part <= 1 for _, part in told)


def test_progress_is_shown_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = Bar()
    bar("following the blocks", 0.25)
    time.sleep(0.8)
    bar.close()
    said = capsys.readouterr().err
    assert "following the blocks … 25%" in said
    assert said.endswith("\r\x1b[K")
    quick = Bar()
    quick.close()
    assert capsys.readouterr().err == ""

"""Ask gdb on which line a program received the signal that ended it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heapscope.programs import runner

# Runs inside gdb, in the system's Python: standard library only. A program may handle its signals
# and live on, so the last one counts.
_SCRIPT = r"""
import json
import gdb

for command in (
    "set debuginfod enabled off", "set confirm off", "set pagination off",
    "set startup-with-shell off", "set width 0", "handle all nostop noprint pass",
    "handle SIGSEGV SIGBUS SIGABRT SIGFPE SIGILL stop print pass",
):
    try:
        gdb.execute(command, to_string=True)
    except gdb.error:  # an older gdb without debuginfod
        pass

stops = []

def stopped(event):
    if not isinstance(event, gdb.SignalEvent):
        return
    found = {"signal": event.stop_signal, "address": None, "frames": []}
    try:
        address = gdb.parse_and_eval("$_siginfo._sifields._sigfault.si_addr")
        # The kernel does not tell the address of an access outside the canonical range (SI_KERNEL).
        if int(gdb.parse_and_eval("$_siginfo.si_code")) != 128:
            found["address"] = int(address)
    except gdb.error:
        pass
    try:
        frame = gdb.newest_frame()
        while frame is not None and len(found["frames"]) < 100:
            place = frame.find_sal()
            file = place.symtab.filename if place.symtab else ""
            found["frames"].append([file, place.line, frame.name() or ""])
            frame = frame.older()
    except gdb.error:  # a stack that the program has overwritten
        pass
    stops.append(found)

gdb.events.stop.connect(stopped)
try:
    gdb.execute("run", to_string=True)
    for _ in range(20):
        if not gdb.selected_inferior().pid:
            break
        gdb.execute("continue", to_string=True)
except gdb.error:
    pass
with open(ANSWER, "w") as file:
    json.dump(stops, file)
gdb.execute("kill", to_string=True) if gdb.selected_inferior().pid else None
"""


@dataclass(frozen=True, slots=True)
class Crash:
    """Where a signal arrived: frames as (file, line, function), innermost first."""

    signal: str
    address: int | None
    frames: tuple[tuple[str, int, str], ...]


def find(
    command: Sequence[str],
    folder: Path,
    *,
    signal: str,
    stdin: str,
    env: Mapping[str, str],
    timeout: float,
) -> Crash | None:
    """Run a program that died by `signal` once more under gdb; None if gdb cannot tell."""
    gdb = shutil.which("gdb")
    if gdb is None:
        return None
    answer = folder / "crash.json"
    script = folder / "crash.py"
    script.write_text(f"ANSWER = {str(answer)!r}\n{_SCRIPT}", encoding="utf-8")
    runner.run(
        [gdb, "-nx", "-q", "--batch", "-x", str(script), "--args", *command],
        folder=folder,
        env=env,
        stdin=stdin,
        limits=runner.Limits(timeout=timeout + 10),
    )
    try:
        stops = json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # gdb was stopped, or the program removed its folder
        return None
    stops = [stop for stop in stops if stop["signal"] == signal]
    if not stops:
        return None
    last = stops[-1]
    return Crash(signal, last["address"], tuple((f[0], f[1], f[2]) for f in last["frames"]))

"""The runner's limits, with programs that do not keep to them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from heapscope.programs import runner

SLEEP = "86399.25"  # a number that no other process on this machine sleeps for


def sleepers():
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if SLEEP in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


@pytest.fixture(autouse=True)
def _tidy(monkeypatch, tmp_path):
    """Nothing may be left behind, neither a process nor a file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert sleepers() == []
    assert list(tmp_path.iterdir()) == []


def sh(script, **options):
    limits = runner.Limits(**{"timeout": 10, **options.pop("limits", {})})
    with runner.own_folder() as folder:
        env = runner.plain_environment(folder, options.pop("env", None))
        argv = ["/bin/sh", "-c", script]
        return runner.run(argv, folder=folder, env=env, limits=limits, **options)


def python(script, **options):
    with runner.own_folder() as folder:
        (folder / "script.py").write_text(script)
        return runner.run(
            [sys.executable, "-I", "-S", str(folder / "script.py")],
            folder=folder,
            env=runner.plain_environment(folder),
            limits=runner.Limits(**{"timeout": 10, **options}),
        )


def test_outputs_come_apart_and_the_status_is_kept():
    outcome = sh("echo out; echo err >&2; exit 7")
    assert (outcome.stdout, outcome.stderr, outcome.status) == ("out\n", "err\n", 7)
    assert outcome.stopped is None


def test_a_signal_is_a_negative_status():
    assert sh("kill -ABRT $$").status == -signal.SIGABRT


def test_standard_input_is_given_and_empty_by_default():
    assert sh("wc -c", stdin="ünd\n" * 100_000).stdout == "500000\n"
    assert sh("cat", stdin="ünd\n").stdout == "ünd\n"
    assert sh("cat").stdout == ""


def test_orphans_with_a_session_of_their_own_are_ended():
    outcome = sh(f"(setsid sleep {SLEEP} >/dev/null 2>&1 &); sleep 0.1; echo done")
    assert outcome.stdout == "done\n"
    assert outcome.status == 0


def test_an_orphan_that_holds_the_output_open_does_not_hold_up_the_run():
    start = time.monotonic()
    assert sh(f"sleep {SLEEP} & echo done").stdout == "done\n"
    assert time.monotonic() - start < 5


def test_timeout_ends_grandchildren_too():
    start = time.monotonic()
    outcome = sh(
        f"trap '' TERM HUP INT; (setsid sleep {SLEEP} &) ; sleep {SLEEP}",
        limits={"timeout": 0.4},
    )
    assert outcome.timed_out
    assert outcome.status is None
    assert outcome.stopped == "stopped after 0.4 s"
    assert time.monotonic() - start < 5


def test_a_double_fork_is_caught():
    outcome = python(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execvp('sleep', ['sleep', '{SLEEP}'])\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print('parent ends')\n"
    )
    assert outcome.stdout == "parent ends\n"


def test_endless_output_is_cut_and_stopped():
    outcome = sh("yes", limits={"output": 1000, "drain": 100_000})
    assert outcome.stdout == "y\n" * 500 + "\n[output cut after 1,000 bytes]\n"
    assert outcome.stopped == "stopped after 100,000 bytes of output"


def test_much_output_is_cut_and_the_program_goes_on_to_its_end():
    outcome = sh("yes | head -c 5000; exit 3", limits={"output": 1000})
    assert outcome.stdout.endswith("\n[output cut after 1,000 bytes]\n")
    assert outcome.status == 3


def test_a_memory_bomb_is_stopped():
    outcome = python(
        "hold = []\nwhile True:\n    hold.append(b'x' * (4 << 20))\n",
        memory=128 << 20,
    )
    assert outcome.stopped == "stopped when it held more than 128 MiB of memory"
    assert outcome.peak_rss > 128 << 20


def test_memory_of_all_processes_counts():
    outcome = python(
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        hold = b'x' * (60 << 20)\n"
        f"        time.sleep({SLEEP})\n"
        f"time.sleep({SLEEP})\n",
        memory=160 << 20,
    )
    assert outcome.stopped == "stopped when it held more than 160 MiB of memory"


def test_a_reservation_of_addresses_is_not_memory():
    outcome = python("import mmap\nprint(len(mmap.mmap(-1, 1 << 30)))\n", memory=64 << 20)
    assert outcome.stdout == f"{1 << 30}\n"


def test_a_fork_bomb_is_stopped():
    outcome = python(
        f"import os, time\nfor _ in range(200):\n    os.fork() or time.sleep({SLEEP})\n"
        f"time.sleep({SLEEP})\n",
        processes=20,
    )
    assert outcome.stopped == "stopped when it had more than 20 processes"


def test_no_core_file_and_no_endless_file():
    outcome = sh(
        "ulimit -c; head -c 3000000 /dev/zero > big; echo $?; stat -c %s big",
        limits={"file_size": 1 << 20},
    )
    core, status, size = outcome.stdout.split()
    assert core == "0"
    assert status == str(128 + signal.SIGXFSZ)
    assert size == str(1 << 20)


def test_the_environment_is_small_and_the_same_everywhere(monkeypatch):
    monkeypatch.setenv("MALLOC_PERTURB_", "1")
    monkeypatch.setenv("SECRET", "x")
    names = {line.split("=")[0] for line in sh("env", env={"MINE": "1"}).stdout.splitlines()}
    assert "MINE" in names
    assert {"MALLOC_PERTURB_", "SECRET"} & names == set()


def test_peak_is_the_programs_not_the_kernels():
    ballast = bytearray(b"x" * (100 << 20))
    assert len(ballast) == 100 << 20
    assert sh("exit 0").peak_rss < 50 << 20


def test_a_program_that_is_not_there():
    with runner.own_folder() as folder, pytest.raises(runner.RunnerError, match="No such file"):
        runner.run([str(folder / "none")], folder=folder, env={})


def test_a_missing_tool_says_how_to_install_it():
    with pytest.raises(runner.MissingToolError, match="gcd is not installed: apt-get install gcd"):
        runner.find_tool("gcd", "apt-get install gcd")


def interrupted(number):
    """Run a program that never ends in another Python and end that with a signal."""
    code = (
        "import signal\n"
        "from heapscope.programs import runner\n"
        # In the background of a shell that has no job control, SIGINT is ignored from the start.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with runner.own_folder() as folder:\n"
        "    env = runner.plain_environment(folder)\n"
        f"    script = '(setsid sleep {SLEEP} &) ; sleep {SLEEP}'\n"
        "    runner.run(['/bin/sh', '-c', script], folder=folder, env=env,\n"
        "               limits=runner.Limits(timeout=60))\n"
    )
    environment = os.environ | {
        "TMPDIR": tempfile.gettempdir(),
        "PYTHONPATH": str(Path(runner.__file__).parents[2]),
    }
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    wait_for(lambda: len(sleepers()) == 2)
    child.send_signal(number)
    _, error = child.communicate(timeout=20)
    wait_for(lambda: not sleepers() and not os.listdir(tempfile.gettempdir()))
    return error.decode()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_interrupting_the_cell_leaves_nothing():
    assert "KeyboardInterrupt" in interrupted(signal.SIGINT)


def test_killing_the_kernel_leaves_nothing():
    interrupted(signal.SIGKILL)

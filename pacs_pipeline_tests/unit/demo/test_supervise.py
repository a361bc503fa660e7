"""A supervised command ends with whoever asked for it, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pacs_pipeline.demo import supervise

# says its pid, then waits; on SIGTERM it leaves a note that it was asked nicely
SLEEPER = """
import os, pathlib, signal, sys, time
def leave(*_):
    pathlib.Path(sys.argv[1] + ".asked").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
pathlib.Path(sys.argv[1] + ".partial").write_text(str(os.getpid()))
pathlib.Path(sys.argv[1] + ".partial").rename(sys.argv[1])
time.sleep(60)
"""
# starts a supervised sleeper and waits
PARENT = """
import subprocess, sys, time
from pacs_pipeline.demo import supervise
subprocess.Popen(supervise.command([sys.executable, "-c", sys.argv[1], sys.argv[2]]))
time.sleep(60)
"""


def wait_for(condition: object, seconds: float = 10) -> None:
    give_up = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_it_ends_nicely_when_the_parent_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, SLEEPER, str(note)])
    wait_for(note.exists)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(int(note.read_text())))
    assert Path(f"{note}.asked").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_the_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    note = tmp_path / "pid"
    supervisor = subprocess.Popen(supervise.command([sys.executable, "-c", SLEEPER, str(note)]))
    wait_for(note.exists)
    supervisor.send_signal(number)
    supervisor.wait(10)
    wait_for(lambda: not is_alive(int(note.read_text())))


def test_the_command_s_own_end_is_passed_on() -> None:
    command = supervise.command([sys.executable, "-c", "raise SystemExit(7)"])
    assert subprocess.run(command, timeout=20, check=False).returncode == 7

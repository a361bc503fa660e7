"""The association budget over processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pacs_pipeline.errors import Busy, Paused
from pacs_pipeline.pacs.access.slots import Slots
from pacs_pipeline_tests.unit.pacs.access.clocks import Clock, access

HOLD = """
import sys
from pathlib import Path
from pacs_pipeline.pacs.access.slots import Slots
slots = Slots("north", Path(sys.argv[1]))
held = [slots.try_take(64) for _ in range(int(sys.argv[2]))]
print(sum(slot is not None for slot in held), flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(folder: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that has associations in use."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "access"), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == str(count)
            yield process
        finally:
            process.kill()


def test_processes_together_do_not_exceed_the_budget(tmp_path: Path) -> None:
    slots = Slots("north", tmp_path / "access")
    with holding(tmp_path, 2):
        assert slots.in_use == 2
        assert slots.try_take(2) is None
        third = slots.try_take(3)
        assert third is not None
        assert slots.try_take(3) is None
        third.release()
        assert slots.in_use == 2


def test_a_killed_process_gives_its_associations_back(tmp_path: Path) -> None:
    slots = Slots("north", tmp_path / "access")
    with holding(tmp_path, 2) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert slots.in_use == 0
        assert slots.try_take(1) is not None


FORK = """
import os, sys, time
from pathlib import Path
from pacs_pipeline.pacs.access.slots import Slots
slot = Slots("north", Path(sys.argv[1])).try_take(1)
reading, writing = os.pipe()
if not os.fork():
    os.write(writing, b"1")
    time.sleep(60)
os.read(reading, 1)
print("forked", flush=True)
sys.stdin.read()
"""


def test_a_forked_worker_does_not_keep_the_association_of_a_killed_run(tmp_path: Path) -> None:
    slots = Slots("north", tmp_path / "access")
    with subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path / "access")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"forked\n"
            assert slots.in_use == 1
            process.kill()
            process.wait()
            assert slots.in_use == 0
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its worker, too


def test_waiting_is_bounded_and_says_for_whom(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, associations=1)
    with holding(tmp_path, 1) as process:
        with pytest.raises(Busy, match=f"north: the only association .* in use, by process {process.pid} on .*20 s"):
            subject.association(wait_seconds=20).__enter__()
        assert 20 <= clock.seconds < 21


def test_waiting_ends_when_the_site_is_stopped(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, associations=1)
    with holding(tmp_path, 1):
        original = clock.sleep

        def sleep(seconds: float) -> None:
            original(seconds)
            if clock.seconds > 3:
                subject.stop(by="somebody")

        clock.sleep = sleep  # type: ignore[method-assign]
        subject = access(tmp_path, clock, associations=1)
        with pytest.raises(Paused, match="stopped by somebody"):
            subject.association(wait_seconds=60).__enter__()
        assert clock.seconds < 4


def test_an_association_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    subject = access(tmp_path, Clock(), associations=1)

    def work() -> None:
        with subject.association():
            assert len(subject.holders) == 1
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            work()
    assert subject.holders == ()


def test_the_window_decides_how_many(tmp_path: Path) -> None:
    clock = Clock()
    nights = [
        {"from": "20:00", "to": "23:00", "associations": 3},
        {"from": "23:00", "to": "06:00", "associations": 1},
    ]
    subject = access(tmp_path, clock, associations=4, windows=nights)
    with ExitStack() as held:
        while len(subject.holders) < 3:
            held.enter_context(subject.association(wait_seconds=0))
            for _ in range(20):  # answers as usual, so that the pace allows more
                clock.pass_by(seconds=1)
                subject.observe("find", 0.1)
        fourth = subject.association(wait_seconds=1)
        with pytest.raises(Busy, match="all 3 associations"):
            fourth.__enter__()
        clock.pass_by(hours=1)
        assert subject.allowed == 1
    with subject.association(wait_seconds=0):
        another = subject.association(wait_seconds=1)
        with pytest.raises(Busy, match="the only association"):
            another.__enter__()


def test_who_waits_comes_before_who_has_just_had_an_association(tmp_path: Path) -> None:
    one, other = Slots("north", tmp_path), Slots("north", tmp_path)
    held = one.take(lambda: 1, wait_seconds=0)
    asked = 0

    def limit() -> int:
        """Asked before each look: at the second one the association is given back, and wanted again at once."""
        nonlocal asked
        asked += 1
        if asked == 2:
            held.release()
            with pytest.raises(Busy):
                one.take(lambda: 1, wait_seconds=0)
        return 1

    taken = other.take(limit, wait_seconds=5)
    assert asked == 2
    taken.release()
    one.take(lambda: 1, wait_seconds=0).release()

"""The circuit breaker, over processes and from pause to pause."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pacs_pipeline.errors import Paused
from pacs_pipeline.pacs.access import Access
from pacs_pipeline_tests.unit.pacs.access.clocks import Clock, access

LIMITS = {"failures_before_pause": 3, "pause_minutes": 10}


def fails(subject: Access, times: int) -> None:
    for _ in range(times):
        subject.require_open()
        subject.failed()


def test_failures_in_a_row_pause_the_site_and_a_success_between_them_does_not(tmp_path: Path) -> None:
    subject = access(tmp_path, Clock(), **LIMITS)
    for _ in range(5):
        fails(subject, 2)
        subject.succeeded()
    fails(subject, 3)
    with pytest.raises(Paused, match="north: its last 3 requests failed; nobody asks before 2024-03-05 22:10"):
        subject.require_open()
    assert subject.allowed == 0


def test_every_process_counts_and_every_process_pauses(tmp_path: Path) -> None:
    clock = Clock()
    one, two = access(tmp_path, clock, **LIMITS), access(tmp_path, clock, **LIMITS)
    fails(one, 2)
    fails(two, 1)
    with pytest.raises(Paused) as paused:
        one.require_open()
    assert paused.value.until == clock.now() + dt.timedelta(minutes=10)


def test_failures_at_the_same_time_are_all_counted(tmp_path: Path) -> None:
    clock = Clock()
    subjects = [access(tmp_path, clock, failures_before_pause=1000) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda subject: [subject.failed() for _ in range(10)], subjects))
    assert subjects[0].circuit().failures == 80


def test_after_the_pause_one_tries_and_its_success_lets_all_ask(tmp_path: Path) -> None:
    clock = Clock()
    one, two = access(tmp_path, clock, **LIMITS), access(tmp_path, clock, **LIMITS)
    fails(one, 3)
    clock.pass_by(minutes=10)
    two.require_open()
    two.require_open()  # the one that tries may go on
    assert two.allowed == 1
    with pytest.raises(Paused, match="another run is trying"):
        one.require_open()
    two.succeeded()
    one.require_open()
    fails(one, 2)  # counted from zero again
    one.require_open()


def test_a_failed_trial_doubles_the_pause_up_to_eight_times(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, **LIMITS)
    fails(subject, 3)
    pauses = []
    for _ in range(6):
        until = subject.circuit().until
        assert until is not None
        pauses.append((until - clock.now()).total_seconds() / 60)
        clock.pass_by(minutes=pauses[-1])
        fails(subject, 1)
    assert pauses == [10, 20, 40, 80, 80, 80]
    clock.pass_by(minutes=80)
    subject.require_open()
    subject.succeeded()
    fails(subject, 3)
    assert subject.circuit().until == clock.now() + dt.timedelta(minutes=10)


def test_requests_under_way_when_it_opened_change_nothing(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, **LIMITS)
    fails(subject, 3)
    until = subject.circuit().until
    clock.pass_by(minutes=1)
    subject.failed()
    subject.succeeded()
    assert subject.circuit().until == until


def test_the_one_that_tries_may_die_or_give_up(tmp_path: Path) -> None:
    clock = Clock()
    one, two = access(tmp_path, clock, **LIMITS), access(tmp_path, clock, **LIMITS)
    fails(one, 3)
    clock.pass_by(minutes=10)
    probe = f"""
import sys
from pathlib import Path
from pacs_pipeline.pacs.access.shared import Lock
lock = Lock.try_take(Path({str(tmp_path / "access" / "probe.lock")!r}))
print("yes" if lock else "no", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", probe], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"yes\n"
        with pytest.raises(Paused):
            one.require_open()
        process.kill()
    with one:
        one.require_open()
        with pytest.raises(Paused):
            two.require_open()
    two.require_open()


def test_one_that_tries_and_is_forgotten_does_not_keep_its_own_process_waiting(tmp_path: Path) -> None:
    clock = Clock()
    first = access(tmp_path, clock, **LIMITS)
    fails(first, 3)
    clock.pass_by(minutes=10)
    first.require_open()
    del first  # a stage that ended with another error, and was not closed
    access(tmp_path, clock, **LIMITS).require_open()


def test_looking_does_not_try(tmp_path: Path) -> None:
    clock = Clock()
    one, two = access(tmp_path, clock, **LIMITS), access(tmp_path, clock, **LIMITS)
    fails(one, 3)
    clock.pass_by(minutes=10)
    assert two.paused() is None
    one.require_open()


def test_somebody_who_knows_better_ends_the_pause(tmp_path: Path) -> None:
    subject = access(tmp_path, Clock(), **LIMITS)
    fails(subject, 3)
    assert subject.start(by="somebody") == (False, True)
    subject.require_open()
    assert subject.start(by="somebody") == (False, False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"failures": "x", "until": "soon"}', "\x00" * 40])
def test_a_damaged_file_is_no_failure(tmp_path: Path, content: str) -> None:
    subject = access(tmp_path, Clock(), **LIMITS)
    fails(subject, 3)
    (tmp_path / "access" / "circuit.json").write_text(content)
    subject.require_open()
    fails(subject, 3)
    with pytest.raises(Paused):
        subject.require_open()


def test_a_clock_that_was_set_back_does_not_make_a_pause_of_years(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, **LIMITS)
    fails(subject, 3)
    clock.pass_by(days=-700)
    paused = subject.paused()
    assert paused is not None
    assert paused.until is not None
    assert paused.until - clock.now() <= dt.timedelta(minutes=80)

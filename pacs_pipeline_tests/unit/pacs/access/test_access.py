"""The front: windows and the kill switch inside a running harvest, instances per second, sessions, what is kept."""

from __future__ import annotations

import datetime as dt
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pacs_pipeline.errors import Paused, Transient
from pacs_pipeline.pacs.access import Access, shared
from pacs_pipeline_tests.unit.pacs.access.clocks import EVENING, Clock, access, site

NIGHT = {"from": "22:00", "to": "06:00"}


def harvested(
    subject: Access, clock: Clock, *, at_most: int = 10_000, each: Callable[[int], None] | None = None
) -> int:
    """A harvest that asks before every instance; how many came."""
    for number in range(at_most):
        try:
            subject.require_open()
            subject.throttle()
        except Paused:
            return number
        clock.pass_by(seconds=10)
        if each is not None:
            each(number)
    return at_most


def test_a_window_ends_a_running_harvest_and_the_next_one_lets_it_go_on(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, windows=[NIGHT])
    assert harvested(subject, clock) == 8 * 360
    paused = subject.paused()
    assert paused is not None
    assert paused.until == EVENING + dt.timedelta(days=1)
    assert "north: outside of its access windows" in str(paused)
    assert "continues in the next window, which opens 2024-03-06 22:00 CET" in str(paused)
    assert isinstance(paused, Transient)
    assert subject.allowed == 0
    clock.pass_by(hours=16)
    assert harvested(subject, clock) == 8 * 360


def test_the_kill_switch_stops_within_one_instance_and_is_lifted(tmp_path: Path) -> None:
    clock = Clock()
    subject, operator = access(tmp_path, clock), access(tmp_path, clock)

    def press(number: int) -> None:
        if number == 41:
            operator.stop(by="ward", reason="the PACS\nis being moved")

    assert harvested(subject, clock, each=press) == 42
    with pytest.raises(Paused, match=r"north: stopped by ward since 2024-03-05 22:07 CET \(the PACS is being moved\)"):
        subject.require_open()
    assert operator.start(by="ward") == (True, False)
    assert operator.start(by="ward") == (False, False)
    assert harvested(subject, clock, at_most=5) == 5


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b'{"at": "yesterday", "by": 7}'])
def test_a_file_that_somebody_made_by_hand_stops_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stop").write_bytes(content)
    with pytest.raises(Paused, match="stopped"):
        access(tmp_path, Clock()).require_open()


def test_a_switch_that_cannot_be_seen_is_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    subject = access(tmp_path / "file", Clock())  # ENOTDIR for root, too, whom no permission stops
    with pytest.raises(Paused, match="stopped"):
        subject.require_open()


def test_a_full_disk_does_not_keep_anybody_from_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: object) -> None:
        raise Transient("no space left on device")

    subject = access(tmp_path, Clock())
    monkeypatch.setattr(shared, "replace", full)
    subject.stop(by="somebody", reason="the disk is full")
    with pytest.raises(Paused, match="north: stopped"):
        subject.require_open()


def test_a_baseline_that_cannot_be_kept_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: object) -> None:
        raise Transient("no space left on device")

    monkeypatch.setattr(shared, "replace", full)
    subject = access(tmp_path, Clock())
    with subject.association():
        for _ in range(20):
            subject.observe("find", 0.1)
    assert "is not kept" in caplog.text


def test_looking_creates_nothing(tmp_path: Path) -> None:
    subject = access(tmp_path / "site=north", Clock(), windows=[NIGHT])
    subject.require_open()
    assert subject.allowed == 1
    assert subject.holders == ()
    assert subject.latencies() == {}
    assert subject.session_key()
    subject.close()
    assert not (tmp_path / "site=north").exists()


def test_what_is_written_belongs_to_the_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        subject = access(tmp_path / "site=north", Clock(), windows=[{**NIGHT, "instances_per_second": 5}])
        with subject.association():
            subject.throttle()
            for _ in range(20):
                subject.observe("find", 0.1)
        subject.failed()
        subject.stop(by="somebody")
    finally:
        os.umask(old)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(paths) > 5
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))
    assert not [path for path in paths if path.name.startswith(".tmp-")]


def test_instances_per_second_hold_for_all_processes_together(tmp_path: Path) -> None:
    clock = Clock()
    windows = [{**NIGHT, "instances_per_second": 4}]
    both = [access(tmp_path, clock, windows=windows) for _ in range(2)]
    for _ in range(40):
        for subject in both:
            subject.throttle()
    assert clock.seconds == pytest.approx(79 / 4)


def test_a_rate_is_not_saved_up(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, windows=[{**NIGHT, "instances_per_second": 4}])
    subject.throttle()
    clock.pass_by(minutes=10)
    before = clock.seconds
    for _ in range(5):
        subject.throttle()
    assert clock.seconds - before == pytest.approx(1)


def test_a_rate_from_before_a_restart_of_the_machine_stops_nobody(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, windows=[{**NIGHT, "instances_per_second": 4}])
    clock.pass_by(days=0.1)
    subject.throttle()
    clock.pass_by(days=-0.1)
    before = clock.seconds
    subject.throttle()
    assert clock.seconds == before


@pytest.mark.parametrize("content", [b"", b"x", struct.pack("<d", math.nan), struct.pack("<d", math.inf), bytes(8)])
def test_a_damaged_rate_stops_nobody(tmp_path: Path, content: bytes) -> None:
    clock = Clock()
    (tmp_path / "access").mkdir()
    (tmp_path / "access" / "rate.lock").write_bytes(content)
    subject = access(tmp_path, clock, windows=[{**NIGHT, "instances_per_second": 4}])
    subject.throttle()
    assert clock.seconds == 0
    subject.throttle()
    assert clock.seconds == pytest.approx(0.25)


def test_a_wait_between_instances_ends_when_the_site_is_stopped(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, windows=[{**NIGHT, "instances_per_second": 0.01}])
    subject.throttle()
    subject.stop(by="somebody")
    with pytest.raises(Paused):
        subject.throttle()
    assert clock.seconds < 1


def test_a_slow_archive_gets_pauses_between_requests_and_short_ones_between_instances(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock)
    with subject.association():
        for seconds in (*[0.1] * 20, *[2.0] * 60):
            clock.pass_by(seconds=seconds)
            subject.observe("find", seconds)
    assert subject.pause > 2
    before = clock.seconds
    subject.throttle()
    assert clock.seconds - before == pytest.approx(1)
    before = clock.seconds
    subject.rest()
    assert clock.seconds - before == pytest.approx(subject.pause)


def test_the_next_run_knows_what_is_usual(tmp_path: Path) -> None:
    clock = Clock()
    with access(tmp_path, clock) as first, first.association():
        for _ in range(20):
            first.observe("find", 0.1)
    second = access(tmp_path, clock)
    assert second.latencies()["find"].usual == 0.1
    with second.association():
        for _ in range(4):
            second.observe("find", 1.0)  # the first answers of this run, and already known to be slow
    assert second.pause > 0


def test_a_session_is_a_window_or_a_day_without_windows(tmp_path: Path) -> None:
    clock = Clock()
    nights = access(tmp_path, clock, windows=[NIGHT])
    evening = nights.session_key()
    clock.pass_by(hours=5)
    assert nights.session_key() == evening  # after midnight, the same window
    clock.pass_by(hours=19)
    assert nights.session_key() > evening
    always = access(tmp_path, clock)
    today = always.session_key()
    clock.pass_by(hours=1, minutes=59)
    assert always.session_key() == today
    clock.pass_by(minutes=1)
    assert always.session_key() > today


def test_the_end_of_a_stop_and_of_a_pause_begin_a_session(tmp_path: Path) -> None:
    clock = Clock()
    subject = access(tmp_path, clock, windows=[NIGHT], failures_before_pause=1, pause_minutes=10)
    keys = [subject.session_key()]
    clock.pass_by(minutes=5)
    subject.stop(by="somebody")
    clock.pass_by(minutes=5)
    subject.start(by="somebody")
    keys.append(subject.session_key())
    clock.pass_by(minutes=5)
    subject.failed()
    assert subject.session_key() == keys[-1]
    clock.pass_by(minutes=10)
    keys.append(subject.session_key())
    assert keys == sorted(set(keys))
    subject.require_open()
    subject.succeeded()
    assert subject.session_key() == keys[-1]


def test_the_calendar_is_not_worked_out_for_every_instance(tmp_path: Path) -> None:
    subject = Access.of(site(windows=[{"from": "00:00", "to": "00:00"}]), tmp_path)
    looked = 0
    calendar = subject._calendar
    original = type(calendar).opening

    def count(self: object, now: dt.datetime) -> object:
        nonlocal looked
        looked += 1
        return original(calendar, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(calendar), "opening", count)
        for _ in range(1000):
            subject.require_open()
            subject.throttle()
            subject.succeeded()
    assert looked <= 2

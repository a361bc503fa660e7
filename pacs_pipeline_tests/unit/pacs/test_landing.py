import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.pacs.landing import (
    DISCARDED,
    INVALID_INSTANCE,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    STORED,
    Landing,
    describe,
)
from pacs_pipeline.records import Reason
from pacs_pipeline_tests.unit.pacs.samples import OTHER_SERIES, SERIES, SYNTAXES, Sample, encode, samples


def landing_for(tmp_path: Path, *wanted: Sample) -> Landing:
    return Landing(SERIES, {sample.uid for sample in wanted}, tmp_path / "into")


def files(landing: Landing) -> list[str]:
    return sorted(path.name for path in landing.into.iterdir())


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_landed_file_holds_the_bytes_that_came(tmp_path: Path, syntax: str) -> None:
    sample = Sample(1, syntax=syntax)
    landing = landing_for(tmp_path, sample)
    assert landing.receive(sample.delivery(), sample.data) == STORED
    landed = landing.landed[sample.uid]
    assert files(landing) == [f"{sample.uid}.dcm"]
    assert landed.path.read_bytes().endswith(sample.data)
    assert landed.size == landed.path.stat().st_size
    assert describe(landed.path) == landed
    ds = pydicom.dcmread(landed.path)
    assert ds.file_meta.TransferSyntaxUID == syntax
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == sample.uid
    assert stat.S_IMODE(landing.into.stat().st_mode) == 0o700


def test_the_same_bytes_again_are_a_duplicate(tmp_path: Path) -> None:
    sample = Sample(1)
    landing = landing_for(tmp_path, sample)
    assert [landing.receive(sample.delivery(), sample.data) for _ in range(3)] == [STORED] * 3
    assert landing.duplicates == 2
    assert files(landing) == [f"{sample.uid}.dcm"]


def test_other_bytes_under_the_same_uid_are_a_conflict_and_none_is_kept(tmp_path: Path) -> None:
    sample = Sample(1)
    other = replace(sample, data=encode(sample, pixels=b"\1" * 512))
    landing = landing_for(tmp_path, sample)
    assert landing.receive(sample.delivery(), sample.data) == STORED
    assert landing.receive(other.delivery(), other.data) != STORED
    assert landing.receive(sample.delivery(), sample.data) != STORED
    assert files(landing) == []
    (failure,) = landing.failures
    assert failure.SOPInstanceUID == sample.uid
    assert failure.message.startswith(Reason.CONFLICT.value)


def test_an_instance_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    wanted, other = samples(2)
    landing = landing_for(tmp_path, wanted)
    assert landing.receive(other.delivery(), other.data) == DISCARDED
    assert files(landing) == []
    assert list(landing.unexpected.values()) == [other.ref]


def test_what_a_stranger_pushes_is_refused(tmp_path: Path) -> None:
    landing = landing_for(tmp_path, Sample(1))
    stranger = Sample(1, series=OTHER_SERIES)
    assert landing.receive(stranger.delivery(solicited=False), stranger.data) == NOT_AUTHORISED
    assert files(landing) == []


def test_an_instance_of_another_series_under_a_wanted_uid_is_not_kept(tmp_path: Path) -> None:
    wanted, other = Sample(1), Sample(1, series=OTHER_SERIES)
    landing = landing_for(tmp_path, wanted)
    assert landing.receive(other.delivery(uid=wanted.uid), other.data) != STORED
    assert files(landing) == []
    assert landing.failures[0].message.startswith(Reason.WRONG_INSTANCE.value)


def test_a_data_set_that_names_another_instance_is_not_kept(tmp_path: Path) -> None:
    wanted, other = samples(2)
    landing = landing_for(tmp_path, wanted)
    assert landing.receive(other.delivery(uid=wanted.uid), other.data) != STORED
    assert files(landing) == []


def test_a_truncated_instance_is_not_kept_and_a_whole_one_after_it_is(tmp_path: Path) -> None:
    sample = Sample(1)
    landing = landing_for(tmp_path, sample)
    assert landing.receive(sample.cut(10).delivery(), sample.cut(10).data) != STORED
    assert files(landing) == []
    assert landing.failures[0].message.startswith(Reason.TRUNCATED.value)
    assert landing.receive(sample.delivery(), sample.data) == STORED
    assert landing.failures == ()


@pytest.mark.parametrize("uid", ["../../escape", "..", "", "1.2/3", "/etc/passwd", "1.2\n3"])
def test_a_uid_that_is_none_never_becomes_a_path(tmp_path: Path, uid: str) -> None:
    landing = landing_for(tmp_path, Sample(1))
    assert landing.receive(Sample(1).delivery(uid=uid), Sample(1).data) == INVALID_INSTANCE
    assert [path.name for path in tmp_path.rglob("*")] == ["into"]
    (failure,) = landing.failures
    assert uid == "" or uid not in failure.message
    assert failure.status is not None  # None with an empty UID would read as a lost association


def test_a_full_disk_is_answered_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample(1)
    landing = landing_for(tmp_path, sample)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert landing.receive(sample.delivery(), sample.data) == OUT_OF_RESOURCES
    assert files(landing) == []
    (failure,) = landing.failures
    assert failure.status == OUT_OF_RESOURCES
    assert "No space left" in failure.message


def test_nothing_is_called_stored_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample(1)
    landing = landing_for(tmp_path, sample)
    final = landing.into / f"{sample.uid}.dcm"
    states = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        states.append(("folder" if folder else "file", final.exists(), sample.uid in landing.landed))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    landing.receive(sample.delivery(), sample.data)
    assert states == [("file", False, False), ("folder", True, False)]


def test_what_a_killed_run_left_is_cleaned_and_its_finished_files_stay(tmp_path: Path) -> None:
    one, two = samples(2)
    first = landing_for(tmp_path, one, two)
    first.receive(one.delivery(), one.data)
    (first.into / f".{two.uid}.123-0.part").write_bytes(b"half")
    landing_for(tmp_path, two)
    assert files(first) == [f"{one.uid}.dcm"]


def test_deliveries_over_several_associations_at_once(tmp_path: Path) -> None:
    wanted = samples(8)
    landing = landing_for(tmp_path, *wanted)
    threads = [
        threading.Thread(target=lambda: [landing.receive(each.delivery(), each.data) for each in wanted])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(landing.landed) == 8
    assert landing.duplicates == 24
    assert files(landing) == sorted(f"{sample.uid}.dcm" for sample in wanted)


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b[:100], lambda b: b"", lambda b: b"x" * len(b)])
def test_a_damaged_file_is_not_described(tmp_path: Path, damage: object) -> None:
    sample = Sample(1)
    landing = landing_for(tmp_path, sample)
    landing.receive(sample.delivery(), sample.data)
    path = landing.landed[sample.uid].path
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(Quarantine):
        describe(path)


def test_a_file_under_another_name_is_not_described(tmp_path: Path) -> None:
    sample = Sample(1)
    landing = landing_for(tmp_path, sample)
    landing.receive(sample.delivery(), sample.data)
    moved = landing.landed[sample.uid].path.rename(landing.into / "1.2.3.dcm")
    with pytest.raises(Quarantine):
        describe(moved)


class Reluctant(Executor):
    """Takes what is given to it and does it when it is told."""

    def __init__(self) -> None:
        self.given: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        self.given.append((function, arguments))
        return Future()

    def work(self) -> None:
        for function, arguments in self.given:
            function(*arguments)


def digests_of(landing: Landing) -> list[str]:
    return [landing.landed[uid].sha256 for uid in sorted(landing.landed)]


@pytest.mark.parametrize("catches_up", [True, False])
def test_a_digest_may_be_made_after_the_answer(tmp_path: Path, catches_up: bool) -> None:
    wanted = samples(9)
    executor = Reluctant()
    landing = Landing(SERIES, {sample.uid for sample in wanted}, tmp_path)
    landing.executor = executor
    for sample in wanted:
        assert landing.receive(sample.delivery(), sample.data) == STORED
        if catches_up:
            landing.catch_up()
    assert 0 < len(executor.given) < 9 if catches_up else not executor.given  # who falls behind gets no more
    expected = [hashlib.sha256(sample.data).hexdigest() for sample in wanted]
    assert digests_of(landing) == expected  # nobody has to wait for the executor
    executor.work()
    assert digests_of(landing) == expected


def test_a_digest_is_made_when_the_executor_has_been_shut_down(tmp_path: Path) -> None:
    (sample,) = samples(1)
    with ThreadPoolExecutor(1) as executor:
        landing = Landing(SERIES, {sample.uid}, tmp_path)
        landing.executor = executor
    assert landing.receive(sample.delivery(), sample.data) == STORED
    landing.catch_up()
    assert digests_of(landing) == [hashlib.sha256(sample.data).hexdigest()]


@pytest.mark.parametrize("size", [100, 1 << 23, (1 << 23) + 100_000])
def test_the_digest_of_a_large_instance_is_the_same(tmp_path: Path, size: int) -> None:
    sample = replace(Sample(1), data=encode(Sample(1), pixels=bytes(size)))
    landing = landing_for(tmp_path, sample)
    arrival = landing.begin(sample.delivery())
    for start in range(0, len(sample.data), 130_000):
        arrival.write(memoryview(sample.data)[start : start + 130_000])
    assert arrival.finish() == STORED
    assert landing.receive(sample.delivery(), sample.data) == STORED
    assert landing.duplicates == 1
    assert digests_of(landing) == [hashlib.sha256(sample.data).hexdigest()]
    assert describe(landing.landed[sample.uid].path) == landing.landed[sample.uid]

"""What is pushed is on the disk under its date before it is acknowledged, and its date is marked."""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.errors import Busy, Transient
from pacs_pipeline.pacs.files import FileArchive, Inbox, InboxFiles, Index, is_receiving
from pacs_pipeline.pacs.landing import OUT_OF_RESOURCES, STORED, Delivery, Landing
from pacs_pipeline.records import SeriesRef
from pacs_pipeline_tests.unit.pacs.files.dicom_files import DAY, NAME, Made
from pacs_pipeline_tests.unit.pacs.samples import CT, EXPLICIT

TODAY = dt.date(2024, 3, 12)
SERIES = SeriesRef("1.2.3.10", "1.2.3.10.1", "CT", None)


def hash_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


class Place:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "inbox"
        self.scratch = tmp_path / "scratch"
        self.marked: list[tuple[dt.date, bool]] = []
        self.today = TODAY

    def mark(self, date: dt.date, arrived: int | None = None) -> None:
        self.marked.append((date, arrived is None))

    def open(self, *, minimum_free_bytes: int = 0) -> Inbox:
        self.root.mkdir(parents=True, exist_ok=True)
        return Inbox(
            self.root,
            hash_of=hash_of,
            today=lambda: self.today,
            mark=self.mark,
            minimum_free_bytes=minimum_free_bytes,
        )

    def push(self, inbox: Inbox, made: Made, *, uid: str = "", cut: int = 0) -> int:
        content = made.write(self.scratch / "a").read_bytes()
        data = content[144 + int.from_bytes(content[140:144], "little") :]
        arrival = inbox.begin(Delivery(CT, uid or made.SOPInstanceUID, EXPLICIT, False), "SCANNER")
        for start in range(0, len(data) - cut, 500):
            arrival.write(memoryview(data)[start : min(start + 500, len(data) - cut)])
        return arrival.finish()

    def filed(self) -> list[str]:
        """What was filed, by date and name."""
        return sorted(f"{p.parts[-4]}/{p.name}" for p in self.root.rglob("*.dcm"))

    def archive(self) -> FileArchive:
        files = InboxFiles(self.root, "the inbox")
        return FileArchive("north", files, Index(self.root.parent / "files.sqlite", files))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_is_pushed_is_filed_and_found_as_in_an_archive(place: Place) -> None:
    with place.open() as inbox:
        assert [place.push(inbox, Made(number)) for number in (1, 2)] == [STORED] * 2
        assert inbox.counts.stored == 2
    assert place.filed() == ["2024-03-09/1.2.3.10.1.1.dcm", "2024-03-09/1.2.3.10.1.2.dcm"]
    with place.archive() as archive:
        (study,) = archive.find_studies(DAY)
        assert study.NumberOfStudyRelatedInstances == 2
        refs = archive.find_instances(study.series[0])
        uids = {ref.SOPInstanceUID for ref in refs}
        report = archive.retrieve(Landing(study.series[0], uids, place.scratch / "into"), refs)
    assert len(report.landed) == 2
    assert report.failures == ()


def test_no_name_or_uid_of_a_patient_or_study_is_in_a_path_and_all_is_for_the_owner_only(place: Place) -> None:
    with place.open() as inbox:
        place.push(inbox, Made(1))
    for path in place.root.rglob("*"):
        assert NAME not in str(path)
        assert "1.2.3.10" not in path.parent.as_posix().removeprefix(str(place.root))
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("date", ["", "20240230", "20991231"])
def test_a_date_that_cannot_be_is_the_date_of_arrival(place: Place, date: str) -> None:
    with place.open() as inbox:
        assert place.push(inbox, Made(1, date=date)) == STORED
    assert place.filed() == ["2024-03-12/1.2.3.10.1.1.dcm"]
    assert place.marked == [(TODAY, True)]
    with place.archive() as archive:
        assert len(archive.find_studies(TODAY)) == 1


def test_a_study_stays_under_the_date_its_first_instance_gave_it(place: Place) -> None:
    with place.open() as inbox:
        place.push(inbox, Made(1))
    place.today += dt.timedelta(days=1)
    with place.open() as inbox:  # nothing of it is remembered but what is on the disk
        place.push(inbox, Made(2, date=""))
        place.push(inbox, Made(3, date="20240311"))
    assert {name.split("/")[0] for name in place.filed()} == {"2024-03-09"}
    assert {date for date, _ in place.marked} == {DAY}


def test_the_same_bytes_again_are_a_duplicate(place: Place) -> None:
    with place.open() as inbox:
        assert [place.push(inbox, Made(1)) for _ in range(3)] == [STORED] * 3
        assert (inbox.counts.stored, inbox.counts.duplicates) == (1, 2)
    assert place.marked == [(DAY, True), (DAY, False), (DAY, False)]


def test_other_bytes_are_a_new_version_and_the_newest_counts(place: Place) -> None:
    first, second = Made(1), Made(1, pixels=b"\2" * 1024)
    with place.open() as inbox:
        place.push(inbox, first)
        with place.archive() as archive:
            archive.find_studies(DAY)
            before = archive.find_instances(SERIES)
        assert place.push(inbox, second) == STORED
        assert place.push(inbox, first) == STORED  # sent again late: it is there
        assert (inbox.counts.stored, inbox.counts.versions, inbox.counts.duplicates) == (2, 1, 1)
    assert place.filed() == ["2024-03-09/1.2.3.10.1.1.dcm", "2024-03-09/1.2.3.10.1.1@2.dcm"]
    with place.archive() as archive:
        (study,) = archive.find_studies(DAY)
        assert study.NumberOfStudyRelatedInstances == 1
        (ref,) = archive.find_instances(SERIES)
        report = archive.retrieve(Landing(SERIES, {ref.SOPInstanceUID}, place.scratch / "into"), [ref])
    assert ref.version != before[0].version
    assert report.landed[0].path.read_bytes().endswith(b"\2" * 1024)


def test_a_version_is_never_another_instance(place: Place) -> None:
    with place.open() as inbox:
        place.push(inbox, Made(1, uid="1.2.7"))
        place.push(inbox, Made(1, uid="1.2.7.2"))
        place.push(inbox, Made(1, uid="1.2.7", pixels=b"\2" * 8))
    with place.archive() as archive:
        archive.find_studies(DAY)
        assert [ref.SOPInstanceUID for ref in archive.find_instances(SERIES)] == ["1.2.7", "1.2.7.2"]


def test_what_is_not_whole_or_is_another_instance_is_refused(place: Place) -> None:
    with place.open() as inbox:
        assert place.push(inbox, Made(1), cut=9) != STORED
        assert place.push(inbox, Made(1), uid="1.2.3.4") != STORED
        assert place.push(inbox, Made(1), uid="../../up") != STORED
        assert inbox.counts.refused == 3
    assert place.filed() == place.marked == []
    assert list((place.root / "incoming").iterdir()) == []


def test_a_sender_that_is_lost_leaves_nothing(place: Place) -> None:
    with place.open() as inbox:
        arrival = inbox.begin(Delivery(CT, "1.2.3", EXPLICIT, False))
        arrival.write(b"half")
        arrival.abandon()
    assert list((place.root / "incoming").iterdir()) == []


def test_a_disk_that_is_nearly_full_is_answered(place: Place) -> None:
    with place.open(minimum_free_bytes=1 << 60) as inbox:
        assert place.push(inbox, Made(1)) == OUT_OF_RESOURCES
    assert place.filed() == place.marked == []


def test_a_disk_that_fails_is_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with place.open() as inbox:
        monkeypatch.setattr(os, "fsync", full)
        assert place.push(inbox, Made(1)) == OUT_OF_RESOURCES
        monkeypatch.undo()
        assert place.push(inbox, Made(1)) == STORED
    assert len(place.filed()) == 1


def test_what_cannot_be_marked_is_not_acknowledged(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Transient("the state zone is full")

    with place.open() as inbox:
        real, inbox._mark = inbox._mark, refuse
        assert place.push(inbox, Made(1)) == OUT_OF_RESOURCES
        inbox._mark = real
        assert place.push(inbox, Made(1)) == STORED
    assert place.marked == [(DAY, False)]


def test_the_order_is_data_name_mark_acknowledgement(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_sync, real_rename = os.fsync, os.rename

    def sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        steps.append("rename")
        real_rename(source, target)

    with place.open() as inbox:
        place.push(inbox, Made(1))
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "rename", rename)
        inbox._mark = lambda *_: steps.append("mark")  # type: ignore[assignment]
        assert place.push(inbox, Made(2)) == STORED
    assert steps == ["file", "rename", "folder", "mark"]


def test_only_one_receiver_has_an_inbox(place: Place) -> None:
    assert not is_receiving(place.root)
    with place.open():
        assert is_receiving(place.root)
        with pytest.raises(Busy), place.open():
            pass
    assert not is_receiving(place.root)
    with place.open():
        pass


def test_what_a_killed_receiver_had_not_finished_is_removed(place: Place) -> None:
    with place.open() as inbox:
        place.push(inbox, Made(1))
    (place.root / "incoming" / "7.part").write_bytes(b"half")
    with place.open() as inbox:
        assert list((place.root / "incoming").iterdir()) == []
    assert len(place.filed()) == 1


def test_an_archive_before_anything_came(place: Place) -> None:
    with place.archive() as archive:
        assert archive.find_studies(DAY) == ()
        assert "0 instances" in archive.check()


def test_many_senders_at_once(place: Place) -> None:
    with place.open() as inbox:
        data = {}
        for number in range(1, 9):
            content = Made(number).write(place.scratch / "a").read_bytes()
            data[f"1.2.3.10.1.{number}"] = content[144 + int.from_bytes(content[140:144], "little") :]

        def send() -> None:
            for uid, content in data.items():
                arrival = inbox.begin(Delivery(CT, uid, EXPLICIT, False))
                arrival.write(content)
                assert arrival.finish() == STORED

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (inbox.counts.stored, inbox.counts.duplicates, inbox.counts.versions) == (8, 24, 0)


@settings(deadline=None, max_examples=25)
@given(pushes=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.booleans()), max_size=12))
def test_every_content_that_was_acknowledged_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, pushes: list[tuple[int, int, bool]]
) -> None:
    """Whatever is sent in whatever order, with restarts between: no content is lost, none is kept twice."""
    place = Place(tmp_path_factory.mktemp("inbox"))
    acknowledged: dict[int, set[int]] = {}
    for number, content, cut in pushes:
        with place.open() as inbox:
            status = place.push(inbox, Made(number, pixels=bytes([content]) * 64), cut=3 if cut else 0)
        assert (status == STORED) is not cut
        if not cut:
            acknowledged.setdefault(number, set()).add(content)
    kept: dict[int, list[int]] = {}
    for path in place.root.rglob("*.dcm"):
        kept.setdefault(int(path.name.removesuffix(".dcm").split("@")[0].rsplit(".", 1)[1]), []).append(
            path.read_bytes()[-1]
        )
    assert {number: sorted(contents) for number, contents in kept.items()} == {
        number: sorted(contents) for number, contents in acknowledged.items()
    }

"""A folder of files answers like an archive, whatever lies in it."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.errors import Paused, Permanent, Transient
from pacs_pipeline.pacs.files import FileArchive, FolderFiles, Index
from pacs_pipeline.pacs.files.source import Entry
from pacs_pipeline.pacs.landing import Landing, describe
from pacs_pipeline.records import InstanceRef, Reason, RetrievalReport, SeriesRef
from pacs_pipeline_tests.unit.pacs.files.dicom_files import DAY, NAME, SYNTAXES, Made
from pacs_pipeline_tests.unit.pacs.samples import DEFLATED

SERIES = SeriesRef("1.2.3.10", "1.2.3.10.1", "CT", None)


class Watched(FolderFiles):
    """Counts what it lists and opens."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "the folder")
        self.listings = 0
        self.read_names: set[bytes] = set()

    def list(self, scope: bytes = b"") -> Iterator[Entry]:
        self.listings += 1
        yield from super().list(scope)

    def read(self, entry: Entry, start: int, length: int) -> bytes:
        self.read_names.add(entry.name)
        return super().read(entry, start, length)


class Place:
    """A tree of files and the archive that it is."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "tree"
        self.root.mkdir()
        self.index = tmp_path / "zone" / "files.sqlite"
        self.into = tmp_path / "into"
        self.files = Watched(self.root)

    def archive(self, *traits: str) -> FileArchive:
        self.files = Watched(self.root)
        return FileArchive("north", self.files, Index(self.index, self.files, traits=traits))

    def studies(self, day: dt.date = DAY) -> dict[str, int | None]:
        with self.archive() as archive:
            return {s.StudyInstanceUID: s.NumberOfStudyRelatedInstances for s in archive.find_studies(day)}

    def refs(self) -> tuple[InstanceRef, ...]:
        with self.archive() as archive:
            archive.find_studies(DAY)
            return archive.find_instances(SERIES)

    def fetch(self, *uids: str, series: SeriesRef = SERIES) -> RetrievalReport:
        with self.archive() as archive:
            wanted = uids or [ref.SOPInstanceUID for ref in archive.find_instances(series)]
            return archive.retrieve(Landing(series, set(wanted), self.into), ())

    def check(self) -> str:
        with self.archive() as archive:
            return archive.check()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_studies_series_and_instances(place: Place) -> None:
    for number, name in enumerate(["a/IM1.dcm", "a/b/IM2", "Ünïcode.jpg"], 1):
        Made(number).write(place.root / name)
    Made(1, series="1.2.3.10.2").write(place.root / "z/1")
    Made(1, study="1.2.3.11", series="1.2.3.11.1", date="20240310").write(place.root / "z/2")
    with place.archive() as archive:
        (study,) = archive.find_studies(DAY)
        assert (study.StudyInstanceUID, study.ModalitiesInStudy, study.StudyTime) == ("1.2.3.10", ("CT",), "101112.5")
        assert study.NumberOfStudyRelatedInstances == 4
        assert [(s.SeriesInstanceUID, s.NumberOfSeriesRelatedInstances) for s in study.series] == [
            ("1.2.3.10.1", 3),
            ("1.2.3.10.2", 1),
        ]
        assert [ref.SOPInstanceUID for ref in archive.find_instances(study.series[0])] == [
            "1.2.3.10.1.1",
            "1.2.3.10.1.2",
            "1.2.3.10.1.3",
        ]
        assert archive.find_studies(DAY + dt.timedelta(days=2)) == ()


@pytest.mark.parametrize(
    ("syntax", "preamble"),
    [*((syntax, True) for syntax in SYNTAXES), *((syntax, False) for syntax in SYNTAXES if syntax != DEFLATED)],
)
def test_the_data_set_lands_byte_for_byte(place: Place, syntax: str, preamble: bool) -> None:
    path = Made(syntax=syntax, preamble=preamble, pixels=os.urandom(3_000_000)).write(place.root / "a")
    report = place.fetch()
    (landed,) = report.landed
    assert report.failures == ()
    assert path.read_bytes().endswith(landed.path.read_bytes()[-3_000_000:])
    data = path.read_bytes()[-(landed.size - len(_head(landed.path))) :]
    assert landed.sha256 == hashlib.sha256(data).hexdigest()
    assert describe(landed.path) == landed
    assert landed.TransferSyntaxUID == syntax


def _head(path: Path) -> bytes:
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    return content[: 144 + length]


def test_a_second_listing_reads_only_what_is_new_or_has_changed(place: Place) -> None:
    paths = [Made(number).write(place.root / str(number)) for number in range(1, 5)]
    place.studies()
    assert len(place.files.read_names) == 4
    place.studies()
    assert place.files.read_names == set()
    Made(2, pixels=b"\1" * 64).write(paths[1])
    Made(9).write(place.root / "9")
    paths[3].unlink()
    assert place.studies() == {"1.2.3.10": 4}
    assert place.files.read_names == {b"2", b"9"}


def test_other_content_of_the_same_size_and_time_is_noticed(place: Place) -> None:
    path = Made(1, pixels=b"\1" * 64).write(place.root / "a")
    before, times = place.refs(), path.stat()
    Made(1, pixels=b"\2" * 64).write(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = place.refs()
    assert [ref.SOPInstanceUID for ref in before] == [ref.SOPInstanceUID for ref in after]
    assert before[0].version != after[0].version


def test_the_fingerprint_of_a_date_changes_with_its_files_only(place: Place) -> None:
    def fingerprint() -> str:
        with place.archive() as archive:
            return archive.fingerprint(DAY)

    assert fingerprint() == ""
    path = Made(1).write(place.root / "a")
    first = fingerprint()
    Made(1, study="1.9", series="1.9.1", date="20240310").write(place.root / "elsewhere")
    assert fingerprint() == first != ""
    Made(1, pixels=b"\1" * 1024).write(path)
    assert fingerprint() not in ("", first)


def test_one_opening_lists_once(place: Place) -> None:
    Made(1).write(place.root / "a")
    with place.archive() as archive:
        for _ in range(3):
            archive.find_studies(DAY)
            archive.find_instances(SERIES)
    assert place.files.listings == 1


def test_a_study_with_several_dates_is_of_the_earliest_one_only(place: Place) -> None:
    Made(1).write(place.root / "a")
    Made(2, date="20240311").write(place.root / "b")
    Made(3, date="").write(place.root / "c")
    assert place.studies() == {"1.2.3.10": 3}
    assert place.studies(dt.date(2024, 3, 11)) == {}


def test_what_has_no_date_is_said_in_the_check_and_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    Made(1, date="").write(place.root / f"{NAME}-1")
    Made(2, date="00000000").write(place.root / f"{NAME}-2")
    Made(1, study="1.9", series="1.9.1").write(place.root / "good")
    (place.root / f"{NAME}.txt").write_text("a letter")
    (place.root / f"{NAME}.dcm").write_bytes(Made(7).write(place.root / "x").read_bytes()[:300])
    (place.root / "x").unlink()
    with caplog.at_level(logging.WARNING):
        assert place.studies() == {"1.9": 1}
    said = place.check()
    for text in (said, caplog.text):
        assert "1 files cannot be read as DICOM" in text
        assert "1 files are no DICOM" in text
        assert "1 studies (2 instances) have no usable StudyDate" in text
        assert "Findmich" not in text
    assert "3 instances in 2 studies" in said


def test_a_file_nobody_may_read_counts_as_unreadable_until_it_may(place: Place) -> None:
    dangling, loop = place.root / "link", place.root / "loop"
    dangling.symlink_to(place.root / "nowhere")
    loop.symlink_to(loop)
    assert "2 files cannot be read" in place.check()
    dangling.unlink()
    loop.unlink()
    Made(1).write(dangling)
    assert place.studies() == {"1.2.3.10": 1}


def test_links_that_go_round_in_circles(place: Place) -> None:
    Made(1).write(place.root / "a/1")
    (place.root / "a/up").symlink_to(place.root, target_is_directory=True)
    (place.root / "twice").symlink_to(place.root / "a", target_is_directory=True)
    assert place.studies() == {"1.2.3.10": 1}
    (report,) = place.fetch().landed
    assert report.SOPInstanceUID == "1.2.3.10.1.1"


def test_pipes_and_names_that_are_no_text(place: Place) -> None:
    os.mkfifo(place.root / "pipe")
    Made(1).write(Path(os.fsdecode(os.fsencode(place.root) + b"/\xff\xfe\n name")))
    assert place.studies() == {"1.2.3.10": 1}
    assert len(place.fetch().landed) == 1


def test_two_files_of_different_content_under_one_uid_are_a_conflict(place: Place) -> None:
    Made(1).write(place.root / "a")
    Made(1, pixels=b"\1" * 32).write(place.root / "b")
    Made(2).write(place.root / "c")
    assert place.studies() == {"1.2.3.10": 2}
    report = place.fetch()
    assert [landed.SOPInstanceUID for landed in report.landed] == ["1.2.3.10.1.2"]
    (failure,) = report.failures
    assert failure.SOPInstanceUID == "1.2.3.10.1.1"
    assert failure.message.startswith(Reason.CONFLICT.value)
    assert sorted(path.name for path in place.into.iterdir()) == ["1.2.3.10.1.2.dcm"]


def test_a_uid_in_two_series_is_a_conflict(place: Place) -> None:
    Made(1, uid="1.2.9").write(place.root / "a")
    Made(1, uid="1.2.9", series="1.2.3.10.2").write(place.root / "b")
    assert place.fetch("1.2.9").failures[0].message.startswith(Reason.CONFLICT.value)


def test_two_files_of_the_same_content_are_one_instance(place: Place) -> None:
    shutil.copyfile(Made(1).write(place.root / "a"), place.root / "b")
    (ref,) = place.refs()
    report = place.fetch()
    assert [landed.SOPInstanceUID for landed in report.landed] == [ref.SOPInstanceUID]
    assert report.failures == ()


def test_every_missing_instance_is_accounted_for(place: Place) -> None:
    paths = [Made(number).write(place.root / str(number)) for number in range(1, 5)]
    with place.archive() as archive:
        uids = [ref.SOPInstanceUID for ref in archive.find_instances(SERIES)]
        paths[0].unlink()
        paths[1].write_bytes(paths[1].read_bytes()[:-10])
        Made(3, pixels=b"\1" * 99).write(paths[2])
        report = archive.retrieve(Landing(SERIES, {*uids, "1.2.999"}, place.into), ())
        assert [landed.SOPInstanceUID for landed in report.landed] == [uids[3]]
        assert [failure.SOPInstanceUID for failure in report.failures] == [*uids[:3], "1.2.999"]
        assert all(failure.message.startswith(Reason.WRONG_INSTANCE.value) for failure in report.failures)
    with place.archive() as archive:  # which looks again
        refs = archive.find_instances(SERIES)
        report = archive.retrieve(Landing(SERIES, {ref.SOPInstanceUID for ref in refs}, place.into), refs)
    assert [landed.SOPInstanceUID for landed in report.landed] == uids[2:]


def test_another_version_than_the_one_that_was_listed_does_not_land(place: Place) -> None:
    path = Made(1).write(place.root / "a")
    (before,) = place.refs()
    Made(1, pixels=b"\1" * 32).write(path)
    (after,) = place.refs()
    with place.archive() as archive:
        report = archive.retrieve(Landing(SERIES, {before.SOPInstanceUID}, place.into), [before])
        assert report.failures[0].message.startswith(Reason.WRONG_INSTANCE.value)
        report = archive.retrieve(Landing(SERIES, {before.SOPInstanceUID}, place.into), [after])
    assert len(report.landed) == 1


def test_a_gate_that_closes_stops_within_one_instance(place: Place) -> None:
    for number in range(1, 6):
        Made(number).write(place.root / str(number))
    taken = []

    def gate(size: int) -> None:
        if len(taken) == 2:
            raise Paused("closed")
        taken.append(size)

    with place.archive() as archive:
        uids = {ref.SOPInstanceUID for ref in archive.find_instances(SERIES)}
        with pytest.raises(Paused):
            archive.retrieve(Landing(SERIES, uids, place.into, gate=gate), ())
    assert len(list(place.into.iterdir())) == 2


def test_a_full_disk_ends_the_request_with_everything_accounted_for(place: Place) -> None:
    for number in range(1, 6):
        Made(number).write(place.root / str(number))
    with place.archive() as archive:
        uids = {ref.SOPInstanceUID for ref in archive.find_instances(SERIES)}
        landing = Landing(SERIES, uids, place.into, minimum_free_bytes=1 << 60)
        report = archive.retrieve(landing, ())
    assert landing.is_full
    assert {failure.SOPInstanceUID for failure in report.failures} == uids
    assert {failure.status for failure in report.failures} == {0xA700}


def test_a_file_that_grows_while_it_is_read_does_not_land(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Made(1, pixels=bytes(5_000_000)).write(place.root / "a")
    real, calls = os.pread, 0

    def growing(descriptor: int, length: int, start: int) -> bytes:
        nonlocal calls
        calls += length == 1 << 20
        if calls == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return real(descriptor, length, start)

    monkeypatch.setattr(os, "pread", growing)
    report = place.fetch("1.2.3.10.1.1")
    assert report.landed == ()
    assert report.failures[0].message.startswith(Reason.WRONG_INSTANCE.value)
    assert list(place.into.iterdir()) == []


def test_an_instance_that_is_cut_off_is_listed_and_fails(place: Place) -> None:
    path = Made(1).write(place.root / "a")
    path.write_bytes(path.read_bytes()[:-7])
    assert place.studies() == {"1.2.3.10": 1}
    (failure,) = place.fetch().failures
    assert failure.message.startswith(Reason.TRUNCATED.value)


def test_a_tree_that_is_not_there_is_no_empty_answer(place: Place) -> None:
    Made(1).write(place.root / "a")
    place.studies()
    place.root.rename(place.root.with_name("elsewhere"))
    with pytest.raises(Permanent):
        place.studies()
    place.root.mkdir()  # the mount point, with nothing mounted
    with pytest.raises(Transient):
        place.studies()
    with pytest.raises(Transient):
        place.check()
    place.root.rmdir()
    place.root.with_name("elsewhere").rename(place.root)
    assert place.studies() == {"1.2.3.10": 1}


def test_a_folder_nobody_may_list_is_no_empty_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    Made(1).write(place.root / NAME / "a")
    real = os.scandir

    def denied(path: bytes) -> object:
        if bytes(path).endswith(NAME.encode()):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(Permanent) as caught:
        place.studies()
    assert NAME not in str(caught.value)


def test_the_index_is_for_its_owner_only_and_holds_no_more_than_is_needed(place: Place) -> None:
    Made(1).write(place.root / "a")
    place.studies()
    assert stat.S_IMODE(place.index.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.index.parent.stat().st_mode) == 0o700
    content = place.index.read_bytes()
    for value in (NAME, "Schädel", "Haus Ö"):
        assert value.encode() not in content
    with place.archive("StudyDescription", "PatientAge") as archive:
        (study,) = archive.find_studies(DAY)
    assert (study.traits.StudyDescription, study.traits.InstitutionName, study.traits.age_years) == (
        "Schädel nativ",
        None,
        53,
    )
    place.studies()
    assert "Schädel".encode() not in place.index.read_bytes()


@pytest.mark.parametrize("damage", ["head", "middle", "garbage"])
def test_a_damaged_index_is_made_anew(place: Place, damage: str) -> None:
    for number in range(1, 200):
        Made(number, pixels=b"\0" * 8).write(place.root / str(number))
    assert place.studies() == {"1.2.3.10": 199}
    content = bytearray(place.index.read_bytes())
    if damage == "garbage":
        content = bytearray(b"this is no database" * 100)
    elif damage == "head":
        content[:100] = bytes(100)
    else:
        content[8192:20480] = b"\xa5" * 12288
    place.index.write_bytes(content)
    assert place.studies() == {"1.2.3.10": 199}
    assert len(place.refs()) == 199


def test_another_tree_does_not_use_the_index_of_the_first(place: Place, tmp_path: Path) -> None:
    Made(1).write(place.root / "a")
    place.studies()
    files = FolderFiles(tmp_path / "other", "another folder")
    (tmp_path / "other").mkdir()
    with FileArchive("north", files, Index(place.index, files)) as archive:
        assert archive.find_studies(DAY) == ()


_KILLED = """
import os, sys
from pathlib import Path
from pacs_pipeline.pacs.files import FileArchive, FolderFiles, Index
import datetime as dt
class Dying(FolderFiles):
    def list(self, scope=b""):
        for number, entry in enumerate(super().list(scope)):
            if number == int(sys.argv[3]):
                os.kill(os.getpid(), 9)
            yield entry
files = Dying(Path(sys.argv[1]), "the folder")
FileArchive("north", files, Index(Path(sys.argv[2]), files)).find_studies(dt.date(2024, 3, 9))
"""


@pytest.mark.parametrize("after", [1, 30])
def test_a_listing_that_was_killed_is_done_again_before_anything_is_answered(place: Place, after: int) -> None:
    for number in range(1, 41):
        Made(number, pixels=b"\0" * 8).write(place.root / f"{number:03}")
    assert len(place.refs()) == 40
    (place.root / "001").unlink()
    Made(99).write(place.root / "zzz")
    died = subprocess.run([sys.executable, "-c", _KILLED, place.root, place.index, str(after)], check=False)
    assert died.returncode == -9
    with place.archive() as archive:
        uids = {ref.SOPInstanceUID for ref in archive.find_instances(SERIES)}
    assert "1.2.3.10.1.1" not in uids
    assert "1.2.3.10.1.99" in uids
    assert len(uids) == 40


def test_an_index_that_cannot_be_written_is_an_error_of_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    Made(1).write(place.root / "a")

    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("a message that may quote anything")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(Permanent) as caught:
        place.studies()
    assert "quote" not in str(caught.value)


_FILES = st.dictionaries(
    st.sampled_from(["a", "b", "c/d", "c/e", "c/f/g", "h"]),
    st.tuples(st.integers(1, 3), st.sampled_from(["20240309", "20240310", ""]), st.integers(1, 3)),
    max_size=6,
)


@settings(deadline=None, max_examples=25)
@given(steps=st.lists(_FILES, min_size=1, max_size=4))
def test_the_index_always_tells_what_lies_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, tuple[int, str, int]]]
) -> None:
    """Whatever is added, changed and removed between two listings, the answer is that of a new index."""
    place = Place(tmp_path_factory.mktemp("tree"))
    (place.root / "readme").write_text("stays")
    for step in steps:
        for path in [p for p in place.root.rglob("*") if p.is_file() and p.name != "readme"]:
            path.unlink()
        for name, (study, date, number) in step.items():
            Made(number, f"1.2.{study}", f"1.2.{study}.1", date, pixels=b"\0" * 8).write(place.root / name)
        for day in (DAY, DAY + dt.timedelta(days=1)):
            expected: dict[str, set[int]] = {}
            first: dict[str, str] = {}
            for study, date, number in step.values():
                expected.setdefault(f"1.2.{study}", set()).add(number)
                if date:
                    first[f"1.2.{study}"] = min(date, first.get(f"1.2.{study}", date))
            assert place.studies(day) == {
                uid: len(numbers) for uid, numbers in expected.items() if first.get(uid) == day.strftime("%Y%m%d")
            }

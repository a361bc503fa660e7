"""A scan with the index says what a scan without it says, whatever happened in between."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline import storage
from pacs_pipeline.records import Books, ContractResult, Manifest, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.storage import index
from pacs_pipeline.storage.index import Damaged, Records, read_records, scan_records

LATER = 10**10  # nanoseconds: by then everything has settled
DAY = Partition("north", dt.date(2024, 3, 1))


def later(root: Path) -> int:
    """A clock by which everything has settled, read once a change could not have the same time as the last one."""
    before = index.file_system_time(root)
    while index.file_system_time(root) == before:
        pass
    return before + LATER


def at(minute: int) -> Callable[[Path], int]:
    """A clock that stands at a minute of the far future."""
    return lambda root: (minute + 10**8) * 60 * 10**9


def write(root: Path, partition: Partition, stage: Stage = Stage.CENSUS, n: int = 1) -> Path:
    folder = root / partition.folder
    storage.write_manifest(folder, Manifest(stage, partition, {"x": str(n)}, counts={"series": n}))
    return folder


def scan(root: Path, **more: object) -> list[Records | Damaged]:
    return list(scan_records(root, clock=later, **more))  # type: ignore[arg-type]


def comparable(found: list[Records | Damaged]) -> list[object]:
    return [each if isinstance(each, Records) else (each.site, each.study_date, str(each.error)) for each in found]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders whose records were read, not taken from the index."""
    folders: list[str] = []

    def noting(folder: Path) -> Records | None:
        folders.append(folder.name)
        return read_records(folder)

    monkeypatch.setattr(index, "read_records", noting)
    return folders


PARTITIONS = [Partition(site, dt.date(2024, 3, day)) for site in ("north", "south") for day in (1, 2)]
EDITS: dict[str, Callable[[Path, int], object]] = {
    "empty": lambda path, n: path.write_text(""),
    "garbage": lambda path, n: path.write_text("{" * n),
    "remove": lambda path, n: path.unlink(),
    "copy": lambda path, n: shutil.copyfile(path, path.with_name("publish.json")),
    "folder": lambda path, n: shutil.rmtree(path.parent),
    "move": lambda path, n: path.parent.rename(path.parent.with_name(f"study_date=2024-04-{n:02d}")),
}
changes = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(PARTITIONS), st.sampled_from(Stage), st.integers(1, 3)),
        st.tuples(st.just("verdict"), st.sampled_from(PARTITIONS), st.sampled_from(VerdictStatus), st.integers(1, 3)),
        st.tuples(st.just("books"), st.sampled_from(PARTITIONS), st.just(""), st.integers(1, 3)),
        st.tuples(st.sampled_from(list(EDITS)), st.sampled_from(PARTITIONS), st.sampled_from(Stage), st.integers(1, 3)),
        st.tuples(st.just("index"), st.sampled_from(PARTITIONS), st.just(""), st.integers(1, 300)),
        st.tuples(st.just("scan"), st.just(DAY), st.just(""), st.just(1)),
    ),
    max_size=14,
)


def apply(root: Path, what: str, partition: Partition, which: object, n: int) -> None:
    folder = root / partition.folder
    if what == "write":
        write(root, partition, Stage(which), n)
    elif what == "verdict":
        result = ContractResult("instances", "1.0.0", VerdictStatus(which), ())
        storage.write_verdict(folder, Verdict(str(n), "k", (result,)))
    elif what == "books":
        storage.write_books(folder, Books(partition, n, n, 0, 0, 0, ("a problem",) * (n - 1)))
    elif what == "index":  # somebody's disk, or somebody's editor
        for path in (root / "index").glob("north.*"):
            path.write_bytes(path.read_bytes()[:n] + b"7" + path.read_bytes()[n + 1 :])
    elif what == "scan":
        scan(root)
    elif (folder / f"{which}.json").exists() and not (what == "move" and list(root.glob(f"*/*-04-{n:02d}"))):
        EDITS[what](folder / f"{which}.json", n)


@settings(max_examples=60, deadline=None)
@given(changes)
def test_the_index_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[str, Partition, object, int]]
) -> None:
    root = tmp_path_factory.mktemp("state")
    for change in sequence:
        apply(root, *change)
    cached = comparable(scan(root))
    shutil.rmtree(root / "index")
    assert cached == comparable(scan(root))


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, read: list[str]) -> None:
    for partition in PARTITIONS:
        write(tmp_path, partition)
    first = scan(tmp_path)
    assert len(read) == len(PARTITIONS)
    assert scan(tmp_path) == first
    assert len(read) == len(PARTITIONS)
    write(tmp_path, PARTITIONS[1], n=2)
    assert scan(tmp_path) != first
    assert read[len(PARTITIONS) :] == [Path(PARTITIONS[1].folder).name]


def test_records_that_are_seconds_old_are_read_again(tmp_path: Path, read: list[str]) -> None:
    write(tmp_path, DAY)
    for _ in range(3):
        list(scan_records(tmp_path))
    assert len(read) == 3


def test_a_record_edited_in_place_is_noticed_at_once_in_a_small_zone_and_by_turns_in_a_large_one(
    tmp_path: Path,
) -> None:
    for partition in PARTITIONS:
        folder = write(tmp_path, partition)
    scan(tmp_path)
    (folder / "census.json").write_text("{}")
    assert any(isinstance(each, Damaged) for each in scan(tmp_path))
    shutil.rmtree(tmp_path / "index")
    write(tmp_path, partition)
    scan(tmp_path)
    (folder / "census.json").write_text("{}")
    noticed = [
        any(isinstance(each, Damaged) for each in scan_records(tmp_path, clock=at(turn), looked_at=1))
        for turn in range(4)  # four partitions: every fourth turn is this one's
    ]
    assert sorted(noticed) == [False, False, False, True]


def test_a_damaged_index_costs_a_read_and_nothing_else(tmp_path: Path, read: list[str]) -> None:
    write(tmp_path, DAY)
    expected = scan(tmp_path)
    (path,) = (tmp_path / "index").glob("north.*")
    for damage in (
        b"",
        b"\x00" * 500,
        path.read_bytes()[:-40],
        path.read_bytes().replace(b'"series":1', b'"series":7'),
    ):
        read.clear()
        path.write_bytes(damage)
        assert scan(tmp_path) == expected
        assert len(read) == 1


def test_an_index_that_cannot_be_written_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, DAY)
    (tmp_path / "index").write_text("a file where the folder should be")
    assert [each.partition for each in scan_records(tmp_path) if isinstance(each, Records)] == [DAY]
    found = list(scan_records(tmp_path, clock=lambda root: 2**63))
    assert [each.partition for each in found if isinstance(each, Records)] == [DAY]
    assert "cannot be written" in caplog.text


def test_the_index_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_LINES_AT_ONCE", 5)
    for n in range(40):
        write(tmp_path, DAY, n=n)
        scan(tmp_path)
    (path,) = (tmp_path / "index").glob("north.*")
    assert len(path.read_bytes().split()) < 60
    assert path.stat().st_mode & 0o777 == 0o600


def test_sites_and_days_can_be_chosen(tmp_path: Path) -> None:
    for partition in PARTITIONS:
        write(tmp_path, partition)
    found = scan(tmp_path, sites=("south",), first=dt.date(2024, 3, 2), last=dt.date(2024, 3, 2))
    assert [each.partition for each in found if isinstance(each, Records)] == [PARTITIONS[3]]
    assert scan(tmp_path / "none") == []


def test_the_books_come_back_as_they_were_stored(tmp_path: Path) -> None:
    books = Books(DAY, 10, 7, 0, 2, 1, ("something is wrong",))
    storage.write_books(write(tmp_path, DAY), books)
    for _ in range(2):
        (records,) = scan(tmp_path)
        assert isinstance(records, Records)
        assert records.books == books

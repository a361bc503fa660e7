"""Every instance has exactly one state, the books are the sums, and nothing that is missing looks accounted for."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import Partition, VerdictStatus
from pacs_pipeline.stages import instance_list
from pacs_pipeline.stages.account import Account, State, account
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.reconcile import reconcile
from pacs_pipeline_tests.unit.stages import stored
from pacs_pipeline_tests.unit.stages.stored import DAY

STATUSES = ("landed", "unavailable", "excluded", "unexpected", "of-another-version")
UIDS = [f"1.2.{n}" for n in range(8)]


def listed(uid: str, status: str) -> dict[str, object]:
    return {
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3",
        "SOPInstanceUID": uid,
        "status": status,
        "detail": f"why {status}",
    }


def outcome(uid: str, kind: str = "released") -> dict[str, object]:
    released = kind == "released"
    return {
        "source_sop_instance_uid": uid,
        "deidentified_sop_instance_uid": f"2.25.{uid}" if released else None,
        "outcome": kind,
        "reason": "" if released else "truncated",
        "detail": "" if released else "PixelData",
        "sha256": f"sha of {uid}" if released else "",
    }


def row_of(uid: str) -> tuple[str, str]:
    return f"2.25.{uid}", f"sha of {uid}"


@given(
    st.lists(st.tuples(st.sampled_from(UIDS), st.sampled_from(STATUSES))),
    st.dictionaries(st.sampled_from(UIDS), st.sampled_from(["released", "quarantined", "else"])),
    st.sets(st.sampled_from(UIDS)),
    st.sets(st.sampled_from(UIDS)),
)
def test_each_instance_is_counted_once_and_each_row_is_owned_once(
    rows: list[tuple[str, str]], outcomes: dict[str, str], published: set[str], wrong: set[str]
) -> None:
    warehouse = {row_of(uid)[0]: "another" if uid in wrong else row_of(uid)[1] for uid in published}
    made = Account(
        [listed(*row) for row in rows], [outcome(uid, kind) for uid, kind in outcomes.items()], dict(warehouse)
    )
    found = {each.SOPInstanceUID: each for each in made}
    assert set(found) == {uid for uid, status in rows if status != "unexpected"}
    states = Counter(each.state for each in found.values())
    for uid, each in found.items():
        if each.state is State.PUBLISHED:
            assert outcomes[uid] == "released"
            assert warehouse[row_of(uid)[0]] == row_of(uid)[1]
        elif each.state is State.QUARANTINED:
            assert (outcomes[uid], each.reason) == ("quarantined", "truncated: PixelData")
        elif each.state in (State.UNAVAILABLE, State.EXCLUDED):
            assert each.reason == f"why {each.state.value}"
    assert made.strays >= len(warehouse) - states[State.PUBLISHED] - states[State.UNACCOUNTED]
    assert made.strays <= len(warehouse) - states[State.PUBLISHED]


def test_what_is_excluded_after_it_was_published_leaves_a_stray() -> None:
    made = Account([listed("1.2.1", "excluded")], [outcome("1.2.1")], dict([row_of("1.2.1")]))
    assert [each.state for each in made] == [State.EXCLUDED]
    assert made.strays == 1


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return stored.project(tmp_path)


def worked_on(project: Project, announced: int = 4) -> None:
    """A day with an instance of each kind, published as far as it can be."""
    rows = zip(UIDS, ("landed", "landed", "unavailable", "excluded"), strict=False)
    landed = stored.harvest(project, stored.take_census(project, instances=announced), [listed(*row) for row in rows])
    made = stored.deidentify(project, landed, [outcome(UIDS[0]), outcome(UIDS[1], "quarantined")])
    stored.judge(project, made)
    stored.publish(project, made)
    stored.in_warehouse(project, dict([row_of(UIDS[0])]))


def test_books_close_with_one_of_each(project: Project) -> None:
    worked_on(project)
    books = reconcile(project, DAY)
    assert books.closed, books.problems
    counts = (books.expected, books.published, books.quarantined, books.unavailable, books.excluded)
    assert counts == (4, 1, 1, 1, 1)


def test_books_do_not_close_when_a_row_is_missing_changed_or_nobodys(project: Project) -> None:
    worked_on(project)
    uid, sha256 = row_of(UIDS[0])
    for rows, problem in (
        ({}, "1 clean instances are not in the warehouse"),
        ({uid: "another"}, "1 clean instances are not in the warehouse"),
        ({uid: sha256, "2.25.9": "x"}, "1 rows of the warehouse belong to no expected instance"),
    ):
        stored.in_warehouse(project, rows)
        books = reconcile(project, DAY)
        assert not books.closed
        assert problem in "; ".join(books.problems)


def test_books_do_not_close_when_fewer_were_listed_than_announced(project: Project) -> None:
    worked_on(project, announced=6)
    books = reconcile(project, DAY)
    assert not books.closed
    assert books.expected == 6
    assert "announced 6 instances and listed 4" in "; ".join(books.problems)


def test_books_do_not_close_on_outcomes_of_an_older_harvest(project: Project) -> None:
    worked_on(project)
    stored.harvest(project, stored.take_census(project, instances=1), [listed(UIDS[0], "landed")])
    assert "the harvest changed after the de-identification" in "; ".join(reconcile(project, DAY).problems)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_list_is_the_books_instance_by_instance_and_for_its_owner_only(project: Project, tmp_path: Path) -> None:
    worked_on(project)
    books = reconcile(project, DAY)
    path = tmp_path / "out" / "instances.csv"
    assert instance_list.write(project, [DAY], path) == (4, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    rows = read(path)
    assert [row["SOPInstanceUID"] for row in rows] == UIDS[:4]
    states = Counter(row["state"] for row in rows)
    for state in ("published", "excluded", "quarantined", "unavailable"):
        assert states[state] == getattr(books, state)
    assert {(row["site"], row["study_date"], row["SeriesInstanceUID"]) for row in rows} == {
        ("north", "2024-03-04", "1.2.3")
    }


def test_the_list_names_what_has_no_uid_and_what_is_not_worked_on(project: Project, tmp_path: Path) -> None:
    worked_on(project, announced=6)
    stored.in_warehouse(project, {"2.25.9": "x"})
    other = Partition("north", DAY.study_date.replace(day=5))
    stored.take_census(project, other, instances=9)
    path = tmp_path / "instances.csv"
    instance_list.write(project, [DAY, other, Partition("north", DAY.study_date.replace(day=6))], path)
    unaccounted = [(row["SOPInstanceUID"], row["reason"]) for row in read(path) if row["state"] == "unaccounted"]
    assert unaccounted == [
        (UIDS[0], "clean, but not in the warehouse"),
        ("", "2 instances announced and not listed by the PACS"),
        ("", "1 rows of the warehouse belong to no instance of this day"),
        ("", "9 instances announced and not listed by the PACS"),
    ]


def test_a_day_that_cannot_be_read_hides_no_other(project: Project, tmp_path: Path) -> None:
    worked_on(project)
    damaged = Partition("north", DAY.study_date.replace(day=3))
    stored.harvest(project, stored.take_census(project, damaged, instances=1), [listed("1.2.9", "landed")])
    (project.zones.landing.partition(damaged) / "harvest.parquet").write_bytes(b"?")
    path = tmp_path / "instances.csv"
    assert instance_list.write(project, [damaged, DAY], path) == (4, 1)
    first, *others = read(path)
    assert first["state"] == "unaccounted"
    assert "was changed after it was committed" in first["reason"]
    assert len(others) == 4


def test_the_account_trusts_no_table_that_was_changed(project: Project) -> None:
    landed = stored.harvest(project, stored.take_census(project, instances=1), [listed("1.2.9", "landed")])
    (project.zones.landing.partition(DAY) / "harvest.parquet").write_bytes(b"?")
    with pytest.raises(Permanent, match="changed after it was committed"):
        account(project, DAY, landed, None)


def test_a_withheld_day_has_no_published_instance(project: Project) -> None:
    landed = stored.harvest(project, stored.take_census(project, instances=1), [listed(UIDS[0], "landed")])
    made = stored.deidentify(project, landed, [outcome(UIDS[0])])
    stored.judge(project, made, VerdictStatus.FAILED)
    books = reconcile(project, DAY)
    assert not books.closed
    assert books.published == 0

"""A mark is another one exactly when something came that a census may have missed."""

from __future__ import annotations

import datetime as dt
import json
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.records import Partition
from pacs_pipeline.storage import mark_received, marks, read_mark, take_mark


def test_nothing_was_received(tmp_path: Path) -> None:
    assert read_mark(tmp_path) == take_mark(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_one_mark_for_all_that_comes_before_a_census(tmp_path: Path) -> None:
    mark_received(tmp_path)
    first = read_mark(tmp_path)
    mark_received(tmp_path)
    assert read_mark(tmp_path) == take_mark(tmp_path) == first != ""
    assert stat.S_IMODE((tmp_path / "received.json").stat().st_mode) == 0o600


def test_what_comes_after_a_census_has_begun_is_another_mark(tmp_path: Path) -> None:
    mark_received(tmp_path)
    answered = take_mark(tmp_path)
    mark_received(tmp_path)
    assert read_mark(tmp_path) != answered


def test_a_duplicate_of_what_a_census_has_seen_marks_nothing(tmp_path: Path) -> None:
    arrived = time.time_ns() - 1_000_000_000
    mark_received(tmp_path)
    answered = take_mark(tmp_path)
    mark_received(tmp_path, arrived)
    assert read_mark(tmp_path) == answered


def test_a_duplicate_that_no_census_may_have_seen_is_marked(tmp_path: Path) -> None:
    """A receiver that was killed between the name and the mark: the sender sends again, and it is there already."""
    mark_received(tmp_path)
    answered = take_mark(tmp_path)
    mark_received(tmp_path, time.time_ns() + 1_000_000_000)
    assert read_mark(tmp_path) != answered
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    mark_received(fresh, time.time_ns())
    assert read_mark(fresh)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"mark": 1}', b'{"mark": "../../x"}', b"\xff" * 40])
def test_a_damaged_mark_is_one_that_no_census_has_answered(tmp_path: Path, content: bytes) -> None:
    mark_received(tmp_path)
    answered = take_mark(tmp_path)
    (tmp_path / "received.json").write_bytes(content)
    assert read_mark(tmp_path) not in ("", answered)
    again = take_mark(tmp_path)
    assert again == read_mark(tmp_path) == json.loads((tmp_path / "received.json").read_text())["mark"]


def test_the_marked_partitions_of_a_site(tmp_path: Path) -> None:
    days = [dt.date(2024, 3, day) for day in (9, 1, 5)]
    for day in days[:2]:
        folder = tmp_path / Partition("north", day).folder
        folder.mkdir(parents=True)
        mark_received(folder)
    (tmp_path / Partition("north", days[2]).folder).mkdir(parents=True)
    assert [partition.study_date for partition, _ in marks(tmp_path, "north")] == sorted(days[:2])
    assert list(marks(tmp_path, "south")) == []


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.sampled_from(["arrive", "begin", "list", "commit"]), max_size=20))
def test_whatever_the_order_nothing_that_arrived_is_taken_for_listed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """A census begins, lists and commits; instances arrive in between. Current means: everything was listed."""
    folder = tmp_path_factory.mktemp("partition")
    arrived, begun, listed, committed = 0, None, None, ("", 0)
    for step in steps:
        if step == "arrive":
            arrived += 1
            mark_received(folder)
        elif step == "begin":
            begun, listed = take_mark(folder), None
        elif step == "list" and begun is not None:
            listed = arrived
        elif step == "commit" and begun is not None and listed is not None:
            committed, begun, listed = (begun, listed), None, None
        if read_mark(folder) == committed[0]:
            assert committed[1] == arrived

"""Filters from the census to the books: what is excluded is written down, not fetched, and accounted for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from pacs_pipeline import storage
from pacs_pipeline.pacs import Access, Archive, Landing, Retriever
from pacs_pipeline.records import (
    InstanceRef,
    Manifest,
    Partition,
    RetrievalFailure,
    RetrievalReport,
    SeriesRef,
    Stage,
    StudyRef,
    StudyTraits,
)
from pacs_pipeline.settings import load_settings
from pacs_pipeline.settings.site import CensusSettings, FilterSettings
from pacs_pipeline.stages.census import take_census, take_censuses
from pacs_pipeline.stages.harvest import harvest
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.reconcile import reconcile
from pacs_pipeline.stages.sources import Source

DAY = Partition("north", dt.date(2024, 3, 4))
EXAMPLE = Path(__file__).parents[3] / "pacs_pipeline.example.yaml"


class SmallPacs:
    """Two studies: one with a CT and an SR series, one of a child, of which nobody knows a description."""

    def __init__(self, listed: int = 2) -> None:
        self.listed = listed
        self.days: list[dt.date] = []
        self.retrieved: list[str] = []

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        self.days.append(study_date)
        first = (SeriesRef("1.1", "1.1.1", "CT", 2), SeriesRef("1.1", "1.1.2", "SR", 2))
        second = (SeriesRef("1.2", "1.2.1", "CT", None),)
        return (
            StudyRef("1.1", study_date, "", ("CT", "SR"), 4, first, StudyTraits("Thorax", None, 40)),
            StudyRef("1.2", study_date, "", ("CT",), 2, second, StudyTraits(None, None, 9)),
        )

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        uid = series.SeriesInstanceUID
        return tuple(InstanceRef(series.StudyInstanceUID, uid, f"{uid}.{n}", "1.2.3") for n in range(self.listed))

    def retrieve(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        uid = landing.series.SeriesInstanceUID
        self.retrieved.append(uid)
        return RetrievalReport((), tuple(RetrievalFailure(uid, each, 0xA701, "refused") for each in landing.missing))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "s" * 64)
    monkeypatch.setenv("PACS_PIPELINE_ZONES__ROOT", str(tmp_path / "zones"))
    monkeypatch.setenv("PACS_PIPELINE_WAREHOUSE__PATH", str(tmp_path / "warehouse.duckdb"))


def project(**filters: Any) -> Project:
    settings = load_settings(EXAMPLE)
    census = CensusSettings(filters=FilterSettings(**filters))
    sites = [site.model_copy(update={"census": census}) for site in settings.sites]
    return Project(settings.model_copy(update={"sites": tuple(sites)}))


def census(of: Project, pacs: SmallPacs | None = None) -> Manifest:
    return take_census(of, DAY, cast(Archive, pacs or SmallPacs()))


def reasons(of: Project) -> list[str]:
    return [row["excluded"] for row in storage.read_rows(of.zones.landing.partition(DAY) / "census.parquet")]


def test_without_filters_nothing_is_excluded() -> None:
    unfiltered = project()
    manifest = census(unfiltered)
    assert manifest.counts == {"studies": 2, "series": 3, "instances": 6, "excluded": 0, "undecided": 0}
    assert manifest.inputs == {}
    assert reasons(unfiltered) == ["", "", ""]


def test_the_census_says_what_is_excluded_by_which_rule() -> None:
    filtered = project(exclude_modalities=("SR",), minimum_age_years=18)
    manifest = census(filtered)
    assert reasons(filtered) == ["", "exclude_modalities", "minimum_age_years"]
    assert (manifest.counts["instances"], manifest.counts["excluded"]) == (6, 4)
    assert list(manifest.inputs) == ["filters"]


def test_what_cannot_be_decided_stays_and_is_counted() -> None:
    filtered = project(descriptions=("thorax",))
    assert census(filtered).counts["undecided"] == 1
    assert reasons(filtered) == ["", "", ""]


def test_only_another_outcome_is_another_census() -> None:
    digests = [
        census(project(**filters)).digest
        for filters in ({}, {"minimum_age_years": 5}, {"minimum_age_years": 18}, {"minimum_age_years": 18}, {})
    ]
    assert digests[0] == digests[1] == digests[4] != digests[2] == digests[3]


def test_nothing_of_a_description_or_age_is_stored(tmp_path: Path) -> None:
    census(project(descriptions=("thorax",), minimum_age_years=18))
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Thorax" not in stored


@pytest.mark.parametrize("listed", [2, 1])
def test_excluded_series_are_not_fetched_and_the_books_close(listed: int) -> None:
    filtered, pacs = project(exclude_modalities=("SR",)), SmallPacs(2)
    census(filtered, pacs)
    if listed == 1:  # one of the excluded series is announced and not listed: it is excluded all the same
        original = pacs.find_instances
        pacs.find_instances = lambda series: original(series)[: 1 if series.Modality == "SR" else 2]  # type: ignore[method-assign]
    site = filtered.settings.site("north")
    access = Access.of(site, filtered.zones.state.root / "site=north")
    archive, retriever = cast(Archive, pacs), cast(Retriever, pacs)
    source = Source(site, access, lambda: nullcontext(archive), lambda: nullcontext(retriever))
    manifest = harvest(filtered, DAY, source)
    assert sorted(pacs.retrieved) == ["1.1.1", "1.2.1"]
    assert (manifest.counts["excluded"], manifest.counts["unavailable"], manifest.counts["expected"]) == (2, 4, 6)
    rows = storage.read_rows(filtered.zones.landing.partition(DAY) / "harvest.parquet")
    assert [row["detail"] for row in rows if row["status"] == "excluded"] == ["exclude_modalities"] * listed
    folder = filtered.zones.vault.make_partition(DAY)
    outcomes = filtered.write_table(folder / "outcomes.parquet", [], storage.OUTCOMES)
    filtered.commit(Manifest(Stage.DEIDENTIFY, DAY, {"harvest": manifest.digest}, {"outcomes": outcomes}))
    books = reconcile(filtered, DAY)
    assert (books.expected, books.excluded, books.unavailable) == (6, 2, 4)
    assert books.closed


def test_a_census_of_many_days_goes_on_where_it_stopped() -> None:
    pacs, plain = SmallPacs(), project()
    days = [dt.date(2024, 3, day) for day in range(1, 6)]
    for manifest in take_censuses(plain, "north", days, cast(Archive, pacs), missing=True):
        if manifest.partition.study_date == days[2]:
            break
    again = list(take_censuses(plain, "north", days, cast(Archive, pacs), missing=True))
    assert pacs.days == days
    assert [manifest.partition.study_date for manifest in again] == days[3:]
    assert len(list(take_censuses(plain, "north", days, cast(Archive, pacs)))) == 5

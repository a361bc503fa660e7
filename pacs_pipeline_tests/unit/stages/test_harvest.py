from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import pytest

from pacs_pipeline.pacs import Archive, Retriever
from pacs_pipeline.records import (
    InstanceRef,
    LandedInstance,
    Manifest,
    Partition,
    RetrievalReport,
    SeriesRef,
    Stage,
    StudyRef,
)
from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.census import take_census
from pacs_pipeline.stages.harvest import harvest, is_awaited
from pacs_pipeline.stages.project import Project

DAY = Partition("north", dt.date(2024, 3, 4))


class Manifests:
    """The manifests of one partition, as a project gives them."""

    def __init__(self, *manifests: Manifest) -> None:
        self._by_stage = {manifest.stage: manifest for manifest in manifests}

    def manifest(self, partition: Partition, stage: Stage) -> Manifest | None:
        assert partition == DAY
        return self._by_stage.get(stage)


def census(series: int) -> Manifest:
    return Manifest(Stage.CENSUS, DAY, {}, counts={"studies": 1, "series": series, "instances": series})


def harvested(digest: str) -> Manifest:
    return Manifest(Stage.HARVEST, DAY, {"census": digest}, counts={"expected": 1})


@pytest.mark.parametrize(
    ("manifests", "awaited"),
    [
        ((), False),
        ((census(0),), False),
        ((census(2),), True),
        ((census(2), harvested(census(2).digest)), False),
        ((census(2), harvested(census(1).digest)), True),
    ],
    ids=["no census", "an empty day", "new", "answered", "changed"],
)
def test_whether_instances_are_awaited(manifests: tuple[Manifest, ...], *, awaited: bool) -> None:
    assert is_awaited(cast(Project, Manifests(*manifests)), DAY) is awaited


class ForgetfulPacs:
    """A PACS that leaves one instance out of its first list of a series."""

    def __init__(self) -> None:
        self.lists = 0

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        return (StudyRef("1.2", study_date, "", ("CT",), 3, (SeriesRef("1.2", "1.2.1", "CT", 3),)),)

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        self.lists += 1
        known = 2 if self.lists == 1 else 3
        return tuple(InstanceRef("1.2", series.SeriesInstanceUID, f"1.2.1.{n}", "1.2.3") for n in range(known))

    def retrieve(
        self, series: SeriesRef, expected: Sequence[InstanceRef], missing: Collection[str], into: Path
    ) -> RetrievalReport:
        assert {ref.SOPInstanceUID for ref in expected} >= set(missing)
        landed = []
        for uid in sorted(missing):
            path = into / f"{uid}.dcm"
            path.write_text(uid)
            digest = hashlib.sha256(uid.encode()).hexdigest()
            landed.append(
                LandedInstance(
                    "1.2", series.SeriesInstanceUID, uid, "1.2.3", "1.2.840.10008.1.2", path, len(uid), digest
                )
            )
        return RetrievalReport(landed=tuple(landed), failures=(), unexpected=(), duplicates=0)


def test_a_list_that_was_shorter_than_announced_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "s" * 64)
    monkeypatch.setenv("PACS_PIPELINE_ZONES__ROOT", str(tmp_path / "zones"))
    monkeypatch.setenv("PACS_PIPELINE_WAREHOUSE__PATH", str(tmp_path / "warehouse.duckdb"))
    project = Project(load_settings(Path(__file__).parents[3] / "pacs_pipeline.example.yaml"))
    pacs = ForgetfulPacs()
    client, retriever = cast(Archive, pacs), cast(Retriever, pacs)
    take_census(project, DAY, client)
    counts = [harvest(project, DAY, client, retriever).counts["landed"] for _ in range(3)]
    assert counts == [2, 3, 3]
    assert pacs.lists == 2  # what is complete is not asked for again

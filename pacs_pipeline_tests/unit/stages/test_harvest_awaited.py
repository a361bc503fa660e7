from __future__ import annotations

import datetime as dt
from typing import cast

import pytest

from pacs_pipeline.records import Manifest, Partition, Stage
from pacs_pipeline.stages.harvest import is_awaited
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


def harvest(digest: str) -> Manifest:
    return Manifest(Stage.HARVEST, DAY, {"census": digest}, counts={"expected": 1})


@pytest.mark.parametrize(
    ("manifests", "awaited"),
    [
        ((), False),
        ((census(0),), False),
        ((census(2),), True),
        ((census(2), harvest(census(2).digest)), False),
        ((census(2), harvest(census(1).digest)), True),
    ],
    ids=["no census", "an empty day", "new", "answered", "changed"],
)
def test_whether_instances_are_awaited(manifests: tuple[Manifest, ...], *, awaited: bool) -> None:
    assert is_awaited(cast(Project, Manifests(*manifests)), DAY) is awaited

"""A filter that comes later: what is no longer wanted leaves the lake, and the books close all the same."""

import datetime as dt
from typing import Any

import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.settings.site import CensusSettings, FilterSettings
from pacs_pipeline.stages.chain import run_chain
from pacs_pipeline.stages.project import Project
from pacs_pipeline_tests.e2e.conftest import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("default")]


def filtered(project: Project, **filters: Any) -> Project:
    census = CensusSettings(filters=FilterSettings(**filters))
    sites = tuple(site.model_copy(update={"census": census}) for site in project.settings.sites)
    return Project(project.settings.model_copy(update={"sites": sites}))


def test_what_is_excluded_later_leaves_the_lake(demo: Demo) -> None:
    days = sorted({partition.study_date for partition in demo.partitions})

    def instances(project: Project) -> tuple[int, int, int]:
        results = list(run_chain(project, "north", days, now=lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
        assert all(result.green for result in results), results
        books = [result.books for result in results if result.books]
        expected, excluded = sum(b.expected for b in books), sum(b.excluded for b in books)
        return expected, excluded, warehouse.totals(project.settings.warehouse.path).get("instance", 0)

    expected, none, published = instances(demo.project)
    assert none == 0
    assert published > 0
    everything, excluded, fewer = instances(filtered(demo.project, exclude_modalities=("CT",)))
    assert everything == expected
    assert 0 < excluded < expected
    assert fewer < published
    assert instances(filtered(demo.project, maximum_age_years=0)) == (expected, expected, 0)
    assert instances(demo.project) == (expected, 0, published)  # and comes back

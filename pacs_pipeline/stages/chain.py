"""The whole way of one partition, for callers without Dagster: the same stages in the same order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pacs_pipeline.compute import Pool
from pacs_pipeline.pacs import PacsClient, Retriever, connect
from pacs_pipeline.records import Books, Partition, Verdict, VerdictStatus
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.census import take_census
from pacs_pipeline.stages.deidentify import PRELOAD, deidentify
from pacs_pipeline.stages.harvest import harvest
from pacs_pipeline.stages.project import Progress, Project, silent
from pacs_pipeline.stages.publish import publish
from pacs_pipeline.stages.reconcile import reconcile
from pacs_pipeline.stages.validate import validate


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What one partition came to."""

    partition: Partition
    verdict: Verdict | None  # None for a day on which the PACS has nothing and never had
    books: Books


def open_pool(project: Project) -> Pool:
    """The process pool of the project, with what its workers need already imported."""
    return Pool(project.settings.compute.workers, preload=PRELOAD)


def run_partition(
    project: Project,
    partition: Partition,
    *,
    pool: Pool,
    now: Callable[[], dt.datetime],
    progress: Progress = silent,
) -> ChainResult:
    """Take one partition from the PACS to its books; raises PipelineError as the stages do.

    A failed verdict does not raise: the partition is withheld and its books stay open.
    """
    site = project.settings.site(partition.site)
    with connect(site) as client:
        census = take_census(project, partition, client)
        ...

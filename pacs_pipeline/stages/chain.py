"""The whole way of the partitions of a site, for callers without Dagster: the same stages in the same order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pacs_pipeline.compute import Pool
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import Books, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.stages.census import take_census
from pacs_pipeline.stages.deidentify import PRELOAD as DEIDENTIFY_PRELOAD
from pacs_pipeline.stages.deidentify import deidentify
from pacs_pipeline.stages.harvest import harvest, is_awaited
from pacs_pipeline.stages.project import Progress, Project, silent
from pacs_pipeline.stages.publish import publish
from pacs_pipeline.stages.reconcile import reconcile
from pacs_pipeline.stages.sources import Source
from pacs_pipeline.stages.validate import PRELOAD as VALIDATE_PRELOAD
from pacs_pipeline.stages.validate import validate


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What one partition came to: its verdict and books, or the error that stopped it.

    A day on which the PACS has nothing and never had has neither verdict nor error, and books of zeros.
    """

    partition: Partition
    verdict: Verdict | None = None
    books: Books | None = None
    error: PipelineError | None = None

    @property
    def green(self) -> bool:
        """Whether nothing is left to do or to look at."""
        return self.error is None and self.books is not None and self.books.closed


def open_pool(project: Project) -> Pool:
    """The process pool of the project, with what its workers need already imported."""
    return Pool(project.settings.compute.workers, preload=(*DEIDENTIFY_PRELOAD, *VALIDATE_PRELOAD))


def run_chain(
    project: Project,
    site: str,
    dates: Iterable[dt.date],
    *,
    now: Callable[[], dt.datetime],
    progress: Callable[[Partition], Progress] = lambda _partition: silent,
    again: bool = False,
) -> Iterator[ChainResult]:
    """Take partitions of ``site`` from the PACS to their books, one after the other.

    A partition that fails does not keep the next from being done; its error is in its result. ``again`` is for
    :func:`harvest`.
    """
    source = Source.of(project, project.settings.site(site))
    with open_pool(project) as pool:
        for date in dates:
            partition = Partition(site, date)
            try:
                yield _run(project, partition, source, pool, now, progress(partition), again=again)
            except PipelineError as error:
                yield ChainResult(partition, error=error)


def _run(
    project: Project,
    partition: Partition,
    source: Source,
    pool: Pool,
    now: Callable[[], dt.datetime],
    progress: Progress,
    *,
    again: bool,
) -> ChainResult:
    census = take_census(project, partition, source.by_question())
    if not census.counts["series"] and project.manifest(partition, Stage.HARVEST) is None:
        return ChainResult(partition, books=Books(partition, 0, 0, 0, 0, 0))
    if is_awaited(project, partition):
        pool.warm_up()
    harvest(project, partition, source, progress, again=again)
    deidentify(project, partition, pool, progress)
    verdict = validate(project, partition, pool)
    if verdict.status is VerdictStatus.PASSED:
        publish(project, partition, now=now(), progress=progress)
    return ChainResult(partition, verdict, reconcile(project, partition))

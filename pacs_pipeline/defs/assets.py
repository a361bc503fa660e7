"""The chain of assets of a site: each unpacks its partitions, calls one stage and shows what came out."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import dagster as dg

from pacs_pipeline import storage
from pacs_pipeline.compute import Pool
from pacs_pipeline.defs import checks, metadata
from pacs_pipeline.defs.failures import fail, never_retry
from pacs_pipeline.defs.partitions import study_dates
from pacs_pipeline.defs.progress import ShownProgress, reporter
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import Partition, VerdictStatus
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.census import take_census
from pacs_pipeline.stages.deidentify import deidentify
from pacs_pipeline.stages.harvest import harvest, is_awaited
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.publish import publish
from pacs_pipeline.stages.reconcile import reconcile
from pacs_pipeline.stages.sources import Source
from pacs_pipeline.stages.validate import validate

T = TypeVar("T")

DATA_ENGINEERING, STEWARDS = "team:data-engineering", "team:data-stewards"
DUCKDB_WRITER = "duckdb_writer"
PARTITIONS_PER_RUN = 31
"""How many days of a backfill share one process: a run per empty day would cost more than the day."""


def site_assets(site: SiteSettings, contracts: Sequence[str]) -> list[dg.AssetsDefinition]:
    """The six assets of ``site``, one partition per study date, with one check per name in ``contracts``."""
    name = site.name
    asset = partial(
        dg.asset,
        key_prefix=name,
        group_name=name,
        partitions_def=study_dates(site),
        backfill_policy=dg.BackfillPolicy.multi_run(PARTITIONS_PER_RUN),
    )

    @asset(
        name="census",
        description="What the PACS says it has of the study date: every study and series with counts. Moves no images.",
        owners=[DATA_ENGINEERING],
        kinds={"dicom", "parquet"},
        tags={"zone": "landing", "phi": "yes"},
        pool=f"pacs_{name}",
        metadata=metadata.columns(storage.CENSUS),
    )
    def census(context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
        archive = Source.of(project, site).by_question()
        each(context, name, lambda p: take_census(project, p, archive), metadata.counts)
        return dg.MaterializeResult()

    @asset(
        name="landed",
        deps=[census],
        description="The instances as the PACS sent them, complete and with their SHA-256. Holds PHI; never leaves.",
        owners=[DATA_ENGINEERING],
        kinds={"dicom", "parquet"},
        tags={"zone": "landing", "phi": "yes"},
        pool=f"pacs_{name}",
        metadata=metadata.columns(storage.HARVEST),
    )
    def landed(
        context: dg.AssetExecutionContext,
        project: dg.ResourceParam[Project],
        pool: dg.ResourceParam[Pool],
        shown_progress: dg.ResourceParam[ShownProgress],
    ) -> dg.MaterializeResult:
        progress = reporter(context, shown_progress)
        days = (Partition(name, dt.date.fromisoformat(key)) for key in context.partition_keys)
        if any(is_awaited(project, day) for day in days):
            pool.warm_up()
        source = Source.of(project, site)
        each(context, name, lambda p: harvest(project, p, source, progress(p)), metadata.counts)
        return dg.MaterializeResult()

    @asset(
        name="staged",
        deps=[landed],
        description="The de-identified instances with their tables; what cannot be proven clean is in quarantine.",
        owners=[STEWARDS],
        kinds={"dicom", "parquet"},
        tags={"zone": "staging", "phi": "not-yet-trusted"},
        metadata=metadata.columns(storage.INSTANCES),
    )
    def staged(
        context: dg.AssetExecutionContext,
        project: dg.ResourceParam[Project],
        pool: dg.ResourceParam[Pool],
        shown_progress: dg.ResourceParam[ShownProgress],
    ) -> dg.MaterializeResult:
        progress = reporter(context, shown_progress)
        each(context, name, lambda p: deidentify(project, p, pool, progress(p)), metadata.deidentified)
        return dg.MaterializeResult()

    @asset(
        name="verdict",
        deps=[staged, census],
        description="The judgement of the data contracts on exactly the staged data. Nothing is published without it.",
        owners=[STEWARDS],
        kinds={"greatexpectations"},
        tags={"zone": "staging"},
        check_specs=checks.contract_specs(name, contracts),
    )
    def verdict(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], pool: dg.ResourceParam[Pool]
    ) -> dg.MaterializeResult:
        judged = each(context, name, lambda p: validate(project, p, pool), metadata.verdict)
        if any(v.status is not VerdictStatus.PASSED for v in judged.values()):
            never_retry(context)  # the same data would fail again
        return dg.MaterializeResult(check_results=checks.contract_results(judged, contracts))

    @asset(
        name="published",
        deps=[verdict],
        description="Pixel data in the bucket and rows in DuckDB, both verified. What has no row is not published.",
        owners=[DATA_ENGINEERING],
        kinds={"s3", "duckdb"},
        tags={"zone": "published", "phi": "no"},
        pool=DUCKDB_WRITER,
        metadata=metadata.columns(storage.PUBLISHED),
    )
    def published(
        context: dg.AssetExecutionContext,
        project: dg.ResourceParam[Project],
        shown_progress: dg.ResourceParam[ShownProgress],
    ) -> dg.MaterializeResult:
        now, progress = dt.datetime.now(dt.UTC), reporter(context, shown_progress)
        each(context, name, lambda p: publish(project, p, now=now, progress=progress(p)), metadata.counts)
        return dg.MaterializeResult()

    @asset(
        name="books",
        deps=[census, landed, staged, published],
        description="Expected = published + excluded + quarantined + unavailable, down to the instance.",
        owners=[STEWARDS],
        kinds={"table"},
        tags={"zone": "state"},
        check_specs=[checks.books_spec(name)],
    )
    def books(context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
        made_up = each(context, name, lambda p: reconcile(project, p), metadata.books)
        return dg.MaterializeResult(check_results=[checks.books_result(made_up)])

    return [census, landed, staged, verdict, published, books]


def each(
    context: dg.AssetExecutionContext,
    site: str,
    work: Callable[[Partition], T],
    describe: Callable[[T], Mapping[str, Any]],
) -> dict[str, T]:
    """Do ``work`` for every partition of this run and attach what ``describe`` says to that partition.

    A partition that fails does not keep the others from being done; the run fails at the end, naming all
    that went wrong. Returns the results by partition key.
    """
    results: dict[str, T] = {}
    errors: dict[str, PipelineError] = {}
    for key in context.partition_keys:
        try:
            results[key] = work(Partition(site, dt.date.fromisoformat(key)))
        except PipelineError as error:
            context.log.error(str(error))
            errors[key] = error
        else:
            context.add_asset_metadata(describe(results[key]), partition_key=key)
    if errors:
        raise fail(context, errors)
    return results

"""The nightly run of each site, in the site's own zone."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pacs_pipeline.defs.jobs import RANGE_END_TAG, RANGE_START_TAG
from pacs_pipeline.defs.partitions import lookback
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.access import access_to
from pacs_pipeline.stages.project import Project


def nightly(
    project: Project, site: SiteSettings, job: UnresolvedAssetJobDefinition, status: dg.DefaultScheduleStatus
) -> dg.ScheduleDefinition:
    """One run a night that asks the PACS about the whole look-back window and materialises what is new.

    All days of the window share the run: a day on which nothing changed costs a few queries and no images.
    A tick outside of the site's access windows, or while it is stopped, is skipped.
    """

    @dg.schedule(
        name=f"{site.name}_nightly",
        cron_schedule=site.schedule,
        execution_timezone=site.timezone,
        job=job,
        default_status=status,
        description=f"Asks {site.name} about its last {site.lookback_days} days and takes what is new to the lake.",
    )
    def window(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        days = lookback(site, context.scheduled_execution_time)
        if days is None:
            return dg.SkipReason(f"the first day of {site.name}, {site.start_date}, is not over yet")
        access = access_to(project, site)
        paused = access.stopped() or access.closed(context.scheduled_execution_time)
        if paused is not None:
            return dg.SkipReason(paused.message)
        first, last = days
        return dg.RunRequest(tags={RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()})

    return window

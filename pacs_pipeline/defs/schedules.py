"""The nightly census of each site, in the site's own zone."""

from __future__ import annotations

import dagster as dg

from pacs_pipeline.defs.partitions import lookback
from pacs_pipeline.settings import SiteSettings

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def nightly_census(
    site: SiteSettings, job: dg.UnresolvedAssetJobDefinition, status: dg.DefaultScheduleStatus
) -> dg.ScheduleDefinition:
    """One run a night that asks the PACS about the whole look-back window.

    It moves no images: the staleness sensor then requests a run for exactly the days on which something is
    new or changed, so that late studies are found and quiet days cost nothing.
    """

    @dg.schedule(
        name=f"{site.name}_nightly",
        cron_schedule=site.schedule,
        execution_timezone=site.timezone,
        job=job,
        default_status=status,
        description=f"Census of the last {site.lookback_days} days of {site.name}; what is new follows by the sensor.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        window = lookback(site, context.scheduled_execution_time)
        if window is None:
            return dg.SkipReason(f"the first day of {site.name}, {site.start_date}, is not over yet")
        first, last = window
        return dg.RunRequest(tags={RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()})

    return nightly

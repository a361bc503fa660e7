"""The jobs of a site: its census, and its whole chain for backfills and stale partitions."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.staleness import STAGE_ASSETS

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"

MAX_RETRIES_TAG = "dagster/max_retries"
"""Read by the run-retry daemon; set to 0 on a run that failed for good."""


@dataclass(frozen=True, slots=True)
class SiteJobs:
    """The jobs of one site."""

    census: UnresolvedAssetJobDefinition
    chain: UnresolvedAssetJobDefinition

    @property
    def all(self) -> tuple[UnresolvedAssetJobDefinition, ...]:
        """Every job of the site."""
        return (self.census, self.chain)


def site_jobs(site: SiteSettings) -> SiteJobs:
    """The jobs of ``site``. Both take a partition or a range of them."""
    keys = {stage: dg.AssetKey([site.name, name]) for stage, name in STAGE_ASSETS.items()}
    first, *_ = keys.values()
    return SiteJobs(
        census=dg.define_asset_job(
            f"{site.name}_census",
            selection=dg.AssetSelection.assets(first),
            description=f"Ask the PACS of {site.name} what it has; moves no images.",
            run_tags={"site": site.name},
        ),
        chain=dg.define_asset_job(
            f"{site.name}_chain",
            selection=dg.AssetSelection.assets(*keys.values()),
            description=f"Everything from the PACS of {site.name} to the books, for a day or a range of days.",
            run_tags={"site": site.name},
        ),
    )

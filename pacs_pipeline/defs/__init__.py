"""Everything Dagster: assets, checks, schedules, sensors, jobs. The only room that imports dagster."""

import warnings

import dagster as dg

# Backfill policies are marked beta in the version the lock file pins; nobody who runs the pipeline can act on that.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from pacs_pipeline.defs.build import build_defs, settings_or_example  # noqa: E402

__all__ = ["build_defs", "settings_or_example"]

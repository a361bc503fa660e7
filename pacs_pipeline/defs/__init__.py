"""Everything Dagster: assets, checks, schedules, sensors, jobs. The only room that imports dagster."""

from pacs_pipeline.defs.build import build_defs, settings_or_example

__all__ = ["build_defs", "settings_or_example"]

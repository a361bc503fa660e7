"""The Dagster entry point that workspace.yaml names."""

from pacs_pipeline.defs import build_defs, settings_or_example

defs = build_defs(settings_or_example())

"""Puts the definitions together from the settings; tests swap any resource here."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg

from pacs_pipeline.compute import Pool
from pacs_pipeline.defs import heat_map
from pacs_pipeline.defs.assets import site_assets
from pacs_pipeline.defs.jobs import site_jobs
from pacs_pipeline.defs.progress import shown_nowhere
from pacs_pipeline.defs.schedules import nightly
from pacs_pipeline.defs.sensors import staleness_sensor
from pacs_pipeline.settings import CONFIG_VARIABLE, DEFAULT_CONFIG, Settings, load_settings
from pacs_pipeline.stages.chain import open_pool
from pacs_pipeline.stages.project import Project

EXAMPLE = Path(__file__).parents[2] / "pacs_pipeline.example.yaml"


def build_defs(settings: Settings, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The definitions of all sites of ``settings``.

    Reads no secret and opens no connection: that happens when a run needs it.
    """
    project = Project(settings)
    contracts = [contract.name for contract in project.contracts]
    jobs = {site.name: site_jobs(site) for site in settings.sites}
    status = dg.DefaultScheduleStatus.RUNNING if settings.automatic else dg.DefaultScheduleStatus.STOPPED
    return dg.Definitions(
        assets=[*(asset for site in settings.sites for asset in site_assets(site, contracts)), heat_map.books_heat_map],
        jobs=[*(job for of_site in jobs.values() for job in of_site.all), heat_map.job],
        schedules=[nightly(project, site, jobs[site.name].chain, status) for site in settings.sites],
        sensors=[
            staleness_sensor(settings, {name: of_site.chain for name, of_site in jobs.items()}),
            heat_map.sensor(settings),
        ],
        resources={
            "project": project,
            "pool": _worker_pool(project),
            "shown_progress": shown_nowhere,
            **(resource_overrides or {}),
        },
        executor=dg.in_process_executor,
    )


def settings_or_example() -> Settings:
    """The configured settings; without any configuration, the example's, so that a first look shows something.

    Raises SettingsError when there is a configuration and it is wrong.
    """
    if not os.environ.get(CONFIG_VARIABLE) and not DEFAULT_CONFIG.exists() and EXAMPLE.exists():
        logging.getLogger(__name__).warning(
            "There is no %s and %s is not set: these are the example's sites, which do not exist.",
            DEFAULT_CONFIG,
            CONFIG_VARIABLE,
        )
        return load_settings(EXAMPLE)
    return load_settings()


def _worker_pool(project: Project) -> dg.ResourceDefinition:
    """A process pool for the length of a run; its workers start when there is work."""

    @dg.resource(description="The worker processes of a run")
    def pool(_context: dg.InitResourceContext) -> Iterator[Pool]:
        with open_pool(project) as opened:
            yield opened

    return pool

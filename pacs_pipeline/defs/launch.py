"""Runs the jobs in this process on a Dagster instance that keeps them, so that the UI shows them afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from pacs_pipeline.defs.build import build_defs
from pacs_pipeline.defs.jobs import RANGE_END_TAG, RANGE_START_TAG
from pacs_pipeline.defs.progress import ShownProgress
from pacs_pipeline.records import Partition
from pacs_pipeline.settings import Settings

INSTANCE_CONFIG = Path(__file__).parents[2] / "dagster.yaml"
# the terminal shows bars and what went wrong; the instance keeps the log
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Launcher:
    """Runs partitions of a project on the instance in ``home``; made by :func:`launcher`."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, shown: ShownProgress | None) -> None:
        self._defs = build_defs(settings, {"shown_progress": shown} if shown else None)
        self._instance = instance

    def census(self, first: Partition, last: Partition) -> tuple[str, ...]:
        """Take the census of a range of days in one run; returns what went wrong, nothing when it succeeded."""
        job = self._defs.resolve_job_def(f"{first.site}_census")
        tags = {RANGE_START_TAG: first.key, RANGE_END_TAG: last.key}
        return self._run(job, tags=tags)

    def chain(self, partition: Partition) -> tuple[str, ...]:
        """Take one partition from the PACS to its books; returns what went wrong, nothing when all succeeded."""
        job = self._defs.resolve_job_def(f"{partition.site}_chain")
        return self._run(job, partition_key=partition.key)

    def _run(
        self, job: dg.JobDefinition, *, tags: Mapping[str, str] | None = None, partition_key: str | None = None
    ) -> tuple[str, ...]:
        run = job.execute_in_process(
            instance=self._instance,
            run_config=_SILENT,
            tags=dict(tags or {}),
            partition_key=partition_key,
            raise_on_error=False,
        )
        return _problems(run)


def _problems(run: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """The messages of the steps that failed."""
    if run.success:
        return ()
    return tuple(_message(event) for event in run.get_step_failure_events()) or ("the run failed",)


def _message(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return failure.error.message.strip() if failure.error is not None else "no reason given"


@contextmanager
def launcher(settings: Settings, home: Path, shown: ShownProgress | None = None) -> Iterator[Launcher]:
    """Open the Dagster instance in ``home`` for runs in this process; ``shown`` shows their progress."""
    os.environ["DAGSTER_HOME"] = str(prepare_home(home))  # Dagster itself reads nothing else
    with dg.DagsterInstance.get() as instance:
        yield Launcher(settings, instance, shown)


def prepare_home(home: Path) -> Path:
    """Make ``home`` a folder for Dagster, with the project's ``dagster.yaml`` unless it has its own; absolute."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(INSTANCE_CONFIG, home / "dagster.yaml")
    return home.resolve()

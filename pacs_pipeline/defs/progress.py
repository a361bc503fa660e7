"""Progress of long work as lines in the run's log: counts, at most one line every few seconds."""

from __future__ import annotations

import time

import dagster as dg

from pacs_pipeline.records import Partition
from pacs_pipeline.stages.project import Progress

SECONDS_BETWEEN_LINES = 5.0


def logged(context: dg.AssetExecutionContext, partition: Partition) -> Progress:
    """A progress callback that logs to the run."""
    last = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if (done == total and total) or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            context.log.info(f"{partition}: {done} of {total} {what}")

    return progress

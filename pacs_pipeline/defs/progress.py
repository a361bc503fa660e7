"""Progress of long work: lines in the run's log, and whatever else wants to show it."""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg

from pacs_pipeline.records import Partition
from pacs_pipeline.stages.project import Progress, silent

SECONDS_BETWEEN_LINES = 5.0

ShownProgress = Callable[[Partition], Progress]
"""Shows the progress of a partition outside Dagster, e.g. as bars in a terminal."""


def shown_nowhere(_partition: Partition) -> Progress:
    """The default: the log is enough."""
    return silent


def reporter(context: dg.AssetExecutionContext, shown: ShownProgress) -> ShownProgress:
    """Progress that goes to the run's log, at most one line every few seconds, and to ``shown``."""

    def of(partition: Partition) -> Progress:
        last = time.monotonic()
        also = shown(partition)

        def progress(what: str, done: int, total: int) -> None:
            nonlocal last
            also(what, done, total)
            now = time.monotonic()
            if (done == total and total) or now - last >= SECONDS_BETWEEN_LINES:
                last = now
                context.log.info(f"{partition}: {done} of {total} {what}")

        return progress

    return of

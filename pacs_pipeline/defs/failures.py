"""Turns the project's exceptions into Dagster failures: transient ones are retried, permanent ones never."""

from __future__ import annotations

import dagster as dg

from pacs_pipeline.defs.jobs import MAX_RETRIES_TAG
from pacs_pipeline.errors import PipelineError, Transient


def fail(context: dg.AssetExecutionContext, errors: dict[str, PipelineError]) -> dg.Failure:
    """The failure of a run whose partitions (keys of ``errors``) went wrong.

    The run is retried only when every error may pass by itself: the run-retry daemon reads the run's tags, so
    ``allow_retries`` alone would not keep it from trying again.
    """
    retry = all(isinstance(error, Transient) for error in errors.values())
    if not retry:
        never_retry(context)
    message = "; ".join(str(error) for error in list(errors.values())[:5])
    more = f" (and {len(errors) - 5} more partitions)" if len(errors) > 5 else ""
    return dg.Failure(
        description=message + more,
        metadata={"failed_partitions": sorted(errors), "retried": retry},
        allow_retries=retry,
    )


def never_retry(context: dg.AssetExecutionContext) -> None:
    """Tell the run-retry daemon that running this again would not help."""
    context.instance.add_run_tags(context.run_id, {MAX_RETRIES_TAG: "0"})

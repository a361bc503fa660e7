"""Turns the project's exceptions into Dagster failures: transient ones are retried, permanent ones never.

Neither are those of a site that may not be asked: the sensor asks again when it may.
"""

from __future__ import annotations

import dagster as dg

from pacs_pipeline.defs.jobs import MAX_RETRIES_TAG
from pacs_pipeline.errors import Paused, PipelineError, Transient


def fail(context: dg.AssetExecutionContext, errors: dict[str, PipelineError]) -> dg.Failure:
    """The failure of a run whose partitions (keys of ``errors``) went wrong.

    The run is retried only when every error may pass by itself soon: the run-retry daemon reads the run's tags, so
    ``allow_retries`` alone would not keep it from trying again. What several partitions say is said once.
    """
    paused = [error for error in errors.values() if isinstance(error, Paused)]
    retry = not paused and all(isinstance(error, Transient) for error in errors.values())
    if not retry:
        never_retry(context)
    said = list(dict.fromkeys(str(error) for error in errors.values()))
    message = "; ".join(said[:5])
    more = f" (and {len(said) - 5} more)" if len(said) > 5 else ""
    until = min((error.until for error in paused if error.until is not None), default=None)
    return dg.Failure(
        description=message + more,
        metadata={
            "failed_partitions": sorted(errors),
            "retried": retry,
            **({"paused_until": until.isoformat()} if until is not None else {}),
        },
        allow_retries=retry,
    )


def never_retry(context: dg.AssetExecutionContext) -> None:
    """Tell the run-retry daemon that running this again would not help."""
    context.instance.add_run_tags(context.run.run_id, {MAX_RETRIES_TAG: "0"})

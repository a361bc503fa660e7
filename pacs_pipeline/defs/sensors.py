"""The staleness sensor: requests a run for exactly the partitions that are out of date."""

import datetime as dt
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pacs_pipeline.defs.jobs import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.settings import Settings
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import STAGE_ASSETS, Stale, stale_partitions
from pacs_pipeline.stages.states import partition_states

REQUESTS_PER_TICK = 50
UNFINISHED_REQUESTS = 200
"""No more are asked for while so many wait: a new profile makes every partition stale, and a queue of all of them
would take longer to look through than the partitions themselves."""

WHY_TAG = "pacs_pipeline/why"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class Requests:
    """What one tick decided."""

    runs: tuple[dg.RunRequest, ...]
    cursor: str  # where the next tick goes on, so that no site starves
    left: int  # stale, not requested in this tick


def decide(
    stale: Iterable[Stale],
    *,
    jobs: Mapping[str, str],
    running: Collection[tuple[str, str]],
    today: Mapping[str, dt.date],
    cursor: str = "",
    limit: int = REQUESTS_PER_TICK,
) -> Requests:
    """Run requests for stale partitions. Pure.

    ``jobs`` names the chain job of each site, ``running`` the (site, partition key) pairs with an unfinished
    run, ``today`` the current date at each site. The run key holds the state and the day: one state is asked
    for once a day, however often the sensor looks.
    """
    waiting = sorted((s for s in stale if (s.partition.site, s.partition.key) not in running), key=_place)
    start = bisect_right(waiting, cursor, key=_place)
    chosen = [*waiting[start : start + limit], *waiting[: max(0, min(start, start + limit - len(waiting)))]]
    return Requests(
        runs=tuple(_request(s, jobs[s.partition.site], today[s.partition.site]) for s in chosen),
        cursor=_place(chosen[-1]) if chosen and len(waiting) > limit else "",
        left=len(waiting) - len(chosen),
    )


def _place(stale: Stale) -> str:
    return f"{stale.partition.site}/{stale.partition.key}"


def _request(stale: Stale, job: str, today: dt.date) -> dg.RunRequest:
    names = list(STAGE_ASSETS.items())
    start = [stage for stage, _ in names].index(stale.stage)
    return dg.RunRequest(
        run_key=f"{_place(stale)}/{stale.key}/{today.isoformat()}",
        job_name=job,
        partition_key=stale.partition.key,
        asset_selection=[dg.AssetKey([stale.partition.site, name]) for _, name in names[start:]],
        tags={WHY_TAG: stale.why},
    )


def staleness_sensor(settings: Settings, chains: Mapping[str, UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """The one sensor of the project, over all sites."""

    @dg.sensor(
        name="staleness",
        jobs=list(chains.values()),
        minimum_interval_seconds=settings.sensor_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automatic else dg.DefaultSensorStatus.STOPPED,
        description="Requests runs for partitions with late studies, changed series, a new profile or a new contract.",
    )
    def staleness(
        context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
    ) -> dg.SensorResult | dg.SkipReason:
        damaged: list[PipelineError] = []
        states = partition_states(project, sites=chains, on_damaged=damaged.append)
        stale = list(stale_partitions(states, project.fingerprints))  # one site's records in memory at a time
        for error in damaged:
            context.log.error(str(error))
        now = dt.datetime.now(dt.UTC)
        unfinished = _unfinished(context.instance)
        requests = decide(
            stale,
            jobs={name: job.name for name, job in chains.items()},
            running=_keys(unfinished, {job.name: name for name, job in chains.items()}),
            today={site.name: now.astimezone(site.zone).date() for site in settings.sites},
            cursor=context.cursor or "",
            limit=max(0, min(REQUESTS_PER_TICK, UNFINISHED_REQUESTS - sum(WHY_TAG in run.tags for run in unfinished))),
        )
        if not requests.runs:
            return dg.SkipReason(f"{requests.left} partitions are stale and wait" if requests.left else "none is stale")
        context.log.info("requesting %d runs, %d partitions wait", len(requests.runs), requests.left)
        return dg.SensorResult(run_requests=list(requests.runs), cursor=requests.cursor)

    return staleness


def _unfinished(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))


def _keys(runs: Iterable[dg.DagsterRun], sites: Mapping[str, str]) -> set[tuple[str, str]]:
    """The (site, partition key) pairs that a run is working on or waits for."""
    return {(sites[run.job_name], key) for run in runs if run.job_name in sites for key in keys_of_run(run.tags)}


def keys_of_run(tags: Mapping[str, str]) -> Iterator[str]:
    """The partition keys of a run with ``tags``: its one partition, or every day of its range."""
    if PARTITION_TAG in tags:
        yield tags[PARTITION_TAG]
    elif RANGE_START_TAG in tags and RANGE_END_TAG in tags:
        day, last = (dt.date.fromisoformat(tags[tag]) for tag in (RANGE_START_TAG, RANGE_END_TAG))
        while day <= last:
            yield day.isoformat()
            day += dt.timedelta(days=1)

"""The staleness sensor: requests a run for exactly the partitions that are out of date."""

import datetime as dt
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pacs_pipeline.defs.jobs import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import Stage
from pacs_pipeline.settings import Settings, SiteSettings
from pacs_pipeline.stages.access import access_to
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import STAGE_ASSETS, Stale, stale_partitions
from pacs_pipeline.stages.states import partition_states

REQUESTS_PER_TICK = 50
MOST_PROBES = 3
"""Runs of a site whose archive failed: one is enough to try it, and the others come when it has answered."""

ASKING = frozenset({Stage.CENSUS, Stage.HARVEST})
"""The stages that ask the archive; the others may run at any hour."""

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
class Session:
    """Whether the archive of a site may be asked now, and since when: ``key`` is new in every window."""

    key: str
    may_ask: bool = True
    probing: bool = False  # its last requests failed, and whether it answers again has to be tried


@dataclass(frozen=True, slots=True)
class Requests:
    """What one tick decided."""

    runs: tuple[dg.RunRequest, ...]
    cursor: str  # where the next tick goes on, so that no site starves
    left: int  # stale, not requested in this tick
    waiting: int = 0  # of those: until their archives may be asked


def decide(
    stale: Iterable[Stale],
    *,
    jobs: Mapping[str, str],
    running: Collection[tuple[str, str]],
    today: Mapping[str, dt.date],
    sessions: Mapping[str, Session] | None = None,
    cursor: str = "",
    limit: int = REQUESTS_PER_TICK,
) -> Requests:
    """Run requests for stale partitions. Pure.

    ``jobs`` names the chain job of each site, ``running`` the (site, partition key) pairs with an unfinished
    run, ``today`` the current date at each site. ``sessions`` tells the access to each site; a site without one is
    open all day. What would ask an archive that may not be asked now is left for later. The run key holds the state
    and the session, or the day for stages that ask no archive: one state is asked for once in each, however often
    the sensor looks.
    """
    of_site = {site: Session(day.isoformat()) for site, day in today.items()} | dict(sessions or {})
    idle = sorted((s for s in stale if (s.partition.site, s.partition.key) not in running), key=_place)
    ready = [s for s in idle if s.stage not in ASKING or of_site[s.partition.site].may_ask]
    start = bisect_right(ready, cursor, key=_place)
    turn = ready[start:] + ready[:start]
    chosen = list(islice(_few_probes(turn, of_site, running), limit))
    return Requests(
        runs=tuple(
            _request(
                s,
                jobs[s.partition.site],
                of_site[s.partition.site].key if s.stage in ASKING else today[s.partition.site].isoformat(),
            )
            for s in chosen
        ),
        cursor=_place(chosen[-1]) if chosen and len(ready) > limit else "",
        left=len(idle) - len(chosen),
        waiting=len(idle) - len(ready),
    )


def in_partitions(stale: Iterable[Stale], sites: Iterable[SiteSettings], now: dt.datetime) -> Iterator[Stale]:
    """Those whose date is a partition of their site at ``now`` (aware): what is pushed may be of any date.

    Today is none yet, a date before ``start_date`` never becomes one, and a request for it would end the tick.
    """
    dates = {site.name: (site.start_date, now.astimezone(site.zone).date()) for site in sites}
    for each in stale:
        first, today = dates[each.partition.site]
        if first <= each.partition.study_date < today:
            yield each


def _few_probes(
    stale: Iterable[Stale], sessions: Mapping[str, Session], running: Iterable[tuple[str, str]]
) -> Iterator[Stale]:
    """What to request, with few that ask an archive that is to be tried; those that run already count."""
    tries = Counter(site for site, _ in running)
    for each in stale:
        site = each.partition.site
        if each.stage in ASKING and sessions[site].probing:
            tries[site] += 1
            if tries[site] > MOST_PROBES:
                continue
        yield each


def _place(stale: Stale) -> str:
    return f"{stale.partition.site}/{stale.partition.key}"


def _request(stale: Stale, job: str, session: str) -> dg.RunRequest:
    names = list(STAGE_ASSETS.items())
    start = [stage for stage, _ in names].index(stale.stage)
    return dg.RunRequest(
        run_key=f"{_place(stale)}/{stale.key}/{session}",
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
        now = dt.datetime.now(dt.UTC)
        states = partition_states(project, sites=chains, on_damaged=damaged.append)
        stale = stale_partitions(states, project.fingerprints)
        known = list(in_partitions(stale, settings.sites, now))  # one site's records in memory at a time
        sessions = {site.name: _session(project, site, now, on_error=damaged.append) for site in settings.sites}
        for error in damaged:
            context.log.error(str(error))
        unfinished = _unfinished(context.instance)
        requests = decide(
            known,
            jobs={name: job.name for name, job in chains.items()},
            running=_keys(unfinished, {job.name: name for name, job in chains.items()}),
            today={site.name: now.astimezone(site.zone).date() for site in settings.sites},
            sessions=sessions,
            cursor=context.cursor or "",
            limit=max(0, min(REQUESTS_PER_TICK, UNFINISHED_REQUESTS - sum(WHY_TAG in run.tags for run in unfinished))),
        )
        if not requests.runs:
            if requests.waiting:
                return dg.SkipReason(f"{requests.waiting} stale partitions wait until their archives may be asked")
            return dg.SkipReason(f"{requests.left} partitions are stale and wait" if requests.left else "none is stale")
        context.log.info("requesting %d runs, %d partitions wait", len(requests.runs), requests.left)
        return dg.SensorResult(run_requests=list(requests.runs), cursor=requests.cursor)

    return staleness


def _session(
    project: Project, site: SiteSettings, now: dt.datetime, *, on_error: Callable[[PipelineError], object]
) -> Session:
    """The access of a site; when that cannot be read, nobody asks."""
    access = access_to(project, site)
    try:
        circuit = access.circuit(now)
        return Session(access.session_key(now), access.paused(now) is None, circuit.is_half_open(now))
    except PipelineError as error:
        on_error(error)
        return Session("", may_ask=False)


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

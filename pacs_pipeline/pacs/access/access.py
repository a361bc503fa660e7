"""The front of a site's access control: may the archive be asked now, over how many associations, how fast."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from pacs_pipeline.errors import Paused, PipelineError
from pacs_pipeline.pacs.access import shared
from pacs_pipeline.pacs.access.baseline import Baseline, Usual
from pacs_pipeline.pacs.access.calendar import Calendar, Opening
from pacs_pipeline.pacs.access.circuit import Circuit, CircuitState
from pacs_pipeline.pacs.access.kill_switch import KillSwitch
from pacs_pipeline.pacs.access.pace import Pace
from pacs_pipeline.pacs.access.rate import Rate
from pacs_pipeline.pacs.access.slots import Slots
from pacs_pipeline.settings import SiteSettings

log = logging.getLogger(__name__)

WAIT_SECONDS = 60.0
"""How long an association is waited for."""

LONGEST_PAUSE_BETWEEN_INSTANCES = 1.0
"""Seconds; an archive that waits longer for the answer to a C-STORE may hang up."""

_SECONDS_BETWEEN_LOOKS = 0.2  # while we wait, at the kill switch and the rest
_SECONDS_BETWEEN_SAVES = 30.0
_NOT_WORTH_SLEEPING = 0.002  # seconds; what is not slept now is owed and slept later
_ALWAYS = dt.datetime.max.replace(tzinfo=dt.UTC)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _last_failed(state: CircuitState) -> str:
    return "its last request failed" if state.failures == 1 else f"its last {state.failures} requests failed"


class Access:
    """Access to one site's archive, for all that one process does there. Thread-safe.

    Calendar, kill switch, circuit breaker and association budget hold for all processes together; the pace is
    each process's own, from a baseline that they share. Everything lies below the site's folder of the state
    zone, which is written to only when there is something to keep.
    """

    def __init__(
        self,
        site: SiteSettings,
        folder: Path,
        *,
        now: Callable[[], dt.datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        settings, below = site.access, folder / "access"
        self.site = site
        self._now, self._monotonic, self._sleep = now, monotonic, sleep
        self._calendar = Calendar(settings, site.zone)
        self._kill_switch = KillSwitch(folder)
        self._circuit = Circuit(
            below,
            failures_before_pause=settings.failures_before_pause,
            pause=dt.timedelta(minutes=settings.pause_minutes),
        )
        self._slots = Slots(site.name, below, monotonic=monotonic, sleep=sleep)
        self._rate = Rate(below)
        self._latency = below / "latency.json"
        self._pace: Pace | None = None
        self._in_use = 0
        self._saved = monotonic()
        self._looked: tuple[dt.datetime, dt.datetime, Opening | None] | None = None
        self._lock = threading.RLock()

    @classmethod
    def of(
        cls,
        site: SiteSettings,
        folder: Path,
        now: Callable[[], dt.datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Self:
        """The access to ``site``; ``folder`` is its folder of the state zone, nothing is created there yet."""
        return cls(site, folder, now=now, monotonic=monotonic, sleep=sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Keep what was learned, and let another process try when this one was to try an archive that failed."""
        self._circuit.give_up()
        self._save()
        self._rate.close()

    # may it be asked

    def require_open(self) -> None:
        """Return when the archive may be asked now, else raise Paused; cheap enough to precede every instance.

        When the archive failed and its pause is over, one process may try: the caller, until it reports
        :meth:`succeeded` or :meth:`failed`, or the others while they are told to wait.
        """
        now = self._now()
        paused = self.paused(now)
        if paused is not None:
            raise paused
        if self._circuit.state(now).is_half_open(now) and not self._circuit.try_to_probe():
            raise Paused(
                f"{self.site.name}: its last requests failed, and another run is trying whether it answers again",
                fix="the run continues when it does; nothing has to be done",
            )

    def paused(self, now: dt.datetime | None = None) -> Paused | None:
        """Why the archive may not be asked, None when it may; decides nothing, changes nothing."""
        now = now or self._now()
        return self.stopped() or self.closed(now) or self.failing(now)

    def stopped(self) -> Paused | None:
        """The kill switch."""
        stop = self._kill_switch.stopped
        if stop is None:
            return None
        who = f" by {stop.by}" if stop.by else ""
        since = f" since {self._clock(stop.at)}" if stop.at else ""
        reason = f" ({' '.join(stop.reason.split())[:200]})" if stop.reason else ""
        return Paused(
            f"{self.site.name}: stopped{who}{since}{reason}",
            fix=f"the run continues after 'pacs-pipeline start --site {self.site.name}', when the site is open",
        )

    def closed(self, now: dt.datetime) -> Paused | None:
        """The calendar."""
        if self._opening(now) is not None:
            return None
        until = self._calendar.next_opening(now)
        when = f", which opens {self._clock(until)}" if until else ""
        return Paused(
            f"{self.site.name}: outside of its access windows",
            until=until,
            fix=f"the run continues in the next window{when}; nothing has to be done",
        )

    def failing(self, now: dt.datetime) -> Paused | None:
        """The circuit breaker."""
        state = self._circuit.state(now)
        if not state.is_open(now) or state.until is None:
            return None
        return Paused(
            f"{self.site.name}: {_last_failed(state)}; nobody asks before {self._clock(state.until)}",
            until=state.until,
            fix="the run continues after that, when the site is open; if it stays like this, look at archive and "
            f"network, and end the pause with 'pacs-pipeline start --site {self.site.name}'",
        )

    def session_key(self, now: dt.datetime | None = None) -> str:
        """The same as long as nothing has let the archive be asked anew: a window, the end of a stop or of a pause.

        Without windows a new session begins at the site's midnight.
        """
        now = now or self._now()
        opening = self._opening(now)
        midnight = now.astimezone(self.site.zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        begin = midnight.astimezone(dt.UTC) if opening is None or opening.since is None else opening.since
        circuit = self._circuit.state(now)
        pause_ended = circuit.until if circuit.is_half_open(now) else circuit.ended
        others = (self._kill_switch.lifted, pause_ended)
        latest = max([begin, *(other for other in others if other is not None and other <= now)])
        return latest.astimezone(dt.UTC).isoformat()

    # how much at once, how fast

    @property
    def allowed(self) -> int:
        """How many associations this process should have in use now; 0 when the archive may not be asked."""
        if self.paused() is not None:
            return 0
        return 1 if self._circuit.probing else self._budgeted().allowed

    @contextmanager
    def association(self, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """One association of the site's budget, over all processes.

        Waits while as many as allowed are in use; raises Busy after ``wait_seconds``, Paused when the site closes.
        """
        slot = self._slots.take(self._limit, wait_seconds=wait_seconds)
        with self._lock:
            self._in_use += 1
        try:
            yield
        finally:
            slot.release()
            with self._lock:
                self._in_use -= 1
                last = not self._in_use
            if last:
                self._save()

    def observe(self, kind: str, seconds: float, size: int = 0) -> None:
        """A request took the archive ``seconds``, our own waiting not counted.

        ``kind`` is what it is compared with, e.g. ``find`` or ``store``; ``size`` the bytes of an instance.
        """
        with self._lock:
            self._budgeted().observe(kind, seconds, size=size, in_use=self._in_use)
            due = self._monotonic() - self._saved >= _SECONDS_BETWEEN_SAVES
        if due:
            self._save()

    def failed(self) -> None:
        """A request failed for the archive's or the network's reason."""
        with self._lock:
            self._budgeted().failed(in_use=self._in_use)
        state = self._circuit.failed(self._now())
        if state.until is not None:
            log.warning("%s: %s; nobody asks before %s", self.site.name, _last_failed(state), self._clock(state.until))

    def succeeded(self) -> None:
        """A request succeeded."""
        self._circuit.succeeded(self._now())

    @property
    def pause(self) -> float:
        """Seconds to wait between two requests while the archive is slow even with one association."""
        return self._budgeted().pause

    def rest(self) -> None:
        """Wait as long as the pace asks for between two requests; raises Paused when the site closes meanwhile."""
        self._wait(self.pause)

    def throttle(self, instances: int = 1) -> None:
        """Wait until ``instances`` more may come.

        That is by the window's instances per second, for all processes together, and in part by the pace's pause.
        Raises Paused when the site closes meanwhile.
        """
        opening = self._opening(self._now())
        rate = opening.instances_per_second if opening is not None else None
        wait = self._rate.wait(rate, self._monotonic(), instances) if rate is not None else 0.0
        self._wait(max(wait, min(self.pause, LONGEST_PAUSE_BETWEEN_INSTANCES)))

    # for people

    def stop(self, *, by: str, reason: str = "") -> None:
        """Let nobody ask any more: running harvests stop within one instance."""
        self._kill_switch.stop(by=by, at=self._now(), reason=reason)

    def start(self, *, by: str) -> tuple[bool, bool]:
        """Lift the stop and end the pause of the circuit breaker; whether there was a stop, and a pause."""
        now = self._now()
        return self._kill_switch.start(by=by, at=now), self._circuit.close(now)

    def opening(self, now: dt.datetime | None = None) -> Opening | None:
        """What the calendar allows, None when it is closed."""
        return self._opening(now or self._now())

    def circuit(self, now: dt.datetime | None = None) -> CircuitState:
        """What the circuit breaker knows."""
        return self._circuit.state(now or self._now())

    @property
    def holders(self) -> tuple[str, ...]:
        """Who has associations in use, one entry each."""
        return self._slots.holders()

    def latencies(self) -> Mapping[str, Usual]:
        """What requests of each kind usually take and took last, as far as a process has written it down."""
        return dict(Baseline.from_json(shared.read(self._latency)).kinds)

    def _clock(self, instant: dt.datetime) -> str:
        return f"{instant.astimezone(self.site.zone):%Y-%m-%d %H:%M %Z}"

    def _opening(self, now: dt.datetime) -> Opening | None:
        """What the calendar says, looked up again only when it changes."""
        now = now.astimezone(dt.UTC)
        if self._looked is not None:
            begin, end, opening = self._looked
            if begin <= now < end:
                return opening
        opening = self._calendar.opening(now)
        change = opening.changes if opening is not None else self._calendar.next_opening(now)
        self._looked = (now, change or _ALWAYS, opening)
        return opening

    def _budgeted(self) -> Pace:
        """The pace, within what the calendar allows at the moment."""
        with self._lock:
            opening = self._opening(self._now())
            budget = opening.associations if opening is not None else 1
            if self._pace is None:
                baseline = Baseline.from_json(shared.read(self._latency))
                self._pace = Pace(
                    budget=budget,
                    slow_factor=self.site.access.slow_factor,
                    clock=self._monotonic,
                    baseline=baseline,
                )
            self._pace.budget = budget
            return self._pace

    def _limit(self) -> int:
        self.require_open()
        return max(1, self.allowed)

    def _wait(self, seconds: float) -> None:
        if seconds < _NOT_WORTH_SLEEPING:
            return
        while seconds > 0:
            step = min(seconds, _SECONDS_BETWEEN_LOOKS)
            self._sleep(step)
            seconds -= step
            self.require_open()

    def _save(self) -> None:
        """Keep the baseline. A disk that has no room for it is no reason to stop."""
        with self._lock:
            self._saved = self._monotonic()
            known = self._pace.baseline.to_json() if self._pace is not None else {}
        if not known:
            return
        try:
            with shared.locked(self._latency.with_suffix(".lock")):
                shared.replace(self._latency, {**shared.read(self._latency), **known})
        except PipelineError as error:
            log.warning("%s: what its archive usually takes is not kept: %s", self.site.name, error)

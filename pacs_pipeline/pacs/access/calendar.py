"""The access calendar: when a site may be asked, with which limits, and when that changes. Pure.

The site's wall clock decides: a site is open while its clock shows a time inside a window. So a window of a
night on which the clocks change is an hour longer or shorter, and a time that is shown twice counts twice.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

from pacs_pipeline.settings.access import DAYS, AccessSettings, Window

_DAY = dt.timedelta(days=1)
_SECOND = dt.timedelta(seconds=1)
_SLACK = dt.timedelta(hours=3)  # no midnight is farther from where its zone's offset puts it
_HORIZON = 15 * _DAY  # two of each weekday: one may lose an hour to the clocks
_MIDNIGHT = dt.time(0)


@dataclass(frozen=True, slots=True)
class Opening:
    """A site that is open: the limits, and for how long. All instants are in UTC."""

    associations: int
    instances_per_second: float | None = None  # None: as fast as the archive sends
    since: dt.datetime | None = None  # when the latest of the windows in force opened; None without windows
    changes: dt.datetime | None = None  # when another window opens or one closes
    until: dt.datetime | None = None  # when the site closes; None: never


@dataclass(frozen=True)
class Calendar:
    """The windows of a site in its own zone. Without windows it is always open. Instants given must be aware."""

    settings: AccessSettings
    zone: zoneinfo.ZoneInfo

    def opening(self, now: dt.datetime) -> Opening | None:
        """What is allowed at ``now``, or None when the site is closed."""
        found = self._limits(now)
        if found is None or not self.settings.windows:
            return found
        changes = until = None
        for instant in self._candidates(now):
            then = self._limits(instant)
            if changes is None and then != found:
                changes = instant
            if then is None:
                until = instant
                break
        return Opening(found.associations, found.instances_per_second, found.since, changes, until)

    def next_opening(self, now: dt.datetime) -> dt.datetime | None:
        """When the site opens after it was closed, at ``now`` or later; None when it never closes."""
        closed = self._limits(now) is None
        for instant in self._candidates(now):
            is_open = self._limits(instant) is not None
            if closed and is_open:
                return instant
            closed = not is_open
        return None

    def _limits(self, instant: dt.datetime) -> Opening | None:
        if not self.settings.windows:
            return Opening(self.settings.associations)
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        in_force = [(window, start) for window in self.settings.windows for start in self._starts(window, wall)]
        if not in_force:
            return None
        rates = [window.instances_per_second for window, _ in in_force]
        return Opening(
            associations=max(window.associations or self.settings.associations for window, _ in in_force),
            instances_per_second=None if None in rates else max(rate for rate in rates if rate is not None),
            since=self._instant(max(start for _, start in in_force)),
        )

    def _starts(self, window: Window, wall: dt.datetime) -> Iterator[dt.datetime]:
        """The openings of ``window`` that have not ended at the wall clock time ``wall``."""
        for day in (wall.date() - _DAY, wall.date()):
            weekday = "sun" if day in self.settings.holidays else DAYS[day.weekday()]
            start = dt.datetime.combine(day, window.opens)
            end = dt.datetime.combine(day if window.closes > window.opens else day + _DAY, window.closes)
            if weekday in window.days and start <= wall < end:
                yield start

    def _candidates(self, after: dt.datetime) -> Iterator[dt.datetime]:
        """Every instant later than ``after`` at which something may change, in order, up to where all has repeated."""
        after = after.astimezone(dt.UTC)
        day = after.astimezone(self.zone).date()
        last = max([day, *self.settings.holidays]) + _HORIZON
        times = {_MIDNIGHT, *(t for window in self.settings.windows for t in (window.opens, window.closes))}
        while day <= last:
            walls = [dt.datetime.combine(day, time) for time in times]
            found = {instant for wall in walls for instant in self._instants(wall)}
            change = self._clock_change(walls[0])
            if change is not None and change.astimezone(self.zone).date() == day:
                found.add(change)
            yield from sorted(instant for instant in found if instant > after)
            day += _DAY

    def _instants(self, wall: dt.datetime) -> Iterator[dt.datetime]:
        """When the wall clock shows ``wall``: once, twice when clocks go back, never when they skip it."""
        for fold in (0, 1):
            instant = wall.replace(tzinfo=self.zone, fold=fold).astimezone(dt.UTC)
            if instant.astimezone(self.zone).replace(tzinfo=None) == wall:
                yield instant

    def _instant(self, wall: dt.datetime) -> dt.datetime:
        """When the wall clock first shows ``wall`` or, when it is skipped, a later time."""
        for instant in self._instants(wall):
            return instant
        change = self._clock_change(wall)
        return change or wall.replace(tzinfo=self.zone).astimezone(dt.UTC)

    def _clock_change(self, wall: dt.datetime) -> dt.datetime | None:
        """The instant at which the zone's clocks change on the day of ``wall``, to the second; None on most days."""
        midnight = dt.datetime.combine(wall.date(), _MIDNIGHT, self.zone).astimezone(dt.UTC)
        before, after = midnight - _SLACK, midnight + _DAY + _SLACK
        offset = before.astimezone(self.zone).utcoffset()
        if after.astimezone(self.zone).utcoffset() == offset:
            return None
        while after - before > _SECOND:
            middle = before + (after - before) // (2 * _SECOND) * _SECOND
            if middle.astimezone(self.zone).utcoffset() == offset:
                before = middle
            else:
                after = middle
        return after

"""Clocks that tests turn, and an access control that runs on them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pacs_pipeline.pacs.access import Access
from pacs_pipeline.settings import AccessSettings, PacsSettings, SiteSettings

EVENING = dt.datetime(2024, 3, 5, 21, 0, tzinfo=dt.UTC)  # a Tuesday, 22:00 in Berlin


class Clock:
    """Wall clock and monotonic clock in one; sleeping moves it on."""

    def __init__(self, start: dt.datetime = EVENING) -> None:
        self.start = start
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> dt.datetime:
        return self.start + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 1000.0 + self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def pass_by(self, **time: float) -> None:
        self.seconds += dt.timedelta(**time).total_seconds()


def site(**access: object) -> SiteSettings:
    return SiteSettings(
        name="north",
        timezone="Europe/Berlin",
        start_date=dt.date(2024, 1, 1),
        pacs=PacsSettings(host="127.0.0.1", port=104, ae_title="PACS"),
        access=AccessSettings.model_validate(access),
    )


def access(folder: Path, clock: Clock, **settings: object) -> Access:
    return Access.of(site(**settings), folder, now=clock.now, monotonic=clock.monotonic, sleep=clock.sleep)

"""When and how hard a site's archive may be asked."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from pacs_pipeline.settings.section import Section

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(Section):
    """A weekly window in the site's zone. ``to`` before or at ``from`` reaches into the next day."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: tuple[Day, ...] = DAYS  # on which the window opens
    opens: Annotated[dt.time, Field(alias="from")] = dt.time(0, 0)
    closes: Annotated[dt.time, Field(alias="to")] = dt.time(0, 0)
    associations: Annotated[int, Field(ge=1, le=64)] | None = None  # None: those of the site
    instances_per_second: Annotated[float, Field(gt=0)] | None = None  # None: as fast as the archive sends

    @field_validator("days")
    @classmethod
    def _some_day(cls, value: tuple[Day, ...]) -> tuple[Day, ...]:
        if not value:
            raise ValueError("name at least one day")
        return value

    @field_validator("opens", "closes")
    @classmethod
    def _wall_clock(cls, value: dt.time) -> dt.time:
        if value.tzinfo is not None:
            raise ValueError("times are in the site's own zone; leave the offset away")
        return value


class AccessSettings(Section):
    """The access calendar and the limits of a site. Without windows it is open at any time."""

    associations: Annotated[int, Field(ge=1, le=64)] = 2
    windows: tuple[Window, ...] = ()
    holidays: tuple[dt.date, ...] = ()  # days that count as a Sunday
    slow_factor: Annotated[float, Field(gt=1, le=100)] = 3.0  # times its own usual latency: the archive is slow
    failures_before_pause: Annotated[int, Field(ge=1, le=1000)] = 5  # one after another; then nobody asks
    pause_minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0

    @model_validator(mode="after")
    def _within_budget(self) -> AccessSettings:
        for window in self.windows:
            if window.associations is not None and window.associations > self.associations:
                raise ValueError("a window allows more associations than the site")
        return self

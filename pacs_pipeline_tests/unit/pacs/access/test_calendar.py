"""The calendar against a walk over every minute, and the nights on which it matters."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.pacs.access.calendar import Calendar, Opening
from pacs_pipeline.settings import AccessSettings, Window
from pacs_pipeline.settings.access import DAYS

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
MINUTE = dt.timedelta(minutes=1)
WORKDAYS = DAYS[:5]


def window(days: tuple[str, ...], opens: str, closes: str, **limits: object) -> Window:
    return Window.model_validate({"days": days, "from": opens, "to": closes, **limits})


def calendar(
    *windows: Window, zone: zoneinfo.ZoneInfo = BERLIN, holidays: tuple[dt.date, ...] = (), associations: int = 8
) -> Calendar:
    return Calendar(AccessSettings(associations=associations, windows=windows, holidays=holidays), zone)


def berlin(text: str, *, fold: int = 0) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(dt.UTC)


NIGHTS = window(WORKDAYS, "22:00", "06:00")


def test_without_windows_a_site_is_always_open() -> None:
    opening = calendar(associations=3).opening(berlin("2024-03-05T12:00"))
    assert opening == Opening(associations=3)
    assert calendar().next_opening(berlin("2024-03-05T12:00")) is None


def test_a_window_crosses_midnight_and_belongs_to_the_day_on_which_it_opens() -> None:
    nights = calendar(NIGHTS)
    friday_night = nights.opening(berlin("2024-03-09T05:59"))  # a Saturday
    assert friday_night is not None
    assert friday_night.since == berlin("2024-03-08T22:00")
    assert friday_night.until == berlin("2024-03-09T06:00")
    assert nights.opening(berlin("2024-03-09T06:00")) is None
    assert nights.next_opening(berlin("2024-03-09T06:00")) == berlin("2024-03-11T22:00")


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2024-03-30", 7), ("2024-10-26", 9), ("2024-06-01", 8)],
    ids=["clocks go forward", "clocks go back", "an ordinary night"],
)
def test_a_night_lasts_to_the_hour_on_the_sites_clock(day: str, hours: int) -> None:
    opening = calendar(window(DAYS, "22:00", "06:00")).opening(berlin(f"{day}T22:00"))
    assert opening is not None
    assert opening.since is not None
    assert opening.until is not None
    assert opening.until - opening.since == dt.timedelta(hours=hours)


def test_a_window_whose_beginning_the_clocks_skip_opens_when_they_have_changed() -> None:
    early = calendar(window(DAYS, "02:30", "04:00"))
    assert early.next_opening(berlin("2024-03-30T12:00")) == berlin("2024-03-31T03:00")
    opening = early.opening(berlin("2024-03-31T03:10"))
    assert opening is not None
    assert opening.since == berlin("2024-03-31T03:00")


def test_a_window_that_the_clocks_skip_altogether_does_not_open() -> None:
    assert calendar(window(DAYS, "02:15", "02:45")).next_opening(berlin("2024-03-30T12:00")) == berlin(
        "2024-04-01T02:15"
    )


def test_an_hour_that_comes_twice_counts_twice() -> None:
    night = calendar(window(DAYS, "02:00", "02:30"))
    first = night.opening(berlin("2024-10-27T02:10"))
    assert first is not None
    assert first.until == berlin("2024-10-27T02:30")
    second = night.opening(berlin("2024-10-27T02:10", fold=1))
    assert second is not None
    assert second.until == berlin("2024-10-27T02:30", fold=1)


def test_a_holiday_counts_as_a_sunday_and_the_evening_before_lasts_to_its_end() -> None:
    christmas = dt.date(2024, 12, 25)  # a Wednesday
    hospital = calendar(NIGHTS, window(("sun",), "08:00", "20:00"), holidays=(christmas,))
    assert hospital.opening(berlin("2024-12-25T05:00")) is not None
    assert hospital.opening(berlin("2024-12-25T07:00")) is None
    assert hospital.opening(berlin("2024-12-25T12:00")) is not None
    assert hospital.opening(berlin("2024-12-25T23:00")) is None
    assert hospital.opening(berlin("2024-12-26T05:00")) is None
    assert hospital.next_opening(berlin("2024-12-25T21:00")) == berlin("2024-12-26T22:00")


def test_the_larger_budget_wins_and_each_limit_for_itself() -> None:
    overlapping = calendar(
        window(DAYS, "20:00", "06:00", associations=2, instances_per_second=10),
        window(DAYS, "22:00", "04:00", associations=4, instances_per_second=5),
    )
    opening = overlapping.opening(berlin("2024-03-05T23:00"))
    assert opening is not None
    assert (opening.associations, opening.instances_per_second) == (4, 10)
    assert opening.changes == berlin("2024-03-06T04:00")
    assert opening.until == berlin("2024-03-06T06:00")


def test_a_window_without_limits_has_those_of_the_site() -> None:
    opening = calendar(window(DAYS, "20:00", "06:00"), window(DAYS, "20:00", "06:00", instances_per_second=5)).opening(
        berlin("2024-03-05T23:00")
    )
    assert opening is not None
    assert (opening.associations, opening.instances_per_second) == (8, None)


def test_windows_that_meet_are_one_opening_and_around_the_clock_never_closes() -> None:
    day_and_night = calendar(
        window(DAYS, "06:00", "22:00", associations=1), window(DAYS, "22:00", "06:00", associations=6)
    )
    opening = day_and_night.opening(berlin("2024-03-05T12:00"))
    assert opening is not None
    assert (opening.associations, opening.until) == (1, None)
    assert opening.changes == berlin("2024-03-05T22:00")
    assert day_and_night.next_opening(berlin("2024-03-05T12:00")) is None


def test_equal_times_are_a_whole_day() -> None:
    sundays = calendar(window(("sun",), "00:00", "00:00"))
    opening = sundays.opening(berlin("2024-03-31T12:00"))  # the clocks changed in this night
    assert opening is not None
    assert opening.until == berlin("2024-04-01T00:00")
    assert sundays.next_opening(berlin("2024-03-31T12:00")) == berlin("2024-04-07T00:00")


def test_a_row_of_holidays_longer_than_a_week_is_seen_through() -> None:
    holidays = tuple(dt.date(2024, 8, 1) + dt.timedelta(days=n) for n in range(31))
    assert calendar(NIGHTS, holidays=holidays).next_opening(berlin("2024-08-01T07:00")) == berlin("2024-09-02T22:00")


def test_clocks_that_change_at_midnight() -> None:
    cairo = zoneinfo.ZoneInfo("Africa/Cairo")  # 2024-04-26 began at 01:00
    days = calendar(window(("fri",), "00:00", "06:00"), zone=cairo)
    opened = days.next_opening(dt.datetime(2024, 4, 25, 12, tzinfo=cairo))
    assert opened == dt.datetime(2024, 4, 26, 1, tzinfo=cairo)


# the same by walking over every minute

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "Asia/Kolkata")
CHANGES = (
    dt.date(2024, 3, 9),
    dt.date(2024, 3, 30),
    dt.date(2024, 4, 6),
    dt.date(2024, 4, 25),
    dt.date(2024, 10, 5),
    dt.date(2024, 10, 26),
    dt.date(2024, 10, 31),
    dt.date(2024, 11, 2),
    dt.date(2024, 6, 12),
)
times = st.builds(dt.time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
windows = st.builds(
    lambda days, opens, closes, associations: Window.model_validate(
        {"days": tuple(days), "from": opens, "to": closes, "associations": associations}
    ),
    st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    times,
    times,
    st.one_of(st.none(), st.integers(1, 8)),
)


def by_the_wall_clock(of: Calendar, instant: dt.datetime) -> int | None:
    """How many associations are allowed, looked up for this minute alone."""
    wall = instant.astimezone(of.zone)
    minute = wall.hour * 60 + wall.minute
    budgets = []
    for each in of.settings.windows:
        opens, closes = (t.hour * 60 + t.minute for t in (each.opens, each.closes))
        for day, shown in ((wall.date(), minute), (wall.date() - dt.timedelta(days=1), minute + 1440)):
            name = "sun" if day in of.settings.holidays else DAYS[day.weekday()]
            if name in each.days and opens <= shown < (closes if closes > opens else closes + 1440):
                budgets.append(each.associations or of.settings.associations)
    return max(budgets) if budgets else None


@settings(max_examples=150, deadline=None)
@given(
    windows=st.lists(windows, min_size=1, max_size=3),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(CHANGES),
    minute=st.integers(0, 1439),
    holidays=st.sets(st.integers(-1, 2), max_size=2),
)
def test_every_minute_of_the_days_on_which_clocks_change(
    windows: list[Window], zone: str, day: dt.date, minute: int, holidays: set[int]
) -> None:
    subject = calendar(
        *windows,
        zone=zoneinfo.ZoneInfo(zone),
        holidays=tuple(day + dt.timedelta(days=offset) for offset in holidays),
    )
    now = dt.datetime.combine(day, dt.time(12), dt.UTC) + minute * MINUTE
    opening = subject.opening(now)
    walked = [by_the_wall_clock(subject, now + n * MINUTE) for n in range(2 * 1440)]
    assert (opening.associations if opening else None) == walked[0]
    next_opening = subject.next_opening(now)
    closed = [n for n, budget in enumerate(walked) if budget is None]
    if opening is None:
        opens = next((n for n, budget in enumerate(walked) if budget is not None), None)
        assert next_opening is not None
        if opens is None:
            assert next_opening >= now + len(walked) * MINUTE
        else:
            assert next_opening == now + opens * MINUTE
    elif closed:
        assert opening.until == now + closed[0] * MINUTE
        assert next_opening is not None
        assert by_the_wall_clock(subject, next_opening) is not None
        assert by_the_wall_clock(subject, next_opening - MINUTE) is None
    else:
        assert opening.until is None or opening.until >= now + len(walked) * MINUTE
    if opening is not None and opening.changes is not None:
        steady = int((opening.changes - now) / MINUTE)
        assert set(walked[:steady]) == {walked[0]}

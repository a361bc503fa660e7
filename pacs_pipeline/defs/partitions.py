"""The partitions of a site: its study dates, in its own zone."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from pacs_pipeline.settings import SiteSettings


def study_dates(site: SiteSettings) -> dg.DailyPartitionsDefinition:
    """One partition per complete day from the site's start date on."""
    return dg.DailyPartitionsDefinition(start_date=site.start_date.isoformat(), timezone=site.timezone)


def lookback(site: SiteSettings, now: dt.datetime) -> tuple[dt.date, dt.date] | None:
    """First and last day of the look-back window at ``now`` (aware), or None before the first day is over."""
    last = now.astimezone(site.zone).date() - dt.timedelta(days=1)
    first = max(site.start_date, last - dt.timedelta(days=site.lookback_days - 1))
    return (first, last) if first <= last else None

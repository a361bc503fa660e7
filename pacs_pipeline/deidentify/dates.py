"""Moves DA and DT values by whole days; what is no complete date is refused, not guessed."""

from __future__ import annotations

import datetime as dt
import re

_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})")  # the second: ACR-NEMA (PS3.5 6.2 note)
_DATE_TIME = re.compile(
    r"(\d{8})((?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?([+-](?:0\d|1[0-4])[0-5]\d)?"
)


def shifted(vr: str, text: str, days: int) -> str | None:
    """``text`` moved ``days`` into the past, or None when it is not a full date or leaves the calendar.

    A DT keeps its time and zone, so intervals stay exact. Partial dates (``2020``, ``195002``) and
    impossible ones (``00000000``) have no exact place on the calendar and give None.
    """
    if vr == "DA":
        return _shifted_date(text, days)
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    date = _shifted_date(match[1], days)
    return None if date is None else date + (match[2] or "") + (match[3] or "")


def parsed(text: str) -> dt.date | None:
    """The calendar date of a DA value, or None."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        return dt.date(*(int(part) for part in match.groups() if part is not None))
    except ValueError:
        return None


def _shifted_date(text: str, days: int) -> str | None:
    date = parsed(text)
    if date is None or date.toordinal() <= days:
        return None
    moved = date - dt.timedelta(days=days)
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"

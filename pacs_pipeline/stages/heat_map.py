"""The heat map of the books, site by day, as an SVG image. The same days give the same bytes.

It shows original study dates and so is for staff: it holds no other PHI, and stays inside as the zones do.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from pacs_pipeline.stages.books import Day, DayStatus

COLOURS = {
    DayStatus.CLOSED: "#2a8f7b",
    DayStatus.EMPTY: "#d5e3ec",
    DayStatus.WITHHELD: "#f2b701",
    DayStatus.OPEN: "#c4262e",
    DayStatus.NOT_ASKED: "#3a3f58",
}
"""Told apart by lightness too, so that colour blindness and grey prints lose nothing."""

MEANINGS = {
    DayStatus.CLOSED: "closed",
    DayStatus.EMPTY: "asked, nothing there",
    DayStatus.WITHHELD: "withheld by its verdict",
    DayStatus.OPEN: "not closed",
    DayStatus.NOT_ASKED: "gap: nobody asked the PACS",
}

_CELL, _HEIGHT = 3, 11
_MONTH = 31 * _CELL + 2  # a month is 31 days wide, so that the same day is in the same column in every year
_ROW = _HEIGHT + 3
_LEFT, _TOP, _RIGHT = 174, 84, 16
_WIDTH = _LEFT + 12 * _MONTH + _RIGHT
_STYLE = (
    "text{font:11px system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:#2b2f3a}"
    ".h{font-size:15px;font-weight:600}.m{fill:#626a7a}.s{font-weight:600}"
)


def svg(days: Iterable[Day], *, tooltips: bool = True) -> str:
    """The image: a row for each year of each site, a cell for each day.

    With ``tooltips`` every cell says its date and counts, for a file that is opened in a browser. Without, days
    of one colour are drawn in one stroke, which keeps ten years of thirty sites small enough for an image in a page.
    """
    rows: dict[tuple[str, int], list[Day]] = defaultdict(list)
    for day in days:
        rows[day.partition.site, day.partition.study_date.year].append(day)
    tally = Counter(day.status for row in rows.values() for day in row)
    height = _TOP + len(rows) * _ROW + 6 * len({site for site, _ in rows}) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'role="img" aria-labelledby="t d">',
        '<title id="t">Books by site and study date</title>',
        f'<desc id="d">{escape(_summary(tally))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text class="h" x="16" y="24">Books by site and study date</text>',
        f'<text class="m" x="{_WIDTH - _RIGHT}" y="24" text-anchor="end">'
        "original study dates: for staff, not to be passed on</text>",
        *_legend(tally),
        *(
            f'<text class="m" x="{_LEFT + month * _MONTH}" y="{_TOP - 8}">{calendar.month_abbr[month + 1]}</text>'
            for month in range(12)
        ),
    ]
    y, before = _TOP, ""
    for (site, year), row in sorted(rows.items()):
        if site != before:
            y += 6
            parts.append(f'<text class="s" x="16" y="{y + 9}">{escape(_short(site))}</text>')
        parts.append(f'<text class="m" x="{_LEFT - 8}" y="{y + 9}" text-anchor="end">{year}</text>')
        row.sort(key=lambda day: day.partition.study_date)
        parts += _cells(row, y) if tooltips else _strokes(row, y)
        y, before = y + _ROW, site
    return "\n".join([*parts, "</svg>", ""])


def _legend(tally: Counter[DayStatus]) -> Iterator[str]:
    x = 16
    for status, meaning in MEANINGS.items():
        text = f"{meaning}: {tally[status]:,}"
        yield f'<rect x="{x}" y="38" width="{_HEIGHT}" height="{_HEIGHT}" rx="2" fill="{COLOURS[status]}"/>'
        yield f'<text x="{x + 17}" y="48">{text}</text>'
        x += 44 + 6 * len(text)


def _cells(row: list[Day], y: int) -> Iterator[str]:
    for status, days in groupby(row, key=lambda day: day.status):
        yield f'<g fill="{COLOURS[status]}">'
        for day in days:
            yield (
                f'<rect x="{_x(day.partition.study_date)}" y="{y}" width="{_CELL}" height="{_HEIGHT}">'
                f"<title>{escape(in_words(day))}</title></rect>"
            )
        yield "</g>"


def _strokes(row: list[Day], y: int) -> Iterator[str]:
    drawn: dict[DayStatus, list[str]] = defaultdict(list)
    for (status, _, _), run in groupby(enumerate(row), key=lambda each: _stretch(*each)):
        days = [day for _, day in run]
        width = len(days) * _CELL
        drawn[status].append(f"M{_x(days[0].partition.study_date)} {y}h{width}v{_HEIGHT}h-{width}z")
    for status in MEANINGS:
        if status in drawn:
            yield f'<path fill="{COLOURS[status]}" d="{"".join(drawn[status])}"/>'


def _stretch(position: int, day: Day) -> tuple[DayStatus, int, int]:
    """The same for neighbouring days of one month and one status."""
    date = day.partition.study_date
    return day.status, date.month, date.day - position


def _x(date: dt.date) -> int:
    return _LEFT + (date.month - 1) * _MONTH + (date.day - 1) * _CELL


def in_words(day: Day) -> str:
    """A day in one line: its counts and what is wrong."""
    books = day.books
    if day.status is DayStatus.NOT_ASKED:
        return f"{day.partition}: nobody asked the PACS"
    counts = ", ".join(
        f"{number:,} {name}"
        for name, number in (
            ("expected", books.expected),
            ("published", books.published),
            ("excluded", books.excluded),
            ("quarantined", books.quarantined),
            ("unavailable", books.unavailable),
        )
        if number or name == "expected"
    )
    return f"{day.partition}: {day.status.value}; {'; '.join([counts, *books.problems])}"


def _summary(tally: Counter[DayStatus]) -> str:
    return "; ".join(f"{MEANINGS[status]}: {tally[status]:,}" for status in MEANINGS)


def _short(site: str) -> str:
    return site if len(site) <= 18 else f"{site[:17]}…"

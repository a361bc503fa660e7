"""The heat map of the books as an image in the UI: one asset over all sites, and the sensor that keeps it current."""

import base64
import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pacs_pipeline.settings import Settings
from pacs_pipeline.stages import heat_map
from pacs_pipeline.stages.books import Day, DayStatus, book_days
from pacs_pipeline.stages.project import Project

NAME = "books_heat_map"
YEARS = 3
"""How far back the image goes: each is kept in Dagster's own database. The command line shows all years."""

LISTED = 50
SECONDS_BETWEEN_LOOKS = 900

job: UnresolvedAssetJobDefinition = dg.define_asset_job(
    f"draw_{NAME}", selection=dg.AssetSelection.assets(NAME), description="Draw the heat map of the books again."
)


@dg.asset(
    name=NAME,
    group_name="books",
    description=(
        "Every study date of every site: books closed, not closed, withheld, or nobody asked the PACS. "
        "Shows original study dates: for staff."
    ),
    owners=["team:data-stewards"],
    kinds={"table"},
    tags={"zone": "state"},
)
def books_heat_map(project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
    """The asset. It depends on no partition of its sites: it shows what is stored, whatever that is."""
    days = _days(project, dt.datetime.now(dt.UTC))
    return dg.MaterializeResult(metadata=metadata(days))


def sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a new image when the books of any day have changed."""

    @dg.sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.automatic else dg.DefaultSensorStatus.STOPPED,
        description="Draws the heat map again when the books of any day have changed.",
    )
    def changed(
        context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
    ) -> dg.SensorResult | dg.SkipReason:
        seen = hashlib.sha256(_image(_days(project, dt.datetime.now(dt.UTC))).encode()).hexdigest()
        if seen == context.cursor:
            return dg.SkipReason("the books of no day have changed")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=seen)], cursor=seen)

    return changed


def metadata(days: Sequence[Day]) -> dict[str, dg.MetadataValue]:
    """The image, how many days there are of each kind, and the days that need a look."""
    tally = Counter(day.status for day in days)
    image = base64.b64encode(_image(days).encode()).decode()
    wrong = [day for day in days if not day.accounted_for and day.status is not DayStatus.NOT_ASKED]
    lines = [f"| {day.partition} | {day.status.value} | {'; '.join(day.books.problems)} |" for day in wrong[:LISTED]]
    if len(wrong) > LISTED:
        lines.append(f"| and {len(wrong) - LISTED:,} more | | `pacs-pipeline books` lists them |")
    return {
        "heat_map": dg.MetadataValue.md(f"![Books by site and study date](data:image/svg+xml;base64,{image})"),
        "days_that_need_a_look": dg.MetadataValue.md("\n".join(["| day | books | why |", "|---|---|---|", *lines])),
        **{status.value.replace(" ", "_"): dg.MetadataValue.int(tally[status]) for status in DayStatus},
    }


def _days(project: Project, now: dt.datetime) -> list[Day]:
    return list(book_days(project, now=now, first=dt.date(now.year - YEARS + 1, 1, 1)))


def _image(days: Sequence[Day]) -> str:
    return heat_map.svg(days, tooltips=False)

"""The commands. Exit codes: 0 done, 1 something needs a look, 2 the configuration is wrong."""

from __future__ import annotations

import datetime as dt
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from pacs_pipeline.cli import terminal
from pacs_pipeline.cli.access import app as access_app
from pacs_pipeline.cli.demo import app as demo_app
from pacs_pipeline.cli.options import Config, Site
from pacs_pipeline.cli.profiles import app as profile_app
from pacs_pipeline.cli.receive import receive
from pacs_pipeline.errors import Permanent, PipelineError, SettingsError

if TYPE_CHECKING:  # the heavy imports wait until a command needs them
    from pacs_pipeline.settings import Settings
    from pacs_pipeline.stages.project import Project

app = typer.Typer(
    name="pacs-pipeline",
    help="From hospital PACS to a de-identified research lake, every night.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(access_app)
app.add_typer(demo_app, name="demo")
app.add_typer(profile_app, name="profile")
app.command()(receive)

From = Annotated[dt.datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="first study date")]
To = Annotated[dt.datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="last study date")]


class Period(StrEnum):
    """What one line of the books is about."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def main() -> None:
    """Run the command line; errors of the project become one message and an exit code."""
    try:
        app()
    except SettingsError as error:
        terminal.complain("configuration", error)
        sys.exit(2)
    except PipelineError as error:
        terminal.complain("error", error)
        sys.exit(1)


@app.command()
def check(config: Config = None) -> None:
    """Check configuration, secret, zones, every PACS, the bucket and the warehouse: one line each."""
    from pacs_pipeline.stages.check import checks

    failed = 0
    for result in checks(_project(config)):
        mark = "[green] ok [/]" if result.error is None else "[red]FAIL[/]"
        said = result.said if result.error is None else result.error.message
        terminal.console.print(f"{mark} {escape(result.what)}: {escape(said)}", soft_wrap=True)
        if result.error is not None:
            failed += 1
            terminal.console.print(f"     fix: {escape(result.error.fix)}", soft_wrap=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def run(
    site: Site,
    first: From,
    last: To,
    again: Annotated[
        bool,
        typer.Option("--again", help="fetch everything once more and compare: finds content that changed unseen"),
    ] = False,
    config: Config = None,
) -> None:
    """Take the study dates of a site from its PACS to the books, as the UI does."""
    from pacs_pipeline.stages.chain import run_chain

    project = _project(config)
    project.settings.project_secret()  # a missing secret stops here, not after the harvest
    needs_a_look = 0
    made_up, verdicts = [], {}
    with terminal.bars() as progress:
        for result in run_chain(project, site, _days(first, last), now=_now, progress=progress, again=again):
            needs_a_look += not result.green
            if result.error is not None:
                terminal.complain(str(result.partition), result.error)
            if result.books is not None:
                made_up.append(result.books)
                verdicts[result.partition] = result.verdict.status.value if result.verdict else "no studies"
    terminal.console.print(terminal.books_table(made_up, verdicts))
    raise typer.Exit(1 if needs_a_look else 0)


@app.command()
def census(
    site: Site,
    first: From,
    last: To,
    missing: Annotated[bool, typer.Option("--missing", help="only study dates that have no census yet")] = False,
    config: Config = None,
) -> None:
    """Ask a site's PACS what it has of a range of study dates, without fetching anything."""
    from pacs_pipeline.stages.census import take_censuses
    from pacs_pipeline.stages.sources import Source

    project = _project(config)
    totals: Counter[str] = Counter()
    failed = 0
    archive = Source.of(project, project.settings.site(site)).by_question()
    for day in _days(first, last):
        try:
            for manifest in take_censuses(project, site, [day], archive, missing=missing):
                totals.update({"days": 1, **manifest.counts})
        except Permanent as error:  # of this day; a PACS that is away ends the command
            failed += 1
            terminal.complain(f"{site} {day.isoformat()}", error)
    terminal.console.print(terminal.rows_table(tuple(totals), [tuple(f"{n:,}" for n in totals.values())]))
    raise typer.Exit(1 if failed else 0)


@app.command()
def books(
    site: Annotated[str | None, typer.Option("--site", help="the name of a site; default: all sites")] = None,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="first study date; default: the first")
    ] = None,
    last: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="last study date; default: yesterday")
    ] = None,
    by: Annotated[
        Period | None, typer.Option("--by", help="a line per day, week or month; default: as fits the range")
    ] = None,
    heatmap: Annotated[bool, typer.Option("--heatmap", help="a block for each day")] = False,
    heatmap_file: Annotated[
        Path | None, typer.Option("--heatmap-file", metavar="FILE.svg", help="write the blocks as an image; for staff")
    ] = None,
    instances: Annotated[
        Path | None,
        typer.Option("--instances", metavar="FILE.csv", help="write a row per SOPInstanceUID: PHI, for the steward"),
    ] = None,
    config: Config = None,
) -> None:
    """Show the books of one or all sites over a range of study dates; exit code 0 when every day is accounted for."""
    from pacs_pipeline.stages import heat_map, instance_list
    from pacs_pipeline.stages.books import book_days
    from pacs_pipeline.storage import write_bytes

    project = _project(config)
    begin, end = (day.date() if day else None for day in (first, last))
    if begin and end and end < begin:
        raise SettingsError("--to is before --from", fix="swap them")
    days = list(book_days(project, now=_now(), sites=[site] if site else None, first=begin, last=end))
    shown = terminal.BooksOfRange(by.value if by else _fitting(len({day.partition.study_date for day in days})))
    for day in days:
        shown.add(day)
    if heatmap:
        terminal.heat_map(days)
    else:
        shown.show()
    if heatmap_file:
        write_bytes(heatmap_file, heat_map.svg(days).encode())
        terminal.console.print(f"the heat map with original study dates, for staff: {escape(str(heatmap_file))}")
    unread = 0
    if instances:
        written, unread = instance_list.write(project, (day.partition for day in days), instances)
        terminal.console.print(
            f"{written:,} rows with original UIDs, for the steward: {escape(str(instances))}", soft_wrap=True
        )
        if unread:
            terminal.console.print(f"[red]{unread:,} days could not be listed; their rows say why[/]")
    raise typer.Exit(0 if shown.accounted_for and not unread else 1)


@app.command()
def sql(query: Annotated[str, typer.Argument(help="one SELECT")], config: Config = None) -> None:
    """Ask the warehouse a question (read-only)."""
    from pacs_pipeline import warehouse

    result = warehouse.query(_settings(config).warehouse.path, query)
    terminal.console.print(terminal.rows_table(result.columns, result.rows))


@app.command()
def deidentify(
    source: Annotated[Path, typer.Argument(metavar="SRC_DIR", help="a folder tree of DICOM files")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="where the clean instances go")],
    profile: Annotated[
        str | None, typer.Option(help="the de-identification profile; default: the project's, or basic-modified-dates")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="CSV of old and new SOPInstanceUID; for the steward")] = None,
    report: Annotated[Path | None, typer.Option(help="CSV with one row per source file")] = None,
    config: Config = None,
) -> None:
    """De-identify a folder tree with the engine of the pipeline; needs only the project secret."""
    from pacs_pipeline.compute import Pool
    from pacs_pipeline.deidentify import DocumentReleases, IdentityRule, Keys, load_profile
    from pacs_pipeline.deidentify.folder import deidentify_folder
    from pacs_pipeline.settings import is_configured, secret_from_environment
    from pacs_pipeline.stages.deidentify import PRELOAD

    identity, documents = IdentityRule(), DocumentReleases()
    if config or is_configured():
        project = _project(config)
        keys, identity, documents = project.keys, project.identity, project.documents
        loaded = load_profile(profile, project.settings.deidentify.extra_recipe) if profile else project.profile
    else:
        keys = Keys.derive(secret_from_environment(), "pacs-pipeline")
        loaded = load_profile(profile or "basic-modified-dates")
    with Pool(preload=PRELOAD) as pool, terminal.bar("de-identifying") as progress:
        summary = deidentify_folder(
            source,
            out,
            loaded,
            keys,
            pool=pool,
            identity=identity,
            documents=documents,
            mapping=mapping,
            report=report,
            on_progress=lambda done, total, _outcome: progress(done, total),
        )
    terminal.console.print(
        f"{summary.files:,} files: {summary.released:,} released ({summary.bytes / 1e6:,.1f} MB), "
        f"{summary.set_aside:,} set aside"
    )
    terminal.console.print(terminal.rows_table(("reason", "files"), summary.reasons.most_common()))


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="the folder to write to")],
    patients: Annotated[int, typer.Option(min=1, help="how many synthetic patients")] = 12,
    seed: Annotated[int, typer.Option(help="the same seed gives the same files")] = 1,
    instances: Annotated[int | None, typer.Option(help="exactly so many instances; default about 13 a patient")] = None,
) -> None:
    """Write a synthetic population as DICOM files."""
    from pacs_pipeline.demo.plan import Population
    from pacs_pipeline.demo.population import generate

    population = Population(patients=patients, seed=seed, instances=instances)
    with terminal.bar("writing instances") as progress:
        written = itertools.count(1)
        made = generate(out, population, lambda _instance: progress(next(written), instances))
    terminal.console.print(
        f"{made.instances:,} instances of {made.patients:,} patients in {made.studies:,} studies and "
        f"{made.series:,} series, {made.bytes / 1e6:,.1f} MB, in {escape(str(out))}"
    )


def _settings(config: Path | None) -> Settings:
    from pacs_pipeline.settings import load_settings

    return load_settings(config)


def _project(config: Path | None) -> Project:
    from pacs_pipeline.stages.project import Project

    return Project(_settings(config))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _fitting(days: int) -> Literal["day", "week", "month"]:
    """What a line is about, so that a range fits on a screen or two."""
    return "day" if days <= 62 else "week" if days <= 366 else "month"


def _days(first: dt.datetime, last: dt.datetime) -> Iterator[dt.date]:
    """Every day from ``first`` to ``last``."""
    if last < first:
        raise SettingsError("--to is before --from", fix="swap them")
    for offset in range((last - first).days + 1):
        yield first.date() + dt.timedelta(days=offset)

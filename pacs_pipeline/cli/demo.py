"""``pacs-pipeline demo``: the whole chain on embedded services, and the UI on top of them."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.rule import Rule

from pacs_pipeline.cli import terminal

if TYPE_CHECKING:
    from pacs_pipeline.records import Books, Partition
    from pacs_pipeline.stages.project import Project

app = typer.Typer(help="The whole chain on an embedded PACS, S3 server and sample population.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="the folder that keeps everything")]
DEFAULT_DATA = Path("data/demo")
HOME = "dagster"  # the Dagster instance, below the data folder


@app.command()
def run(data: Data = DEFAULT_DATA) -> None:
    """Take the sample population of two sites through the chain and tell what happened. Safe to repeat."""
    from pacs_pipeline.defs.launch import launcher
    from pacs_pipeline.demo.services import DEMO_POPULATION, DemoServices
    from pacs_pipeline.records import Partition
    from pacs_pipeline.settings import load_settings
    from pacs_pipeline.stages.project import Project

    say = terminal.console.print
    say(Rule("pacs_pipeline demo", align="left"))
    with terminal.bar("writing the sample population") as progress:
        written = 0

        def count(_instance: object) -> None:
            nonlocal written
            written += 1
            progress(written, DEMO_POPULATION.instances)

        services = DemoServices(data, on_progress=count)
        services.start()
    try:
        say(f"Two PACS (north: C-GET, south: C-MOVE) and an S3 server run on this machine; data in {escape(str(data))}")
        settings = load_settings(services.configuration)
        project = Project(settings)
        days = [DEMO_POPULATION.base_date + dt.timedelta(days=day) for day in range(DEMO_POPULATION.days)]
        failed: dict[Partition, tuple[str, ...]] = {}
        with terminal.bars() as shown, launcher(settings, data / HOME, shown) as jobs:
            for site in settings.sites:
                first, last = Partition(site.name, days[0]), Partition(site.name, days[-1])
                if problems := jobs.census(first, last):
                    failed[first] = problems
                for day in days:
                    partition = Partition(site.name, day)
                    if _has_studies(project, partition) and (problems := jobs.chain(partition)):
                        failed[partition] = problems
        healthy = _tell(project, days, data)
    finally:
        services.stop()
    for partition, problems in failed.items():
        terminal.stderr.print(f"[red]{partition} failed[/]: {escape('; '.join(problems))}")
        terminal.stderr.print("  what arrived is kept: run the demo again, or look at the run with 'make dev'")
    raise typer.Exit(1 if failed or not healthy else 0)


@app.command()
def dev(data: Data = DEFAULT_DATA, port: Annotated[int, typer.Option(help="of the Dagster UI")] = 3000) -> None:
    """Serve the Dagster UI, its daemon and the embedded services until Ctrl-C."""
    from pacs_pipeline.defs.launch import prepare_home
    from pacs_pipeline.demo.services import DemoServices
    from pacs_pipeline.settings import CONFIG_VARIABLE

    with DemoServices(data) as services:
        home = prepare_home(data / HOME)
        environment = {**os.environ, "DAGSTER_HOME": str(home), CONFIG_VARIABLE: str(services.configuration)}
        workspace = Path(__file__).parents[2] / "workspace.yaml"
        terminal.console.print(f"Dagster UI: http://127.0.0.1:{port}   (Ctrl-C ends it and the embedded services)")
        command = [str(Path(sys.executable).with_name("dagster")), "dev", "-w", str(workspace)]
        server = subprocess.Popen([*command, "-h", "127.0.0.1", "-p", str(port)], env=environment)
        try:
            code = server.wait()
        except KeyboardInterrupt:
            code = 0 if server.wait() in (0, -2, 130) else 1
    raise typer.Exit(code)


def _has_studies(project: Project, partition: Partition) -> bool:
    from pacs_pipeline.records import Stage

    census = project.manifest(partition, Stage.CENSUS)
    return census is not None and census.counts["series"] > 0


def _tell(project: Project, days: list[dt.date], data: Path) -> bool:
    """Print what is there now; whether all books close."""
    from pacs_pipeline import warehouse
    from pacs_pipeline.stages.reconcile import stored_books
    from pacs_pipeline.stages.report import quarantine_reasons, verdicts

    say = terminal.console.print
    books: list[Books] = [b for site in project.settings.sites for b in stored_books(project, site.name, days)]
    say("\n[bold]The books[/]: what the PACS announced, and what became of it")
    say(terminal.books_table(books, verdicts(project, [b.partition for b in books])))

    path = project.settings.warehouse.path
    objects, size = project.bucket.totals(project.settings.bucket.prefix)
    say("\n[bold]The lake[/]")
    say(terminal.rows_table(("table", "rows"), warehouse.totals(path).items()))
    say(f"bucket {project.settings.bucket.name}: {objects:,} objects, {size / 1e6:,.1f} MB")

    say("\n[bold]Quarantine[/]: what could not be proven clean stays inside, with its reason")
    say(terminal.rows_table(("reason", "instances"), quarantine_reasons(project, [b.partition for b in books]).items()))

    for example in warehouse.example_queries():
        answer = warehouse.query(path, example.sql)
        say()
        say(terminal.rows_table(answer.columns, answer.rows[:8], title=f"{example.title}"))

    command = f"pacs-pipeline sql --config {data / 'pacs_pipeline.yaml'}"
    say("\n[bold]Where to look next[/]")
    say("  make dev                             the Dagster UI with these partitions, checks and schedules")
    say(f"  {project.zones.docs.root / 'index.html'}   Data Docs", soft_wrap=True)
    say(f'  .venv/bin/{command} "FROM study"', soft_wrap=True, markup=False)
    return all(b.closed for b in books)

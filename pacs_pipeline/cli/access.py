"""``pacs-pipeline stop``, ``start`` and ``access``: who may ask an archive now, and who may not."""

from __future__ import annotations

import datetime as dt
import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pacs_pipeline.cli import terminal
from pacs_pipeline.cli.options import Config, Site

if TYPE_CHECKING:
    from pacs_pipeline.pacs import Access

app = typer.Typer()


@app.command()
def stop(
    site: Site,
    reason: Annotated[str, typer.Option("--reason", help="shown to whoever asks why nothing runs")] = "",
    config: Config = None,
) -> None:
    """Stop everything that asks the archive of a site, within one instance, until it is started again."""
    _access(config, site).stop(by=_who(), reason=reason)
    terminal.console.print(
        f"{escape(site)} is stopped; 'pacs-pipeline start --site {escape(site)}' lifts it", soft_wrap=True
    )


@app.command()
def start(site: Site, config: Config = None) -> None:
    """Lift the stop of a site, and end a pause after failures; its windows hold as before."""
    was_stopped, was_pausing = _access(config, site).start(by=_who())
    done = [text for text, did in (("the stop is lifted", was_stopped), ("the pause is ended", was_pausing)) if did]
    terminal.console.print(f"{escape(site)}: {', '.join(done) or 'it was not stopped'}", soft_wrap=True)


@app.command()
def access(site: Site, config: Config = None) -> None:
    """Show whether the archive of a site may be asked now, why not, and how it answers. Exit code 1: it may not."""
    subject = _access(config, site)
    terminal.console.print(terminal.rows_table(("access", site), _rows(subject)))
    latencies = [
        (kind, _seconds(usual.usual), _seconds(usual.present)) for kind, usual in sorted(subject.latencies().items())
    ]
    if latencies:
        terminal.console.print(terminal.rows_table(("latency", "usual", "at last"), latencies))
    raise typer.Exit(0 if subject.paused() is None else 1)


def _rows(subject: Access) -> Iterator[tuple[str, str]]:
    now = dt.datetime.now(dt.UTC)
    opening, stopped = subject.opening(now), subject.stopped()
    closed, circuit, holders = subject.closed(now), subject.circuit(now), subject.holders
    if closed is not None:
        yield "window", f"closed until {_clock(subject, closed.until)}"
    elif opening is not None:
        yield "window", f"open until {_clock(subject, opening.until)}" if opening.until else "always open"
    yield "stopped", "no" if stopped is None else stopped.message.partition(": stopped")[2].strip() or "yes"
    if circuit.until is None:
        yield "failures", f"{circuit.failures} in a row" if circuit.failures else "none"
    elif circuit.is_open(now):
        yield "failures", f"{circuit.failures} in a row; nobody asks until {_clock(subject, circuit.until)}"
    else:
        yield "failures", f"{circuit.failures} in a row; the next request tries whether it answers"
    budget = opening.associations if opening is not None else 0
    yield "associations", f"{len(holders)} of {budget} in use" + "".join(f"\n{holder}" for holder in holders)
    if opening is not None and opening.instances_per_second is not None:
        yield "instances", f"at most {opening.instances_per_second:g} a second"


def _clock(subject: Access, instant: dt.datetime | None) -> str:
    return f"{instant.astimezone(subject.site.zone):%Y-%m-%d %H:%M %Z}" if instant is not None else "further notice"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value * 1000:.0f} ms" if value < 10 else f"{value:.0f} s"


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user that has no name on this machine
        return ""


def _access(config: Path | None, site: str) -> Access:
    from pacs_pipeline.settings import load_settings
    from pacs_pipeline.stages.access import access_to
    from pacs_pipeline.stages.project import Project

    settings = load_settings(config)
    return access_to(Project(settings), settings.site(site))

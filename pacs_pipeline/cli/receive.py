"""``pacs-pipeline receive``: stands and takes what is pushed, until it is told to stop."""

from __future__ import annotations

import datetime as dt
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pacs_pipeline.cli import terminal
from pacs_pipeline.cli.options import Config

if TYPE_CHECKING:
    from pacs_pipeline.pacs.files import Counts


def receive(
    site: Annotated[
        str | None, typer.Option("--site", help="only for this site; default: every site whose protocol is push")
    ] = None,
    every: Annotated[float, typer.Option("--every", min=1, help="seconds between two lines that say what came")] = 60.0,
    config: Config = None,
) -> None:
    """Receive what scanners or the PACS forward, until SIGTERM or SIGINT."""
    from pacs_pipeline.settings import load_settings
    from pacs_pipeline.stages.project import Project
    from pacs_pipeline.stages.receive import push_sites, receiving

    project = Project(load_settings(config))
    project.settings.project_secret()  # a missing secret stops here, not at the first instance
    sites = push_sites(project, site)
    stop = threading.Event()
    with receiving(project, sites, now=lambda: dt.datetime.now(dt.UTC)) as counts:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        for each in sites:
            if each.receiver is not None:
                _say(f"{each.name}: {each.receiver.ae_title} listens on {each.receiver.bind}:{each.receiver.port}")
        said = _show(counts, {})
        while not stop.wait(every):
            said = _show(counts, said)
    _show(counts, {})
    _say("stopped")


def _show(counts: Mapping[str, Counts], said: Mapping[str, str]) -> dict[str, str]:
    """One line for each site of which there is news; what they say now."""
    now = {name: str(count) for name, count in counts.items()}
    for name, text in now.items():
        if said.get(name) != text:
            _say(f"{name}: {text}")
    return now


def _say(text: str) -> None:
    terminal.console.print(escape(text), soft_wrap=True)

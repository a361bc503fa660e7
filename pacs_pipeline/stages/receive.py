"""Receive: a standing Storage SCP for every site whose archive forwards by itself, filing into the site's inbox."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from pacs_pipeline import storage
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.pacs import StorageReceiver, open_receiver
from pacs_pipeline.pacs.files import Counts, Inbox
from pacs_pipeline.records import Partition
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.file_archives import inbox_of
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.sources import Source


def push_sites(project: Project, site: str | None = None) -> tuple[SiteSettings, ...]:
    """The sites that push, or the one named ``site``. Raises SettingsError when there is none or it does not."""
    if site is not None:
        chosen = project.settings.site(site)
        if chosen.protocol != "push":
            raise SettingsError(f"site {site} does not push", fix="set its protocol to push, or leave --site away")
        return (chosen,)
    found = tuple(each for each in project.settings.sites if each.protocol == "push")
    if not found:
        raise SettingsError("no site pushes", fix="set the protocol of a site to push")
    return found


@contextmanager
def receiving(
    project: Project, sites: tuple[SiteSettings, ...], *, now: Callable[[], dt.datetime]
) -> Iterator[Mapping[str, Counts]]:
    """Receive for ``sites`` inside the block; yields what came so far, by site.

    Raises Transient when a port is taken or another receiver has an inbox, Permanent when a zone cannot be written.
    """
    with ExitStack() as stack:
        counts = {}
        for site in sites:
            inbox = stack.enter_context(_open_inbox(project, site, now))
            stack.enter_context(_open_receiver(site, inbox))
            counts[site.name] = inbox.counts
        yield counts


def _open_inbox(project: Project, site: SiteSettings, now: Callable[[], dt.datetime]) -> Inbox:
    return Inbox(
        storage.make_folder(inbox_of(project, site)),
        hash_of=project.keys.hash,
        today=lambda: now().astimezone(site.zone).date(),
        mark=partial(_mark, project, site.name),
        minimum_free_bytes=Source.of(project, site).minimum_free_bytes,
    )


def _mark(project: Project, site: str, study_date: dt.date, arrived: int | None = None) -> None:
    """Note that instances of a date were received: its partition is stale from the census on."""
    storage.mark_received(project.zones.state.make_partition(Partition(site, study_date)), arrived)


def _open_receiver(site: SiteSettings, inbox: Inbox) -> StorageReceiver:
    settings = site.receiver
    if settings is None:
        raise SettingsError(f"site {site.name} has no receiver", fix="add the section receiver to the site")
    return open_receiver(settings, timeout=site.timeout_seconds, sink=inbox)

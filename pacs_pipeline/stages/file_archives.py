"""The archives that are files: where those of a site lie, and where their index is kept."""

from __future__ import annotations

from pathlib import Path

from pacs_pipeline import storage
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.pacs.answers import traits_needed
from pacs_pipeline.pacs.files import FileArchive, Files, FolderFiles, InboxFiles, Index, ObjectFiles
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.project import Project

FILE_PROTOCOLS = frozenset({"folder", "s3", "push"})


def file_archive(project: Project, site: SiteSettings) -> FileArchive:
    """The archive of a site whose protocol is one of ``FILE_PROTOCOLS``, and what brings its instances."""
    index = storage.make_folder(_landing_of(project, site)) / "files.sqlite"
    files = _files(project, site)
    return FileArchive(site.name, files, Index(index, files, traits=traits_needed(site.census.filters)))


def inbox_of(project: Project, site: SiteSettings) -> Path:
    """Where what is pushed to ``site`` is kept: in the landing zone, since it is as it was received."""
    return _landing_of(project, site) / "inbox"


def _landing_of(project: Project, site: SiteSettings) -> Path:
    return project.zones.landing.root / f"site={site.name}"


def _files(project: Project, site: SiteSettings) -> Files:
    if site.protocol == "folder" and site.folder is not None:
        return FolderFiles(site.folder.path, f"the folder {site.folder.path}")
    if site.protocol == "s3" and site.s3 is not None:
        return ObjectFiles(storage.Prefix(site.s3))
    if site.protocol == "push":
        return InboxFiles(inbox_of(project, site), f"the inbox of {site.name}")
    raise SettingsError(f"site {site.name} is no archive of files", fix="set its protocol to folder, s3 or push")

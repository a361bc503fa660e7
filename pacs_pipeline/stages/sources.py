"""Opens the archive of a site by its protocol."""

from __future__ import annotations

from pacs_pipeline.pacs import Archive, DicomwebArchive, DicomwebRetriever, PacsClient, Retriever, open_dimse_retriever
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.project import Project


def open_archive(project: Project, site: SiteSettings) -> Archive:  # noqa: ARG001
    """What answers the census of ``site``; open it with ``with``."""
    if site.protocol == "dicomweb":
        return DicomwebArchive(site)
    return PacsClient(site)


def open_retriever(project: Project, site: SiteSettings) -> Retriever:  # noqa: ARG001
    """What brings the instances of ``site``; open it with ``with``."""
    if site.protocol == "dicomweb":
        return DicomwebRetriever(site)
    return open_dimse_retriever(site)

"""The access control of a site, with its records in the site's folder of the state zone."""

from __future__ import annotations

from pacs_pipeline.pacs import Access
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.project import Project


def access_to(project: Project, site: SiteSettings) -> Access:
    """When and how hard the archive of ``site`` may be asked; nothing is created."""
    return Access.of(site, project.zones.state.root / f"site={site.name}")

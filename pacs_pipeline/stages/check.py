"""The checks of an installation: does everything the pipeline needs answer? One result per question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pacs_pipeline import contracts, warehouse
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.pacs import PacsClient
from pacs_pipeline.pacs.files import is_receiving
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.file_archives import inbox_of
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.sources import Source


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One question with what was found; ``error`` carries what is wrong and the fix."""

    what: str
    said: str = ""
    error: PipelineError | None = None


def checks(project: Project) -> Iterator[CheckResult]:
    """Ask everything, in an order in which a later answer makes sense only with the earlier ones."""
    settings = project.settings
    yield CheckResult("configuration", f"project {settings.project}, {len(settings.sites)} sites")
    yield _ask("secret", lambda: f"{len(settings.project_secret())} bytes")
    yield _ask("profile", lambda: f"{project.profile.name}, fingerprint {project.profile.fingerprint[:12]}")
    yield _ask("data contracts", lambda: _contracts(project))
    yield from _zones(project)
    for site in settings.sites:
        yield _ask(f"{'PACS' if site.pacs else 'archive'} of {site.name}", lambda site=site: _reach(project, site))  # type: ignore[misc]
    yield _ask(f"bucket {settings.bucket.name}", lambda: _probe(project))
    yield _ask("warehouse", lambda: _prepare(project))


def _ask(what: str, question: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(what, question())
    except PipelineError as error:
        return CheckResult(what, error=error)


def _zones(project: Project) -> Iterator[CheckResult]:
    created = _ask("zones", lambda: _create(project))
    if created.error is not None:
        yield created
        return
    problems = project.zones.problems()
    yield from (CheckResult("zones", error=problem) for problem in problems)
    if not problems:
        yield created


def _reach(project: Project, site: SiteSettings) -> str:
    with Source.of(project, site).open_archive() as archive:
        said = archive.check()
        undated = archive.undated_studies() if isinstance(archive, PacsClient) else None
    if undated:
        said += f"; {undated} of its studies or more have no StudyDate, and no census by date finds them"
    if site.protocol == "push" and not is_receiving(inbox_of(project, site)):
        said += "; nobody receives now: pacs-pipeline receive"
    return said


def _probe(project: Project) -> str:
    project.bucket.ensure()
    project.bucket.probe()
    return "write, read and delete work"


def _prepare(project: Project) -> str:
    path = project.settings.warehouse.path
    warehouse.prepare(path)
    return f"{path} can be written, schema is current"


def _create(project: Project) -> str:
    project.zones.create()
    return f"{project.zones.root}, open to their owner only"


def _contracts(project: Project) -> str:
    contracts.check_expectations(project.contracts)
    return ", ".join(f"{contract.name} {contract.version}" for contract in project.contracts)

"""Census: ask the PACS what it has of one study date, and write it down. No images move."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from pacs_pipeline import storage
from pacs_pipeline.errors import Transient
from pacs_pipeline.pacs import Archive
from pacs_pipeline.records import Manifest, Partition, Stage, StudyRef
from pacs_pipeline.stages.exclusion import Decision, decide, rules_fingerprint
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.received import content_input, received_input


def take_census(project: Project, partition: Partition, archive: Archive) -> Manifest:
    """Store every study and series of the partition with the counts the PACS gives.

    A series that the site's filters exclude is written down with the rule that excludes it.
    The manifest replaces the previous one only when the PACS answered completely, and has the same digest
    when nothing changed. Raises Transient when the PACS is away, Permanent when it refuses.
    """
    filters = project.settings.site(partition.site).census.filters
    inputs = received_input(project, partition)
    studies = archive.find_studies(partition.study_date)
    inputs |= content_input(archive, partition)
    hollow = sum(1 for study in studies if not study.series and study.NumberOfStudyRelatedInstances)
    if hollow:
        raise Transient(
            f"{partition}: the PACS announced instances in {hollow} studies and then listed no series for them",
            fix="run the census again; if it stays so, ask the PACS team why series are hidden from this AE title",
        )
    decisions = [decide(study, filters) for study in studies]
    rules = {rule for decision in decisions for rule in decision.excluded if rule}
    with project.lock(partition):
        table = project.write_table(
            project.zones.landing.make_partition(partition) / "census.parquet",
            (
                _row(study, index, decision.excluded[index])
                for study, decision in zip(studies, decisions, strict=True)
                for index in range(len(study.series))
            ),
            storage.CENSUS,
        )
        return project.commit(
            Manifest(
                stage=Stage.CENSUS,
                partition=partition,
                inputs=inputs | ({"filters": rules_fingerprint(filters, rules)} if rules else {}),
                tables={"census": table},
                counts={
                    "studies": len(studies),
                    "series": sum(len(study.series) for study in studies),
                    "instances": sum(_instances(study) for study in studies),
                    "excluded": sum(map(_excluded, studies, decisions)),
                    "undecided": sum(decision.undecided for decision in decisions),
                },
            )
        )


def take_censuses(
    project: Project, site: str, dates: Iterable[dt.date], archive: Archive, *, missing: bool = False
) -> Iterator[Manifest]:
    """Take the census of one date after the other; ``missing`` leaves out those that have one already.

    So a long one that was cut off goes on where it stopped.
    """
    for date in dates:
        partition = Partition(site, date)
        if not missing or project.manifest(partition, Stage.CENSUS) is None:
            yield take_census(project, partition, archive)


def _row(study: StudyRef, index: int, excluded: str) -> dict[str, object]:
    series = study.series[index]
    return {
        "StudyInstanceUID": study.StudyInstanceUID,
        "StudyDate": study.StudyDate,
        "StudyTime": study.StudyTime,
        "ModalitiesInStudy": "\\".join(study.ModalitiesInStudy),
        "NumberOfStudyRelatedInstances": study.NumberOfStudyRelatedInstances,
        "SeriesInstanceUID": series.SeriesInstanceUID,
        "Modality": series.Modality,
        "NumberOfSeriesRelatedInstances": series.NumberOfSeriesRelatedInstances,
        "excluded": excluded,
    }


def _instances(study: StudyRef) -> int:
    """The larger of what the PACS says of the study and of its series; 0 when it says nothing."""
    by_series = sum(series.NumberOfSeriesRelatedInstances or 0 for series in study.series)
    return max(study.NumberOfStudyRelatedInstances or 0, by_series)


def _excluded(study: StudyRef, decision: Decision) -> int:
    """The instances of the excluded series; of the whole study when nothing of it is wanted."""
    if all(decision.excluded):
        return _instances(study) if decision.excluded else 0
    pairs = zip(study.series, decision.excluded, strict=True)
    return sum(series.NumberOfSeriesRelatedInstances or 0 for series, rule in pairs if rule)

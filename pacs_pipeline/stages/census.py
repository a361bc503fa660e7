"""Census: ask the PACS what it has of one study date, and write it down. No images move."""

from __future__ import annotations

from pacs_pipeline import storage
from pacs_pipeline.errors import Transient
from pacs_pipeline.pacs import Archive
from pacs_pipeline.records import Manifest, Partition, Stage, StudyRef
from pacs_pipeline.stages.project import Project


def take_census(project: Project, partition: Partition, archive: Archive) -> Manifest:
    """Store every study and series of the partition with the counts the PACS gives.

    The manifest replaces the previous one only when the PACS answered completely, and has the same digest
    when nothing changed. Raises Transient when the PACS is away, Permanent when it refuses.
    """
    studies = archive.find_studies(partition.study_date)
    hollow = sum(1 for study in studies if not study.series and study.NumberOfStudyRelatedInstances)
    if hollow:
        raise Transient(
            f"{partition}: the PACS announced instances in {hollow} studies and then listed no series for them",
            fix="run the census again; if it stays so, ask the PACS team why series are hidden from this AE title",
        )
    with project.lock(partition):
        table = project.write_table(
            project.zones.landing.make_partition(partition) / "census.parquet",
            (_row(study, index) for study in studies for index in range(len(study.series))),
            storage.CENSUS,
        )
        return project.commit(
            Manifest(
                stage=Stage.CENSUS,
                partition=partition,
                inputs={},
                tables={"census": table},
                counts={
                    "studies": len(studies),
                    "series": sum(len(study.series) for study in studies),
                    "instances": sum(_instances(study) for study in studies),
                },
            )
        )


def _row(study: StudyRef, index: int) -> dict[str, object]:
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
    }


def _instances(study: StudyRef) -> int:
    """The larger of what the PACS says of the study and of its series; 0 when it says nothing."""
    by_series = sum(series.NumberOfSeriesRelatedInstances or 0 for series in study.series)
    return max(study.NumberOfStudyRelatedInstances or 0, by_series)

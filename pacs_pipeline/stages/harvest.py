"""Harvest: bring the instances that are missing into the landing zone, and account for every one that is expected."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacs_pipeline import storage
from pacs_pipeline.errors import Quarantine, Transient
from pacs_pipeline.pacs import Archive, Retriever, describe
from pacs_pipeline.records import (
    InstanceRef,
    LandedInstance,
    Manifest,
    Partition,
    RetrievalFailure,
    SeriesRef,
    Stage,
)
from pacs_pipeline.stages.project import Progress, Project, silent

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often one run asks again for a series when the association broke or a disk was full."""

OUT_OF_RESOURCES = 0xA700
"""C-STORE and C-MOVE status, PS3.4 B.2.3 and C.4.2.1.5."""

LANDED, UNAVAILABLE, EXCLUDED, UNEXPECTED = "landed", "unavailable", "excluded", "unexpected"


def harvest(
    project: Project, partition: Partition, archive: Archive, retriever: Retriever, progress: Progress = silent
) -> Manifest:
    """Fetch what the census announced and the landing zone does not have yet.

    Nothing is asked of the PACS when the manifest already answers this census in full. An instance the PACS
    refuses is written down as unavailable with its status; a lost association raises Transient after what
    arrived has been kept, so that the next run continues.
    """
    folder = project.zones.landing.partition(partition)
    with project.lock(partition):
        census = project.require(partition, Stage.CENSUS)
        inputs = {"census": census.digest}
        previous = project.manifest(partition, Stage.HARVEST)
        known = _known(project, folder, previous)
        if previous is not None and _complete(previous, census, known):
            return previous
        project.verify_tables(census)
        landing = _Landing(folder / "instances", project.keys.hash, known)
        announced = [
            (series, archive.find_instances(series), rule)
            for series, rule in _series(storage.read_rows(folder / "census.parquet"))
        ]
        listings = [(series, expected) for series, expected, rule in announced if not rule]
        excluded = [(series, expected, rule) for series, expected, rule in announced if rule]
        total = sum(len(expected) for _, expected in listings)
        done = 0
        progress("instances landed", done, total)
        for series, expected in listings:
            landing.fetch(retriever, series, expected, partition)
            done += len(expected)
            progress("instances landed", done, total)
        rows = sorted(landing.rows(listings, excluded), key=lambda row: (row["SOPInstanceUID"], row["status"]))
        table = project.write_table(folder / "harvest.parquet", rows, storage.HARVEST)
        log.info("%s: fetched %d instances, already had %d", partition, landing.fetched, landing.reused)
        status = Counter(row["status"] for row in rows)
        unlisted = sum(  # announced and excluded: nobody needs to know which they are
            max((series.NumberOfSeriesRelatedInstances or 0) - len(refs), 0) for series, refs, _ in excluded
        )
        return project.commit(
            Manifest(
                stage=Stage.HARVEST,
                partition=partition,
                inputs=inputs,
                tables={"harvest": table},
                counts={
                    "expected": status[LANDED] + status[UNAVAILABLE] + status[EXCLUDED] + unlisted,
                    **{name: status[name] for name in (LANDED, UNAVAILABLE, UNEXPECTED)},
                    EXCLUDED: status[EXCLUDED] + unlisted,
                    "bytes": sum(row["size"] for row in rows),
                },
            )
        )


def is_awaited(project: Project, partition: Partition) -> bool:
    """Whether the census announced something that no harvest has answered yet."""
    census, previous = (project.manifest(partition, stage) for stage in (Stage.CENSUS, Stage.HARVEST))
    if census is None or not census.counts["series"]:
        return False
    return previous is None or previous.inputs["census"] != census.digest


@dataclass
class _Landing:
    """The landing folder of one partition while it is being filled."""

    root: Path
    folder_name: Callable[[str], str]  # of a series: a keyed hash, since paths stand in messages of the disk
    known: Mapping[str, LandedInstance]
    have: dict[str, LandedInstance] = field(default_factory=dict)
    failures: dict[str, RetrievalFailure] = field(default_factory=dict)
    unexpected: dict[str, InstanceRef] = field(default_factory=dict)
    fetched: int = 0
    reused: int = 0

    def fetch(
        self, retriever: Retriever, series: SeriesRef, expected: tuple[InstanceRef, ...], partition: Partition
    ) -> None:
        into = storage.make_folder(self.root / self.folder_name(series.SeriesInstanceUID))
        self._reuse(into, expected)
        wanted = {ref.SOPInstanceUID for ref in expected}
        problem = None
        for _ in range(ATTEMPTS):
            missing = wanted - self.have.keys()
            if not missing:
                return
            report = retriever.retrieve(series, expected, missing, into)
            self.fetched += len(report.landed)
            self.have.update({landed.SOPInstanceUID: landed for landed in report.landed})
            self.failures.update({f.SOPInstanceUID: f for f in report.failures if f.SOPInstanceUID in missing})
            self.unexpected.update({ref.SOPInstanceUID: ref for ref in report.unexpected})
            problem = next((f for f in report.failures if _passes_by_itself(f)), None)
            if problem is None:
                return  # the PACS has answered for every instance
        if problem is not None and wanted - self.have.keys():
            raise Transient(
                f"{partition}: a series did not arrive in full in {ATTEMPTS} attempts ({problem.message})",
                fix="what arrived is kept; run the partition again when PACS, network and disk are well",
            )

    def _reuse(self, into: Path, expected: Iterable[InstanceRef]) -> None:
        """Take what an earlier run left under its final name, without asking the PACS."""
        for ref in expected:
            path = into / f"{ref.SOPInstanceUID}.dcm"
            known = self.known.get(ref.SOPInstanceUID)
            if known is not None:
                self.have[ref.SOPInstanceUID] = known
                self.reused += 1
            elif path.exists():  # landed by a run that was killed before it wrote its table
                try:
                    self.have[ref.SOPInstanceUID] = describe(path)
                    self.reused += 1
                except Quarantine:
                    path.unlink()

    def rows(
        self,
        listings: Iterable[tuple[SeriesRef, tuple[InstanceRef, ...]]],
        excluded: Iterable[tuple[SeriesRef, tuple[InstanceRef, ...], str]],
    ) -> Iterator[dict[str, Any]]:
        asked = set()
        for _, expected in listings:
            for ref in expected:
                if ref.SOPInstanceUID in asked:  # listed twice by the PACS: one instance, one row
                    continue
                asked.add(ref.SOPInstanceUID)
                landed = self.have.get(ref.SOPInstanceUID)
                yield self._landed(landed) if landed else self._unavailable(ref)
        for _, refs, rule in excluded:
            for ref in refs:
                if ref.SOPInstanceUID not in asked:
                    asked.add(ref.SOPInstanceUID)
                    yield _row(ref, EXCLUDED, rule)
        for ref in self.unexpected.values():
            if ref.SOPInstanceUID not in asked:
                yield _row(ref, UNEXPECTED, "sent without being asked for; not kept")

    def _landed(self, landed: LandedInstance) -> dict[str, Any]:
        ref = InstanceRef(landed.StudyInstanceUID, landed.SeriesInstanceUID, landed.SOPInstanceUID, landed.SOPClassUID)
        return _row(ref, LANDED, "") | {
            "TransferSyntaxUID": landed.TransferSyntaxUID,
            "path": landed.path.relative_to(self.root.parent).as_posix(),
            "size": landed.size,
            "sha256": landed.sha256,
        }

    def _unavailable(self, ref: InstanceRef) -> dict[str, Any]:
        failure = self.failures.get(ref.SOPInstanceUID)
        detail = failure.message if failure else "the PACS listed it and did not send it"
        if failure and failure.status is not None:
            detail = f"{detail} (0x{failure.status:04X})"
        return _row(ref, UNAVAILABLE, detail)


def _passes_by_itself(failure: RetrievalFailure) -> bool:
    """Whether the failure says nothing of the instance: the association was lost, or a disk is full."""
    lost = not failure.SOPInstanceUID and failure.status is None
    return lost or failure.status == OUT_OF_RESOURCES


def _row(ref: InstanceRef, status: str, detail: str) -> dict[str, Any]:
    return {
        "StudyInstanceUID": ref.StudyInstanceUID,
        "SeriesInstanceUID": ref.SeriesInstanceUID,
        "SOPInstanceUID": ref.SOPInstanceUID,
        "SOPClassUID": ref.SOPClassUID,
        "TransferSyntaxUID": "",
        "status": status,
        "detail": detail,
        "path": "",
        "size": 0,
        "sha256": "",
    }


def _series(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[SeriesRef, str]]:
    """Every series of the census, and the rule that excludes it."""
    for row in rows:
        series = SeriesRef(
            StudyInstanceUID=row["StudyInstanceUID"],
            SeriesInstanceUID=row["SeriesInstanceUID"],
            Modality=row["Modality"],
            NumberOfSeriesRelatedInstances=row["NumberOfSeriesRelatedInstances"],
        )
        yield series, row.get("excluded") or ""  # a census of an earlier version has no such column


def _known(project: Project, folder: Path, previous: Manifest | None) -> dict[str, LandedInstance]:
    """The instances the last harvest recorded and that still lie there with their size."""
    if previous is None or not project.intact(previous):
        return {}  # the files themselves still tell what is there
    known = {}
    for row in storage.read_rows(folder / "harvest.parquet"):
        path = folder / row["path"]
        if row["status"] == LANDED and path.is_file() and path.stat().st_size == row["size"]:
            known[row["SOPInstanceUID"]] = LandedInstance(
                StudyInstanceUID=row["StudyInstanceUID"],
                SeriesInstanceUID=row["SeriesInstanceUID"],
                SOPInstanceUID=row["SOPInstanceUID"],
                SOPClassUID=row["SOPClassUID"],
                TransferSyntaxUID=row["TransferSyntaxUID"],
                path=path,
                size=row["size"],
                sha256=row["sha256"],
            )
    return known


def _complete(previous: Manifest, census: Manifest, known: Mapping[str, LandedInstance]) -> bool:
    """Whether the stored harvest answers this census in full and its files are still there."""
    return (
        previous.inputs["census"] == census.digest
        and previous.counts["expected"] >= census.counts["instances"]
        and not previous.counts.get(UNAVAILABLE, 0)
        and len(known) == previous.counts.get(LANDED, 0)
    )

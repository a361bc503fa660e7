"""What the landing zone holds of one partition: what is there, what the archive has changed, what it does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pacs_pipeline import storage
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.pacs import describe
from pacs_pipeline.records import InstanceRef, LandedInstance, Manifest, SeriesRef
from pacs_pipeline.stages.project import Project

LANDED, UNAVAILABLE, UNEXPECTED, EXCLUDED, DELETED = "landed", "unavailable", "unexpected", "excluded", "deleted"
"""The states of an instance after a harvest. ``deleted``: it had landed, and the archive does not list it any more."""

UNLISTED = "unlisted"
"""The count of announced instances of series whose instances the archive could not list; unavailable, too."""


@dataclass
class LandingZone:
    """The instances of a partition by SOPInstanceUID, while a harvest goes on.

    ``before`` are the rows of the last harvest. Another version of an instance takes its name only after the one
    before it has been put aside as ``<SOPInstanceUID>.v<n>.dcm``: nothing that had landed is ever overwritten.
    """

    folder: Path  # of the partition
    before: Mapping[str, Mapping[str, Any]]
    again: bool = False  # everything is to come once more, and to be compared
    have: dict[str, LandedInstance] = field(default_factory=dict)
    replaced: dict[str, LandedInstance] = field(default_factory=dict)  # put aside for a version that has to come
    versions: dict[str, str] = field(default_factory=dict)  # what the archive says of the version
    restored: set[str] = field(default_factory=set)  # what should have come anew and did not

    @classmethod
    def of(cls, project: Project, folder: Path, previous: Manifest | None, *, again: bool = False) -> LandingZone:
        """The zone as the last harvest left it; without intact records the files themselves still tell."""
        if previous is None or not project.intact(previous):
            return cls(folder, {}, again)
        rows = storage.read_rows(folder / "harvest.parquet")
        return cls(folder, {row["SOPInstanceUID"]: row for row in rows if row["status"] != UNEXPECTED}, again)

    def series_folder(self, name: str) -> Path:
        """The folder of a series, by a name that tells nothing: paths stand in messages of the disk."""
        return storage.make_folder(self.folder / "instances" / name)

    def take_stock(self, into: Path, listed: Iterable[InstanceRef]) -> set[str]:
        """Note what of ``listed`` is there already; returns what is missing, by SOPInstanceUID."""
        missing = set()
        for ref in listed:
            uid = ref.SOPInstanceUID
            self.versions[uid] = ref.version
            found = self._found(into, ref)
            if found is None:
                missing.add(uid)
            else:
                self.have[uid] = found
        return missing

    def land(self, arrived: Iterable[LandedInstance]) -> None:
        """Note what has arrived. What was put aside for it goes when its content is the same."""
        for landed in arrived:
            old = self.replaced.pop(landed.SOPInstanceUID, None)
            if old is not None and old.sha256 == landed.sha256:
                old.path.unlink(missing_ok=True)
            self.have[landed.SOPInstanceUID] = landed

    def restore(self) -> None:
        """Give back its name to what was put aside and had no successor."""
        for uid, old in self.replaced.items():
            path = old.path.with_name(f"{uid}.dcm")
            if not path.exists():
                old.path.rename(path)
            self.have[uid] = replace(old, path=path)
            self.restored.add(uid)
        self.replaced.clear()

    def not_listed(self, listed: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows of what had landed once and is not ``listed`` by the archive, in order of UID."""
        for uid, row in sorted(self.before.items()):
            if uid not in listed and row["status"] in (LANDED, DELETED):
                there = bool(row["path"]) and (self.folder / row["path"]).is_file()
                yield uid, dict(row) if there else {**row, "path": "", "size": 0}

    def _found(self, into: Path, ref: InstanceRef) -> LandedInstance | None:
        landed = self._there(into, ref.SOPInstanceUID)
        if landed is None:
            return None
        row = self.before.get(ref.SOPInstanceUID)
        if self.again or (row is not None and row.get("version", "") != ref.version):
            self._put_aside(landed)
            return None
        return landed

    def _there(self, into: Path, uid: str) -> LandedInstance | None:
        row = self.before.get(uid)
        if row is not None and row["path"]:
            landed = _recorded(self.folder, row)
            if landed.path.is_file() and landed.path.stat().st_size == landed.size:
                return landed
        path = into / f"{uid}.dcm"
        if not path.exists():
            return None
        try:
            return describe(path)  # landed by a run that was killed before it wrote its table
        except Quarantine:
            path.unlink()
            return None

    def _put_aside(self, landed: LandedInstance) -> None:
        uid = landed.SOPInstanceUID
        number = 1
        while (aside := landed.path.with_name(f"{uid}.v{number}.dcm")).exists():
            number += 1
        landed.path.rename(aside)
        self.replaced[uid] = replace(landed, path=aside)

    def row(self, landed: LandedInstance) -> dict[str, Any]:
        """The row of an instance that lies in the zone; what did not come anew keeps the version that it has."""
        uid = landed.SOPInstanceUID
        old = self.before.get(uid)
        kept = uid in self.restored
        detail = "another version did not come" if kept else ""
        version = old.get("version", "") if kept and old is not None else self.versions.get(uid, "")
        ref = InstanceRef(landed.StudyInstanceUID, landed.SeriesInstanceUID, landed.SOPInstanceUID, landed.SOPClassUID)
        return row_of(ref, LANDED, detail) | {
            "TransferSyntaxUID": landed.TransferSyntaxUID,
            "path": landed.path.relative_to(self.folder).as_posix(),
            "size": landed.size,
            "sha256": landed.sha256,
            "version": version,
        }


def row_of(ref: InstanceRef, status: str, detail: str) -> dict[str, Any]:
    """The row of an instance that is not in the zone."""
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
        "version": "",
    }


def series_of(row: Mapping[str, Any]) -> SeriesRef:
    """The series of a row of the census."""
    return SeriesRef(
        StudyInstanceUID=row["StudyInstanceUID"],
        SeriesInstanceUID=row["SeriesInstanceUID"],
        Modality=row["Modality"],
        NumberOfSeriesRelatedInstances=row["NumberOfSeriesRelatedInstances"],
    )


def _recorded(folder: Path, row: Mapping[str, Any]) -> LandedInstance:
    return LandedInstance(
        StudyInstanceUID=row["StudyInstanceUID"],
        SeriesInstanceUID=row["SeriesInstanceUID"],
        SOPInstanceUID=row["SOPInstanceUID"],
        SOPClassUID=row["SOPClassUID"],
        TransferSyntaxUID=row["TransferSyntaxUID"],
        path=folder / row["path"],
        size=row["size"],
        sha256=row["sha256"],
    )

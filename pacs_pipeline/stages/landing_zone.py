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

    ``before`` are the rows of the last harvest. What may have changed comes into a folder of its own and is compared
    there. Only another content takes the name, after the one before was put aside as ``<SOPInstanceUID>.v<n>.dcm``:
    at every moment the last complete version lies there, and nothing that had landed is ever overwritten.
    """

    folder: Path  # of the partition
    before: Mapping[str, Mapping[str, Any]]
    recorded_at: int = 0  # when those rows were written, in nanoseconds
    have: dict[str, LandedInstance] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  # what the archive says of the version
    outdated: set[str] = field(default_factory=set)  # what should come anew and has not
    exchanged: set[Path] = field(default_factory=set)  # what has another content now

    @classmethod
    def of(cls, project: Project, folder: Path, previous: Manifest | None) -> LandingZone:
        """The zone as the last harvest left it; without intact records the files themselves still tell."""
        if previous is None or not project.intact(previous):
            return cls(folder, {})
        table = folder / "harvest.parquet"
        rows = {row["SOPInstanceUID"]: row for row in storage.read_rows(table) if row["status"] != UNEXPECTED}
        return cls(folder, rows, table.stat().st_mtime_ns)

    def series_folder(self, name: str) -> Path:
        """The folder of a series, by a name that tells nothing: paths stand in messages of the disk."""
        return storage.make_folder(self.folder / "instances" / name)

    def take_stock(self, into: Path, listed: Iterable[InstanceRef], *, again: bool) -> tuple[set[str], set[str]]:
        """Note what of ``listed`` is there already; what is missing, and what has to come anew, by SOPInstanceUID.

        That is what the archive gives another version than before, with ``again`` everything.
        """
        missing, anew = set(), set()
        for ref in listed:
            uid = ref.SOPInstanceUID
            self.versions[uid] = ref.version
            found = self._there(into, uid)
            if found is None:
                missing.add(uid)
                continue
            self.have[uid] = found
            row = self.before.get(uid)
            if again or (row is not None and row.get("version", "") != ref.version):
                anew.add(uid)
        self.outdated |= anew
        return missing, anew

    def land(self, arrived: Iterable[LandedInstance]) -> None:
        """Note what has arrived."""
        self.have.update({landed.SOPInstanceUID: landed for landed in arrived})

    def compare(self, arrived: Iterable[LandedInstance]) -> None:
        """Exchange what has another content than the file of its name; remove what has not."""
        for landed in arrived:
            uid = landed.SOPInstanceUID
            path = self.have[uid].path
            old = _whole(path)
            if old is not None and old.sha256 == landed.sha256:
                landed.path.unlink()
                self.have[uid] = old
            else:
                path.rename(_aside(path, uid))
                landed.path.rename(path)
                self.have[uid] = replace(landed, path=path)
                self.exchanged.add(path)
            self.outdated.discard(uid)

    def make_durable(self) -> None:
        """Make the exchanges survive a power cut; what was landed is durable already."""
        if self.exchanged:
            storage.make_durable(self.exchanged)

    def not_listed(self, listed: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows of what had landed once and is not ``listed`` by the archive, in order of UID."""
        for uid, row in sorted(self.before.items()):
            if uid not in listed and row["status"] in (LANDED, DELETED):
                there = bool(row["path"]) and (self.folder / row["path"]).is_file()
                yield uid, dict(row) if there else {**row, "path": "", "size": 0}

    def _there(self, into: Path, uid: str) -> LandedInstance | None:
        """What lies there: as it was recorded, or, when the file is younger than the record, as it tells itself."""
        row = self.before.get(uid)
        if row is not None and row["path"]:
            landed = _recorded(self.folder, row)
            try:
                status = landed.path.stat()
            except FileNotFoundError:
                status = None
            if status is not None and status.st_size == landed.size and status.st_ctime_ns <= self.recorded_at:
                return landed
        path = into / f"{uid}.dcm"
        if not path.exists():
            return None
        found = _whole(path)
        if found is None:
            path.unlink()
        return found

    def row(self, landed: LandedInstance) -> dict[str, Any]:
        """The row of an instance that lies in the zone; what did not come anew keeps the version that it has."""
        uid = landed.SOPInstanceUID
        version, detail = self.versions.get(uid, ""), ""
        if uid in self.outdated:
            row = self.before.get(uid, {})
            version, detail = row.get("version", ""), "another version did not come"
        ref = InstanceRef(landed.StudyInstanceUID, landed.SeriesInstanceUID, landed.SOPInstanceUID, landed.SOPClassUID)
        return row_of(ref, LANDED, detail) | {
            "TransferSyntaxUID": landed.TransferSyntaxUID,
            "path": landed.path.relative_to(self.folder).as_posix(),
            "size": landed.size,
            "sha256": landed.sha256,
            "version": version,
        }


def _whole(path: Path) -> LandedInstance | None:
    """What a file holds, read from itself; None when it is not whole."""
    try:
        return describe(path)
    except Quarantine:
        return None


def _aside(path: Path, uid: str) -> Path:
    number = 1
    while (aside := path.with_name(f"{uid}.v{number}.dcm")).exists():
        number += 1
    return aside


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

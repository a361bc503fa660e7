"""The zones: folders for what may hold PHI, open to their owner only."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import Partition
from pacs_pipeline.storage.atomic import make_folder

_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone. Its partitions are folders below ``root``."""

    name: str
    root: Path

    def partition(self, partition: Partition) -> Path:
        """The folder of ``partition``; nothing is created."""
        if not _SITE.fullmatch(partition.site):  # the site becomes a folder name
            raise Permanent("a site's name has characters that no folder may have", fix="use a-z, 0-9 and _")
        return self.root / partition.folder

    def make_partition(self, partition: Partition) -> Path:
        """The folder of ``partition``, created (owner-only) when missing."""
        return make_folder(self.partition(partition))


class Zones:
    """All zones below one root.

    ``landing``: instances as received. ``staging``: de-identified, not yet trusted. ``quarantine``: set
    aside. ``vault``: what leads back to the source. ``state``: manifests, verdicts, locks. ``docs``: Data Docs.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.landing = Zone("landing", root / "landing")
        self.staging = Zone("staging", root / "staging")
        self.quarantine = Zone("quarantine", root / "quarantine")
        self.vault = Zone("vault", root / "vault")
        self.state = Zone("state", root / "state")
        self.docs = Zone("docs", root / "docs")

    def __iter__(self) -> Iterator[Zone]:
        return iter((self.landing, self.staging, self.quarantine, self.vault, self.state, self.docs))

    def create(self) -> None:
        """Create what is missing, owner-only; raises Permanent or Transient as the disk says.

        Folders that exist keep their permissions: :meth:`problems` tells when those are too wide.
        """
        for zone in self:
            make_folder(zone.root)

    def problems(self) -> tuple[Permanent, ...]:
        """Everything that is wrong with the zones, each with its fix; not raised, empty when all is well."""
        found = []
        for folder in (self.root, *(zone.root for zone in self)):
            try:
                status = folder.lstat()
            except OSError as error:
                found.append(
                    Permanent(f"the zone {folder} cannot be read ({error.strerror})", fix=f"mkdir -p -m 700 {folder}")
                )
                continue
            if not stat.S_ISDIR(status.st_mode):
                found.append(Permanent(f"the zone {folder} is not a folder", fix="move it away"))
                continue
            if status.st_uid != os.geteuid():
                found.append(Permanent(f"the zone {folder} belongs to another user", fix=f"chown it to {os.geteuid()}"))
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                found.append(
                    Permanent(
                        f"the zone {folder} is open to other users (mode {stat.S_IMODE(status.st_mode):o})",
                        fix=f"chmod 700 {folder}",
                    )
                )
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                found.append(Permanent(f"the zone {folder} is not writable", fix=f"chmod 700 {folder}"))
        return tuple(found)

"""The kill switch of a site: a file that is there while nobody may ask."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline.errors import PipelineError, Transient
from pacs_pipeline.pacs.access import shared


@dataclass(frozen=True, slots=True)
class Stop:
    """A site was stopped: by whom, when and why, as far as that is known."""

    by: str = ""
    at: dt.datetime | None = None
    reason: str = ""


class KillSwitch:
    """``stop`` in the folder of a site. The file alone stops, whoever made it and whatever is in it.

    A look costs one ``stat()``, so every instance can be preceded by one.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "stop"
        self._lifted = folder / "access" / "started.json"

    def stop(self, *, by: str, at: dt.datetime, reason: str = "") -> None:
        """Stop the site for every process, durably. Raises Transient or Permanent when that cannot be written."""
        try:
            shared.replace(self._file, {"by": by, "at": at.isoformat(), "reason": reason})
        except Transient:
            if self.is_on:
                return
            try:  # a full disk has no room for the reason, but for the name of a file
                self._file.touch(shared.FILE_MODE)
            except OSError as error:
                raise shared.disk_error(error, self._file) from error

    def start(self, *, by: str, at: dt.datetime) -> bool:
        """Lift the stop; whether there was one."""
        if not self._file.exists():
            return False
        shared.replace(self._lifted, {"by": by, "at": at.isoformat()})
        return shared.remove(self._file)

    @property
    def is_on(self) -> bool:
        """Whether the site is stopped. A file that cannot be looked at counts as there."""
        try:
            self._file.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    @property
    def stopped(self) -> Stop | None:
        """The stop in force, or None."""
        if not self.is_on:
            return None
        try:
            content = shared.read(self._file)
        except PipelineError:
            content = {}
        return Stop(str(content.get("by", "")), shared.instant(content.get("at")), str(content.get("reason", "")))

    @property
    def lifted(self) -> dt.datetime | None:
        """When the last stop was lifted, or None."""
        return shared.instant(shared.read(self._lifted).get("at"))

"""What an archive made of files is listed and read through, wherever they lie."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as it was listed.

    ``version`` is another one when the content may be another one; empty, the file is read again every time.
    """

    name: bytes  # below the root; may hold a patient's name, so it stands in no message
    size: int  # bytes
    version: str
    date: dt.date | None = None  # the study date the file is filed under, whatever its header says
    copy: int = 0  # of several with one SOPInstanceUID, the higher one is newer


class Files(Protocol):
    """A set of files: a folder tree, the objects below a prefix, an inbox.

    What it reads is what was listed, or it raises: FileNotFoundError when the file is gone, Quarantine when it has
    changed or cannot be read, Transient or Permanent when the place as a whole cannot be reached.
    """

    where: str  # in words, for messages
    window: int  # bytes that a read should ask for at least
    newest_wins: bool  # of two files with one SOPInstanceUID; otherwise they are in conflict

    def scope(self, study_date: dt.date) -> bytes:
        """The start of the name that all files of a study date have; empty when any file may be of that date."""
        ...

    def list(self, scope: bytes = b"") -> Iterator[Entry]:
        """Every file whose name starts with ``scope``. Ends only when the list is complete."""
        ...

    def read(self, entry: Entry, start: int, length: int) -> bytes:
        """``length`` bytes from ``start`` on, fewer only at the end of the file."""
        ...

    def stream(self, entry: Entry, start: int) -> Iterator[bytes]:
        """Everything from ``start`` on in chunks; the last one comes only when the file is still what was listed."""
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...

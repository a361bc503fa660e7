"""How often a series has failed: one that takes the archive down must not keep its day open for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacs_pipeline import storage
from pacs_pipeline.records import fingerprint


@dataclass
class Tries:
    """The runs in which each series of a partition failed, in a small file of its landing folder.

    A series counts as another one when the census says something else of it: it gets new tries.
    """

    path: Path
    most: int
    failed: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, most: int) -> Tries:
        """What is noted in ``folder``; a file that cannot be read is taken for none, which costs a few more tries."""
        path = folder / "tries.json"
        try:
            noted = json.loads(path.read_bytes())
            failed = {str(key): int(count) for key, count in noted.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            failed = {}
        return cls(path, most, failed)

    def set_aside(self, series: Mapping[str, Any]) -> bool:
        """Whether ``series``, a row of the census, is not asked for any more."""
        return self.failed.get(_key(series), 0) >= self.most

    def note(self, failed: list[Mapping[str, Any]], done: list[Mapping[str, Any]]) -> None:
        """Count a failure of each of ``failed``, and forget those of ``done``."""
        for series in done:
            self.failed.pop(_key(series), None)
        for series in failed:
            self.failed[_key(series)] = self.failed.get(_key(series), 0) + 1
        if self.failed:
            storage.write_json(self.path, dict(sorted(self.failed.items())))
        else:
            self.path.unlink(missing_ok=True)


def _key(series: Mapping[str, Any]) -> str:
    return fingerprint([series["SeriesInstanceUID"], series["NumberOfSeriesRelatedInstances"]])[:32]

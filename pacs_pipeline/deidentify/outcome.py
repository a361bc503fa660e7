"""What became of one source file: the value that crosses from a worker to the stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacs_pipeline.records import Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """Released with its output and row, or set aside with a reason.

    The three ``source_…`` UIDs are for the vault's mapping only. ``row`` and everything in it come from the
    de-identified file. ``actions`` are (tag, keyword, letter of PS3.15 E.1, count).
    """

    source: Path
    source_sop_instance_uid: str = ""
    source_series_instance_uid: str = ""
    source_study_instance_uid: str = ""
    reason: Reason | None = None
    detail: str = ""
    output: Path | None = None
    size: int = 0
    sha256: str = ""
    input_sha256: str = ""
    row: Mapping[str, object] = field(default_factory=dict)
    actions: tuple[tuple[str, str, str, int], ...] = ()

    @property
    def released(self) -> bool:
        """Whether there is a clean output."""
        return self.reason is None and self.output is not None

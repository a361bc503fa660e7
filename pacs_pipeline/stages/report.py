"""What is stored of partitions, in the short form that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pacs_pipeline import storage
from pacs_pipeline.records import Partition
from pacs_pipeline.stages.project import Project


def verdicts(project: Project, partitions: Iterable[Partition]) -> dict[Partition, str]:
    """The stored verdict of each partition, in a word; none for a day without studies."""
    stored = ((p, storage.read_verdict(project.zones.state.partition(p))) for p in partitions)
    return {p: verdict.status.value for p, verdict in stored if verdict is not None}


def quarantine_reasons(project: Project, partitions: Iterable[Partition]) -> dict[str, int]:
    """How many instances are set aside for which reason, most frequent first."""
    reasons: Counter[str] = Counter()
    for partition in partitions:
        table = project.zones.quarantine.partition(partition) / "quarantine.parquet"
        if table.exists():
            reasons.update(row["reason"] for row in storage.read_rows(table, ["reason"]))
    return dict(reasons.most_common())

"""The project's own way: its public retrievers over one association, with every check that a harvest makes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks import servers
from benchmarks.harvest.sources import Source
from pacs_pipeline.demo.ct_set import WrittenSlice
from pacs_pipeline.demo.ports import LOOPBACK
from pacs_pipeline.errors import Transient
from pacs_pipeline.pacs import CGetRetriever, CMoveRetriever, Endpoint, Landing, Retriever, StorageReceiver
from pacs_pipeline.records import InstanceRef, SeriesRef

AE_TITLE = "BENCH_PROJECT"
_CT = "1.2.840.10008.5.1.4.1.1.2"


def c_move(source: Source, items: Sequence[WrittenSlice], into: Path, port: int) -> float:
    """Seconds until all series have landed over C-MOVE."""
    return _seconds(CMoveRetriever(_endpoint(source), StorageReceiver(AE_TITLE, port, bind=LOOPBACK)), items, into)


def c_get(source: Source, items: Sequence[WrittenSlice], into: Path) -> float:
    """Seconds until all series have landed over C-GET."""
    return _seconds(CGetRetriever(_endpoint(source)), items, into)


def _endpoint(source: Source) -> Endpoint:
    return Endpoint("bench", LOOPBACK, source.port, servers.ARCHIVE, AE_TITLE)


def _seconds(retriever: AbstractContextManager[Retriever], items: Sequence[WrittenSlice], into: Path) -> float:
    """Time the retrieval of everything, series by series as the harvest does it."""
    wanted = series_of(items)
    start = time.perf_counter()
    with retriever as opened:
        landed = [
            instance
            for series, refs in wanted.items()
            for instance in opened.retrieve(
                Landing(series, {ref.SOPInstanceUID for ref in refs}, into / series.SeriesInstanceUID), refs
            ).landed
        ]
    seconds = time.perf_counter() - start
    if len({instance.sha256 for instance in landed}) != len(items):
        raise Transient(f"{len(landed)} of {len(items)} instances landed", fix="run again")
    return seconds


def series_of(items: Sequence[WrittenSlice]) -> dict[SeriesRef, list[InstanceRef]]:
    """What a census would have listed."""
    found: dict[tuple[str, str], list[InstanceRef]] = {}
    for item in items:
        refs = found.setdefault((item.StudyInstanceUID, item.SeriesInstanceUID), [])
        refs.append(InstanceRef(item.StudyInstanceUID, item.SeriesInstanceUID, item.SOPInstanceUID, _CT))
    return {SeriesRef(study, series, "CT", len(refs)): refs for (study, series), refs in found.items()}

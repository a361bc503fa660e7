"""A site that closes while instances come: nothing more is taken, over C-GET, C-MOVE and DICOMweb."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacs_pipeline.errors import Paused
from pacs_pipeline.pacs import CGetRetriever, CMoveRetriever, DicomwebRetriever, Landing, StorageReceiver
from pacs_pipeline.pacs.retrieve import DimseRetriever
from pacs_pipeline_tests.unit.pacs.dicomweb.services import Archive as DicomwebService
from pacs_pipeline_tests.unit.pacs.dicomweb.services import serving
from pacs_pipeline_tests.unit.pacs.peers import RECEIVER_TITLE, Talk, scripted, sending
from pacs_pipeline_tests.unit.pacs.samples import SERIES, samples

ARCHIVE = samples(9)


class Gate:
    """Closes after some instances."""

    def __init__(self, opens_for: int) -> None:
        self.left = opens_for
        self.sizes: list[int] = []

    def __call__(self, size: int) -> None:
        self.sizes.append(size)
        if not self.left:
            raise Paused("the window closed")
        self.left -= 1


def retrieve(retriever: DimseRetriever | DicomwebRetriever, landing: Landing) -> None:
    with retriever, pytest.raises(Paused, match="the window closed"):
        retriever.retrieve(landing, [sample.ref for sample in ARCHIVE])


def landing(into: Path, gate: Gate) -> Landing:
    return Landing(SERIES, {sample.uid for sample in ARCHIVE}, into, gate=gate)


def test_a_c_get_ends_before_the_next_instance(tmp_path: Path) -> None:
    sent: list[int | None] = []

    def script(talk: Talk) -> None:
        for sample in ARCHIVE:
            sent.append(talk.store(sample))
            if sent[-1] is None:
                return

    gate = Gate(3)
    with scripted(get=script) as endpoint:
        retrieve(CGetRetriever(endpoint), landing(tmp_path, gate))
    assert sent[:3] == [0, 0, 0]
    assert sent[3:] in ([], [None])
    assert len(list(tmp_path.iterdir())) == 3
    assert gate.sizes[0] == 0
    assert min(gate.sizes[1:]) > 1000  # the bytes of the instance before


def test_a_c_move_ends_before_the_next_instance(tmp_path: Path, unused_port: int) -> None:
    receiver = StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", timeout=30)
    sent: list[int | None] = []

    def script(talk: Talk) -> None:
        with sending(talk, unused_port, *ARCHIVE) as sender:
            for sample in ARCHIVE:
                sent.append(sender.store(sample))
                if sent[-1] is None:
                    return

    with scripted(move=script) as endpoint:
        retrieve(CMoveRetriever(endpoint, receiver), landing(tmp_path, Gate(3)))
    assert sent[:3] == [0, 0, 0]
    assert sent[3:] in ([], [None])
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_retrieval_over_dicomweb_ends_before_the_next_instance(tmp_path: Path, one_by_one: bool) -> None:
    gate = Gate(3)
    missing = {sample.uid for sample in ARCHIVE[one_by_one:]}  # not the whole series: instance by instance
    with serving(DicomwebService(ARCHIVE)) as server:
        retrieve(DicomwebRetriever(server.service()), Landing(SERIES, missing, tmp_path, gate=gate))
    assert len(list(tmp_path.iterdir())) == 3
    assert len(server.requests) == (4 if one_by_one else 1)
    assert gate.sizes[0] == 0

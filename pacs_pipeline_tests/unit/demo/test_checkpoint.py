from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from pynetdicom.association import Association

from pacs_pipeline.demo import pacs as embedded
from pacs_pipeline.demo.checkpoint import Checkpoint
from pacs_pipeline.demo.population import WrittenInstance
from pacs_pipeline.pacs import CMoveRetriever, Endpoint, Landing, StorageReceiver
from pacs_pipeline.records import InstanceRef, SeriesRef


class Reactor(threading.Thread):
    """The loop of an association's thread: rest where asked to, then take what is there."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.checkpoint = Checkpoint(cast(Association, self))
        self.taken = 0
        self.over = False

    def run(self) -> None:
        while not self.over:
            self.checkpoint.wait()
            time.sleep(0.0005)  # between being let go and taking
            self.taken += 1


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    thread = Reactor()
    thread.start()
    yield thread
    thread.over = True
    thread.checkpoint.set()
    thread.join(5)
    assert not thread.is_alive()


def test_nothing_is_taken_between_clear_and_set(reactor: Reactor) -> None:
    for round_ in range(200):
        reactor.checkpoint.clear()
        before = reactor.taken
        time.sleep(0.001)
        assert reactor.taken == before, round_
        reactor.checkpoint.set()
        time.sleep(0.0001 * (round_ % 10))
    assert reactor.taken > 0


def test_clear_does_not_wait_for_a_reactor_that_has_ended(reactor: Reactor) -> None:
    reactor.over = True
    reactor.join(5)
    reactor.checkpoint.clear()
    assert not reactor.checkpoint.is_set()


def test_the_reactor_itself_may_clear() -> None:
    done = threading.Event()

    class Own(Reactor):
        def run(self) -> None:
            self.checkpoint.clear()
            done.set()

    Own().start()
    assert done.wait(5)


class LateCheckpoint(Checkpoint):
    """Goes on late after it was let go, as on a busy machine: pynetdicom's own event then loses responses."""

    def wait(self, timeout: float | None = None) -> bool:
        going_on = super().wait(timeout)
        time.sleep(0.02)
        return going_on


def test_a_c_move_loses_no_response_on_a_busy_machine(
    population: tuple[Path, list[WrittenInstance]], tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(association: Association) -> None:
        association._reactor_checkpoint = LateCheckpoint(association)

    monkeypatch.setattr(embedded, "pause_reliably", pause)
    folder, written = population
    series = SeriesRef(written[0].StudyInstanceUID, written[0].SeriesInstanceUID, written[0].Modality, 0)
    wanted = {w.SOPInstanceUID for w in written if w.SeriesInstanceUID == series.SeriesInstanceUID}
    expected = [InstanceRef(series.StudyInstanceUID, series.SeriesInstanceUID, uid, "") for uid in wanted]
    destinations = {"DEST": ("127.0.0.1", unused_port)}
    with embedded.EmbeddedPacs(folder / written[0].site, "PACS", destinations=destinations) as pacs:
        endpoint = Endpoint("north", "127.0.0.1", pacs.port, "PACS", "PIPELINE", 5)
        receiver = StorageReceiver("DEST", unused_port, bind="127.0.0.1", timeout=5)
        with CMoveRetriever(endpoint, receiver) as retriever:
            for turn in range(10):
                report = retriever.retrieve(Landing(series, wanted, tmp_path / str(turn)), expected)
                assert {landed.SOPInstanceUID for landed in report.landed} == wanted
                assert report.failures == ()

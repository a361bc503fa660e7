from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association

from pacs_pipeline.pacs import PacsClient
from pacs_pipeline.pacs import association as associations
from pacs_pipeline.pacs.association import connect, disconnect
from pacs_pipeline.pacs.checkpoint import Checkpoint
from pacs_pipeline.pacs.client import STUDY_ROOT_FIND
from pacs_pipeline.records import SeriesRef
from pacs_pipeline_tests.unit.pacs.peers import finds, scripted


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


def test_an_association_we_open_has_it() -> None:
    contexts = [build_context(STUDY_ROOT_FIND)]
    with scripted(find=finds()) as endpoint:
        association = connect(endpoint, contexts)
        try:
            assert isinstance(association._reactor_checkpoint, Checkpoint)
        finally:
            disconnect(association)


class LateCheckpoint(Checkpoint):
    """Goes on late after it was let go, as on a busy machine: with pynetdicom's own event a quarter is cut short."""

    def wait(self, timeout: float | None = None) -> bool:
        going_on = super().wait(timeout)
        time.sleep(0.02)
        return going_on


def test_no_match_of_a_query_is_lost_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(association: Association) -> None:
        association._reactor_checkpoint = LateCheckpoint(association)

    monkeypatch.setattr(associations, "pause_reliably", pause)
    series = SeriesRef("1.2.3", "1.2.3.1", "CT", 40)
    with scripted(find=finds(*(_match(n) for n in range(40)))) as endpoint, PacsClient(endpoint) as client:
        for _ in range(25):
            assert len(client.find_instances(series)) == 40
            time.sleep(0.003)


def _match(number: int) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    ds.SOPInstanceUID, ds.SOPClassUID = f"1.2.3.1.{number}", "1.2.840.10008.5.1.4.1.1.2"
    return ds

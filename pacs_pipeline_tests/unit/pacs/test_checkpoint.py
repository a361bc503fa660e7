from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest
from pynetdicom import build_context
from pynetdicom.association import Association

from pacs_pipeline.pacs.association import connect, disconnect
from pacs_pipeline.pacs.checkpoint import Checkpoint
from pacs_pipeline.pacs.client import STUDY_ROOT_FIND
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

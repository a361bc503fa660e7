import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pynetdicom import AE, build_context

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import CMoveRetriever, Endpoint, Landing, StorageReceiver
from pacs_pipeline.records import RetrievalReport
from pacs_pipeline_tests.unit.pacs.peers import RECEIVER_TITLE, Script, Talk, scripted, sending
from pacs_pipeline_tests.unit.pacs.samples import (
    BIG_ENDIAN,
    JPEG_2000,
    OTHER_SERIES,
    PRIVATE_CLASS,
    SERIES,
    Sample,
    samples,
)

ARCHIVE = samples(4)


@pytest.fixture
def receiver(unused_port: int) -> StorageReceiver:
    return StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", timeout=3)


def fetch(
    endpoint: Endpoint, receiver: StorageReceiver, into: Path, expected: Sequence[Sample] = ARCHIVE
) -> RetrievalReport:
    with CMoveRetriever(endpoint, receiver) as retriever:
        return retriever.retrieve(
            Landing(SERIES, {sample.uid for sample in expected}, into), [sample.ref for sample in expected]
        )


def uids(items: Sequence[object]) -> list[str]:
    return [item.SOPInstanceUID for item in items]  # type: ignore[attr-defined]


def moves(port: int, archive: Sequence[Sample]) -> Script:
    """A well-behaved archive."""

    def script(talk: Talk) -> None:
        chosen = [sample for sample in archive if not talk.uids or sample.uid in talk.uids]
        with sending(talk, port, *chosen) as sender:
            stored = [sample for sample in chosen if sender.store(sample) == 0]
        failed = [sample for sample in chosen if sample not in stored]
        if failed:
            talk.failed(0xB000, failed, completed=len(stored))
        else:
            talk.answer(0x0000, completed=len(stored))

    return script


def test_a_mixed_series_as_stored(tmp_path: Path, receiver: StorageReceiver) -> None:
    archive = [Sample(1), Sample(2, syntax=JPEG_2000), Sample(3, syntax=BIG_ENDIAN), Sample(4, sop_class=PRIVATE_CLASS)]
    with scripted(move=moves(receiver.port, archive)) as endpoint:
        report = fetch(endpoint, receiver, tmp_path, archive)
    assert report == RetrievalReport(landed=report.landed)
    for landed, sample in zip(report.landed, archive, strict=True):
        assert (landed.SOPInstanceUID, landed.TransferSyntaxUID) == (sample.uid, sample.syntax)
        assert landed.path.read_bytes().endswith(sample.data)


def test_a_pacs_that_answers_before_it_sends(tmp_path: Path, receiver: StorageReceiver) -> None:
    threads: list[threading.Thread] = []

    def script(talk: Talk) -> None:
        def late() -> None:
            time.sleep(0.1)
            with sending(talk, receiver.port, *ARCHIVE) as sender:
                for sample in ARCHIVE:
                    time.sleep(0.05)
                    sender.store(sample)

        if not threads:
            threads.append(threading.Thread(target=late))
            threads[0].start()
        talk.answer(0x0000)

    with scripted(move=script) as endpoint:
        report = fetch(endpoint, receiver, tmp_path)
    threads[0].join()
    assert len(report.landed) == 4
    assert report.failures == ()


def test_a_long_move_without_a_word_is_alive_while_instances_come(tmp_path: Path, receiver: StorageReceiver) -> None:
    def script(talk: Talk) -> None:
        with sending(talk, receiver.port, *ARCHIVE) as sender:
            for sample in ARCHIVE:
                time.sleep(0.25)
                sender.store(sample)
        talk.answer(0x0000, completed=4)

    with scripted(move=script, timeout=0.6) as endpoint:
        assert len(fetch(endpoint, receiver, tmp_path).landed) == 4


def test_a_pacs_that_dies_in_the_middle_keeps_what_came(tmp_path: Path, receiver: StorageReceiver) -> None:
    def script(talk: Talk) -> None:
        with sending(talk, receiver.port, *ARCHIVE) as sender:
            sender.store(ARCHIVE[0])
        talk.die()

    with scripted(move=script) as endpoint:
        report = fetch(endpoint, receiver, tmp_path)
    assert uids(report.landed) == [ARCHIVE[0].uid]
    assert uids(report.failures) == ["", *(sample.uid for sample in ARCHIVE[1:])]
    assert {failure.status for failure in report.failures} == {None}


def test_a_destination_the_pacs_does_not_know(tmp_path: Path, receiver: StorageReceiver) -> None:
    with (
        scripted(move=lambda talk: talk.answer(0xA801)) as endpoint,
        pytest.raises(Permanent, match="move destination unknown") as caught,
    ):
        fetch(endpoint, receiver, tmp_path)
    assert "register" in caught.value.fix


def test_a_study_the_pacs_does_not_know(tmp_path: Path, receiver: StorageReceiver) -> None:
    with scripted(move=lambda talk: talk.answer(0x0000, completed=0)) as endpoint:
        report = fetch(endpoint, receiver, tmp_path, ARCHIVE[:1])
    assert [(f.SOPInstanceUID, f.status) for f in report.failures] == [(ARCHIVE[0].uid, 0x0000)]


def test_a_sender_that_leaves_the_syntax_to_us_gets_both_ways(tmp_path: Path, receiver: StorageReceiver) -> None:
    archive = [Sample(1), Sample(2, syntax=JPEG_2000)]

    def script(talk: Talk) -> None:
        chosen = [sample for sample in archive if not talk.uids or sample.uid in talk.uids]
        ae = AE(ae_title="PACS")
        context = build_context(archive[0].sop_class, [JPEG_2000, archive[0].syntax])
        association = ae.associate("127.0.0.1", receiver.port, contexts=[context], ae_title=RECEIVER_TITLE)
        sender = Talk(talk.association, talk.context_id, talk.request, association)
        failed = [sample for sample in chosen if sender.store(sample) != 0]
        association.release()
        if failed:
            talk.failed(0xB000, failed)
        else:
            talk.answer(0x0000)

    with scripted(move=script) as endpoint:
        report = fetch(endpoint, receiver, tmp_path, archive)
    assert [landed.TransferSyntaxUID for landed in report.landed] == [sample.syntax for sample in archive]


def test_an_instance_nobody_asked_for(tmp_path: Path, receiver: StorageReceiver) -> None:
    stranger = Sample(9, series=OTHER_SERIES)
    with scripted(move=moves(receiver.port, [stranger, *ARCHIVE])) as endpoint:
        report = fetch(endpoint, receiver, tmp_path)
    assert report.unexpected == (stranger.ref,)
    assert len(report.landed) == len(list(tmp_path.iterdir())) == 4


@pytest.fixture
def talk() -> Talk:
    """A talk whose request is no C-MOVE of ours: what a stranger's C-STORE names."""

    class Request:
        MessageID = 4711

    return Talk(None, 0, Request())  # type: ignore[arg-type]


def test_outside_a_request_nothing_is_taken(receiver: StorageReceiver, talk: Talk) -> None:
    with receiver, sending(talk, receiver.port, ARCHIVE[0]) as sender:
        assert sender.store(ARCHIVE[0]) == 0x0124


def test_the_receiver_answers_only_to_its_own_title(receiver: StorageReceiver) -> None:
    with receiver:
        ae = AE(ae_title="PACS")
        association = ae.associate(
            "127.0.0.1", receiver.port, contexts=[build_context(ARCHIVE[0].sop_class)], ae_title="SOMEONE"
        )
        assert association.is_rejected


def test_a_busy_port_says_so(receiver: StorageReceiver) -> None:
    second = StorageReceiver(RECEIVER_TITLE, receiver.port, bind="127.0.0.1")
    with receiver, pytest.raises(Transient, match=f"port {receiver.port} is in use"), second:
        pass


def test_an_address_that_is_not_ours_says_so(unused_port: int) -> None:
    receiver = StorageReceiver(RECEIVER_TITLE, unused_port, bind="192.0.2.1")
    with pytest.raises(Permanent, match="cannot listen"), receiver:
        pass


def test_the_port_is_free_again_afterwards(receiver: StorageReceiver) -> None:
    for _ in range(2):
        with receiver:
            pass

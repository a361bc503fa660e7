import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom.pdu_primitives import A_ASSOCIATE

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import CGetRetriever, CMoveRetriever, Endpoint, Landing, open_dimse_retriever
from pacs_pipeline.pacs.contexts import TRANSFER_SYNTAXES, storage_classes
from pacs_pipeline.records import Reason, RetrievalReport
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline_tests.unit.pacs.peers import Script, Talk, scripted
from pacs_pipeline_tests.unit.pacs.samples import (
    CT,
    IMPLICIT,
    JPEG_2000,
    OTHER_SERIES,
    PATIENT_NAME,
    PRIVATE_CLASS,
    SERIES,
    SYNTAXES,
    Sample,
    encode,
    samples,
)

ARCHIVE = samples(4)


def fetch(
    endpoint: Endpoint, into: Path, expected: Sequence[Sample] = ARCHIVE, missing: Sequence[Sample] | None = None
) -> RetrievalReport:
    with CGetRetriever(endpoint) as retriever:
        wanted = {sample.uid for sample in (expected if missing is None else missing)}
        return retriever.retrieve(Landing(SERIES, wanted, into), [sample.ref for sample in expected])


def uids(items: Sequence[object]) -> list[str]:
    return [item.SOPInstanceUID for item in items]  # type: ignore[attr-defined]


def sends(archive: Sequence[Sample], *, final: int = 0x0000) -> Script:
    """A well-behaved archive, but for its final status."""

    def script(talk: Talk) -> None:
        asked = talk.uids
        for sample in archive:
            if not asked or sample.uid in asked:
                talk.store(sample)
        talk.answer(final)

    return script


def recorded(script: Script, requests: list[list[str]]) -> Script:
    def recording(talk: Talk) -> None:
        requests.append(talk.uids)
        script(talk)

    return recording


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_whole_series_in_one_request_as_stored(tmp_path: Path, syntax: str) -> None:
    archive = samples(3, syntax=syntax)
    requests: list[list[str]] = []
    with scripted(get=recorded(sends(archive), requests)) as endpoint:
        report = fetch(endpoint, tmp_path, archive)
    assert report == RetrievalReport(landed=report.landed)
    assert uids(report.landed) == [sample.uid for sample in archive]
    assert requests == [[]]
    for landed, sample in zip(report.landed, archive, strict=True):
        assert landed.TransferSyntaxUID == syntax
        assert landed.path.read_bytes().endswith(sample.data)


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    requests: list[list[str]] = []
    with scripted(get=recorded(sends(ARCHIVE), requests)) as endpoint:
        report = fetch(endpoint, tmp_path, missing=ARCHIVE[1:3])
    assert uids(report.landed) == [sample.uid for sample in ARCHIVE[1:3]]
    assert requests == [[sample.uid for sample in ARCHIVE[1:3]]]


def test_nothing_missing_asks_nothing(tmp_path: Path) -> None:
    with scripted(get=sends(ARCHIVE)) as endpoint:
        assert fetch(endpoint, tmp_path, missing=[]) == RetrievalReport(landed=())


@pytest.mark.parametrize(
    "sop_class",
    [
        PRIVATE_CLASS,
        "1.2.840.10008.5.1.4.1.1.9",  # Standalone Curve, retired
        "1.2.840.10008.5.1.1.27",  # Stored Print, retired
        "1.2.840.10008.5.1.4.1.1.999.1",  # not assigned yet
    ],
)
def test_a_sop_class_that_no_list_knows_is_asked_for_as_the_pacs_names_it(tmp_path: Path, sop_class: str) -> None:
    assert sop_class not in storage_classes()
    archive = [Sample(n, sop_class=sop_class, syntax=syntax) for n, syntax in enumerate((IMPLICIT, JPEG_2000), 1)]
    offered: set[tuple[str, str]] = set()

    def requested(request: A_ASSOCIATE) -> None:
        for context in request.presentation_context_definition_list:
            offered.update((str(context.abstract_syntax), str(syntax)) for syntax in context.transfer_syntax)

    with scripted(get=sends(archive), also=[sop_class], requested=requested) as endpoint:
        report = fetch(endpoint, tmp_path, archive)
    assert offered >= {(sop_class, syntax) for syntax in TRANSFER_SYNTAXES}
    assert [landed.TransferSyntaxUID for landed in report.landed] == [IMPLICIT, JPEG_2000]
    assert {landed.SOPClassUID for landed in report.landed} == {sop_class}


def test_a_disk_that_is_full_stops_the_retrieval_and_says_so(tmp_path: Path) -> None:
    requests: list[list[str]] = []
    stored: list[int | None] = []

    def script(talk: Talk) -> None:
        for sample in ARCHIVE:
            stored.append(talk.store(sample))
            if stored[-1] is None:
                return
        talk.answer(0xB000)

    disk = os.statvfs(tmp_path)
    with (
        scripted(get=recorded(script, requests)) as endpoint,
        CGetRetriever(endpoint) as retriever,
    ):
        wanted = {sample.uid for sample in ARCHIVE}
        report = retriever.retrieve(
            Landing(SERIES, wanted, tmp_path, minimum_free_bytes=disk.f_blocks * disk.f_frsize + 1),
            [sample.ref for sample in ARCHIVE],
        )
    assert stored == [0xA700, None]  # the rest is not read for nothing
    assert len(requests) == 1
    assert list(tmp_path.iterdir()) == []
    assert report.landed == ()
    assert sorted(uids(report.failures)) == sorted(["", *wanted])
    assert {failure.status for failure in report.failures} == {0xA700}


def test_a_class_the_archive_does_not_tell(tmp_path: Path) -> None:
    class_of_none = "1.2.840.10008.5.1.4.1.1.88.33"  # not one a CT series is expected to hold
    archive = [Sample(1), Sample(2, sop_class=class_of_none, syntax=IMPLICIT)]

    def script(talk: Talk) -> None:
        failed = [s for s in archive if (not talk.uids or s.uid in talk.uids) and talk.store(s) != 0]
        talk.failed(0xB000, failed) if failed else talk.answer(0x0000)

    expected = [replace(sample.ref, SOPClassUID="") for sample in archive]
    with scripted(get=script) as endpoint, CGetRetriever(endpoint) as retriever:
        report = retriever.retrieve(Landing(SERIES, {sample.uid for sample in archive}, tmp_path), expected)
    assert len(report.landed) == 2
    assert report.failures == ()


def test_a_pacs_that_dies_in_the_middle_keeps_what_came(tmp_path: Path) -> None:
    def script(talk: Talk) -> None:
        talk.store(ARCHIVE[0])
        talk.store(ARCHIVE[1])
        talk.die()

    with scripted(get=script) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert uids(report.landed) == [sample.uid for sample in ARCHIVE[:2]]
    assert uids(report.failures) == ["", ARCHIVE[2].uid, ARCHIVE[3].uid]
    assert {failure.status for failure in report.failures} == {None}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pacs_that_falls_silent_in_the_middle(tmp_path: Path) -> None:
    with scripted(get=lambda talk: talk.store(ARCHIVE[0]) and None, timeout=0.4) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert uids(report.landed) == [ARCHIVE[0].uid]
    assert report.failures[0].SOPInstanceUID == ""
    assert report.failures[0].status is None


def test_a_pacs_that_dies_before_anything_came_is_away(tmp_path: Path) -> None:
    with scripted(get=lambda talk: talk.die()) as endpoint, pytest.raises(Transient, match="broke off"):
        fetch(endpoint, tmp_path)


def test_the_next_call_opens_a_new_association_and_finishes(tmp_path: Path) -> None:
    calls: list[int] = []

    def script(talk: Talk) -> None:
        calls.append(1)
        if len(calls) == 1:
            talk.store(ARCHIVE[0])
            talk.die()
        else:
            sends(ARCHIVE)(talk)

    with scripted(get=script) as endpoint, CGetRetriever(endpoint) as retriever:
        expected = [sample.ref for sample in ARCHIVE]
        first = retriever.retrieve(Landing(SERIES, {sample.uid for sample in ARCHIVE}, tmp_path), expected)
        missing = {sample.uid for sample in ARCHIVE} - set(uids(first.landed))
        second = retriever.retrieve(Landing(SERIES, missing, tmp_path), expected)
    assert uids(second.landed) == [sample.uid for sample in ARCHIVE[1:]]
    assert second.failures == ()


def test_sub_operations_that_fail_are_recorded_per_instance(tmp_path: Path) -> None:
    requests: list[list[str]] = []

    def script(talk: Talk) -> None:
        for sample in ARCHIVE[:2]:
            if not talk.uids or sample.uid in talk.uids:
                talk.store(sample)
        talk.failed(0xB000, ARCHIVE[2:])

    with scripted(get=recorded(script, requests)) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert uids(report.landed) == [sample.uid for sample in ARCHIVE[:2]]
    assert [(f.SOPInstanceUID, f.status) for f in report.failures] == [(s.uid, 0xB000) for s in ARCHIVE[2:]]
    assert [] not in requests[1:]  # what came is not asked for again


def test_an_archive_that_stops_at_the_first_bad_instance_is_asked_for_the_rest(tmp_path: Path) -> None:
    def script(talk: Talk) -> None:  # Orthanc: 0xC000, no list, zero counts
        for sample in ARCHIVE:
            if not talk.uids or sample.uid in talk.uids:
                if sample is ARCHIVE[1]:
                    talk.answer(0xC000, completed=0)
                    return
                talk.store(sample)
        talk.answer(0x0000)

    with scripted(get=script) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert uids(report.landed) == [ARCHIVE[0].uid, ARCHIVE[2].uid, ARCHIVE[3].uid]
    assert [(f.SOPInstanceUID, f.status) for f in report.failures] == [(ARCHIVE[1].uid, 0xC000)]


@pytest.mark.parametrize("answer", [lambda talk: talk.answer(0x0000), lambda talk: talk.answer(0xA900)])
def test_an_archive_that_knows_no_lists_is_asked_one_by_one(tmp_path: Path, answer: Callable[[Talk], None]) -> None:
    def script(talk: Talk) -> None:
        if len(talk.uids) == 1:
            sends(ARCHIVE)(talk)
        else:
            answer(talk)

    with scripted(get=script) as endpoint:
        report = fetch(endpoint, tmp_path, missing=ARCHIVE[:3])
    assert len(report.landed) == 3


def test_success_without_instances_is_not_success(tmp_path: Path) -> None:
    with scripted(get=lambda talk: talk.answer(0x0000, completed=4)) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert report.landed == ()
    assert [(f.SOPInstanceUID, f.status) for f in report.failures] == [(s.uid, 0x0000) for s in ARCHIVE]


def test_an_instance_sent_twice_is_kept_once(tmp_path: Path) -> None:
    with scripted(get=sends([*ARCHIVE, *ARCHIVE])) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert len(report.landed) == 4
    assert report.duplicates == 4
    assert report.failures == ()


def test_two_objects_under_one_uid_are_a_conflict(tmp_path: Path) -> None:
    other = replace(ARCHIVE[0], data=encode(ARCHIVE[0], pixels=b"\7" * 256))
    with scripted(get=sends([*ARCHIVE, other])) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert uids(report.landed) == [sample.uid for sample in ARCHIVE[1:]]
    assert uids(report.failures) == [ARCHIVE[0].uid]
    assert report.failures[0].message.startswith(Reason.CONFLICT.value)


def test_an_instance_nobody_asked_for_is_reported_and_not_kept(tmp_path: Path) -> None:
    stranger = Sample(9, series=OTHER_SERIES)

    def script(talk: Talk) -> None:
        talk.store(stranger)
        sends(ARCHIVE)(talk)

    with scripted(get=script) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert report.unexpected == (stranger.ref,)
    assert len(report.landed) == len(list(tmp_path.iterdir())) == 4


def test_a_truncated_instance_is_a_failure_of_that_instance(tmp_path: Path) -> None:
    archive = [ARCHIVE[0].cut(9), *ARCHIVE[1:]]
    with scripted(get=sends(archive)) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert uids(report.landed) == [sample.uid for sample in ARCHIVE[1:]]
    assert uids(report.failures) == [ARCHIVE[0].uid]
    assert report.failures[0].message.startswith(Reason.TRUNCATED.value)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_hostile_uid_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    into = tmp_path / "into"

    def script(talk: Talk) -> None:
        talk.store(ARCHIVE[0], uid="../../escape")
        sends(ARCHIVE)(talk)

    with scripted(get=script) as endpoint:
        report = fetch(endpoint, into)
    assert len(report.landed) == 4
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != into] == []


@pytest.mark.parametrize("status", [0x0122, 0x0124])
def test_a_refused_request_needs_a_person(tmp_path: Path, status: int) -> None:
    with (
        scripted(get=lambda talk: talk.answer(status)) as endpoint,
        pytest.raises(Permanent, match=f"0x{status:04X}") as caught,
    ):
        fetch(endpoint, tmp_path)
    assert caught.value.fix


def test_a_busy_pacs_is_left_alone(tmp_path: Path) -> None:
    requests: list[list[str]] = []
    with scripted(get=recorded(lambda talk: talk.answer(0xA701), requests)) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert {failure.status for failure in report.failures} == {0xA701}
    assert len(requests) <= 2


def test_a_pacs_without_c_get_says_so(tmp_path: Path) -> None:
    with scripted() as endpoint, pytest.raises(Permanent, match="does not offer C-GET") as caught:
        fetch(endpoint, tmp_path)
    assert "c-move" in caught.value.fix


def test_long_lists_are_split(tmp_path: Path) -> None:
    archive = samples(230)
    requests: list[list[str]] = []
    with scripted(get=recorded(sends(archive), requests), timeout=20) as endpoint:
        report = fetch(endpoint, tmp_path, archive, missing=archive[1:])
    assert len(report.landed) == 229
    assert [len(request) for request in requests] == [100, 100, 29]
    assert {landed.SOPClassUID for landed in report.landed} == {CT}


def test_no_identifier_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted(get=sends([ARCHIVE[0].cut(9), *ARCHIVE[1:], Sample(9, series=OTHER_SERIES)])) as endpoint:
        report = fetch(endpoint, tmp_path)
    assert report.failures
    for secret in (*PATIENT_NAME.split("^"), SERIES.StudyInstanceUID, ARCHIVE[0].uid):
        assert secret not in caplog.text
        assert not any(secret in failure.message for failure in report.failures)


def test_the_settings_of_a_site_choose_the_protocol(tmp_path: Path) -> None:
    with scripted(get=sends(ARCHIVE)) as endpoint:
        site = SiteSettings.model_validate(
            {
                "name": "north",
                "timezone": "Europe/Berlin",
                "start_date": "2024-01-01",
                "pacs": {"host": endpoint.host, "port": endpoint.port, "ae_title": endpoint.ae_title},
                "receiver": {"ae_title": "RECEIVER", "port": 11112},
            }
        )
        with open_dimse_retriever(site) as retriever:
            expected = [sample.ref for sample in ARCHIVE]
            report = retriever.retrieve(Landing(SERIES, {sample.uid for sample in ARCHIVE}, tmp_path), expected)
    assert len(report.landed) == 4
    assert isinstance(open_dimse_retriever(site.model_copy(update={"protocol": "c-move"})), CMoveRetriever)

"""Queries over QIDO-RS: a complete answer, or an error."""

from __future__ import annotations

import datetime as dt
import gzip
import logging
from collections.abc import Callable
from typing import Any

import pytest

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.dicomweb import DicomwebArchive
from pacs_pipeline.pacs.dicomweb import archive as module
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline_tests.unit.pacs.dicomweb.services import (
    JSON,
    Archive,
    Reply,
    Request,
    Server,
    attributes,
    json_reply,
    serving,
    study_answer,
)
from pacs_pipeline_tests.unit.pacs.samples import OTHER_SERIES, PATIENT_NAME, SERIES, STUDY, samples

DATE = dt.date(2024, 3, 9)
MORE = {"Warning": '299 pacs: "There are 7 additional results that can be requested"'}


def studies(server: Server) -> list[str]:
    with DicomwebArchive(server.service()) as archive:
        return [study.StudyInstanceUID for study in archive.find_studies(DATE)]


def answering(level: str, reply: Callable[[Request], Reply | None]) -> Callable[[Request], Reply | None]:
    """A good service but at one level."""
    good = Archive([*samples(3), *samples(1, OTHER_SERIES)])
    return lambda request: reply(request) if request.level == level else good(request)


def paged(answers: list[Any], request: Request, **options: Any) -> Reply:
    offset, limit = int(request.query["offset"]), int(request.query["limit"])
    return json_reply(answers[offset : offset + limit], **options)


def filtered(server: Server, **filters: Any) -> SiteSettings:
    return SiteSettings.model_validate(
        {
            "name": "north",
            "timezone": "UTC",
            "start_date": "2024-01-01",
            "protocol": "dicomweb",
            "dicomweb": {"url": server.url},
            "census": {"filters": filters},
        }
    )


def test_what_a_filter_needs_is_asked_for_and_nothing_else() -> None:
    told = study_answer(STUDY, 4, StudyDescription="Schädel nativ", PatientBirthDate="19800310", InstitutionName="Ost")

    def reply(request: Request) -> Reply | None:
        asked.append(request.target)
        return paged([told], request)

    asked: list[str] = []
    with serving(answering("studies", reply)) as server:
        for filters, keyword in (({}, ""), ({"exclude_descriptions": ["schädel"]}, "StudyDescription")):
            with DicomwebArchive(filtered(server, **filters)) as archive:
                (study,) = archive.find_studies(DATE)
            assert ("StudyDescription" in asked[-1]) is bool(keyword)
            assert "InstitutionName" not in asked[-1]
            assert "PatientBirthDate" not in asked[-1]
        assert study.traits.StudyDescription == "Schädel nativ"
        assert study.traits.InstitutionName is None  # what nobody asked for is dropped
        with DicomwebArchive(filtered(server, minimum_age_years=18)) as archive:
            assert archive.find_studies(DATE)[0].traits.age_years == 43


def test_studies_with_their_series() -> None:
    with serving(Archive([*samples(3), *samples(1, OTHER_SERIES)])) as server:
        with DicomwebArchive(server.service()) as archive:
            assert "answers QIDO-RS" in archive.check()
            (study,) = archive.find_studies(DATE)
            instances = archive.find_instances(study.series[0])
        assert (study.StudyInstanceUID, study.NumberOfStudyRelatedInstances) == (STUDY, 4)
        assert (study.StudyTime, study.ModalitiesInStudy) == ("101500", ("CT",))
        assert [(s.SeriesInstanceUID, s.Modality, s.NumberOfSeriesRelatedInstances) for s in study.series] == [
            (SERIES.SeriesInstanceUID, "CT", 3),
            (OTHER_SERIES.SeriesInstanceUID, "CT", 1),
        ]
        assert list(instances) == [sample.ref for sample in samples(3)]
        # one question a list where the counts agree, and only about what is needed
        assert len(server.targets("series")) == len(server.targets("instances")) == 1
        asked = server.targets("studies")[1]
        assert asked.query["StudyDate"] == "20240309"
        assert asked.headers["accept-encoding"] == "identity"
        assert asked.headers["host"] == f"127.0.0.1:{server.port}"
        assert not any("Patient" in request.target for request in server.requests)


def test_nothing_on_that_day() -> None:
    with serving(Archive(samples(3))) as server, DicomwebArchive(server.service()) as archive:
        assert archive.find_studies(dt.date(2024, 3, 10)) == ()


@pytest.mark.parametrize("cap", [1, 7, 1000])
@pytest.mark.parametrize("end", [204, 200, 404])
def test_every_page_is_asked_for(cap: int, end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 10)
    answers = [study_answer(f"1.2.{number}", 4) for number in range(25)]

    def capped(request: Request) -> Reply:
        offset = int(request.query["offset"])
        page = answers[offset : offset + min(cap, int(request.query["limit"]))]
        return (
            json_reply(page, headers=MORE if offset + len(page) < 25 else {})
            if page
            else Reply(b"[]" * (end == 200), end, {"Content-Type": JSON})
        )

    with serving(answering("studies", capped)) as server:
        assert len(studies(server)) == 25


def test_a_service_that_ignores_limit_and_offset_and_has_more_or_less_than_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAGE", 10)
    for count in (3, 25):
        everything = [study_answer(f"1.2.{number}") for number in range(count)]
        with serving(answering("studies", lambda _, answers=everything: json_reply(answers))) as server:
            assert len(studies(server)) == count
            assert len(server.targets("studies")) == 2


def test_a_service_that_ignores_only_the_offset_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 10)
    everything = [study_answer(f"1.2.{number}") for number in range(25)]
    with (
        serving(answering("studies", lambda r: json_reply(everything[: int(r.query["limit"])]))) as server,
        pytest.raises(Permanent, match="whatever the offset"),
    ):
        studies(server)


@pytest.mark.parametrize("rest", ["same", "none"])
def test_a_warning_that_there_is_more_is_heeded(rest: str) -> None:
    answers = [study_answer(f"1.2.{number}") for number in range(3)]

    def warns(request: Request) -> Reply:
        return json_reply(answers if rest == "same" or request.query["offset"] == "0" else [], headers=MORE)

    with serving(answering("studies", warns)) as server, pytest.raises(Permanent, match="has more"):
        studies(server)


def test_a_warning_about_fuzzy_matching_is_not_one_about_results() -> None:
    fuzzy = {
        "Warning": '299 pacs: "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
    }
    answers = [study_answer("1.2.3")]
    with serving(answering("studies", lambda r: paged(answers, r, headers=fuzzy))) as server:
        assert studies(server) == ["1.2.3"]
    both = {"Warning": fuzzy["Warning"] + ", " + MORE["Warning"]}
    with (
        serving(answering("studies", lambda r: paged(answers, r, headers=both))) as server,
        pytest.raises(Permanent, match="has more"),
    ):
        studies(server)


def test_fewer_instances_than_announced_and_no_pages() -> None:
    answers = Archive(samples(3))._instances(Request("/series/1.2.3.10.1/", {}))[:2]
    with (
        serving(answering("instances", lambda r: json_reply(answers))) as server,
        DicomwebArchive(server.service()) as archive,
        pytest.raises(Permanent, match="fewer"),
    ):
        archive.find_instances(SERIES)


def test_duplicates_and_other_dates(caplog: pytest.LogCaptureFixture) -> None:
    other = study_answer("1.2.9") | attributes(StudyDate="20240310")
    answers = [study_answer("1.2.4"), other, study_answer("1.2.3"), study_answer("1.2.4", 9)]
    with (
        serving(answering("studies", lambda r: paged(answers, r))) as server,
        DicomwebArchive(server.service()) as archive,
    ):
        found = archive.find_studies(DATE)
    assert [(s.StudyInstanceUID, s.NumberOfStudyRelatedInstances) for s in found] == [("1.2.3", 1), ("1.2.4", 9)]
    assert "1 of 4 studies in the answer were of another date" in caplog.text


def test_what_is_not_included_is_unknown() -> None:
    """A service that ignores includefield, names tags in lower case, and gives counts as text."""
    bare = {"0020000d": {"vr": "UI", "Value": ["1.2.3"]}, "00201208": {"vr": "IS", "Value": ["5"]}}
    other = attributes(StudyInstanceUID="1.2.4") | {"00080061": {"vr": "CS"}, "00201208": {"vr": "IS", "Value": [None]}}
    with (
        serving(answering("studies", lambda r: paged([bare, other], r))) as server,
        DicomwebArchive(server.service()) as archive,
    ):
        found = archive.find_studies(DATE)
    assert [(s.StudyInstanceUID, s.NumberOfStudyRelatedInstances) for s in found] == [("1.2.3", 5), ("1.2.4", None)]
    assert {s.ModalitiesInStudy for s in found} == {()}


@pytest.mark.parametrize(
    "answers",
    [
        [study_answer("1.2.3"), attributes(StudyDate="20240309")],
        [study_answer("../1.2.3")],
        [study_answer("1.2.3"), "text"],
        [study_answer("1.2.3"), None],
        [{"0020000D": "1.2.3"}],
        [{"0020000D": {"vr": "UI", "Value": [{"Alphabetic": PATIENT_NAME}]}}],
        {"error": PATIENT_NAME},
    ],
)
def test_an_answer_without_a_usable_uid_is_an_error(answers: Any) -> None:
    with (
        serving(answering("studies", lambda r: json_reply(answers))) as server,
        pytest.raises(Permanent, match="StudyInstanceUID") as raised,
    ):
        studies(server)
    assert PATIENT_NAME not in str(raised.value)


@pytest.mark.parametrize(
    "body", [b"{", b"[" * 100_000, b'"text"', b"12", b"[1", b"\xff\xfe", f"[{PATIENT_NAME}]".encode()]
)
def test_what_cannot_be_decoded_is_an_error(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        serving(answering("studies", lambda r: Reply(body, headers={"Content-Type": JSON}))) as server,
        pytest.raises(Permanent) as raised,
    ):
        studies(server)
    seen, error = "", raised.value
    while error is not None:
        seen += str(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    assert PATIENT_NAME not in seen
    assert PATIENT_NAME not in caplog.text


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, Permanent, "HTTP 400"),
        (401, Permanent, "credentials"),
        (403, Permanent, "allow"),
        (404, Permanent, "dicomweb.url"),
        (413, Permanent, "limit"),
        (418, Permanent, "HTTP 418"),
        (500, Transient, "HTTP 500"),
        (502, Transient, "HTTP 502"),
        (503, Transient, "busy"),
        (599, Transient, "HTTP 599"),
        (304, Permanent, "HTTP 304"),
    ],
)
def test_statuses(status: int, kind: type[PipelineError], message: str) -> None:
    with serving(answering("studies", lambda r: Reply(b"<h1>no</h1>", status))) as server:
        with pytest.raises(kind, match=message):
            studies(server)
        assert len(server.requests) == 1


def test_a_study_that_is_gone_when_its_series_are_asked_for() -> None:
    with (
        serving(answering("series", lambda r: Reply(status=404))) as server,
        pytest.raises(Transient, match="did not know"),
    ):
        studies(server)


def test_a_series_that_is_gone_has_no_instances() -> None:
    with (
        serving(answering("instances", lambda r: Reply(status=404))) as server,
        DicomwebArchive(server.service()) as archive,
    ):
        assert archive.find_instances(SERIES) == ()


def test_a_login_page_is_no_answer() -> None:
    page = Reply(b"<html>Login</html>", headers={"Content-Type": "text/html"})
    with serving(lambda r: page) as server, pytest.raises(Permanent, match="text/html instead of DICOM"):
        studies(server)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_answer_that_breaks_off(framing: str) -> None:
    reply = json_reply([study_answer(f"1.2.{n}") for n in range(50)], framing=framing, cut=500)
    with serving(answering("studies", lambda r: reply)) as server, pytest.raises(PipelineError) as raised:
        studies(server)
    assert isinstance(raised.value, Transient) or framing == "close"  # that end looks like one, but the JSON is none


def test_silence_and_nobody_there(unused_port: int) -> None:
    with (
        serving(lambda r: Reply(length=50, cut=0, stay=True)) as server,
        DicomwebArchive(server.service(timeout=0.3)) as archive,
        pytest.raises(Transient, match="silent"),
    ):
        archive.find_studies(DATE)
    from pacs_pipeline.pacs.dicomweb import Service

    with (
        DicomwebArchive(Service("north", f"http://127.0.0.1:{unused_port}/x")) as archive,
        pytest.raises(Transient, match="cannot be reached"),
    ):
        archive.check()


def test_an_answer_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    from pacs_pipeline.pacs.dicomweb import session

    monkeypatch.setattr(session, "_LARGEST_ANSWER", 1 << 20)
    bomb = Reply(gzip.compress(b"[" + b" " * (1 << 26)), headers={"Content-Type": JSON, "Content-Encoding": "gzip"})
    with serving(answering("studies", lambda r: bomb)) as server, pytest.raises(Permanent, match="MiB"):
        studies(server)


def test_compression_that_nobody_asked_for() -> None:
    def squeezed(request: Request) -> Reply:
        reply = Archive(samples(3))(request)
        return (
            Reply(gzip.compress(reply.body), reply.status, {**reply.headers, "Content-Encoding": "gzip"})
            if reply.body
            else reply
        )

    with serving(squeezed) as server:
        assert studies(server) == [STUDY]


def test_no_uid_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(Archive(samples(3))) as server:
        studies(server)
        server.script = lambda r: Reply(status=404)
        with pytest.raises(Permanent):
            studies(server)
        with DicomwebArchive(server.service()) as archive:
            archive.find_instances(SERIES)
    assert STUDY not in caplog.text
    assert caplog.records == []

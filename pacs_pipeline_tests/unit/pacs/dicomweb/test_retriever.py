"""Retrieval over WADO-RS: what comes is kept as it came, what does not is accounted for."""

from __future__ import annotations

import errno
import gzip
import logging
import tempfile
import tracemalloc
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import Landing, describe
from pacs_pipeline.pacs.dicomweb import DicomwebRetriever
from pacs_pipeline.pacs.dicomweb.session import Session
from pacs_pipeline.pacs.landing import Arrival
from pacs_pipeline.records import RetrievalReport
from pacs_pipeline_tests.unit.pacs.dicomweb.services import (
    BOUNDARY,
    Archive,
    Reply,
    Request,
    Script,
    Server,
    leftovers,
    multipart,
    part10,
    related,
    serving,
)
from pacs_pipeline_tests.unit.pacs.samples import (
    EXPLICIT,
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

ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def retrieve(
    server: Server,
    into: Path,
    wanted: Sequence[Sample],
    missing: Collection[str] | None = None,
    session: Session | None = None,
    **options: Any,
) -> RetrievalReport:
    refs = [sample.ref for sample in wanted]
    uids = {ref.SOPInstanceUID for ref in refs} if missing is None else missing
    with DicomwebRetriever(server.service(**options), session) as retriever:
        report = retriever.retrieve(Landing(SERIES, uids, into), refs)
    account(report, uids, into)
    return report


def account(report: RetrievalReport, missing: Collection[str], into: Path) -> None:
    """What holds whatever a service does."""
    landed = [item.SOPInstanceUID for item in report.landed]
    failed = [failure.SOPInstanceUID for failure in report.failures if failure.SOPInstanceUID in missing]
    assert sorted({*landed, *failed}) == sorted(missing)
    assert len(landed) + len(failed) == len(missing)
    assert sorted(into.iterdir()) == sorted(item.path for item in report.landed)
    assert not leftovers(into)
    for item in report.landed:
        assert describe(item.path) == item


def came(report: RetrievalReport) -> list[str]:
    return [item.SOPInstanceUID for item in report.landed]


def said(report: RetrievalReport) -> dict[str, str]:
    return {failure.SOPInstanceUID: failure.message for failure in report.failures}


def but(level: str, reply: Callable[[Request], Reply | None], wanted: Sequence[Sample]) -> Script:
    """A good service but for one level of request."""
    good = Archive(wanted)
    return lambda request: reply(request) if request.level == level else good(request)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_whole_series_comes_as_it_lies_there(tmp_path: Path, framing: str) -> None:
    wanted = [Sample(n, syntax=syntax) for n, syntax in enumerate(SYNTAXES, 1)]
    wanted.append(Sample(9, sop_class=PRIVATE_CLASS, syntax=JPEG_2000))
    reply = related([part10(sample) for sample in wanted], framing=framing)
    with serving(but("one series", lambda r: reply, wanted)) as server:
        report = retrieve(server, tmp_path, wanted)
    assert report == RetrievalReport(landed=report.landed)
    for sample, item in zip(wanted, report.landed, strict=True):
        assert (item.SOPInstanceUID, item.SOPClassUID) == (sample.uid, sample.sop_class)
        assert item.TransferSyntaxUID == sample.syntax
        assert item.path.read_bytes().endswith(sample.data)
    assert [request.level for request in server.requests] == ["one series"]
    assert server.requests[0].headers["accept"] == ACCEPT
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    wanted = samples(4)
    with serving(Archive(wanted)) as server:
        report = retrieve(server, tmp_path, wanted, {wanted[1].uid, wanted[3].uid})
    assert came(report) == [wanted[1].uid, wanted[3].uid]
    assert not report.unexpected
    assert [request.path.rpartition("/")[2] for request in server.requests] == [wanted[1].uid, wanted[3].uid]


def test_instances_without_a_multipart_around_them(tmp_path: Path) -> None:
    wanted = samples(2)

    def single(request: Request) -> Reply:
        sample = next(s for s in wanted if request.path.endswith(s.uid))
        return Reply(part10(sample), headers={"Content-Type": "application/dicom"})

    with serving(but("instance", single, wanted)) as server:
        assert came(retrieve(server, tmp_path, wanted, {wanted[0].uid})) == [wanted[0].uid]


@pytest.mark.parametrize("coding", ["gzip", "GZIP"])
def test_compression_that_nobody_asked_for(tmp_path: Path, coding: str) -> None:
    wanted = samples(3)
    reply = related([part10(sample) for sample in wanted])
    zipped = Reply(gzip.compress(reply.body), headers={**reply.headers, "Content-Encoding": coding})
    with serving(but("one series", lambda r: zipped, wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [204, 400, 404, 406, 410, 500, 501, 504])
def test_what_cannot_be_had_as_a_series_comes_one_by_one(tmp_path: Path, status: int) -> None:
    wanted = samples(3)
    with serving(but("one series", lambda r: Reply(status=status), wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3


@pytest.mark.parametrize("status", [204, 404, 410, 500, 418])
def test_every_instance_that_is_not_there_is_accounted_for_with_the_status(tmp_path: Path, status: int) -> None:
    wanted = samples(4)
    with serving(lambda r: Reply(status=status)) as server:
        report = retrieve(server, tmp_path, wanted)
    assert [failure.status for failure in report.failures] == [None] * 4
    assert all(f"HTTP {status}" in failure.message for failure in report.failures)
    assert "" not in said(report)


def test_one_instance_that_the_service_cannot_send(tmp_path: Path) -> None:
    wanted = samples(4)
    with serving(Archive(wanted[:2] + wanted[3:])) as server:
        report = retrieve(server, tmp_path, wanted)
    assert list(said(report)) == [wanted[2].uid]
    assert "HTTP 404" in said(report)[wanted[2].uid]
    assert len(server.requests) == 2


@pytest.mark.parametrize(("status", "message"), [(401, "credentials"), (403, "allow")])
def test_a_refusal_of_who_we_are(tmp_path: Path, status: int, message: str) -> None:
    with serving(lambda r: Reply(status=status)) as server, pytest.raises(Permanent, match=message):
        retrieve(server, tmp_path, samples(3))
    assert len(server.requests) == 1


def test_an_instance_that_we_may_not_have(tmp_path: Path) -> None:
    wanted = samples(4)
    refuses = but("instance", lambda r: Reply(status=403), wanted[1:])
    with serving(refuses) as server:
        report = retrieve(server, tmp_path, wanted)
    assert said(report) == {wanted[0].uid: "the service answered with HTTP 403 Forbidden"}


@pytest.mark.parametrize("status", [400, 405, 406, 415, 501])
def test_a_service_that_offers_no_retrieval(tmp_path: Path, status: int) -> None:
    with serving(lambda r: Reply(status=status)) as server, pytest.raises(Permanent, match=f"HTTP {status}"):
        retrieve(server, tmp_path, samples(9))
    assert len(server.requests) <= 4


@pytest.mark.parametrize("count", [1, 9])
def test_a_login_page_is_no_answer(tmp_path: Path, count: int) -> None:
    page = Reply(b"<html>Login</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with serving(lambda r: page) as server, pytest.raises(Permanent, match="text/html instead of DICOM"):
        retrieve(server, tmp_path, samples(count))
    assert len(server.requests) <= 4


def test_an_error_page_for_one_instance(tmp_path: Path) -> None:
    wanted = samples(3)
    page = Reply(b"<html>Oops</html>", headers={"Content-Type": "text/html"})
    with serving(but("instance", lambda r: page, wanted[1:])) as server:
        report = retrieve(server, tmp_path, wanted)
    assert said(report) == {wanted[0].uid: "the service answered with HTTP 200 OK and no DICOM"}


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service(tmp_path: Path, status: int) -> None:
    wanted = samples(3)
    with serving(lambda r: Reply(status=status)) as server, pytest.raises(Transient, match=f"HTTP {status}"):
        retrieve(server, tmp_path, wanted)
    with serving(but("instance", lambda r: Reply(status=status), wanted[:1])) as server:
        report = retrieve(server, tmp_path / "again", wanted)
    assert came(report) == [wanted[0].uid]
    assert list(said(report)) == ["", wanted[1].uid, wanted[2].uid]
    assert f"HTTP {status}" in said(report)[""]
    assert report.failures[0].status is None


def test_a_busy_service_that_says_when(tmp_path: Path) -> None:
    wanted, waited = samples(3), []

    def script(request: Request) -> Reply:
        return Archive(wanted)(request) if waited else Reply(status=503, headers={"Retry-After": "2"})

    with serving(script) as server:
        report = retrieve(server, tmp_path, wanted, session=Session(server.service(), sleep=waited.append))
    assert (len(came(report)), waited) == (3, [2.0])


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_in_the_middle(tmp_path: Path, framing: str, reset: bool) -> None:
    wanted = samples(5)
    size = len(multipart([part10(sample) for sample in wanted[:3]]))
    reply = related([part10(sample) for sample in wanted], framing=framing, cut=size + 500)
    with serving(lambda r: reply) as server:
        report = retrieve(server, tmp_path, wanted)
    assert came(report) == [sample.uid for sample in wanted[:3]]
    assert list(said(report)) == ["", wanted[3].uid, wanted[4].uid]
    assert {failure.status for failure in report.failures} == {None}
    assert "broke off" in said(report)[""]
    assert len(server.requests) == 1


def test_a_connection_that_breaks_before_anything_came(tmp_path: Path) -> None:
    wanted = samples(3)
    broken = related([part10(sample) for sample in wanted], cut=200)
    with serving(but("one series", lambda r: broken, wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3  # one by one
    with serving(lambda r: broken) as server, pytest.raises(Transient, match="broke off"):
        retrieve(server, tmp_path, wanted)
    assert len(server.requests) == 3


def test_nobody_there(tmp_path: Path) -> None:
    with serving(lambda r: None) as server, pytest.raises(Transient, match="cannot be reached"):
        retrieve(server, tmp_path, samples(2))


def test_silence_in_the_middle(tmp_path: Path) -> None:
    wanted = samples(2)
    size = len(multipart([part10(wanted[0])]))
    reply = related([part10(sample) for sample in wanted], cut=size + 100, stay=True)
    with serving(lambda r: reply) as server:
        report = retrieve(server, tmp_path, wanted, timeout=0.4)
    assert (came(report), list(said(report))) == ([wanted[0].uid], ["", wanted[1].uid])


def test_an_instance_at_which_the_service_falls_over_does_not_keep_the_others(tmp_path: Path) -> None:
    wanted = samples(5)
    good = Archive(wanted)

    def script(request: Request) -> Reply | None:
        return None if request.level == "one series" or request.path.endswith(wanted[1].uid) else good(request)

    with serving(script) as server:
        report = retrieve(server, tmp_path, wanted, {sample.uid for sample in wanted[:4]})
    assert "" in said(report)
    assert wanted[0].uid in came(report)

    cut = related([part10(wanted[1])], cut=100)
    with serving(lambda r: cut if r.path.endswith(wanted[1].uid) else good(r)) as server:
        report = retrieve(server, tmp_path / "again", wanted[:4] + [Sample(5)], {sample.uid for sample in wanted[1:4]})
    assert came(report) == [wanted[2].uid, wanted[3].uid]
    assert list(said(report)) == ["", wanted[1].uid]


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_message_without_its_end(tmp_path: Path, framing: str) -> None:
    """The last instance may be cut: it is asked for again."""
    wanted = samples(3)
    reply = related([part10(sample) for sample in wanted], closing=False, framing=framing)
    with serving(but("one series", lambda r: reply, wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3
        assert [request.level for request in server.requests] == ["one series", "instance"]
    with serving(lambda r: reply) as server:
        report = retrieve(server, tmp_path / "again", wanted)
    assert said(report) == {wanted[2].uid: "the answer of the service cannot be used: it breaks off before its end"}


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/related; type="application/dicom"; boundary=other',
        f'multipart/related; type="application/dicom"; boundary="--{BOUNDARY}"',
        'multipart/related; type="application/dicom"',
        'multipart/related; boundary=""',
        f'multipart/related; boundary="{"x" * 5000}"',
    ],
)
def test_the_wrong_boundary(tmp_path: Path, kind: str) -> None:
    wanted = samples(3)
    reply = replace(related([part10(sample) for sample in wanted]), headers={"Content-Type": kind})
    with serving(but("one series", lambda r: reply, wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3
    with serving(lambda r: reply) as server:
        report = retrieve(server, tmp_path / "again", wanted)
    assert all("cannot be used" in message for message in said(report).values())
    assert came(report) == []


def test_a_length_that_is_too_long(tmp_path: Path) -> None:
    wanted = samples(3)
    body = multipart([part10(sample) for sample in wanted])
    for stay in (False, True):
        reply = related([part10(sample) for sample in wanted], length=len(body) + 999, cut=len(body), stay=stay)
        with serving(but("one series", lambda r, reply=reply: reply, wanted)) as server:
            report = retrieve(server, tmp_path / str(stay), wanted, timeout=0.4)
        assert (len(came(report)), said(report), len(server.requests)) == (3, {}, 1)


def test_a_length_that_is_too_short(tmp_path: Path) -> None:
    wanted = samples(3)
    body = multipart([part10(sample) for sample in wanted])
    reply = related([part10(sample) for sample in wanted], length=len(body) - 900)
    with serving(but("one series", lambda r: reply, wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3
    assert [request.level for request in server.requests] == ["one series", "instance"]


def test_a_part_that_is_no_file(tmp_path: Path) -> None:
    wanted = samples(3)
    reply = related([part10(wanted[0]), b"<html>", part10(wanted[2])])
    with serving(but("one series", lambda r: reply, wanted)) as server:
        assert len(came(retrieve(server, tmp_path, wanted))) == 3
    nothing = related([b"<html>"])
    with serving(lambda r: reply if r.level == "one series" else nothing) as server:
        report = retrieve(server, tmp_path / "again", wanted)
    assert said(report) == {wanted[1].uid: "the answer of the service cannot be used: it is no DICOM file"}


def test_what_the_file_meta_information_leaves_out(tmp_path: Path) -> None:
    """The data set is asked, once it is known what was asked for."""
    wanted = samples(2)
    bare = [part10(sample, SOPClassUID="", SOPInstanceUID="") for sample in wanted]
    script = but("one series", lambda r: related(bare), wanted)
    with serving(lambda r: script(r) if r.level == "one series" else related([bare[r.path.endswith("2")]])) as server:
        report = retrieve(server, tmp_path, wanted)
    assert came(report) == [sample.uid for sample in wanted]
    assert {failure.SOPInstanceUID for failure in report.failures} == {""}  # the series' parts without a name
    assert all(failure.status for failure in report.failures)
    swapped = lambda r: related([bare[not r.path.endswith("2")]])  # noqa: E731
    with serving(swapped) as server:
        report = retrieve(server, tmp_path / "swapped", wanted, {wanted[0].uid})
    assert "names another instance" in said(report)[wanted[0].uid]


@pytest.mark.parametrize("syntax", ["", "no uid", "1" * 200])
def test_a_file_without_a_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    wanted = samples(2)
    reply = related([part10(wanted[0], TransferSyntaxUID=syntax), part10(wanted[1])])
    with serving(lambda r: reply) as server:
        report = retrieve(server, tmp_path, wanted)
    assert came(report) == [wanted[1].uid]
    assert "no transfer syntax" in said(report)[wanted[0].uid]


def test_what_is_not_the_instance_that_it_says(tmp_path: Path) -> None:
    wanted = samples(4)
    cut, lying, foreign = wanted[0].cut(99), replace(wanted[1], data=wanted[3].data), Sample(7, OTHER_SERIES)
    files = [part10(sample) for sample in (cut, lying, wanted[2], foreign, wanted[3])]
    with serving(lambda r: related(files)) as server:
        report = retrieve(server, tmp_path, wanted)
    assert came(report) == [wanted[2].uid, wanted[3].uid]
    assert "truncated" in said(report)[wanted[0].uid]
    assert "names another instance" in said(report)[wanted[1].uid]
    assert [ref.SOPInstanceUID for ref in report.unexpected] == [foreign.uid]


def test_the_same_instance_twice(tmp_path: Path) -> None:
    wanted = samples(2)
    other = replace(wanted[1], data=encode(wanted[1], b"other pixels" * 9))
    files = [part10(sample) for sample in (wanted[0], wanted[0], wanted[1], other)]
    with serving(lambda r: related(files)) as server:
        report = retrieve(server, tmp_path, wanted)
    assert (came(report), report.duplicates) == ([wanted[0].uid], 1)
    assert "two different objects" in said(report)[wanted[1].uid]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = samples(40)
    put, left = Arrival._put, [12]

    def full(self: Arrival, chunk: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, chunk)

    monkeypatch.setattr(Arrival, "_put", full)
    with serving(Archive(wanted)) as server:
        report = retrieve(server, tmp_path, wanted)
    assert report.landed
    assert {failure.status for failure in report.failures} == {0xA700, None}
    assert "" not in said(report)
    assert "the disk was full" in said(report)[wanted[-1].uid]
    assert len(server.requests) == 1


def test_an_empty_series(tmp_path: Path) -> None:
    with serving(lambda r: related([])) as server:
        report = retrieve(server, tmp_path, samples(2))
    assert set(said(report).values()) == {"the service did not send it although it answered with HTTP 200 OK"}


def test_a_large_object_needs_no_memory(tmp_path: Path) -> None:
    large = Sample(1, data=encode(Sample(1), bytes(1 << 26)))
    reply = related([part10(large)])
    wire = reply.wire()
    reply.wire = lambda: wire  # type: ignore[method-assign]
    with serving(lambda r: reply) as server:
        tracemalloc.start()
        try:
            report = retrieve(server, tmp_path, [large])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert came(report) == [large.uid]
    assert peak < 8 << 20


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.none() | st.integers(0, 8000),
    framing=st.sampled_from(["length", "chunked", "close"]),
    closing=st.booleans(),
    damage=st.none() | st.tuples(st.integers(0, 8000), st.binary(min_size=1, max_size=4)),
)
def test_every_instance_is_landed_or_failed_whatever_comes(
    cut: int | None, framing: str, closing: bool, damage: tuple[int, bytes] | None
) -> None:
    wanted = samples(3)
    reply = related([part10(sample) for sample in wanted], cut=cut, framing=framing, closing=closing)
    if damage is not None:
        at, noise = damage
        reply.body = reply.body[:at] + noise + reply.body[at + len(noise) :]
    with tempfile.TemporaryDirectory() as folder, serving(lambda r: reply) as server:
        into = Path(folder) / "into"
        try:
            retrieve(server, into, wanted)  # accounts for all
        except (Transient, Permanent):
            assert not list(into.iterdir())


def test_nothing_of_an_instance_is_logged_or_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wanted = samples(3)
    with serving(Archive(wanted[1:])) as server:
        retrieve(server, tmp_path, wanted)
    with serving(lambda r: related([part10(wanted[0])], cut=300)) as server, pytest.raises(Transient) as raised:
        retrieve(server, tmp_path / "other", wanted)
    error: BaseException | None = raised.value
    seen = caplog.text
    while error is not None:
        seen += str(error)
        error = error.__cause__ or error.__context__
    assert SERIES.SeriesInstanceUID not in seen
    assert PATIENT_NAME not in seen
    assert EXPLICIT not in seen

import contextlib
import datetime as dt
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom.pdu_primitives import A_ASSOCIATE, UserIdentityNegotiation

from pacs_pipeline.errors import Permanent, PipelineError, SettingsError, Transient
from pacs_pipeline.pacs import PacsClient
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.settings import UserIdentitySettings
from pacs_pipeline_tests.unit.pacs.peers import OUR_TITLE, PACS_TITLE, SITE, Talk, listening, rejecting, scripted


@pytest.mark.parametrize(
    ("rejection", "kind", "advice"),
    [
        ((1, 1, 3), Permanent, f"register AE title {OUR_TITLE}"),
        ((1, 1, 7), Permanent, "pacs.ae_title"),
        ((1, 1, 1), Permanent, "ask the PACS team"),
        ((1, 2, 2), Permanent, "ask the PACS team"),
        ((2, 1, 1), Transient, "retried"),
        ((2, 3, 1), Transient, "retried"),
        ((1, 3, 2), Transient, "associations"),
    ],
)
def test_a_refused_association_says_what_to_do(
    rejection: tuple[int, int, int], kind: type[PipelineError], advice: str
) -> None:
    with (
        listening(rejecting(*rejection), timeout=3) as endpoint,
        PacsClient(endpoint) as client,
        pytest.raises(kind) as caught,
    ):
        client.check()
    assert SITE in caught.value.message
    assert advice in caught.value.fix


def silent(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def hangs_up(connection: socket.socket) -> None:
    connection.close()


def stops_inside_a_pdu(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x02\x00\x00\x00\x10\x00half an answer")
    silent(connection)


def claims_a_huge_pdu(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x02\x00\xff\xff\xff\xff")
    silent(connection)


def is_a_web_server(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    silent(connection)


@pytest.mark.parametrize("behave", [silent, hangs_up, stops_inside_a_pdu, claims_a_huge_pdu, is_a_web_server])
def test_what_does_not_speak_dicom_is_away_and_is_not_waited_for(behave: Callable[[socket.socket], None]) -> None:
    started = time.monotonic()
    with listening(behave) as endpoint, PacsClient(endpoint) as client, pytest.raises(Transient) as caught:
        client.check()
    assert SITE in caught.value.message
    assert time.monotonic() - started < 5


def test_a_closed_port_is_away() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = Endpoint(SITE, "127.0.0.1", probe.getsockname()[1], PACS_TITLE, OUR_TITLE, 1)
        with PacsClient(endpoint) as client, pytest.raises(Transient, match="cannot be reached"):
            client.check()


def test_an_unknown_host_is_away() -> None:
    with (
        PacsClient(Endpoint(SITE, "no-such-host.invalid", 104, PACS_TITLE, OUR_TITLE, 1)) as client,
        pytest.raises(Transient, match="cannot be reached"),
    ):
        client.check()


def test_small_messages_are_sent_at_once() -> None:
    with scripted() as endpoint, PacsClient(endpoint) as client:
        client.check()
        assert client._association is not None
        assert client._association._connection._raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_request_asks_for_no_precedence_over_the_clinic() -> None:
    priorities: list[int] = []

    def script(talk: Talk) -> None:
        priorities.append(talk.request.Priority)
        talk.answer(0x0000)

    with scripted(find=script) as endpoint, PacsClient(endpoint) as client:
        assert client.find_studies(dt.date(2024, 1, 1)) == ()
    assert priorities == [2]  # LOW, PS3.7 9.1.2.1


def test_an_association_the_pacs_has_ended_in_between_is_opened_again() -> None:
    talks: list[Talk] = []

    def script(talk: Talk) -> None:
        talks.append(talk)
        talk.answer(0x0000)

    with scripted(find=script) as endpoint, PacsClient(endpoint) as client:
        for _ in range(3):
            assert client.find_studies(dt.date(2024, 1, 1)) == ()
            talks[-1].die()  # long after its answer has arrived


@pytest.mark.parametrize("passcode", [None, "p\u00e4ss code"])
def test_who_we_are_is_told_where_the_settings_say_so(tmp_path: Path, passcode: str | None) -> None:
    requests: list[A_ASSOCIATE] = []
    values: dict[str, object] = {"username": "Jörg"}
    if passcode is not None:
        (tmp_path / "passcode").write_text(f"{passcode}\n", encoding="utf-8")
        values["passcode_file"] = tmp_path / "passcode"
    identity = UserIdentitySettings.model_validate(values)
    with (
        scripted(requested=requests.append) as endpoint,
        PacsClient(replace(endpoint, user_identity=identity)) as client,
    ):
        client.check()
    (item,) = [item for item in requests[0].user_information if isinstance(item, UserIdentityNegotiation)]
    assert item.user_identity_type == (1 if passcode is None else 2)
    assert item.primary_field == "Jörg".encode()
    assert (item.secondary_field or b"") == (passcode or "").encode()


def test_who_we_are_is_not_told_otherwise() -> None:
    requests: list[A_ASSOCIATE] = []
    with scripted(requested=requests.append) as endpoint, PacsClient(endpoint) as client:
        client.check()
    assert not [item for item in requests[0].user_information if isinstance(item, UserIdentityNegotiation)]


def test_a_passcode_that_cannot_be_read(tmp_path: Path) -> None:
    identity = UserIdentitySettings(username="reader", passcode_file=tmp_path / "nowhere")
    endpoint = Endpoint(SITE, "127.0.0.1", 9, PACS_TITLE, OUR_TITLE, 1, user_identity=identity)
    with PacsClient(endpoint) as client, pytest.raises(SettingsError, match="passcode_file") as caught:
        client.check()
    assert "nowhere" in caught.value.message


def test_a_refusal_names_the_user_identity_as_a_reason() -> None:
    identity = UserIdentitySettings(username="reader")
    with (
        listening(rejecting(1, 1, 1), timeout=3) as endpoint,
        PacsClient(replace(endpoint, user_identity=identity)) as client,
        pytest.raises(Permanent) as caught,
    ):
        client.check()
    assert "user_identity" in caught.value.fix

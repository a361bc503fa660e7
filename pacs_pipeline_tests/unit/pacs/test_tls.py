"""Connections over TLS: who is trusted, what is spoken, and what is said when it does not come about."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pynetdicom import build_context

from pacs_pipeline.errors import Permanent, PipelineError, SettingsError, Transient
from pacs_pipeline.pacs import CGetRetriever, CMoveRetriever, Endpoint, Landing, PacsClient, StorageReceiver
from pacs_pipeline.pacs.command import CommandField
from pacs_pipeline.pacs.connection import Connection, Lost
from pacs_pipeline.pacs.negotiation import connect
from pacs_pipeline.pacs.tls import client_context, server_context
from pacs_pipeline.settings import TlsSettings
from pacs_pipeline_tests.certificates import Authority, Pair, settings
from pacs_pipeline_tests.unit.pacs.peers import (
    OUR_TITLE,
    PACS_TITLE,
    RECEIVER_TITLE,
    SITE,
    Talk,
    finds,
    listening,
    scripted,
)
from pacs_pipeline_tests.unit.pacs.samples import CT, EXPLICIT, SERIES, samples

ARCHIVE = samples(3)


@dataclass(frozen=True)
class Pki:
    """The authority that both sides trust, one that nobody trusts, and our certificate."""

    authority: Authority
    stranger: Authority
    pacs: Pair
    ours: Pair

    @property
    def client(self) -> TlsSettings:
        return settings(self.authority, self.ours)

    def server(self, **others: object) -> ssl.SSLContext:
        """What a PACS speaks that asks for certificates."""
        return server_context(settings(self.authority, self.pacs, **others), "the test")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder, "authority")
    return Pki(authority, Authority(folder, "stranger"), authority.issue("pacs"), authority.issue("ours"))


def check(endpoint: Endpoint, tls: TlsSettings | None) -> None:
    with PacsClient(replace(endpoint, tls=tls)) as client:
        client.check()


def refused(endpoint: Endpoint, tls: TlsSettings | None) -> PipelineError:
    started = time.monotonic()
    with pytest.raises((Permanent, Transient)) as caught:
        check(endpoint, tls)
    assert time.monotonic() - started < 5
    assert SITE in caught.value.message
    assert caught.value.fix
    return caught.value


def test_queries_and_retrievals_over_tls(pki: Pki, tmp_path: Path) -> None:
    def get(talk: Talk) -> None:
        for sample in ARCHIVE:
            talk.store(sample)
        talk.answer(0x0000)

    with scripted(find=finds(), get=get, tls=pki.server()) as endpoint:
        secure = replace(endpoint, tls=pki.client)
        with PacsClient(secure) as client:
            for _ in range(3):
                client.check()
            assert client._association is not None
            assert client._association.is_usable  # session tickets are no farewell
            connection = client._association._connection
        with CGetRetriever(secure) as retriever:
            wanted = {sample.uid for sample in ARCHIVE}
            report = retriever.retrieve(Landing(SERIES, wanted, tmp_path), [sample.ref for sample in ARCHIVE])
    assert connection._raw.fileno() == -1
    assert len(report.landed) == 3
    for landed, sample in zip(report.landed, ARCHIVE, strict=True):
        assert landed.path.read_bytes().endswith(sample.data)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_is_negotiated_is_of_the_profile(pki: Pki, version: str) -> None:
    server = pki.server()
    server.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    with scripted(tls=server) as endpoint, PacsClient(replace(endpoint, tls=pki.client)) as client:
        client.check()
        assert client._association is not None
        raw = client._association._connection._raw
        assert isinstance(raw, ssl.SSLSocket)
        assert raw.version() == f"TLSv{version}"
        suite = raw.cipher()
    assert suite is not None
    assert "GCM" in suite[0] or "POLY1305" in suite[0]
    assert version == "1.3" or suite[0].startswith("ECDHE")


@pytest.mark.parametrize("kind", [client_context, server_context])
def test_nothing_old_and_nothing_without_forward_secrecy_is_offered(
    pki: Pki, kind: Callable[[TlsSettings, str], ssl.SSLContext]
) -> None:
    context = kind(pki.client, "the test")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    for suite in context.get_ciphers():
        assert suite["aead"]
        assert suite["protocol"] == "TLSv1.3" or suite["name"].startswith("ECDHE-")
    newest = kind(settings(pki.authority, pki.ours, minimum="1.3"), "the test")
    assert newest.minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_pacs_that_only_speaks_old_suites(pki: Pki) -> None:
    server = pki.server()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers("AES128-SHA")
    with scripted(tls=server) as endpoint:
        problem = refused(endpoint, pki.client)
    assert isinstance(problem, Permanent)
    assert "refused" in problem.message
    assert "BCP 195" in problem.fix


def test_a_certificate_of_an_unknown_authority(pki: Pki) -> None:
    with scripted(tls=pki.server()) as endpoint:
        problem = refused(endpoint, settings(pki.stranger, pki.ours))
    assert isinstance(problem, Permanent)
    assert "not trusted" in problem.message
    assert "pacs.tls.ca" in problem.fix


def test_an_expired_certificate(pki: Pki) -> None:
    old = pki.authority.issue("old", days=-1)
    with scripted(tls=server_context(settings(pki.authority, old), "the test")) as endpoint:
        problem = refused(endpoint, pki.client)
    assert isinstance(problem, Permanent)
    assert "expired" in problem.message
    assert "renew" in problem.fix


@pytest.mark.parametrize("hosts", [("pacs.hospital.example",), ()], ids=["another host", "no host at all"])
def test_the_name_in_the_certificate_can_be_configured(pki: Pki, hosts: tuple[str, ...]) -> None:
    name = hosts[0] if hosts else "PACS ROOM 1"
    other = pki.authority.issue(name, hosts=hosts)
    with scripted(tls=server_context(settings(pki.authority, other), "the test")) as endpoint:
        problem = refused(endpoint, pki.client)
        check(endpoint, settings(pki.authority, pki.ours, server_name=name))
    assert isinstance(problem, Permanent)
    assert "another name" in problem.message
    assert "server_name" in problem.fix


def test_a_pacs_certificate_that_is_trusted_itself(pki: Pki) -> None:
    with scripted(tls=pki.server()) as endpoint:
        trusting = settings(pki.authority, pki.ours).model_copy(update={"ca": pki.pacs.certificate})
        check(endpoint, trusting)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("whose", ["none", "a stranger's"])
def test_a_pacs_that_does_not_trust_us(pki: Pki, version: ssl.TLSVersion, whose: str) -> None:
    server = pki.server()
    server.maximum_version = version
    own = None if whose == "none" else pki.stranger.issue("impostor")

    def refuse(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), server.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    with listening(refuse, timeout=2) as endpoint:
        problem = refused(endpoint, settings(pki.authority, own))
    assert "pacs.tls" in problem.fix


def test_a_plain_pacs_on_the_port(pki: Pki) -> None:
    with scripted() as endpoint:
        problem = refused(endpoint, pki.client)
    assert "TLS" in problem.message
    assert "port" in problem.fix


def test_a_tls_pacs_where_the_settings_say_plain(pki: Pki) -> None:
    server = pki.server()

    def behave(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            server.wrap_socket(connection, server_side=True)

    with listening(behave, timeout=2) as endpoint:
        problem = refused(endpoint, None)
    assert "TLS" in problem.message + problem.fix


def test_a_pacs_that_says_nothing_at_all(pki: Pki) -> None:
    with listening(lambda connection: connection.recv(10_000) and None, timeout=0.5) as endpoint:
        assert isinstance(refused(endpoint, pki.client), Transient)


def test_a_key_with_a_password(pki: Pki, tmp_path: Path) -> None:
    locked = pki.authority.issue("locked", password="of the key")
    (tmp_path / "password").write_text("of the key\n")
    with scripted(tls=pki.server()) as endpoint:
        check(endpoint, settings(pki.authority, locked, key_password_file=tmp_path / "password"))
        (tmp_path / "password").write_text("another")
        with pytest.raises(SettingsError, match="key_password_file") as caught:
            check(endpoint, settings(pki.authority, locked, key_password_file=tmp_path / "password"))
        assert "another" not in str(caught.value)
        with pytest.raises(SettingsError):  # and nobody is asked for it at a terminal
            check(endpoint, settings(pki.authority, locked))


@pytest.mark.parametrize("missing", ["ca", "certificate", "key_password_file"])
def test_a_file_that_is_not_there(pki: Pki, tmp_path: Path, missing: str) -> None:
    broken = pki.client.model_copy(update={missing: tmp_path / "nowhere.pem"})
    with pytest.raises(SettingsError, match=r"nowhere\.pem") as caught:
        client_context(broken, "pacs.tls of north")
    assert "pacs.tls of north" in caught.value.message


# --- the receiver ---


@pytest.fixture
def receiver(pki: Pki, unused_port: int) -> Iterator[StorageReceiver]:
    tls = settings(pki.authority, pki.pacs)
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", timeout=2, tls=tls) as open_receiver:
        yield open_receiver


def knock(receiver: StorageReceiver, tls: TlsSettings | None) -> None:
    """Ask a receiver for an association, and for an echo."""
    endpoint = Endpoint(SITE, "127.0.0.1", receiver.port, RECEIVER_TITLE, OUR_TITLE, 3, tls=tls)
    association = connect(endpoint, [build_context(CT, EXPLICIT)])
    (answer,) = association.ask(association._contexts[1], CommandField.C_ECHO_RQ)
    assert answer.status == 0
    association.release()


def test_who_has_a_certificate_may_come_in(receiver: StorageReceiver, pki: Pki) -> None:
    knock(receiver, pki.client)


@pytest.mark.parametrize("whose", ["none", "a stranger's", "plain"])
def test_who_has_none_stays_outside_and_keeps_nobody_out(receiver: StorageReceiver, pki: Pki, whose: str) -> None:
    tls = None if whose == "plain" else settings(pki.authority, None if whose == "none" else pki.stranger.issue("x"))
    started = time.monotonic()
    with pytest.raises((Permanent, Transient)):
        knock(receiver, tls)
    assert time.monotonic() - started < 2
    knock(receiver, pki.client)


def test_a_tls_peer_on_a_plain_receiver_is_shown_out(pki: Pki, unused_port: int) -> None:
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1") as receiver:
        started = time.monotonic()
        with pytest.raises(Permanent, match="does not speak TLS"):
            knock(receiver, pki.client)
        assert time.monotonic() - started < 2


def test_a_handshake_that_never_ends_is_not_waited_for(receiver: StorageReceiver, pki: Pki) -> None:
    idle = [socket.create_connection(("127.0.0.1", receiver.port), timeout=5) for _ in range(40)]
    try:
        for raw in idle:
            raw.sendall(b"\x16\x03\x01")
        knock(receiver, pki.client)
    finally:
        for raw in idle:
            raw.close()


def test_leaving_ends_a_handshake(pki: Pki, unused_port: int) -> None:
    tls = settings(pki.authority, pki.pacs)
    with (
        StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", timeout=30, tls=tls),
        socket.create_connection(("127.0.0.1", unused_port), timeout=5) as raw,
    ):
        raw.sendall(b"\x16\x03\x01")
        time.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 3


def test_a_receiver_without_a_certificate_says_so(pki: Pki, unused_port: int) -> None:
    receiver = StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", tls=settings(pki.authority, None))
    with pytest.raises(SettingsError, match="certificate"), receiver:
        pass


def test_a_c_move_over_tls_both_ways(pki: Pki, receiver: StorageReceiver, tmp_path: Path) -> None:
    port, tls = receiver.port, pki.client
    receiver.__exit__(None, None, None)  # the retriever opens it

    def move(talk: Talk) -> None:
        endpoint = Endpoint(SITE, "127.0.0.1", port, RECEIVER_TITLE, PACS_TITLE, 3, tls=tls)
        association = connect(endpoint, [build_context(CT, EXPLICIT)])
        for sample in ARCHIVE:
            association.send(
                association._contexts[1],
                {
                    "CommandField": CommandField.C_STORE_RQ,
                    "MessageID": 1,
                    "AffectedSOPClassUID": CT,
                    "AffectedSOPInstanceUID": sample.uid,
                    "MoveOriginatorApplicationEntityTitle": OUR_TITLE,
                    "MoveOriginatorMessageID": talk.request.MessageID,
                },
                sample.data,
            )
            association.receive()
        association.release()
        talk.answer(0x0000, completed=len(ARCHIVE))

    with (
        scripted(move=move, tls=pki.server()) as endpoint,
        CMoveRetriever(replace(endpoint, tls=tls), receiver) as retriever,
    ):
        wanted = {sample.uid for sample in ARCHIVE}
        report = retriever.retrieve(Landing(SERIES, wanted, tmp_path), [sample.ref for sample in ARCHIVE])
    assert len(report.landed) == 3
    assert report.failures == ()


def test_a_connection_over_tls_is_quiet_until_something_comes(pki: Pki) -> None:
    server, client = pki.server(), client_context(pki.client, "the test")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    peer = server.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
    connection = Connection(
        client.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False), timeout=2
    )

    def answer() -> None:
        peer.do_handshake()
        peer.sendall(b"\x04\0\0\0\0\x01x" * 2)

    thread = threading.Thread(target=answer)
    thread.start()
    connection.shake_hands()
    thread.join()
    assert bytes(connection.receive()[1]) == b"x"
    assert not connection.is_quiet  # the second came in the same record: it is not in the socket any more
    connection.close()
    assert not connection.is_quiet
    with pytest.raises(Lost):
        connection.receive()
    peer.close()

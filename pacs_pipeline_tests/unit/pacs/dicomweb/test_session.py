"""Credentials, redirects, waiting, TLS."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacs_pipeline.errors import Permanent, SettingsError, Transient
from pacs_pipeline.pacs.dicomweb import DicomwebArchive, Service
from pacs_pipeline.pacs.dicomweb.session import Session
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline_tests.certificates import Authority
from pacs_pipeline_tests.unit.pacs.dicomweb.services import Archive, Reply, Request, Server, json_reply, serving
from pacs_pipeline_tests.unit.pacs.samples import samples

GOOD = Archive(samples(1))


def check(server: Server, **options: Any) -> str:
    with DicomwebArchive(server.service(**options)) as archive:
        return archive.check()


def secret(folder: Path, text: str) -> Path:
    file = folder / "secret"
    file.write_text(text, encoding="utf-8")
    return file


def guarded(authorization: Callable[[], str]) -> Callable[[Request], Reply]:
    return lambda r: GOOD(r) if r.headers.get("authorization") == authorization() else Reply(status=401)


def test_basic_authentication_in_utf_8(tmp_path: Path) -> None:
    expected = "Basic " + base64.b64encode("jürgen:pässwört".encode()).decode()
    with serving(guarded(lambda: expected)) as server:
        check(server, username="jürgen", password_file=secret(tmp_path, "pässwört\n"))
        with pytest.raises(Permanent, match="credentials"):
            check(server, username="jürgen", password_file=secret(tmp_path, "other"))
        with pytest.raises(Permanent, match="credentials"):
            check(server)


def test_a_token_that_has_run_out_is_read_again_once(tmp_path: Path) -> None:
    file, valid = secret(tmp_path, "old\n"), "old"
    with (
        serving(guarded(lambda: f"Bearer {valid}")) as server,
        DicomwebArchive(server.service(token_file=file)) as archive,
    ):
        archive.check()
        valid = "new"
        file.write_text("new\n")
        archive.check()
        assert len(server.requests) == 3
        valid = "newer"
        with pytest.raises(Permanent, match="HTTP 401"):
            archive.check()
        assert len(server.requests) == 4


@pytest.mark.parametrize("content", ["", " \n", "two\nlines", "n\u00f6"])
def test_a_token_file_without_a_token(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match="token_file"):
        Session(Service("north", "http://127.0.0.1:1", token_file=secret(tmp_path, content)))


@pytest.mark.parametrize("key", ["ca_bundle", "certificate", "key", "token_file"])
def test_files_that_are_not_there(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match=key):
        Session(Service("north", "http://127.0.0.1:1", **{key: tmp_path / "none"}))


@pytest.mark.parametrize("url", ["http://user:word@host/x", "http://:80/x", "http://host:99999/x", "http://[::1/x"])
def test_addresses_that_cannot_be_used(url: str) -> None:
    site = SiteSettings.model_validate(
        {
            "name": "north",
            "timezone": "UTC",
            "start_date": "2024-01-01",
            "protocol": "dicomweb",
            "dicomweb": {"url": url},
        }
    )
    with pytest.raises(SettingsError, match="dicomweb.url") as raised:
        Service.of(site)
    assert "word" not in str(raised.value).replace("password", "")


def test_the_service_of_a_site() -> None:
    site = SiteSettings.model_validate(
        {
            "name": "north",
            "timezone": "UTC",
            "start_date": "2024-01-01",
            "protocol": "dicomweb",
            "dicomweb": {"url": "https://h/x/"},
            "timeout_seconds": 7,
        }
    )
    assert Service.of(site) == Service("north", "https://h/x", 7)
    assert Service.of(site).origin == ("https", "h", 443)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_follow_no_redirect_to_another_host(tmp_path: Path, status: int) -> None:
    with serving(GOOD) as elsewhere:
        script = lambda r: Reply(status=status, headers={"Location": elsewhere.url + "/studies"})  # noqa: E731
        with serving(script) as server, pytest.raises(Permanent, match="another host"):
            check(server, token_file=secret(tmp_path, "t"))
    assert elsewhere.requests == []


@pytest.mark.parametrize("location", ["", "https://127.0.0.1/x", "//evil.example/x", "http://[", "ftp://127.0.0.1/"])
def test_redirects_that_lead_nowhere(location: str) -> None:
    with (
        serving(lambda r: Reply(status=302, headers={"Location": location} if location else {})) as server,
        pytest.raises(Permanent, match="redirects"),
    ):
        check(server)


def test_a_redirect_within_the_service_is_followed_with_credentials(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        if request.path.startswith("/moved"):
            return json_reply([]) if request.headers["authorization"] == "Bearer t" else Reply(status=401)
        return Reply(status=307, headers={"Location": "/moved/studies"})

    with serving(script) as server:
        check(server, token_file=secret(tmp_path, "t"))


def test_redirects_in_a_circle() -> None:
    with serving(lambda r: Reply(status=302, headers={"Location": r.target})) as server:
        with pytest.raises(Permanent, match="circle"):
            check(server)
        assert len(server.requests) < 20


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["7", "Sat, 09 Mar 2024 12:00:07 GMT"])
def test_a_busy_service_is_left_alone_as_long_as_it_asks(status: int, after: str) -> None:
    waited: list[float] = []

    def script(request: Request) -> Reply:
        return GOOD(request) if len(waited) == 2 else Reply(status=status, headers={"Retry-After": after})

    with serving(script) as server:
        service = server.service()
        noon = dt.datetime(2024, 3, 9, 12, tzinfo=dt.UTC).timestamp()
        session = Session(service, sleep=waited.append, now=lambda: noon)
        with DicomwebArchive(service, session) as archive:
            archive.check()
    assert waited == [7, 7]


@pytest.mark.parametrize("after", ["3600", "soon", "", "-1", "9" * 400, "Sat, 09 Mar 2999 12:00:07 GMT"])
def test_what_is_too_long_or_cannot_be_understood_is_not_waited_for(after: str) -> None:
    waited: list[float] = []
    with serving(lambda r: Reply(status=503, headers={"Retry-After": after})) as server:
        service = server.service()
        with (
            DicomwebArchive(service, Session(service, sleep=waited.append)) as archive,
            pytest.raises(Transient, match="HTTP 503"),
        ):
            archive.check()
        assert (waited, len(server.requests)) == ([], 1)


def test_waiting_has_an_end() -> None:
    waited: list[float] = []
    with serving(lambda r: Reply(status=429, headers={"Retry-After": "1"})) as server:
        service = server.service()
        with (
            DicomwebArchive(service, Session(service, sleep=waited.append)) as archive,
            pytest.raises(Transient, match="HTTP 429"),
        ):
            archive.check()
    assert waited == [1, 1]


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    calls = 0

    def script(request: Request) -> Reply | None:
        nonlocal calls
        calls += 1
        return None if calls == 2 else GOOD(request)  # hangs up when it is asked over the open connection

    with serving(script) as server, DicomwebArchive(server.service()) as archive:
        archive.check()
        archive.check()
    assert calls == 3


def test_the_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    with serving(GOOD) as server:
        check(server)


def server_context(authority: Authority, *, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.path)
    return context


def test_tls_with_the_certificates_of_the_settings(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    with serving(GOOD, server_context(authority)) as server:
        check(server, ca_bundle=authority.path)
        with pytest.raises(Permanent, match="ca_bundle"):
            check(server)
        with pytest.raises(Permanent, match="ca_bundle"):
            check(server, ca_bundle=Authority(tmp_path, "theirs").path)
        with pytest.raises(Permanent, match="ca_bundle"):
            check(server, ca_bundle=secret(tmp_path, "no certificate"))


def test_mutual_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    ours = authority.issue("client")
    with serving(GOOD, server_context(authority, mutual=True)) as server:
        check(server, ca_bundle=authority.path, certificate=ours.certificate, key=ours.key)
        with pytest.raises((Permanent, Transient)):
            check(server, ca_bundle=authority.path)


def test_no_tls_where_tls_is_asked_for() -> None:
    with serving(GOOD) as server:
        service = Service("north", server.url.replace("http:", "https:"), 5)
        with DicomwebArchive(service) as archive, pytest.raises((Permanent, Transient)):
            archive.check()

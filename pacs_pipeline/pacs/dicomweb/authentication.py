"""Who we say we are: HTTP basic authentication (RFC 7617), a bearer token (RFC 6750), certificates."""

from __future__ import annotations

from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.pacs.dicomweb.service import Service


class BearerToken(AuthBase):
    """The token in a file, which whoever renews it replaces."""

    def __init__(self, service: Service, file: Path) -> None:
        self._service = service
        self._file = file
        self._token = _secret(service, "token_file", file)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def renew(self) -> bool:
        """Read the file again; whether it holds another token now."""
        before, self._token = self._token, _secret(self._service, "token_file", self._file)
        return self._token != before


def authenticate(session: requests.Session, service: Service) -> None:
    """Give the session what the settings of a site name. Raises SettingsError for a file that cannot be used."""
    if service.token_file is not None:
        session.auth = BearerToken(service, service.token_file)
    elif service.username and service.password_file is not None:
        password = _secret(service, "password_file", service.password_file)
        session.auth = HTTPBasicAuth(service.username.encode(), password.encode())  # as UTF-8, RFC 7617 2.1
    session.verify = _file(service, "ca_bundle", service.ca_bundle) or True
    certificate, key = _file(service, "certificate", service.certificate), _file(service, "key", service.key)
    if certificate and key:
        session.cert = (certificate, key)


def _secret(service: Service, key: str, file: Path) -> str:
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _unusable(service, key, f"the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _unusable(service, key, "the file is no text") from None
    if not secret or not secret.isprintable():
        raise _unusable(service, key, "the file holds no single line of text")
    if key == "token_file" and not secret.isascii():
        raise _unusable(service, key, "the file holds no token")
    return secret


def _file(service: Service, key: str, file: Path | None) -> str:
    if file is None:
        return ""
    try:
        with file.open("rb") as content:
            content.read(1)
    except OSError as error:
        raise _unusable(service, key, f"the file cannot be read ({error.strerror})") from None
    return str(file)


def _unusable(service: Service, key: str, problem: str) -> SettingsError:
    return SettingsError(
        f"site {service.site}: dicomweb.{key}: {problem}",
        fix="name a file that the user of the pipeline can read, with nothing else in it",
    )

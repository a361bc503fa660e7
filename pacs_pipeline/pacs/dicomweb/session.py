"""GET requests to one service: credentials go nowhere else, waiting is bounded, every failure says what to do."""

from __future__ import annotations

import datetime as dt
import email.message
import email.utils
import io
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.connection import Lost
from pacs_pipeline.pacs.dicomweb import failures
from pacs_pipeline.pacs.dicomweb.authentication import BearerToken, authenticate
from pacs_pipeline.pacs.dicomweb.service import Service, origin_of

_CONNECT_SECONDS = 30.0
_LONGEST_WAIT = 60.0  # that a service may ask for with Retry-After
_TRIES = 3  # of a request that a busy service asks to make later
_REDIRECTS = 5
_LARGEST_ANSWER = 1 << 26  # of a query, in bytes: a page of its answers has a few hundred KB
_EPILOGUE = 1 << 16
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_MORE = re.compile(r"(?:^|,)\s*299\s+(?![^,]*fuzzy)", re.IGNORECASE)  # PS3.18 8.3.4.4; we do not match fuzzily

# These write addresses, which hold UIDs, into their logs. None of that may be written by this program, at any level
# of the root logger; a person who debugs can set the level of these again.
for _name in ("dicomweb_client", "requests", "retrying", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Session(requests.Session):
    """The connections to one service. One thread at a time.

    The environment is not looked at: no proxy, no .netrc, no other certificates than the settings name. Redirects
    are followed within the service's own scheme, host and port. ``sleep`` and ``now`` are those of :mod:`time`.
    """

    def __init__(
        self,
        service: Service,
        *,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.service = service
        self.says_more = False  # the last answer to a query said that there is more than it holds
        self.trust_env = False
        # a body that is not compressed is one that is not inflated either; servers may still send one
        self.headers.update({"User-Agent": "pacs-pipeline", "Accept-Encoding": "identity"})
        authenticate(self, service)
        self._sleep = sleep
        self._now = now
        self._timeout = (min(service.timeout, _CONNECT_SECONDS), service.timeout)

    def get(self, url: Any, params: Any = None, **options: Any) -> requests.Response:  # noqa: ARG002
        """A query as dicomweb-client makes it: the whole answer, or an error in our own terms."""
        what = "a query"
        accept = (options.get("headers") or {}).get("Accept", "application/dicom+json")
        response = self.open(str(url), accept, what)
        with response:
            if not 200 <= response.status_code < 300:
                raise failures.failure(self.service, what, response.status_code)
            self.says_more = _MORE.search(response.headers.get("Warning", "")) is not None
            body = self._whole(Body(response), what)
            if body and "json" not in media_type(response):
                raise failures.not_dicom(self.service, what, media_type(response))
            response.raw = io.BytesIO(body)
            response.content  # noqa: B018 - is kept by it
        return response

    def open(self, url: str, accept: str, what: str) -> requests.Response:
        """The answer to a request with its body unread, whatever the status, but for what is handled here:

        a token that has run out is read again, a redirect is followed or refused, a busy service is asked again
        when it says so. Raises Transient when the service is away or busy, Permanent when it is not who we think.
        """
        tries = 0
        for _ in range(_REDIRECTS + _TRIES + 1):
            response = self._send(url, accept)
            status = response.status_code
            if status == failures.UNAUTHORIZED and isinstance(self.auth, BearerToken) and self.auth.renew():
                response.close()
            elif status in _REDIRECTED:
                response.close()
                url = self._target(url, response.headers.get("Location", ""), what)
            elif status in failures.BUSY:
                response.close()
                tries += 1
                seconds = _retry_after(response.headers.get("Retry-After", ""), self._now())
                if tries == _TRIES or seconds is None or seconds > _LONGEST_WAIT:
                    raise failures.failure(self.service, what, status)
                self._sleep(seconds)
            else:
                return response
        raise Permanent(f"{self.service.where} redirects {what} in a circle", fix="ask the PACS team to mend it")

    def forget_connections(self) -> None:
        """After an answer that was not what it said it is: what is left of it must not be taken for the next."""
        for adapter in self.adapters.values():
            adapter.close()

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:  # type: ignore[override]
        """None here: see :meth:`open`. The inherited one reads the whole body first, and follows to any host."""
        return iter(())

    def _send(self, url: str, accept: str) -> requests.Response:
        for attempt in (1, 2):
            try:
                return super().get(
                    url,
                    headers={"Accept": accept},
                    stream=True,
                    timeout=self._timeout,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                problem = self._problem(error)
                # the service has closed a connection that we were about to use again
                stale = attempt == 1 and isinstance(error, requests.ConnectionError) and _hung_up(error)
            if not stale:
                break
            self.forget_connections()
        raise problem  # outside of the handler: what requests raises names the address with its UIDs

    def _problem(self, error: requests.RequestException) -> PipelineError:
        where = self.service.where
        if isinstance(error, requests.exceptions.SSLError) and "EOF" not in str(error):
            return Permanent(
                f"{where} and this machine do not agree on TLS: a certificate is missing or not trusted",
                fix="set dicomweb.ca_bundle to who signed the service's certificate, and certificate and key if it "
                "asks for ours",
            )
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
            return Permanent(f"{where} has an address that cannot be used", fix="correct dicomweb.url")
        return Transient(
            f"{where} cannot be reached, or did not answer within {self.service.timeout:g} s",
            fix="check dicomweb.url, and that the network lets this machine through; the run may be retried",
        )

    def _target(self, url: str, location: str, what: str) -> str:
        try:
            target = urljoin(url, location)
            same = bool(location) and origin_of(target) == self.service.origin
        except ValueError:
            same = False
        if not same:
            raise Permanent(
                f"{self.service.where} redirects {what} to another host, port or scheme, which was not followed",
                fix="if that is right, make it the site's dicomweb.url",
            )
        return target

    def _whole(self, body: Body, what: str) -> bytes:
        content = bytearray()
        try:
            while chunk := body.read(1 << 16):
                content += chunk
                if len(content) > _LARGEST_ANSWER:
                    raise Permanent(
                        f"{self.service.where} answered {what} with more than {_LARGEST_ANSWER >> 20} MiB",
                        fix="the service does not page its answers: ask the PACS team whether it can",
                    )
        except Lost:
            broken = True
        else:
            broken = False
        if broken:
            raise failures.lost(self.service, what)
        return bytes(content)


class Body:
    """The body of an answer as it comes, inflated if the service compressed it although nobody asked."""

    def __init__(self, response: requests.Response) -> None:
        self._raw: urllib3.HTTPResponse = response.raw
        self._inflate = response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")

    def read(self, size: int) -> bytes:
        """The next bytes, as soon as there are some, at most ``size``; none at the end. Raises Lost."""
        try:
            return self._raw.read1(size, decode_content=self._inflate)
        except (urllib3.exceptions.HTTPError, OSError):
            pass
        raise Lost("the connection broke in the middle of an answer")

    def finish(self) -> None:
        """Read what may come after the last part, so that the connection can be used again."""
        left = _EPILOGUE
        while left > 0:
            try:
                chunk = self.read(left)
            except Lost:  # nothing is lost by it
                return
            if not chunk:
                return
            left -= len(chunk)


def media_type(response: requests.Response) -> str:
    """The media type of an answer, such as multipart/related; empty when it names none."""
    value = response.headers.get("Content-Type", "")
    return _header(value).get_content_type() if value else ""


def boundary(response: requests.Response) -> bytes:
    """The boundary that the header of a multipart answer names; empty when it names none."""
    named = _header(response.headers.get("Content-Type", "")).get_boundary("")
    return named.encode("latin-1", "replace") if len(named) <= 1024 else b""


def _header(value: str) -> email.message.Message:
    message = email.message.Message()
    message["Content-Type"] = value
    return message


def _retry_after(value: str, now: float) -> float | None:
    """The seconds that a service wants to be left alone (RFC 9110 10.2.3); None when it does not say."""
    if value.strip().isdecimal() and len(value.strip()) < 10:
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return max(at.timestamp() - now, 0.0)


def _hung_up(error: requests.ConnectionError) -> bool:
    """Whether an open connection turned out to be closed, before anything of the answer came."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, urllib3.exceptions.ProtocolError) and not isinstance(error, requests.Timeout)

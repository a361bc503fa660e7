"""HTTP statuses in words, and which failures pass by themselves (RFC 9110 15, PS3.18 8.5)."""

from __future__ import annotations

from http import HTTPStatus

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.dicomweb.service import Service

UNAUTHORIZED = 401
FORBIDDEN = 403
UNKNOWN = frozenset({404, 410})
BUSY = frozenset({408, 425, 429, 503})
NOT_LIKE_THIS = frozenset({400, 405, 406, 415, 501})


class NotThere(Permanent):
    """The service does not know what was asked for: an answer, where something below an address was asked for."""


def in_words(status: int) -> str:
    """A status as a person reads it. What the server itself wrote is not used."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def failure(service: Service, what: str, status: int) -> PipelineError:
    """The error for a request that was answered with ``status``, which is none of success."""
    message = f"{service.where} answered {what} with {in_words(status)}"
    if status == UNAUTHORIZED:
        return Permanent(
            message,
            fix="check the site's dicomweb credentials: username and password_file, token_file, or certificate and key",
        )
    if status == FORBIDDEN:
        return Permanent(message, fix="ask the PACS team to allow QIDO-RS and WADO-RS for the site's credentials")
    if status in UNKNOWN:
        return NotThere(message, fix="check dicomweb.url: it is the address that /studies comes after")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Permanent(
            f"{message}: there is too much to answer", fix="ask the PACS team to raise the limit of query results"
        )
    if status in NOT_LIKE_THIS:
        return Permanent(
            message,
            fix="the service does not accept this form of request: ask the PACS team for its conformance statement",
        )
    if status in BUSY:
        return Transient(message, fix="the run may be retried when the service is less busy")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient(message, fix="the run may be retried; if it stays so, give the PACS team this status")
    return Permanent(message, fix="check dicomweb.url, and give the PACS team this status")


def lost(service: Service, what: str) -> Transient:
    """The connection ended in the middle of an answer, which is then no answer."""
    return Transient(
        f"{service.where} broke off, or was silent for {service.timeout:g} s, during {what}",
        fix="nothing incomplete was recorded; the run may be retried",
    )


def not_dicom(service: Service, what: str, media_type: str) -> Permanent:
    """Success was said, and what came is something else: the page of a portal, most often."""
    return Permanent(
        f"{service.where} answered {what} with {media_type or 'something without a media type'} instead of DICOM",
        fix="check dicomweb.url, and whether a login page or a proxy answers in place of the service",
    )

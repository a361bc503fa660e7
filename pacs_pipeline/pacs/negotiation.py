"""How an association comes about (PS3.8 9.3.2-4, PS3.7 D): asking for one, granting one, and refusals in words."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydicom.uid import UID
from pynetdicom import _config
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor, negotiate_as_requestor

from pacs_pipeline.errors import Permanent, PipelineError, SettingsError, Transient
from pacs_pipeline.pacs import tls
from pacs_pipeline.pacs.association import AcceptedContext, Association
from pacs_pipeline.pacs.connection import MAXIMUM_PDU_SIZE, Connection, Lost, PduType, SpeaksTls, pdu
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.landing import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_NEGOTIATION_SECONDS = 30.0  # an association is accepted or refused at once, whatever the PACS is doing
_ACCEPTED = 0x00
_UNDECODABLE = (struct.error, ValueError, LookupError, TypeError, AttributeError, NotImplementedError)
"""What pynetdicom raises, at one place or another, for an A-ASSOCIATE that is none."""

CALLING_AE_TITLE_NOT_RECOGNISED = (1, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNISED = (1, 1, 7)
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)

Supported = Callable[[Sequence[PresentationContext]], Sequence[PresentationContext]]
"""Says which contexts are supported, of those that are proposed."""

# pynetdicom writes UIDs and whatever a peer sent into its log. None of that may be written by this program, at
# any level of the root logger; a person who debugs can set the level of "pynetdicom" again.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
_config.LOG_HANDLER_LEVEL = "none"


def connect(
    endpoint: Endpoint,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Association:
    """Open an association, or raise what keeps it from opening.

    Raises Transient when the PACS is away, busy or hangs up, and Permanent when it refuses us, with what to
    ask its team for.
    """
    proposed = _numbered(contexts)
    request = A_ASSOCIATE_RQ()
    request.from_primitive(_request(endpoint, proposed, roles))
    connection = _connected(endpoint)
    try:
        connection.send(request.encode())
        kind, content = connection.receive()
    except Lost as lost:
        raise _unanswered(endpoint, lost) from lost
    if kind == PduType.A_ASSOCIATE_AC:
        association = _established(endpoint, connection, proposed, roles, bytes(content))
        connection.timeout = endpoint.timeout
        return association
    if kind == PduType.A_ASSOCIATE_RJ and len(content) == 4:
        connection.close()
        raise _rejected(endpoint, (content[1], content[2], content[3]))
    connection.abort()
    raise _no_answer(endpoint)


def _connected(endpoint: Endpoint) -> Connection:
    """A new connection to the PACS, after the TLS handshake where the settings ask for TLS."""
    patience = min(endpoint.timeout, _NEGOTIATION_SECONDS)
    context = None if endpoint.tls is None else tls.client_context(endpoint.tls, f"pacs.tls of {endpoint.site}")
    try:
        raw = socket.create_connection((endpoint.host, endpoint.port), timeout=patience)
    except (OSError, UnicodeError) as error:  # away, or the name does not resolve
        raise _unreachable(endpoint) from error
    if context is None or endpoint.tls is None:
        return Connection(raw, patience)
    name = endpoint.tls.server_name or endpoint.host
    try:
        connection = Connection(context.wrap_socket(raw, server_hostname=name, do_handshake_on_connect=False), patience)
        connection.shake_hands()
    except OSError as error:  # it hung up at once
        raw.close()
        raise tls.failure(endpoint, error) from error
    except Lost as lost:
        raise tls.failure(endpoint, lost.__cause__) from lost
    return connection


def accept(
    connection: Connection,
    *,
    ae_title: str,
    supported: Supported,
    refusal: Callable[[str], tuple[int, int, int] | None],
) -> Association | None:
    """Read an association request from a new connection and grant it, or refuse it and return None.

    ``supported`` says what is supported of the contexts that are proposed, always the same; ``refusal`` whether there
    is a reason (result, source, diagnostic of PS3.8 9.3.4) to refuse this calling AE title. Raises Lost.
    """
    connection.shake_hands()
    kind, content = connection.receive()
    if kind != PduType.A_ASSOCIATE_RQ:
        connection.abort()
        raise Lost("the peer did not ask for an association")
    try:
        request = _read(bytes(content), supported)
    except _UNDECODABLE:
        connection.abort()
        raise Lost("the peer sent an association request that cannot be read") from None
    reason = refusal(request.calling) if request.called == ae_title else CALLED_AE_TITLE_NOT_RECOGNISED
    if reason is not None:
        connection.send(pdu(PduType.A_ASSOCIATE_RJ, bytes((0, *reason))))
        return None
    connection.send(request.answer)
    return Association(connection, request.contexts, request.largest_pdu, calling_ae_title=request.calling)


@dataclass(frozen=True, slots=True)
class _Request:
    """An association request as far as it matters here, and the A-ASSOCIATE-AC that grants it."""

    calling: str
    called: str
    largest_pdu: int
    contexts: tuple[AcceptedContext, ...]
    answer: bytes


@lru_cache(maxsize=8)  # a PACS asks in the same words for every C-MOVE, and pynetdicom reads them for 20 ms
def _read(content: bytes, supported: Supported) -> _Request:
    """What an A-ASSOCIATE-RQ asks for, and what of it is granted. Raises _UNDECODABLE."""
    asked = A_ASSOCIATE_RQ()
    asked.decode(pdu(PduType.A_ASSOCIATE_RQ, content))
    request = asked.to_primitive()
    proposed = request.presentation_context_definition_list
    results, answered = negotiate_as_acceptor(proposed, list(supported(proposed)), _roles(request))
    granted = A_ASSOCIATE()
    granted.application_context_name = _APPLICATION_CONTEXT
    granted.calling_ae_title, granted.called_ae_title = request.calling_ae_title, request.called_ae_title
    granted.result, granted.result_source = _ACCEPTED, 0x01
    granted.presentation_context_definition_results_list = results
    granted.user_information = [*_about_us(), *answered]
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(granted)
    return _Request(
        calling=str(request.calling_ae_title).strip(),
        called=str(request.called_ae_title).strip(),
        largest_pdu=request.maximum_length_received or 0,
        contexts=tuple(_accepted(results, proposed)),
        answer=answer.encode(),
    )


def _numbered(contexts: Sequence[PresentationContext]) -> list[PresentationContext]:
    """The contexts with the odd IDs that a requestor gives them (PS3.8 9.3.2.2)."""
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    return list(contexts)


def _request(
    endpoint: Endpoint, contexts: list[PresentationContext], roles: Sequence[SCP_SCU_RoleSelectionNegotiation]
) -> A_ASSOCIATE:
    request = A_ASSOCIATE()
    request.application_context_name = _APPLICATION_CONTEXT
    request.calling_ae_title, request.called_ae_title = endpoint.calling_ae_title, endpoint.ae_title
    request.presentation_context_definition_list = contexts
    request.user_information = [*_about_us(), *roles, *_user(endpoint)]
    return request


def _user(endpoint: Endpoint) -> tuple[UserIdentityNegotiation, ...]:
    """Who we are, where the site's settings say so (PS3.7 D.3.3.7): a name, or a name and a passcode."""
    identity = endpoint.user_identity
    if identity is None:
        return ()
    item = UserIdentityNegotiation()
    item.user_identity_type = 1 if identity.passcode_file is None else 2
    item.positive_response_requested = False  # who is not welcome is refused either way
    item.primary_field = identity.username.encode("utf-8")
    if identity.passcode_file is not None:
        try:
            item.secondary_field = identity.passcode_file.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise SettingsError(
                f"site {endpoint.site}: the passcode file {identity.passcode_file} cannot be read "
                f"({error.strerror or type(error).__name__})",
                fix="correct pacs.user_identity.passcode_file, or let this program's user read it",
            ) from error
    return (item,)


def _about_us() -> tuple[
    MaximumLengthNotification, ImplementationClassUIDNotification, ImplementationVersionNameNotification
]:
    length = MaximumLengthNotification()
    length.maximum_length_received = MAXIMUM_PDU_SIZE
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return length, class_uid, version


def _roles(associate: A_ASSOCIATE) -> dict[UID, tuple[bool | None, bool | None]]:
    """The roles of the requestor (SCU, SCP) by SOP class, where they are negotiated (PS3.7 D.3.3.4)."""
    return {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in associate.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid is not None
    }


def _accepted(results: Sequence[PresentationContext], proposed: Sequence[PresentationContext]) -> list[AcceptedContext]:
    """What was accepted with a transfer syntax that was proposed."""
    syntaxes = {context.context_id: context.transfer_syntax for context in proposed}
    return [
        AcceptedContext(context.context_id, str(context.abstract_syntax), context.transfer_syntax[0])
        for context in results
        if context.context_id is not None
        and context.result == _ACCEPTED
        and context.transfer_syntax[0] in syntaxes[context.context_id]
    ]


def _established(
    endpoint: Endpoint,
    connection: Connection,
    proposed: list[PresentationContext],
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
    content: bytes,
) -> Association:
    """The association that an A-ASSOCIATE-AC grants."""
    asked = {role.sop_class_uid: role for role in roles}
    for context in proposed:
        role = asked.get(context.abstract_syntax)
        if role is not None:
            context.scu_role, context.scp_role = bool(role.scu_role), bool(role.scp_role)
    try:
        pdu_received = A_ASSOCIATE_AC()
        pdu_received.decode(pdu(PduType.A_ASSOCIATE_AC, content))
        granted = pdu_received.to_primitive()
        largest = granted.maximum_length_received or 0
        results = negotiate_as_requestor(
            proposed,
            granted.presentation_context_definition_results_list,
            _roles(granted),
        )
    except _UNDECODABLE as error:
        connection.abort()
        raise _no_answer(endpoint) from error
    contexts = _accepted(results, proposed)
    if not contexts:
        connection.abort()
        raise Permanent(
            f"{endpoint.where} accepted none of the services that were asked for",
            fix=f"ask the PACS team to allow query and retrieve for the AE title {endpoint.calling_ae_title}",
        )
    return Association(connection, contexts, largest)


def _unreachable(endpoint: Endpoint) -> PipelineError:
    return Transient(
        f"{endpoint.where} cannot be reached",
        fix="check host and port, and that the network lets this machine through; the run may be retried",
    )


def _unanswered(endpoint: Endpoint, lost: Lost) -> PipelineError:
    """Why no answer to the association request came."""
    if isinstance(lost, SpeaksTls):
        return Permanent(
            f"{endpoint.where} speaks TLS on this port, and the site's settings do not",
            fix="add pacs.tls to the site, or correct pacs.port to the port without TLS",
        )
    if isinstance(lost.__cause__, ssl.SSLError):  # TLS 1.3 refuses our certificate only now
        return tls.failure(endpoint, lost.__cause__)
    return _no_answer(endpoint)


def _no_answer(endpoint: Endpoint) -> PipelineError:
    also = ", with TLS or without as the settings say" if endpoint.tls is None else " and trusts pacs.tls.certificate"
    return Transient(
        f"{endpoint.where} took the connection but did not answer the association request",
        fix=f"check that a DICOM service listens on this port{also}; the run may be retried",
    )


def _rejected(endpoint: Endpoint, reason: tuple[int, int, int]) -> PipelineError:
    result, source, diagnostic = reason
    if (source, diagnostic) == (1, 3):
        return Permanent(
            f"{endpoint.where} does not know the calling AE title {endpoint.calling_ae_title}",
            fix=f"ask the PACS team to register AE title {endpoint.calling_ae_title} with this machine's address, "
            "or correct the site's ae_title",
        )
    if (source, diagnostic) == (1, 7):
        return Permanent(
            f"{endpoint.where} says that it is not called {endpoint.ae_title}",
            fix="correct the site's pacs.ae_title, or ask the PACS team for the AE title to call",
        )
    if result == 2 or source == 3:
        return Transient(
            f"{endpoint.where} has no association free",
            fix="the run may be retried; if it happens often, lower the site's associations",
        )
    return Permanent(
        f"{endpoint.where} refused the association (source {source}, reason {diagnostic})",
        fix=f"ask the PACS team whether AE title {endpoint.calling_ae_title} is registered and allowed to query "
        "and retrieve" + ("" if endpoint.user_identity is None else ", and whether the PACS knows pacs.user_identity"),
    )

"""PACS that do as a script says, message by message, and TCP servers that are no PACS at all."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import ThreadedAssociationServer

from pacs_pipeline.pacs.client import STUDY_ROOT_FIND
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.retrieve import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from pacs_pipeline_tests.unit.pacs.samples import EXPLICIT, PRIVATE_CLASS, Sample

SITE = "north"
PACS_TITLE = "PACS"
OUR_TITLE = "PIPELINE"
RECEIVER_TITLE = "RECEIVER"


def tune(event: evt.Event) -> None:
    """Small messages leave at once, and a socket is closed that pynetdicom forgets when the other side has reset it."""
    wrapped = event.assoc.dul.socket
    wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    weakref.finalize(wrapped, wrapped.socket.close)


def hang_up(association: Association) -> None:
    """Break an association off without a word."""
    wrapped = association.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        with contextlib.suppress(OSError):  # the other side was faster
            wrapped.socket.shutdown(socket.SHUT_RDWR)


@dataclass
class Talk:
    """One request that a scripted PACS has got, and what it can do about it."""

    association: Association
    context_id: int
    request: Any  # the pynetdicom primitive
    sender: Association | None = None  # where C-STOREs go when not over the same association

    @property
    def identifier(self) -> Dataset:
        syntax = self.association._accepted_cx[self.context_id].transfer_syntax[0]
        return decode(self.request.Identifier, syntax.is_implicit_VR, syntax.is_little_endian)

    @property
    def uids(self) -> list[str]:
        """The SOP Instance UIDs that are asked for; empty at SERIES level."""
        value = self.identifier.get("SOPInstanceUID", [])
        return [str(value)] if isinstance(value, str) else [str(uid) for uid in value]

    def answer(self, status: int, identifier: Dataset | bytes | None = None, *, completed: int | None = None) -> None:
        """Send a response of the request's own kind."""
        response = type(self.request)()
        response.MessageIDBeingRespondedTo = self.request.MessageID
        response.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        response.Status = status
        if completed is not None:
            response.NumberOfCompletedSuboperations = completed
        if identifier is not None:
            syntax = self.association._accepted_cx[self.context_id].transfer_syntax[0]
            encoded = (
                identifier
                if isinstance(identifier, bytes)
                else encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian)
            )
            assert encoded is not None
            response.Identifier = io.BytesIO(encoded)
        self.association.dimse.send_msg(response, self.context_id)

    def failed(self, status: int, samples: Sequence[Sample], *, completed: int | None = None) -> None:
        """The final response with a Failed SOP Instance UID List."""
        identifier = Dataset()
        identifier.FailedSOPInstanceUIDList = [sample.uid for sample in samples]
        self.answer(status, identifier, completed=completed)

    def store(self, sample: Sample, *, uid: str | None = None) -> int | None:
        """Send one instance as its bytes are; the status we were answered, None when the association is lost."""
        association = self.sender or self.association
        context_id = next(
            (
                number
                for number, context in association._accepted_cx.items()
                if context.abstract_syntax == sample.sop_class and context.transfer_syntax[0] == sample.syntax
            ),
            None,
        )
        if context_id is None:
            return 0x0122
        request = C_STORE()
        request.MessageID = 7
        request.AffectedSOPClassUID = sample.sop_class
        request.AffectedSOPInstanceUID = sample.uid if uid is None else uid
        request.Priority = 0
        request.DataSet = io.BytesIO(sample.data)
        if self.sender is not None:
            request.MoveOriginatorApplicationEntityTitle = OUR_TITLE
            request.MoveOriginatorMessageID = self.request.MessageID
        if self.sender is not None:
            self.sender._reactor_checkpoint.clear()
        association.dimse.send_msg(request, context_id)
        _, response = association.dimse.get_msg(block=True)
        if self.sender is not None:
            self.sender._reactor_checkpoint.set()
        return None if response is None else response.Status

    def die(self) -> None:
        """Be gone, as a PACS that is killed is gone."""
        hang_up(self.association)


Script = Callable[[Talk], None]


@contextlib.contextmanager
def scripted(
    *,
    find: Script | None = None,
    get: Script | None = None,
    move: Script | None = None,
    timeout: float = 3.0,
    tls: ssl.SSLContext | None = None,
    requested: Callable[[A_ASSOCIATE], object] | None = None,
    also: Sequence[str] = (),
) -> Iterator[Endpoint]:
    """A PACS on loopback that plays a script for each kind of request; ``requested`` gets every association request,
    ``also`` are storage classes it has besides those in pynetdicom's list.
    """
    scripts = {C_FIND: find, C_GET: get, C_MOVE: move}

    def established(event: evt.Event) -> None:
        association = event.assoc
        ordinary = association._serve_request

        def serve(message: Any, context_id: int) -> None:
            script = scripts.get(type(message))
            if script is None:
                ordinary(message, context_id)
            else:
                script(Talk(association, context_id, message))

        association._serve_request = serve  # type: ignore[method-assign]

    def asked(event: evt.Event) -> None:
        if requested is not None:
            requested(event.assoc.requestor.primitive)

    ae = AE(ae_title=PACS_TITLE)
    ae.require_called_aet = True
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 5
    ae.add_supported_context("1.2.840.10008.1.1")
    for uid, script in ((STUDY_ROOT_FIND, find), (STUDY_ROOT_GET, get), (STUDY_ROOT_MOVE, move)):
        if script is not None:
            ae.add_supported_context(uid, EXPLICIT)
    unlisted = [build_context(sop_class) for sop_class in (PRIVATE_CLASS, *also)]
    for context in (*AllStoragePresentationContexts, *unlisted):
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True)
    server = ae.make_server(
        ("127.0.0.1", 0),
        evt_handlers=[(evt.EVT_ESTABLISHED, established), (evt.EVT_CONN_OPEN, tune), (evt.EVT_REQUESTED, asked)],
        ssl_context=tls,
        server_class=ThreadedAssociationServer,
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Endpoint(SITE, "127.0.0.1", server.server_address[1], PACS_TITLE, OUR_TITLE, timeout)
    finally:
        for association in server.active_associations:
            hang_up(association)
        BaseServer.shutdown(server)
        server.server_close()
        thread.join()


def finds(*answers: Dataset, final: int = 0x0000, pending: int = 0xFF00) -> Script:
    """A script that gives the same answers to every C-FIND."""

    def script(talk: Talk) -> None:
        for answer in answers:
            talk.answer(pending, answer)
        talk.answer(final)

    return script


@contextlib.contextmanager
def sending(talk: Talk, port: int, *samples: Sample, called: str = RECEIVER_TITLE) -> Iterator[Talk]:
    """The same talk with an association to our receiver, as a PACS opens one for a C-MOVE."""
    ae = AE(ae_title=PACS_TITLE)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 5
    pairs = sorted({(sample.sop_class, sample.syntax) for sample in samples})
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    handlers = [(evt.EVT_CONN_OPEN, tune)]
    association = ae.associate("127.0.0.1", port, contexts=contexts, ae_title=called, evt_handlers=handlers)
    assert association.is_established
    try:
        yield Talk(talk.association, talk.context_id, talk.request, association)
    finally:
        association.release()


@contextlib.contextmanager
def listening(behave: Callable[[socket.socket], None], *, timeout: float = 0.5) -> Iterator[Endpoint]:
    """A TCP server that is no DICOM: ``behave`` gets each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()
        connections: list[socket.socket] = []

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    connections.append(connection)
                    connection.settimeout(5)
                    with contextlib.suppress(OSError):
                        behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Endpoint(SITE, "127.0.0.1", server.getsockname()[1], PACS_TITLE, OUR_TITLE, timeout)
        finally:
            stop.set()
            thread.join()
            for connection in connections:
                connection.close()


def rejecting(result: int, source: int, reason: int) -> Callable[[socket.socket], None]:
    """Answer an association request with an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(bytes((0x03, 0, 0, 0, 0, 4, 0, result, source, reason)))
        connection.recv(1)

    return behave

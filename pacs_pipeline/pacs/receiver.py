"""The Storage SCP that a C-MOVE sends to: open while a site is harvested, and only for what was asked for."""

from __future__ import annotations

import errno
import threading
import time
from types import TracebackType
from typing import cast

from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE, SOPClassCommonExtendedNegotiation
from pynetdicom.transport import ThreadedAssociationServer

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.association import MAXIMUM_PDU_SIZE, Watch, hang_up, tune
from pacs_pipeline.pacs.contexts import COMPRESSED, TRANSFER_SYNTAXES, UNCOMPRESSED, is_storage
from pacs_pipeline.pacs.landing import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    NOT_AUTHORISED,
    Delivery,
    Landing,
)

_VERIFICATION = "1.2.840.10008.1.1"
_STORAGE_SERVICE = "1.2.840.10008.4.2"  # the Service Class UID, PS3.4 B
_QUIET_SECONDS = 0.5


class StorageReceiver:
    """Listens on the site's receiver port from ``__enter__`` to ``__exit__``.

    It answers only to its own AE title and takes instances only while a request waits for them. All storage
    classes are accepted, private and unknown ones too, in any transfer syntax.
    """

    def __init__(
        self,
        ae_title: str,
        port: int,
        *,
        bind: str = "0.0.0.0",  # noqa: S104 - the PACS must reach it
        timeout: float = 60.0,
        maximum_associations: int = 10,
    ) -> None:
        self.ae_title = ae_title
        self.port = port
        self.watch = Watch()
        self._bind = bind
        self._timeout = timeout
        self._lock = threading.Lock()
        self._landing: Landing | None = None
        self._cause: tuple[str, int] = ("", 0)
        self._compressed_first = False
        self._handling = 0
        self._server: ThreadedAssociationServer | None = None
        self._ae = AE(ae_title=ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._ae.maximum_pdu_size = MAXIMUM_PDU_SIZE
        self._ae.maximum_associations = maximum_associations
        self._ae.require_called_aet = True
        self._ae.acse_timeout = self._ae.dimse_timeout = self._ae.network_timeout = timeout
        self._ae.add_supported_context(_VERIFICATION)

    def __enter__(self) -> StorageReceiver:
        try:
            self._server = self._ae.start_server(
                (self._bind, self.port),
                block=False,
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, lambda event: tune(event, self._timeout)),
                    (evt.EVT_REQUESTED, self._accept_as_proposed),
                    (evt.EVT_SOP_COMMON, _serve_as_storage),
                    (evt.EVT_DATA_RECV, lambda _: self.watch.touch()),
                    (evt.EVT_C_STORE, self._store),
                ],
            )
        except OSError as error:
            raise self._cannot_listen(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            for association in server.active_associations:
                hang_up(association)
            server.shutdown()

    def expect(self, landing: Landing, cause: tuple[str, int], *, compressed_first: bool) -> None:
        """Take what the C-MOVE of this AE title and Message ID brings, until ``refuse_all``.

        A sender that offers several transfer syntaxes in one context leaves the choice to us without telling
        how the instances are stored; ``compressed_first`` is which to choose.
        """
        with self._lock:
            self._landing, self._cause = landing, cause
            self._compressed_first = compressed_first
        self.watch.touch()

    def refuse_all(self) -> None:
        """Take nothing any more."""
        with self._lock:
            self._landing = None

    def settle(self, landing: Landing, deliveries: int | None, *, failed: bool) -> None:
        """Wait for what is still on its way after the C-MOVE's final response.

        ``deliveries`` is how many the PACS says it has completed, None when it does not say. Most send first
        and answer then; some answer at once and send afterwards.
        """
        while landing.open:
            with self._lock:
                handling = self._handling
            outstanding = not failed if deliveries is None else landing.deliveries < deliveries
            if not handling:
                if failed and not outstanding:
                    return
                if self.watch.silence >= (self._patience() if outstanding else _QUIET_SECONDS):
                    return
            elif self.watch.silence >= self._timeout:
                return
            time.sleep(0.01)

    def _patience(self) -> float:
        connected = self._server is not None and bool(self._server.active_associations)
        return min(self._timeout, 10.0 if connected else 4 * _QUIET_SECONDS)

    def _accept_as_proposed(self, event: evt.Event) -> None:
        """Support, for this association, every storage class that is proposed, private and unlisted ones too."""
        order = (*COMPRESSED, *UNCOMPRESSED) if self._compressed_first else TRANSFER_SYNTAXES
        proposed = cast(A_ASSOCIATE, event.assoc.requestor.primitive).presentation_context_definition_list
        classes = {str(context.abstract_syntax) for context in proposed}
        contexts = [build_context(sop_class, list(order)) for sop_class in classes if is_storage(sop_class)]
        event.assoc.acceptor.supported_contexts = [build_context(_VERIFICATION), *contexts]

    def _store(self, event: evt.Event) -> int:
        with self._lock:
            landing, cause = self._landing, self._cause
            if landing is None:
                return NOT_AUTHORISED
            self._handling += 1
        try:
            return landing.receive(delivery(event, solicited=_cause_of(event) == cause))
        finally:
            self.watch.touch()
            with self._lock:
                self._handling -= 1

    def _cannot_listen(self, error: OSError) -> PipelineError:
        if error.errno == errno.EADDRINUSE:
            return Transient(
                f"the receiver port {self.port} is in use",
                fix="another harvest of this site is running, or another program has the port: see `ss -ltnp`",
            )
        reason = error.strerror or type(error).__name__
        return Permanent(
            f"the receiver cannot listen on {self._bind}:{self.port} ({reason})",
            fix="correct the site's receiver.bind and receiver.port",
        )


def delivery(event: evt.Event, *, solicited: bool) -> Delivery:
    """A C-STORE event of pynetdicom as a delivery; the data set stays encoded."""
    request = cast(C_STORE, event.request)
    data_set = request.DataSet
    return Delivery(
        SOPClassUID=str(request.AffectedSOPClassUID or ""),
        SOPInstanceUID=str(request.AffectedSOPInstanceUID or ""),
        TransferSyntaxUID=str(event.context.transfer_syntax),
        data=data_set.getvalue() if data_set is not None else b"",
        solicited=solicited,
    )


def _cause_of(event: evt.Event) -> tuple[str, int]:
    """The C-MOVE that a C-STORE says it belongs to (PS3.7 9.1.1.1)."""
    request = cast(C_STORE, event.request)
    title = request.MoveOriginatorApplicationEntityTitle
    return (str(title).strip() if title else "", request.MoveOriginatorMessageID or 0)


def _serve_as_storage(event: evt.Event) -> dict[str, SOPClassCommonExtendedNegotiation]:
    """Route classes that pynetdicom does not list to its Storage service."""
    routes: dict[str, SOPClassCommonExtendedNegotiation] = {}
    for context in event.assoc.acceptor.supported_contexts:
        if context.abstract_syntax is not None and context.abstract_syntax != _VERIFICATION:
            item = SOPClassCommonExtendedNegotiation()
            item.sop_class_uid = context.abstract_syntax
            item.service_class_uid = _STORAGE_SERVICE
            routes[context.abstract_syntax] = item
    return routes

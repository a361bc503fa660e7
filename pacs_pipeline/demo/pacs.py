"""The embedded PACS: a Query/Retrieve SCP on loopback that serves a folder over C-FIND, C-GET and C-MOVE."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
from pydicom import DataElement
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from pacs_pipeline.demo.checkpoint import pause_reliably
from pacs_pipeline.demo.index import ATTRIBUTES, COMPUTED, LEVELS, UNIQUE_KEYS, Index, StoredFile
from pacs_pipeline.errors import Permanent, Transient

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1."
_SERVICES = (
    Verification,
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
_STORAGE_CLASSES = tuple(str(context.abstract_syntax) for context in AllStoragePresentationContexts)
_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_MAXIMUM_PDU = 128 * 1024
_MAXIMUM_CONTEXTS = 128

SUCCESS, PENDING, CANCEL = 0x0000, 0xFF00, 0xFE00
WRONG_IDENTIFIER = 0xA900  # "identifier does not match SOP class", PS3.4 C.4.1.1.4

_Response = tuple[int, Dataset | None]


class EmbeddedPacs:
    """One archive with one AE title, on loopback, serving the DICOM files below ``folder``.

    ``destinations`` are the AE titles a C-MOVE may name, with host and port. Port 0 takes a free one; ``port``
    then tells which. Instances travel in the transfer syntax they are stored in; a plain one may change between
    implicit and explicit VR. What the peer did not accept is a failed sub-operation, listed as such.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str,
        port: int = 0,
        destinations: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.port = port
        self.destinations = dict(destinations or {})
        self.index = Index(folder)
        self._ae: AE | None = None

    def start(self) -> None:
        """Read new headers, then listen. Raises Permanent without the folder, Transient when the port is taken."""
        if self._ae is not None:
            return
        self.refresh()
        ae = AE(ae_title=self.ae_title)
        ae.require_called_aet = True
        ae.maximum_associations = 32
        ae.maximum_pdu_size = _MAXIMUM_PDU
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, _no_delay),
            (evt.EVT_C_ECHO, _echo),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_C_MOVE, self._move),
        ]
        try:
            server = ae.start_server(
                (LOOPBACK, self.port), block=False, evt_handlers=handlers, contexts=self._contexts()
            )
        except OSError as error:
            raise Transient(
                f"port {self.port} of the embedded PACS {self.ae_title} is not free ({error.strerror})",
                fix="stop what listens there or choose another port",
            ) from error
        if server is not None and server.socket is not None:
            self.port = server.socket.getsockname()[1]
        self._ae = ae

    def stop(self) -> None:
        """Abort what is under way and close the port."""
        if self._ae is not None:
            self._ae.shutdown()
            self._ae = None

    def refresh(self) -> int:
        """Notice files that were added, changed or removed; returns how many headers were read."""
        if not self.folder.is_dir():
            raise Permanent(f"the folder {self.folder} of the PACS {self.ae_title} does not exist", fix="generate it")
        return self.index.refresh()

    def __enter__(self) -> EmbeddedPacs:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _contexts(self) -> list[PresentationContext]:
        contexts = [build_context(service) for service in _SERVICES]
        stored = self.index.stored_syntaxes()
        for sop_class in sorted({*_STORAGE_CLASSES, *stored}):
            # the acceptor's order decides, so what is really stored comes first
            preferred = stored.get(sop_class, [])
            context = build_context(
                sop_class, list(dict.fromkeys([*preferred, *_UNCOMPRESSED, *ALL_TRANSFER_SYNTAXES]))
            )
            context.scu_role, context.scp_role = False, True  # of the peer: in a C-GET it receives
            contexts.append(context)
        return contexts

    def _find(self, event: evt.Event) -> Iterator[_Response]:
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        criteria = _criteria(identifier)
        if not _is_valid(str(event.request.AffectedSOPClassUID), level, criteria):
            yield WRONG_IDENTIFIER, None
            return
        reachable = LEVELS[: LEVELS.index(level) + 1]
        wanted = [keyword for keyword in criteria if _level_of(keyword) in reachable]
        unique = [UNIQUE_KEYS[name] for name in reachable if name != "PATIENT" or "PatientID" in wanted]
        wanted = list(dict.fromkeys([*unique, *wanted]))
        matching = {keyword: values for keyword, values in criteria.items() if _level_of(keyword) in reachable}
        for match in self.index.find(level, matching, wanted):
            if event.is_cancelled:
                yield CANCEL, None
                return
            yield PENDING, self._response(level, match)
        yield SUCCESS, None

    def _response(self, level: str, match: dict[str, str]) -> Dataset:
        ds = Dataset()
        charset = match.pop("SpecificCharacterSet")
        if charset:
            ds.SpecificCharacterSet = charset.split("\\")
        ds.QueryRetrieveLevel = level
        ds.RetrieveAETitle = self.ae_title
        for keyword, value in match.items():
            several = sorted(value.split(",")) if COMPUTED.get(keyword, ("", ""))[1].startswith("group") else value
            # values are given out as they were stored, odd ones too
            ds.add(DataElement(keyword, dictionary_VR(keyword), several, validation_mode=IGNORE))
        return ds

    def _get(self, event: evt.Event) -> Iterator[int | _Response]:
        files = self._requested(event)
        if files is None:
            yield 1
            yield WRONG_IDENTIFIER, None
            return
        yield len(files)
        yield from _sub_operations(event, files)

    def _move(self, event: evt.Event) -> Iterator[Any]:
        destination = self.destinations.get(str(event.move_destination).strip())
        if destination is None:
            yield None, None
            return
        files = self._requested(event)
        if files is None:
            yield (*destination, {})
            yield 1
            yield WRONG_IDENTIFIER, None
            return
        # one context for each syntax, so that the receiver can take some and refuse others
        pairs = dict.fromkeys((file.SOPClassUID, file.TransferSyntaxUID) for file in files)
        pairs |= dict.fromkeys((sop_class, syntax) for sop_class, _ in list(pairs) for syntax in _UNCOMPRESSED)
        contexts = [build_context(*pair) for pair in list(pairs)[:_MAXIMUM_CONTEXTS]]
        yield (*destination, {"contexts": contexts, "evt_handlers": [(evt.EVT_CONN_OPEN, _opened)]})
        yield len(files)
        yield from _sub_operations(event, files)

    def _requested(self, event: evt.Event) -> list[StoredFile] | None:
        """The files a retrieve asks for; None when its identifier is not one of the model."""
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        criteria = _criteria(identifier)
        if level not in LEVELS or not any(criteria.get(UNIQUE_KEYS[level], [])):
            return None
        return self.index.files({key: criteria[key] for key in UNIQUE_KEYS.values() if key in criteria})


def _sub_operations(event: evt.Event, files: list[StoredFile]) -> Iterator[_Response]:
    for file in files:
        if event.is_cancelled:
            yield CANCEL, None
            return
        ds = Dataset()
        try:
            ds = pydicom.dcmread(file.path)
        except (OSError, InvalidDicomError):
            logger.warning("not sent, the file cannot be read: %s", file.path)
            # nothing of this can be sent, which makes it a failed sub-operation with this UID
            ds.SOPInstanceUID = file.SOPInstanceUID
        yield PENDING, ds


def _criteria(identifier: Dataset) -> dict[str, list[str]]:
    """The keys of an identifier with their values as text, in its order."""
    criteria = {}
    for element in identifier:
        value = element.value
        if element.VR != "SQ" and element.keyword:
            values = value if isinstance(value, MultiValue | list) else [value]
            criteria[element.keyword] = ["" if v is None else str(v) for v in values]
    return criteria


def _is_valid(model: str, level: str, criteria: Mapping[str, list[str]]) -> bool:
    """Whether the query names its level and, for all levels above, the one entity (PS3.4 C.4.1.2.1)."""
    root = LEVELS if model.startswith(_PATIENT_ROOT) else LEVELS[1:]
    if level not in root:
        return False
    above = root[: root.index(level)]
    return all(any(criteria.get(UNIQUE_KEYS[name], [])) for name in above)


def _level_of(keyword: str) -> str:
    return ATTRIBUTES.get(keyword) or COMPUTED.get(keyword, ("",))[0]


def _echo(_: evt.Event) -> int:
    return SUCCESS


def _opened(event: evt.Event) -> None:
    """Set up the association over which a C-MOVE sends."""
    pause_reliably(event.assoc)
    _no_delay(event)


def _no_delay(event: evt.Event) -> None:
    """Send small messages at once: with Nagle's algorithm each costs about 40 ms on loopback."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

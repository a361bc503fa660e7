"""Memory while one very large object arrives, in a process that does nothing else; the sender makes its bytes up."""

from __future__ import annotations

import struct
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from pydicom.uid import UID
from pynetdicom import build_context

from benchmarks import servers
from pacs_pipeline.demo.ports import LOOPBACK
from pacs_pipeline.errors import Transient
from pacs_pipeline.pacs import Endpoint, StorageReceiver
from pacs_pipeline.pacs.association import Association
from pacs_pipeline.pacs.command import CommandField, encode
from pacs_pipeline.pacs.connection import MAXIMUM_PDU_SIZE, PduType, pdu
from pacs_pipeline.pacs.landing import Landing
from pacs_pipeline.pacs.negotiation import connect
from pacs_pipeline.records import SeriesRef

_TITLE, _CT, _EXPLICIT = "BENCH_LARGE", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
_SERIES = SeriesRef("2.25.1", "2.25.2", "CT", 1)
_INSTANCE = "2.25.3"
_PIECE = MAXIMUM_PDU_SIZE - 6


def measure(folder: Path, gigabytes: float) -> dict[str, float]:
    """The largest resident set of the receiving process in MiB, before the object came and until it was durable."""
    port = servers.free_ports(folder, "large")["large"]
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_receive, args=(theirs, port, folder / "large"))
    process.start()
    before = float(ours.recv())
    _send(port, int(gigabytes * 2**30))
    ours.send("over")
    while_it_came, landed = ours.recv()
    process.join()
    if not landed:
        raise Transient("the very large object did not land", fix="run again")
    return {"before": before, "while_it_came": float(while_it_came)}


def _receive(pipe: Pipe, port: int, into: Path) -> None:
    landing = Landing(_SERIES, {_INSTANCE}, into)
    with StorageReceiver(_TITLE, port, bind=LOOPBACK) as receiver:
        receiver.expect(landing, ("", 0), compressed_first=False)
        pipe.send(_peak())
        pipe.recv()
    pipe.send((_peak(), len(landing.landed) == 1))
    for instance in landing.landed.values():
        instance.path.unlink()


def _peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _send(port: int, size: int) -> None:
    endpoint = Endpoint("bench", LOOPBACK, port, _TITLE, "BENCH_SENDER", 600)
    association = connect(endpoint, [build_context(_CT, UID(_EXPLICIT))])
    command = {
        "CommandField": CommandField.C_STORE_RQ,
        "CommandDataSetType": 0x0000,
        "MessageID": 1,
        "AffectedSOPClassUID": _CT,
        "AffectedSOPInstanceUID": _INSTANCE,
        "Priority": 0,
    }
    head = b"".join(
        (
            _uid(0x0008, 0x0016, _CT),
            _uid(0x0008, 0x0018, _INSTANCE),
            _uid(0x0020, 0x000D, _SERIES.StudyInstanceUID),
            _uid(0x0020, 0x000E, _SERIES.SeriesInstanceUID),
            struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size),
        )
    )
    _fragment(association, encode(command), 0b11)
    _fragment(association, head, 0)
    piece = bytes(_PIECE)
    for _ in range(size // _PIECE):
        _fragment(association, piece, 0)
    _fragment(association, bytes(size % _PIECE), 0b10)
    response = association.receive()
    if response is None or response.status:
        raise Transient("the very large object was refused", fix="run again")
    association.release()


def _fragment(association: Association, content: bytes, control: int) -> None:
    head = (len(content) + 2).to_bytes(4, "big") + bytes((1, control))
    association._connection.send(pdu(PduType.P_DATA_TF, head + content))


def _uid(group: int, element: int, value: str) -> bytes:
    content = value.encode("ascii")
    content += b"\0" * (len(content) % 2)
    return struct.pack("<HH2sH", group, element, b"UI", len(content)) + content

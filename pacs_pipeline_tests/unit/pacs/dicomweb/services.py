"""HTTP servers that do as a script says, byte by byte, and a small DICOMweb service to deviate from."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pacs_pipeline.pacs.dicomweb import Service
from pacs_pipeline.pacs.landing import Delivery, _file_meta
from pacs_pipeline_tests.unit.pacs.samples import Sample

SITE = "north"
ROOT = "/dicom-web"
BOUNDARY = "a.Boundary_of-parts"
STUDY_DATE = "20240309"
JSON = "application/dicom+json"


@dataclass(frozen=True)
class Request:
    """One request that a server has got."""

    target: str
    headers: dict[str, str]  # names in lower case

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def level(self) -> str:
        """What the path ends with."""
        parts = self.path.removeprefix(ROOT).strip("/").split("/")
        names = ("studies", "study", "series", "one series", "instances", "instance")
        return names[len(parts) - 1]


@dataclass
class Reply:
    """What a server answers. ``length`` is what Content-Length says, ``cut`` after how many bytes it hangs up."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = "length"  # or chunked, or close
    length: int | None = None
    cut: int | None = None
    stay: bool = False  # open although the answer is not complete
    reset: bool = False  # the connection, when it hangs up

    def wire(self) -> bytes:
        headers = dict(self.headers)
        body = self.body
        if self.framing == "length":
            headers.setdefault("Content-Length", str(len(body) if self.length is None else self.length))
        elif self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
            body = b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n\r\n"
        else:
            headers["Connection"] = "close"
        head = f"HTTP/1.1 {self.status} Whatever\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        return head.encode() + (body if self.cut is None else body[: self.cut])


Script = Callable[[Request], Reply | None]


class Server:
    """A server that answers by ``script``; None hangs up without a word."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Request] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while outer._answer(self):
                        pass

        class Tcp(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                connection.settimeout(10)
                if tls is not None:
                    try:
                        connection = tls.wrap_socket(connection, server_side=True)
                    except OSError:
                        connection.close()
                        raise
                return connection, address

            def handle_error(self, request: object, client_address: object) -> None:
                """The other side went away."""

        self._tcp = Tcp(("127.0.0.1", 0), Handler)
        self.port = self._tcp.server_address[1]
        self.scheme = "https" if tls else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{ROOT}"

    def service(self, **options: Any) -> Service:
        return Service(SITE, self.url, **{"timeout": 5.0, **options})

    def targets(self, level: str) -> list[Request]:
        return [request for request in self.requests if request.level == level]

    def _answer(self, handler: socketserver.StreamRequestHandler) -> bool:
        line = handler.rfile.readline()
        if not line:
            return False
        headers = {}
        while (header := handler.rfile.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        request = Request(line.split()[1].decode(), headers)
        self.requests.append(request)
        reply = self.script(request)
        if reply is None:
            return False
        handler.wfile.write(reply.wire())
        handler.wfile.flush()
        if reply.stay:
            with contextlib.suppress(OSError):
                handler.connection.recv(1)
        if reply.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return reply.cut is None and reply.framing != "close" and not reply.reset

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tcp.shutdown()
        self._tcp.server_close()
        self._thread.join()


def part10(sample: Sample, **meta: str) -> bytes:
    """A sample as a file. ``meta`` replaces what the File Meta Information says."""
    values = {"SOPClassUID": sample.sop_class, "SOPInstanceUID": sample.uid, "TransferSyntaxUID": sample.syntax} | meta
    return b"\0" * 128 + b"DICM" + _file_meta(Delivery(**values, solicited=True)) + sample.data


def multipart(files: Iterable[bytes], boundary: str = BOUNDARY, *, closing: bool = True, header: str = "") -> bytes:
    """The body of a multipart message."""
    head = header or "Content-Type: application/dicom\r\n"
    parts = [f"\r\n--{boundary}\r\n{head}\r\n".encode() + file for file in files]
    return b"".join(parts)[2:] + (f"\r\n--{boundary}--\r\n".encode() if closing else b"")


def related(files: Iterable[bytes], **options: Any) -> Reply:
    """A WADO-RS answer."""
    reply = {key: options.pop(key) for key in tuple(options) if key in Reply.__dataclass_fields__}
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'}
    return Reply(multipart(files, **options), headers=headers, **reply)


def json_reply(answers: Sequence[object], **options: Any) -> Reply:
    """A QIDO-RS answer."""
    headers = {"Content-Type": JSON} | options.pop("headers", {})
    return Reply(json.dumps(answers).encode(), headers=headers, **options)


def attributes(**values: Any) -> dict[str, Any]:
    """One answer, by keyword."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    found: dict[str, Any] = {}
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        found[f"{tag:08X}"] = {"vr": dictionary_VR(tag), "Value": value if isinstance(value, list) else [value]}
    return found


def study_answer(uid: str, count: int = 1, **more: Any) -> dict[str, Any]:
    return attributes(
        StudyInstanceUID=uid,
        StudyDate=STUDY_DATE,
        StudyTime="101500",
        ModalitiesInStudy=["CT"],
        NumberOfStudyRelatedInstances=count,
        **more,
    )


@dataclass
class Archive:
    """A service that does as PS3.18 says, for a few samples."""

    samples: Sequence[Sample]

    def __call__(self, request: Request) -> Reply:
        answers = {
            "studies": self._studies,
            "series": self._series,
            "instances": self._instances,
        }
        if request.level in answers:
            return self._page(answers[request.level](request), request)
        wanted = [
            s
            for s in self.samples
            if f"/series/{s.series.SeriesInstanceUID}" in request.path
            and (request.level == "one series" or request.path.endswith(f"/{s.uid}"))
        ]
        return related([part10(s) for s in wanted]) if wanted else Reply(status=404)

    def _page(self, answers: list[dict[str, Any]], request: Request) -> Reply:
        offset, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "1000000"))
        page = answers[offset : offset + limit]
        return json_reply(page) if page else Reply(status=204)

    def _studies(self, request: Request) -> list[dict[str, Any]]:
        if request.query.get("StudyDate", STUDY_DATE) != STUDY_DATE or "StudyInstanceUID" in request.query:
            return []
        uids = sorted({s.series.StudyInstanceUID for s in self.samples})
        return [study_answer(uid, sum(1 for s in self.samples if s.series.StudyInstanceUID == uid)) for uid in uids]

    def _series(self, request: Request) -> list[dict[str, Any]]:
        found = {s.series for s in self.samples if f"/{s.series.StudyInstanceUID}/" in request.path}
        return [
            attributes(
                StudyInstanceUID=s.StudyInstanceUID,
                SeriesInstanceUID=s.SeriesInstanceUID,
                Modality=s.Modality,
                NumberOfSeriesRelatedInstances=sum(1 for sample in self.samples if sample.series == s),
            )
            for s in sorted(found, key=lambda s: s.SeriesInstanceUID)
        ]

    def _instances(self, request: Request) -> list[dict[str, Any]]:
        return [
            attributes(
                StudyInstanceUID=s.series.StudyInstanceUID,
                SeriesInstanceUID=s.series.SeriesInstanceUID,
                SOPInstanceUID=s.uid,
                SOPClassUID=s.sop_class,
            )
            for s in self.samples
            if f"/{s.series.SeriesInstanceUID}/" in request.path
        ]


def leftovers(folder: Path) -> list[str]:
    """What lies in the landing folder that is no instance."""
    return [path.name for path in folder.iterdir() if path.suffix != ".dcm"] if folder.exists() else []


@contextlib.contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server(script, tls) as server:
        yield server

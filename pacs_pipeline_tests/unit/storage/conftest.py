"""A scripted S3 server on loopback: enough of the protocol to store objects and to misbehave on demand."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from pacs_pipeline.settings import BucketSettings
from pacs_pipeline.storage import Bucket


@dataclass
class Stored:
    body: bytes
    headers: dict[str, str]
    etag: str


@dataclass
class ScriptedS3:
    """What the server holds and how it behaves; tests change it while it runs."""

    port: int = 0
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    upload_headers: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=lambda: {"research"})
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: list[tuple[int, str]] = field(default_factory=list)  # answers for the next requests
    always: tuple[int, str] | None = None  # the answer to everything
    refuse_puts: dict[str, tuple[int, str]] = field(default_factory=dict)  # by end of key
    damage_on_arrival: bool = False
    opaque_etags: bool = False
    encrypted: bool = False  # as with KMS: the ETag is MD5-shaped but of the ciphertext
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, part: str = "") -> int:
        return sum(1 for m, target in self.requests if m == method and part in target)

    def settings(self, **changes: object) -> BucketSettings:
        return BucketSettings(name="research", endpoint_url=f"http://127.0.0.1:{self.port}", **changes)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ScriptedS3

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode())

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state, target = self.state, urlsplit(self.path)
        bucket, _, key = unquote(target.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
        with state.lock:
            state.requests.append((self.command, self.path))
            refused = state.refuse.pop(0) if state.refuse else state.always
        if refused:
            return self._error(*refused)
        if bucket not in state.buckets:
            if self.command == "PUT" and not key:
                state.buckets.add(bucket)
                return self._answer(200)
            return self._error(404, "NoSuchBucket")
        if not key:
            return self._of_bucket(query)
        return getattr(self, f"_{self.command.lower()}")(key, query, body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle

    def _of_bucket(self, query: dict[str, str]) -> None:
        prefix = query.get("prefix", "")
        if "uploads" in query:
            items = "".join(
                f"<Upload><Key>{key}</Key><UploadId>{upload}</UploadId></Upload>"
                for upload, (key, _) in self.state.upload_headers.items()
                if key.startswith(prefix)
            )
            return self._answer(200, f"<ListMultipartUploadsResult>{items}</ListMultipartUploadsResult>".encode())
        found = sorted(
            k for k in self.state.objects if k.startswith(prefix) and k > query.get("continuation-token", "")
        )
        page = found[:1000]
        more = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if len(found) > len(page) else ""
        items = "".join(
            f"<Contents><Key>{k}</Key><Size>{len(self.state.objects[k].body)}</Size></Contents>" for k in page
        )
        text = f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{items}</ListBucketResult>"
        return self._answer(200, text.encode())

    def _arrived(self, body: bytes) -> bytes:
        return bytes([body[0] ^ 1]) + body[1:] if self.state.damage_on_arrival and body else body

    def _kept_headers(self) -> dict[str, str]:
        return {
            n.lower(): v for n, v in self.headers.items() if n.lower().startswith(("x-amz-meta-", "x-amz-checksum-sha"))
        }

    def _of_object(self, stored: Stored) -> dict[str, str]:
        headers = {"ETag": f'"{stored.etag}"', **stored.headers}
        if self.state.encrypted:
            headers["x-amz-server-side-encryption"] = "aws:kms"
        return headers

    def _put(self, key: str, query: dict[str, str], body: bytes) -> None:
        for ending, refusal in self.state.refuse_puts.items():
            if key.endswith(ending):
                return self._error(*refusal)
        if "uploadId" in query:
            self.state.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        received = self._arrived(body)
        etag = "0123456789abcdef" if self.state.opaque_etags else hashlib.md5(received).hexdigest()
        if self.state.encrypted:
            etag = hashlib.md5(b"ciphertext" + received).hexdigest()
        stored = self.state.objects[key] = Stored(received, self._kept_headers(), etag)
        return self._answer(200, **self._of_object(stored))

    def _post(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            upload = f"u{len(self.state.requests)}"
            self.state.uploads[upload] = {}
            self.state.upload_headers[upload] = (key, self._kept_headers())
            xml = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return self._answer(200, xml.encode())
        upload = query["uploadId"]
        parts = self.state.uploads.pop(upload)
        wanted = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
        content = [self._arrived(parts[number]) for number in wanted]
        joined = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in content)).hexdigest()
        headers = self.state.upload_headers.pop(upload)[1]
        self.state.objects[key] = Stored(b"".join(content), headers, f"{joined}-{len(content)}")
        return self._answer(200, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")

    def _head(self, key: str, query: dict[str, str], body: bytes) -> None:
        stored = self.state.objects.get(key)
        if stored is None:
            return self._answer(404)
        return self._answer(200, Content_Length=str(len(stored.body)), **self._of_object(stored))

    def _get(self, key: str, query: dict[str, str], body: bytes) -> None:
        stored = self.state.objects.get(key)
        if stored is None:
            return self._error(404, "NoSuchKey")
        return self._answer(200, stored.body, ETag=f'"{stored.etag}"')

    def _delete(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.state.uploads.pop(query["uploadId"], None)
            self.state.upload_headers.pop(query["uploadId"], None)
        else:
            self.state.objects.pop(key, None)
        return self._answer(204)


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SKTEST12345678")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


@pytest.fixture
def s3() -> Iterator[ScriptedS3]:
    state = ScriptedS3()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bucket(s3: ScriptedS3) -> Iterator[Bucket]:
    bucket = Bucket(s3.settings(), attempts=3, connect_timeout=2, read_timeout=5)
    yield bucket
    bucket.close()

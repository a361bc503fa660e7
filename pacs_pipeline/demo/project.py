"""The demo's own project: a configuration for two sites and the embedded services, and a secret that stays."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from pacs_pipeline.demo.atomic import write_text
from pacs_pipeline.demo.plan import BASE_DATE
from pacs_pipeline.demo.ports import LOOPBACK

CONFIGURATION = "pacs_pipeline.yaml"
SECRET = "project_secret"  # noqa: S105 - the name of a file
BUCKET = "research"
_HEADER = """\
# The configuration of the demo. It is written anew whenever the demo's services start, because their ports
# may change; copy it to keep your changes. pacs_pipeline.example.yaml explains every key.
"""


@dataclass(frozen=True, slots=True)
class DemoSite:
    """A site of the demo and how the pipeline retrieves from it."""

    name: str
    ae_title: str
    timezone: str
    protocol: str
    receiver_ae_title: str | None = None


SITES: Sequence[DemoSite] = (
    DemoSite("north", "NORTH_PACS", "Europe/Berlin", "c-get"),
    DemoSite("south", "SOUTH_PACS", "America/New_York", "c-move", receiver_ae_title="PIPELINE_SOUTH"),
)


def write_project(
    data: Path,
    *,
    pacs_ports: Mapping[str, int],
    receiver_ports: Mapping[str, int],
    endpoint_url: str,
    access_key_file: Path,
    secret_key_file: Path,
    contracts: Path | None = None,
) -> Path:
    """Write the configuration and, the first time, the project secret below ``data``; returns the configuration.

    Ports are by site name. ``contracts`` is the folder of the data contracts, by default that of the checkout.
    """
    data.mkdir(parents=True, exist_ok=True)
    _keep_secret(data / SECRET)
    content = {
        "project": "demo",
        "secret_file": SECRET,
        "sites": [_site(site, pacs_ports, receiver_ports) for site in SITES],
        "bucket": {
            "name": BUCKET,
            "endpoint_url": endpoint_url,
            "access_key_file": _relative(access_key_file, data),
            "secret_key_file": _relative(secret_key_file, data),
        },
        "deidentify": {"profile": "research"},
        "zones": {"root": "zones"},
        "warehouse": {"path": "warehouse.duckdb"},
        "contracts": str(contracts or Path(__file__).resolve().parents[2] / "data_contracts"),
    }
    path = data / CONFIGURATION
    write_text(path, _HEADER + yaml.safe_dump(content, sort_keys=False))
    return path


def _site(site: DemoSite, pacs_ports: Mapping[str, int], receiver_ports: Mapping[str, int]) -> dict[str, object]:
    section: dict[str, object] = {
        "name": site.name,
        "timezone": site.timezone,
        "start_date": BASE_DATE.isoformat(),
        "protocol": site.protocol,
        "pacs": {"host": LOOPBACK, "port": pacs_ports[site.name], "ae_title": site.ae_title},
    }
    if site.receiver_ae_title:
        section["receiver"] = {
            "ae_title": site.receiver_ae_title,
            "port": receiver_ports[site.name],
            "bind": LOOPBACK,
        }
    return section


def _keep_secret(path: Path) -> None:
    """Make the secret once: another one would give every patient another pseudonym."""
    if not path.exists():
        write_text(path, secrets.token_hex(32) + "\n", mode=0o600)


def _relative(path: Path, folder: Path) -> str:
    """``path`` as the configuration in ``folder`` should name it, so that the folder can be moved."""
    absolute, base = path.absolute(), folder.absolute()
    return str(absolute.relative_to(base)) if absolute.is_relative_to(base) else str(absolute)

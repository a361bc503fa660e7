from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest

from pacs_pipeline.demo.project import write_project
from pacs_pipeline.settings import load_settings


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACS_PIPELINE_SECRET", "PACS_PIPELINE_SECRET_FILE", "PACS_PIPELINE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def write(data: Path, **changes: object) -> Path:
    arguments = {
        "pacs_ports": {"north": 21001, "south": 21002},
        "receiver_ports": {"north": 21003, "south": 21004},
        "endpoint_url": "http://127.0.0.1:21005",
        "access_key_file": data / "store" / "access_key",
        "secret_key_file": data / "store" / "secret_key",
    }
    return write_project(data, **(arguments | changes))  # type: ignore[arg-type]


def test_the_settings_model_accepts_it(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path))
    north, south = settings.site("north"), settings.site("south")
    assert (north.protocol, north.timezone, north.pacs.port) == ("c-get", "Europe/Berlin", 21001)
    assert (south.protocol, south.timezone, south.pacs.port) == ("c-move", "America/New_York", 21002)
    assert north.start_date == dt.date(2024, 3, 4)
    assert south.receiver is not None
    assert (south.receiver.port, south.receiver.bind) == (21004, "127.0.0.1")
    assert settings.bucket.endpoint_url == "http://127.0.0.1:21005"
    assert settings.bucket.access_key_file == tmp_path / "store" / "access_key"
    assert settings.zones.root == tmp_path / "zones"
    assert settings.warehouse.path == tmp_path / "warehouse.duckdb"
    assert len(settings.project_secret()) >= 32


def test_the_secret_is_private_and_stays(tmp_path: Path) -> None:
    first = load_settings(write(tmp_path))
    again = load_settings(write(tmp_path, endpoint_url="http://127.0.0.1:21999"))
    assert again.project_secret() == first.project_secret()
    assert again.bucket.endpoint_url == "http://127.0.0.1:21999"
    assert stat.S_IMODE((tmp_path / "project_secret").stat().st_mode) == 0o600


def test_two_projects_have_two_secrets(tmp_path: Path) -> None:
    secrets = {load_settings(write(tmp_path / name)).project_secret() for name in "ab"}
    assert len(secrets) == 2

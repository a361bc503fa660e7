"""``pacs-pipeline stop``, ``start`` and ``access``, as somebody at a terminal uses them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pacs_pipeline.cli import app
from pacs_pipeline.errors import Paused
from pacs_pipeline.pacs import Access
from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.access import access_to
from pacs_pipeline.stages.project import Project

CONFIGURATION = """\
project: test
sites:
  - name: north
    timezone: Europe/Berlin
    start_date: 2024-01-01
    pacs: {host: 127.0.0.1, port: 104, ae_title: PACS}
    access: {associations: 3, failures_before_pause: 2}
bucket: {name: research}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pacs_pipeline.yaml"
    path.write_text(CONFIGURATION)
    return path


@pytest.fixture
def access(config: Path) -> Access:
    """What a running harvest holds."""
    settings = load_settings(config)
    return access_to(Project(settings), settings.site("north"))


def command(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--site", "north", "--config", str(config)])


def test_stop_reaches_a_running_harvest_and_start_lets_it_go_on(config: Path, access: Access) -> None:
    access.require_open()
    assert command(config, "stop", "--reason", "the PACS [is] moving").exit_code == 0
    with pytest.raises(Paused, match=r"stopped .*the PACS \[is\] moving"):
        access.require_open()
    shown = command(config, "access")
    assert shown.exit_code == 1
    assert "[is] moving" in shown.output
    assert "lifted" in command(config, "start").output
    access.require_open()
    assert "it was not stopped" in command(config, "start").output


def test_access_shows_what_is_in_use_and_how_the_archive_answers(config: Path, access: Access) -> None:
    with access.association():
        for _ in range(20):
            access.observe("find", 0.25)
    with access.association():
        shown = command(config, "access")
    assert shown.exit_code == 0
    for text in ("always open", "1 of 3 in use", "find", "250 ms"):
        assert text in shown.output


def test_access_shows_failures_and_start_ends_their_pause(config: Path, access: Access) -> None:
    access.failed()
    assert "1 in a row" in command(config, "access").output
    access.failed()
    shown = command(config, "access")
    assert shown.exit_code == 1
    assert "nobody asks until" in shown.output
    assert "the pause is ended" in command(config, "start").output
    access.require_open()


def test_looking_at_a_site_that_was_never_asked_leaves_nothing_behind(config: Path, tmp_path: Path) -> None:
    assert command(config, "access").exit_code == 0
    assert list(tmp_path.iterdir()) == [config]

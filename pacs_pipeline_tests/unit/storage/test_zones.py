"""Zones are the owner's, and the check says when they are not."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import Partition
from pacs_pipeline.storage import Zones

DAY = Partition("north", dt.date(2024, 3, 31))


def test_create_makes_every_zone_for_the_owner_only(tmp_path: Path) -> None:
    zones = Zones(tmp_path / "deep/zones")
    before = os.umask(0)
    try:
        zones.create()
        folder = zones.landing.make_partition(DAY)
    finally:
        os.umask(before)
    assert folder == tmp_path / "deep/zones/landing/site=north/study_date=2024-03-31"
    assert {p.stat().st_mode & 0o777 for p in (zones.root, *zones.root.rglob("*"))} == {0o700}
    assert {z.name for z in zones} == {"landing", "staging", "quarantine", "vault", "state", "docs"}
    assert zones.problems() == ()


def test_asking_for_a_partition_creates_nothing(tmp_path: Path) -> None:
    Zones(tmp_path).staging.partition(DAY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("site", ["../x", "a/b", "", ".", "a\0b", ".hidden"])
def test_a_site_cannot_lead_out_of_its_zone(tmp_path: Path, site: str) -> None:
    with pytest.raises(Permanent, match="site's name"):
        Zones(tmp_path).staging.partition(Partition(site, DAY.study_date))


@pytest.mark.parametrize("wide", [0o750, 0o701, 0o770, 0o755])
def test_a_zone_open_to_others_is_a_problem_with_a_fix(tmp_path: Path, wide: int) -> None:
    zones = Zones(tmp_path / "z")
    zones.create()
    zones.vault.root.chmod(wide)
    (problem,) = zones.problems()
    assert f"mode {wide:o}" in problem.message
    assert problem.fix == f"chmod 700 {zones.vault.root}"


def test_missing_and_replaced_zones_are_problems(tmp_path: Path) -> None:
    zones = Zones(tmp_path / "z")
    assert len(zones.problems()) == 7
    zones.create()
    zones.docs.root.rmdir()
    zones.docs.root.write_text("no folder")
    zones.vault.root.rmdir()
    zones.vault.root.symlink_to(tmp_path)
    assert sorted(p.message.rpartition("/")[2] for p in zones.problems()) == [
        "docs is not a folder",
        "vault is not a folder",
    ]

"""What a harvest makes of what an archive has, lists, sends, changes and loses."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pacs_pipeline import storage
from pacs_pipeline.errors import Paused, Permanent, Transient
from pacs_pipeline.pacs import Access
from pacs_pipeline.records import Manifest, Partition, SeriesRef, Stage
from pacs_pipeline.settings import SiteSettings, load_settings
from pacs_pipeline.stages.census import take_census
from pacs_pipeline.stages.harvest import harvest, is_awaited
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.sources import Source
from pacs_pipeline.stages.staleness import PartitionState, stale_from
from pacs_pipeline_tests.unit.pacs.samples import STUDY, Sample, encode, samples
from pacs_pipeline_tests.unit.stages.archive import MemoryArchive

DAY = Partition("north", dt.date(2024, 3, 4))
ONE, TWO = SeriesRef(STUDY, f"{STUDY}.1", "CT", None), SeriesRef(STUDY, f"{STUDY}.2", "CT", None)


class Manifests:
    """The manifests of one partition, as a project gives them."""

    def __init__(self, *manifests: Manifest) -> None:
        self._by_stage = {manifest.stage: manifest for manifest in manifests}

    def manifest(self, partition: Partition, stage: Stage) -> Manifest | None:
        assert partition == DAY
        return self._by_stage.get(stage)


def census(series: int) -> Manifest:
    return Manifest(Stage.CENSUS, DAY, {}, counts={"studies": 1, "series": series, "instances": series})


def harvested(digest: str) -> Manifest:
    return Manifest(Stage.HARVEST, DAY, {"census": digest}, counts={"expected": 1})


@pytest.mark.parametrize(
    ("manifests", "awaited"),
    [
        ((), False),
        ((census(0),), False),
        ((census(2),), True),
        ((census(2), harvested(census(2).digest)), False),
        ((census(2), harvested(census(1).digest)), True),
    ],
    ids=["no census", "an empty day", "new", "answered", "changed"],
)
def test_whether_instances_are_awaited(manifests: tuple[Manifest, ...], *, awaited: bool) -> None:
    assert is_awaited(cast(Project, Manifests(*manifests)), DAY) is awaited


class Site:
    """A project with one site whose archive is in memory."""

    def __init__(self, project: Project, **changes: Any) -> None:
        self.project = project
        self.archive = MemoryArchive()
        self.settings: SiteSettings = project.settings.site("north").model_copy(update=changes)
        access = Access.of(self.settings, project.zones.state.root / "site=north")
        self.source = Source(self.settings, access, lambda: self.archive, lambda: self.archive)

    def night(self) -> Manifest:
        """A census and a harvest, as every night."""
        with self.source.archive() as archive:
            take_census(self.project, DAY, archive)
        return harvest(self.project, DAY, self.source)

    @property
    def folder(self) -> Path:
        return self.project.zones.landing.partition(DAY)

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["SOPInstanceUID"]: row for row in storage.read_rows(self.folder / "harvest.parquet")}

    def status(self) -> Counter[str]:
        return Counter(row["status"] for row in self.rows().values())

    def landed_bytes(self, uid: str) -> bytes:
        return (self.folder / self.rows()[uid]["path"]).read_bytes()


@pytest.fixture
def site_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Site]:
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "s" * 64)
    monkeypatch.setenv("PACS_PIPELINE_ZONES__ROOT", str(tmp_path / "zones"))
    monkeypatch.setenv("PACS_PIPELINE_WAREHOUSE__PATH", str(tmp_path / "warehouse.duckdb"))
    project = Project(load_settings(Path(__file__).parents[3] / "pacs_pipeline.example.yaml"))
    project.zones.create()
    return lambda **changes: Site(project, **changes)


@pytest.fixture
def site(site_with: Callable[..., Site]) -> Site:
    return site_with()


def test_everything_lands_once(site: Site) -> None:
    site.archive.content = samples(4, ONE) + samples(3, TWO)
    first = site.night()
    assert (first.counts["landed"], first.counts["expected"]) == (7, 7)
    assert site.night().digest == first.digest
    assert Counter(site.archive.sent) == Counter(s.uid for s in site.archive.content)


def test_a_study_that_grew_costs_only_the_difference(site: Site) -> None:
    site.archive.content = samples(3, ONE)
    site.night()
    site.archive.sent.clear()
    site.archive.content = samples(4, ONE) + samples(2, TWO)
    assert site.night().counts["landed"] == 6
    assert sorted(site.archive.sent) == sorted([f"{ONE.SeriesInstanceUID}.4", *(s.uid for s in samples(2, TWO))])


def test_a_replaced_instance_is_noticed_although_the_counts_are_equal(site: Site) -> None:
    site.archive.content = samples(3, ONE)
    before = site.night()
    site.archive.content = [*samples(2, ONE), Sample(9, ONE)]
    after = site.night()
    assert after.digest != before.digest
    assert site.status() == {"landed": 3, "deleted": 1}
    assert site.rows()[f"{ONE.SeriesInstanceUID}.3"]["status"] == "deleted"


def test_what_the_archive_deleted_is_kept_and_reported(site: Site) -> None:
    site.archive.content = samples(3, ONE)
    site.night()
    site.archive.content = samples(2, ONE)
    manifest = site.night()
    assert (manifest.counts["deleted"], manifest.counts["landed"]) == (1, 2)
    gone = site.rows()[f"{ONE.SeriesInstanceUID}.3"]
    assert "kept" in gone["detail"]
    assert (site.folder / gone["path"]).is_file()
    assert site.night().digest == manifest.digest


def test_what_the_archive_deleted_is_withdrawn_where_the_site_says_so(site_with: Callable[..., Site]) -> None:
    site = site_with(when_deleted="withdraw")
    site.archive.content = samples(3, ONE)
    site.night()
    path = site.folder / site.rows()[f"{ONE.SeriesInstanceUID}.3"]["path"]
    site.archive.content = samples(2, ONE)
    manifest = site.night()
    assert manifest.counts["deleted"] == 1
    assert site.rows()[f"{ONE.SeriesInstanceUID}.3"]["path"] == ""
    assert not path.exists()
    assert site.night().digest == manifest.digest  # and it stays known
    site.archive.content = samples(3, ONE)
    assert site.night().counts["deleted"] == 0
    assert path.is_file()


def test_a_day_that_became_empty_is_reported_too(site: Site) -> None:
    site.archive.content = samples(2, ONE)
    site.night()
    site.archive.content = []
    assert site.night().counts["deleted"] == 2


def test_another_content_under_the_same_uid_is_a_new_version(site: Site) -> None:
    old, new = Sample(1, ONE), Sample(1, ONE, data=encode(Sample(1, ONE), pixels=b"\7" * 64))
    site.archive.content, site.archive.versions = [old], {old.uid: "1"}
    site.night()
    site.archive.content, site.archive.versions = [new], {old.uid: "2"}
    assert site.night().counts["landed"] == 1
    assert site.landed_bytes(old.uid).endswith(new.data)
    (aside,) = site.folder.glob(f"instances/*/{old.uid}.v1.dcm")
    assert aside.read_bytes().endswith(old.data)


def test_the_same_content_under_a_new_version_leaves_one_file(site: Site) -> None:
    (sample,) = samples(1, ONE)
    site.archive.content, site.archive.versions = [sample], {sample.uid: "1"}
    site.night()
    site.archive.versions = {sample.uid: "2"}
    site.night()
    assert [path.name for path in site.folder.glob("instances/*/*")] == [f"{sample.uid}.dcm"]
    assert site.rows()[sample.uid]["version"] == "2"


def test_a_new_version_that_does_not_come_leaves_the_old_one(site: Site) -> None:
    (sample,) = samples(1, ONE)
    site.archive.content, site.archive.versions = [sample], {sample.uid: "1"}
    site.night()
    site.archive.versions, site.archive.refuses = {sample.uid: "2"}, {sample.uid}
    assert site.night().counts["landed"] == 1
    assert site.landed_bytes(sample.uid).endswith(sample.data)
    assert site.rows()[sample.uid]["detail"] == "another version did not come"
    site.archive.refuses = set()
    site.night()
    assert site.rows()[sample.uid]["version"] == "2"


def test_asked_for_again_what_differs_is_a_new_version(site: Site) -> None:
    one, two = samples(2, ONE)
    site.archive.content = [one, two]
    before = site.night()
    assert harvest(site.project, DAY, site.source, again=True).digest == before.digest
    assert len(site.archive.sent) == 4
    other = replace(two, data=encode(two, pixels=b"\7" * 64))
    site.archive.content = [one, other]
    assert site.night().digest == before.digest  # nobody can see it in the lists
    assert harvest(site.project, DAY, site.source, again=True).digest != before.digest
    assert site.landed_bytes(two.uid).endswith(other.data)
    (aside,) = site.folder.glob("instances/*/*.v*.dcm")
    assert aside.read_bytes().endswith(two.data)


def test_a_comparison_that_is_killed_leaves_every_instance_in_its_place(site: Site) -> None:
    site.archive.content = samples(4, ONE)
    before = site.night()

    def die(uid: str) -> None:
        if uid.endswith(".3"):
            raise KeyboardInterrupt

    site.archive.before_sending = die
    with pytest.raises(KeyboardInterrupt):
        harvest(site.project, DAY, site.source, again=True)
    for sample in site.archive.content:
        assert site.landed_bytes(sample.uid).endswith(sample.data)
    site.archive.before_sending = lambda _uid: None
    assert site.night().digest == before.digest
    assert harvest(site.project, DAY, site.source, again=True).digest == before.digest
    assert not list(site.folder.glob("instances/*/*.v*.dcm"))


def test_a_run_killed_after_an_exchange_leaves_no_record_of_the_old_content(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sample,) = samples(1, ONE)
    site.archive.content = [sample]
    site.night()
    other = replace(sample, data=encode(sample, pixels=bytes(reversed(range(256))) * 8))
    assert len(other.data) == len(sample.data)  # the size alone does not tell
    site.archive.content = [other]

    def killed(*_: object) -> Manifest:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Project, "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            harvest(site.project, DAY, site.source, again=True)
    site.night()
    row = site.rows()[sample.uid]
    assert site.landed_bytes(sample.uid).endswith(other.data)
    assert row["sha256"] == hashlib.sha256(other.data).hexdigest()


def test_what_a_killed_run_left_is_not_fetched_again(site: Site) -> None:
    site.archive.content = samples(5, ONE)

    def die(uid: str) -> None:
        if uid.endswith(".4"):
            raise KeyboardInterrupt

    site.archive.before_sending = die
    with pytest.raises(KeyboardInterrupt):
        site.night()
    site.archive.before_sending = lambda _uid: None
    site.archive.sent.clear()
    assert site.night().counts["landed"] == 5
    assert sorted(site.archive.sent) == [f"{ONE.SeriesInstanceUID}.{n}" for n in (4, 5)]


def test_an_instance_that_is_refused_is_listed_as_unavailable(site: Site) -> None:
    site.archive.content = samples(3, ONE)
    site.archive.refuses = {f"{ONE.SeriesInstanceUID}.2"}
    manifest = site.night()
    assert (manifest.counts["landed"], manifest.counts["unavailable"], manifest.counts["set_aside"]) == (2, 1, 0)
    assert "0xC000" in site.rows()[f"{ONE.SeriesInstanceUID}.2"]["detail"]


def test_a_series_that_is_lost_does_not_keep_the_others_from_coming(site: Site) -> None:
    site.archive.content = samples(3, ONE) + samples(3, TWO)
    site.archive.dies_at = {f"{ONE.SeriesInstanceUID}.2"}
    with pytest.raises(Transient, match="1 of 2 series did not arrive"):
        site.night()
    assert set(site.archive.sent) == {f"{ONE.SeriesInstanceUID}.1", *(s.uid for s in samples(3, TWO))}


def test_a_poison_series_is_set_aside_after_bounded_tries(site_with: Callable[..., Site]) -> None:
    site = site_with(tries=2)
    site.archive.content = samples(3, ONE) + samples(3, TWO)
    site.archive.dies_at = {f"{ONE.SeriesInstanceUID}.2"}
    with pytest.raises(Transient):
        site.night()
    manifest = site.night()
    assert (manifest.counts["landed"], manifest.counts["unavailable"], manifest.counts["set_aside"]) == (4, 2, 2)
    assert "set aside after 2" in site.rows()[f"{ONE.SeriesInstanceUID}.2"]["detail"]
    state = PartitionState(DAY, {Stage.CENSUS: site.project.require(DAY, Stage.CENSUS), Stage.HARVEST: manifest})
    assert stale_from(state, site.project.fingerprints) == (Stage.DEIDENTIFY, "not de-identified yet")
    site.archive.sent.clear()
    assert site.night().digest == manifest.digest
    assert not site.archive.sent  # it is not asked for any more

    site.archive.dies_at = set()
    site.archive.content.append(Sample(4, ONE))  # the archive says something else of it now
    assert site.night().counts["landed"] == 7


def test_an_archive_that_is_away_costs_no_series_a_try(site_with: Callable[..., Site]) -> None:
    site = site_with(tries=1)
    site.archive.content = samples(2, ONE)
    with site.source.archive() as archive:
        take_census(site.project, DAY, archive)
    site.archive.away = True
    for _ in range(3):
        with pytest.raises(Transient):
            harvest(site.project, DAY, site.source)
    site.archive.away = False
    site.source.access.start(by="steward")  # the circuit breaker waits otherwise
    assert harvest(site.project, DAY, site.source).counts["landed"] == 2


def test_a_series_that_cannot_be_listed_is_not_taken_for_deleted(site_with: Callable[..., Site]) -> None:
    site = site_with(tries=2, when_deleted="withdraw")
    site.archive.content = samples(3, ONE) + samples(2, TWO)
    site.night()
    site.archive.lists_nothing_of = {ONE.SeriesInstanceUID}
    with pytest.raises(Transient):
        site.night()
    manifest = site.night()
    assert (manifest.counts["landed"], manifest.counts["deleted"], manifest.counts["unlisted"]) == (5, 0, 0)


def test_announced_instances_that_were_never_listed_are_counted(site_with: Callable[..., Site]) -> None:
    site = site_with(tries=1)
    site.archive.content = samples(3, ONE) + samples(2, TWO)
    site.archive.lists_nothing_of = {ONE.SeriesInstanceUID}
    manifest = site.night()
    assert (manifest.counts["landed"], manifest.counts["unlisted"], manifest.counts["expected"]) == (2, 3, 5)


def test_a_series_whose_list_cannot_be_used_is_set_aside_when_the_others_can(site_with: Callable[..., Site]) -> None:
    site = site_with(tries=2)
    site.archive.content = samples(3, ONE) + samples(2, TWO)
    site.archive.refuses_to_list = {ONE.SeriesInstanceUID}
    with pytest.raises(Permanent, match="1 of 2 series") as refused:
        site.night()
    assert refused.value.fix == "ask its team"
    manifest = site.night()
    assert (manifest.counts["landed"], manifest.counts["unlisted"]) == (2, 3)


def test_an_archive_that_lists_nothing_usable_is_never_set_aside(site_with: Callable[..., Site]) -> None:
    site = site_with(tries=1)
    site.archive.content = samples(3, ONE) + samples(2, TWO)
    site.archive.refuses_to_list = {ONE.SeriesInstanceUID, TWO.SeriesInstanceUID}
    for _ in range(3):
        with pytest.raises(Permanent, match="2 of 2 series"):
            site.night()


def test_a_full_disk_stops_the_site_before_it_is_full(site_with: Callable[..., Site]) -> None:
    site = site_with(minimum_free_gib=float(1 << 30))
    site.archive.content = samples(2, ONE)
    with pytest.raises(Transient, match="landing zone takes no more"):
        site.night()
    assert not list(site.folder.glob("instances/*/*"))


def test_a_site_that_is_stopped_stops_within_one_instance_and_continues(site: Site) -> None:
    site.archive.content = samples(6, ONE)

    def stop(uid: str) -> None:
        if uid.endswith(".3"):
            site.source.access.stop(by="steward", reason="the PACS team asked for it")

    site.archive.before_sending = stop
    with pytest.raises(Paused, match="the PACS team asked for it"):
        site.night()
    assert len(site.archive.sent) <= 4
    with pytest.raises(Paused):
        site.night()
    site.source.access.start(by="steward")
    site.archive.before_sending = lambda _uid: None
    assert site.night().counts["landed"] == 6
    assert len(site.archive.sent) <= 7


def test_no_more_associations_than_the_site_allows(site_with: Callable[..., Site]) -> None:
    site = site_with()
    most = site.settings.access.associations
    series = [replace(ONE, SeriesInstanceUID=f"{STUDY}.{n}") for n in range(1, 13)]
    site.archive.content = [sample for each in series for sample in samples(2, each)]
    assert site.night().counts["landed"] == 24
    assert site.archive.most_open <= most

"""Manifests, verdicts and books come back as they were written, or not at all."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline import storage
from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import (
    Books,
    ContractResult,
    Manifest,
    Partition,
    RuleResult,
    Severity,
    Stage,
    TableRef,
    Verdict,
    VerdictStatus,
)

DAY = Partition("north", dt.date(2024, 3, 31))
MANIFEST = Manifest(
    Stage.DEIDENTIFY, DAY, {"harvest": "a" * 64}, {"instances": TableRef("instances.parquet", 3, "b" * 64)}, {"n": 3}
)
VERDICT = Verdict(
    "c" * 64,
    "d" * 64,
    (
        ContractResult(
            "instances",
            "1.0.0",
            VerdictStatus.FAILED,
            (RuleResult("UIDs", "StudyInstanceUID", Severity.ERROR, VerdictStatus.FAILED, 3, 1, "m"),),
        ),
    ),
)
BOOKS = Books(DAY, 10, 7, 0, 2, 1, ("something is wrong",))
names = st.text("abcdefgh-_", min_size=1, max_size=8)
manifests = st.builds(
    Manifest,
    stage=st.sampled_from(Stage),
    partition=st.builds(Partition, site=names.filter(lambda n: n[0] not in "-_"), study_date=st.dates()),
    inputs=st.dictionaries(names, names),
    tables=st.dictionaries(names, st.builds(TableRef, path=names, rows=st.integers(0, 10**9), sha256=names)),
    counts=st.dictionaries(names, st.integers(0, 10**12)),
)


@settings(max_examples=50, deadline=None)
@given(manifests)
def test_manifests_round_trip(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> None:
    folder = tmp_path_factory.mktemp("m") / manifest.partition.folder
    storage.write_manifest(folder, manifest)
    read = storage.read_manifest(folder, manifest.stage)
    assert read == manifest
    assert read is not None
    assert read.digest == manifest.digest


def test_verdict_and_books_round_trip(tmp_path: Path) -> None:
    assert storage.read_verdict(tmp_path) is None
    assert storage.read_books(tmp_path) is None
    storage.write_verdict(tmp_path, VERDICT)
    storage.write_books(tmp_path, BOOKS)
    assert storage.read_verdict(tmp_path) == VERDICT
    assert storage.read_books(tmp_path) == BOOKS


def test_what_has_not_happened_is_none_and_can_be_undone(tmp_path: Path) -> None:
    folder = tmp_path / DAY.folder
    assert storage.read_manifest(folder, Stage.DEIDENTIFY) is None
    storage.write_manifest(folder, MANIFEST)
    assert storage.read_manifest(folder, Stage.CENSUS) is None
    storage.remove_manifest(folder, Stage.DEIDENTIFY)
    storage.remove_manifest(folder, Stage.DEIDENTIFY)
    assert storage.read_manifest(folder, Stage.DEIDENTIFY) is None


def change(name: str, value: object) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), name: value})


@pytest.mark.parametrize(
    "tamper",
    [
        change("counts", {"n": 4}),
        change("inputs", {}),
        change("digest", "0" * 64),
        change("extra", 1),
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "[]",
        lambda _: "\x00\x01",
    ],
)
def test_a_changed_manifest_is_neither_believed_nor_absent(tmp_path: Path, tamper: Callable[[str], str]) -> None:
    folder = tmp_path / DAY.folder
    storage.write_manifest(folder, MANIFEST)
    path = folder / "deidentify.json"
    path.write_text(tamper(path.read_text()))
    with pytest.raises(Permanent, match="deidentify record of site=north/study_date=2024-03-31 is damaged"):
        storage.read_manifest(folder, Stage.DEIDENTIFY)


def test_a_manifest_of_another_partition_or_stage_is_refused(tmp_path: Path) -> None:
    storage.write_manifest(tmp_path / DAY.folder, MANIFEST)
    other = tmp_path / "site=north/study_date=2024-04-01"
    other.mkdir()
    content = (tmp_path / DAY.folder / "deidentify.json").read_text()
    (other / "deidentify.json").write_text(content)
    (tmp_path / DAY.folder / "publish.json").write_text(content)
    with pytest.raises(Permanent, match="damaged"):
        storage.read_manifest(other, Stage.DEIDENTIFY)
    with pytest.raises(Permanent, match="damaged"):
        storage.read_manifest(tmp_path / DAY.folder, Stage.PUBLISH)


def test_a_verdict_cannot_be_edited_to_pass(tmp_path: Path) -> None:
    storage.write_verdict(tmp_path, VERDICT)
    path = tmp_path / "verdict.json"
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    with pytest.raises(Permanent, match="verdict record"):
        storage.read_verdict(tmp_path)


def test_tables_are_verified_byte_for_byte(tmp_path: Path) -> None:
    table = storage.write_table(
        tmp_path / "t/quarantine.parquet", [{"reason": "x"}], storage.QUARANTINE, below=tmp_path
    )
    manifest = Manifest(Stage.DEIDENTIFY, DAY, {}, {"quarantine": table})
    storage.verify_tables(tmp_path, manifest)
    path = tmp_path / "t/quarantine.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Permanent, match=r"table 'quarantine' of north 2024-03-31 \(deidentify\) was changed.*run"):
        storage.verify_tables(tmp_path, manifest)
    path.unlink()
    with pytest.raises(Permanent, match="cannot be read"):
        storage.verify_tables(tmp_path, manifest)
    for outside in ("../x", "/etc/passwd"):
        manifest = Manifest(Stage.DEIDENTIFY, DAY, {}, {"x": TableRef(outside, 1, "0")})
        with pytest.raises(Permanent, match="outside its zone"):
            storage.verify_tables(tmp_path, manifest)


def test_scan_finds_all_in_order_and_filters(tmp_path: Path) -> None:
    expected = []
    for site in ("south", "north"):
        for day in (3, 1, 2):
            for stage in (Stage.CENSUS, Stage.HARVEST):
                manifest = Manifest(stage, Partition(site, dt.date(2024, 1, day)), {"x": "y"})
                storage.write_manifest(tmp_path / manifest.partition.folder, manifest)
                expected.append(manifest)
    (tmp_path / "locks").mkdir()
    order = sorted(expected, key=lambda m: (m.partition, m.stage.value))
    assert list(storage.scan(tmp_path)) == order
    assert list(storage.scan(tmp_path, stage=Stage.CENSUS, site="north")) == [
        m for m in order if m.stage is Stage.CENSUS and m.partition.site == "north"
    ]
    assert list(storage.scan(tmp_path / "none")) == []


def test_one_damaged_partition_neither_hides_the_others_nor_looks_new(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        for stage in (Stage.CENSUS, Stage.HARVEST):
            manifest = Manifest(stage, Partition("north", dt.date(2024, 1, day)), {})
            storage.write_manifest(tmp_path / manifest.partition.folder, manifest)
    (tmp_path / "site=north/study_date=2024-01-02/harvest.json").write_text("{")
    with pytest.raises(Permanent):
        list(storage.scan(tmp_path))
    problems: list[Permanent] = []
    found = list(storage.scan(tmp_path, on_damaged=problems.append))
    assert [m.partition.study_date.day for m in found] == [1, 1, 3, 3]
    assert len(problems) == 1

"""A folder tree: one outcome per file, the mapping, the report, duplicates, conflicts, dying workers."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pacs_pipeline.compute import Pool
from pacs_pipeline.deidentify import Deidentifier, Keys, Outcome, Summary, deidentify_folder, load_profile
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Reason

from . import builder

PROFILE = load_profile("basic-modified-dates")


@dataclass
class Done:
    item: Path
    result: object


class Here:
    """A pool that works in this process; ``dying`` names files that kill their worker."""

    def __init__(self, *dying: str) -> None:
        self.dying = dying

    def imap(self, function: Callable[[Path], Outcome], items: Iterable[Path]) -> Iterator[Done]:
        for item in items:
            yield Done(item, None if item.name in self.dying else function(item))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    (src / "a" / "deep").mkdir(parents=True)
    (src / "b").mkdir()
    builder.save(builder.image(), src / "a" / "deep" / "one.dcm")
    builder.save(builder.image(SOPInstanceUID="1.2.999.8"), src / "b" / "Abernathy.dcm")
    builder.save(builder.image(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SOPInstanceUID="1.2.9"), src / "b" / "sc")
    (src / "notes.txt").write_text("Abernathy")
    (src / "link.dcm").symlink_to(src / "a" / "deep" / "one.dcm")
    return src


def run(src: Path, keys: Keys, pool: object = None) -> tuple[Summary, list[dict[str, str]], list[dict[str, str]], Path]:
    home = src.parent
    summary = deidentify_folder(
        src,
        home / "out",
        PROFILE,
        keys,
        pool=pool or Here(),  # type: ignore[arg-type]
        mapping=home / "vault" / "mapping.csv",
        report=home / "vault" / "report.csv",
    )
    read = [
        list(csv.DictReader((home / "vault" / name).read_text().splitlines())) for name in ("mapping.csv", "report.csv")
    ]
    return summary, read[0], read[1], home / "out"


def test_every_file_has_its_line(tree: Path, keys: Keys) -> None:
    summary, mapping, report, out = run(tree, keys)
    assert (summary.files, summary.released, summary.set_aside) == (4, 2, 2)
    assert [(row["source_file"], row["outcome"], row["reason"]) for row in report] == [
        ("a/deep/one.dcm", "released", ""),
        ("b/Abernathy.dcm", "released", ""),
        ("b/sc", "set_aside", "burned-in-text-possible"),
        ("notes.txt", "set_aside", "unreadable"),
    ]
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert len(written) == 2
    assert not [name for name in written if "bernathy" in name]
    assert [row["source_sop_instance_uid"] for row in mapping] == ["1.2.999.1.2.3.4", "1.2.999.8"]
    for row in mapping:
        new = row["deidentified_sop_instance_uid"]
        (path,) = out.rglob(f"{new}.dcm")
        assert builder.load(path).SOPInstanceUID == new
    assert {(out.parent / "vault" / name).stat().st_mode & 0o777 for name in ("mapping.csv", "report.csv")} == {0o600}


def test_it_runs_again_with_the_same_result(tree: Path, keys: Keys) -> None:
    first = run(tree, keys)
    second = run(tree, keys)
    assert first[1:3] == second[1:3]
    assert len(list((tree.parent / "out").rglob("*.dcm"))) == 2


def test_identical_copies_count_once(tree: Path, keys: Keys) -> None:
    copy = tree / "z.dcm"
    copy.write_bytes((tree / "a" / "deep" / "one.dcm").read_bytes())
    summary, mapping, report, out = run(tree, keys)
    assert (summary.released, summary.duplicates) == (3, 1)
    assert report[-1]["detail"] == "identical to another source file"
    assert len(mapping) == 2
    assert len(list(out.rglob("*.dcm"))) == 2


def test_conflicting_copies_are_never_overwritten(tree: Path, keys: Keys) -> None:
    builder.save(builder.image(SliceThickness="9"), tree / "z.dcm")
    summary, mapping, report, out = run(tree, keys)
    assert summary.reasons[Reason.CONFLICT] == 1
    assert (report[-1]["outcome"], report[-1]["reason"]) == ("set_aside", "conflicting-copies")
    (path,) = out.rglob(f"{mapping[0]['deidentified_sop_instance_uid']}.dcm")
    assert builder.load(path).SliceThickness == 2.5


def test_a_dying_worker_costs_its_file(tree: Path, keys: Keys) -> None:
    summary, _, report, _ = run(tree, keys, Here("one.dcm"))
    assert summary.defects == 1
    assert (report[0]["outcome"], report[0]["reason"]) == ("set_aside", "engine-error")


def test_a_real_pool_gives_the_same(tree: Path, keys: Keys) -> None:
    alone = run(tree, keys)
    with Pool(2) as pool:
        assert run(tree, keys, pool)[1:3] == alone[1:3]


def test_what_a_killed_run_left_is_removed(tree: Path, keys: Keys) -> None:
    left = tree.parent / "out" / ".part-99999999-x" / "y"
    left.mkdir(parents=True)
    (left / "unverified.dcm").write_text("Abernathy")
    out = run(tree, keys)[3]
    assert not list(out.glob(".part-*"))


def test_folders_inside_each_other_are_refused(tree: Path, keys: Keys) -> None:
    for src, out in ((tree, tree / "out"), (tree, tree), (tree / "a", tree)):
        with pytest.raises(SettingsError, match="inside each other"):
            deidentify_folder(src, out, PROFILE, keys, pool=Here())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="is no folder"):
        deidentify_folder(tree / "none", tree.parent / "o", PROFILE, keys, pool=Here())  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_set_aside(tree: Path, keys: Keys) -> None:
    (tree / "notes.txt").chmod(0)
    assert run(tree, keys)[0].reasons[Reason.UNREADABLE] == 1


def test_an_output_that_cannot_be_written_is_no_property_of_the_instance(
    tree: Path, keys: Keys, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="file"):
        Deidentifier(PROFILE, keys).deidentify(tree / "a" / "deep" / "one.dcm", blocked)

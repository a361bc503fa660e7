"""``make score`` for the project: nothing planted comes out, and everything planted would be seen if it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.deidentification import peers
from benchmarks.deidentification.answers import PROTECTIVE
from benchmarks.deidentification.leaks import Haystack
from benchmarks.deidentification.plant import Key, generate
from benchmarks.deidentification.score import Output, Score, Verdict, score

IDENTIFIERS = (
    "DT with zones and parts", "JPEG segments", "addresses", "ages over 89", "bits of pixels", "burned-in text",
    "character sets", "codes", "curves 50xx", "dates in text", "dates of a patient", "deep sequences",
    "encapsulated documents", "file names", "group 0002", "icons", "labels of objects", "lookup tables", "multi-valued",
    "names of regions", "numbers of people among numbers",
    "outside the table: ages", "outside the table: bytes", "outside the table: code strings",
    "outside the table: numbers", "outside the table: text", "overlays 60xx", "padding", "padding of pixels",
    "partial and impossible dates", "patient", "plans and doses", "preamble", "presentation states", "private",
    "segmentations", "signatures", "structure sets", "structured reports", "table, depth three", "table, top level",
    "uid", "unknown standard attributes", "waveforms", "words among numbers",
)  # fmt: skip


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return generate(tmp_path_factory.mktemp("planted"), peers.default_profile())


@pytest.fixture(scope="module")
def released(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def project(key: Key, released: Path) -> Score:
    outputs = peers.run_project(key.profile, key.files, released)
    return score(key.answers, key.files, outputs, released, key.patients)


@pytest.fixture(scope="module")
def copied(key: Key) -> Score:
    """What a tool scores that does nothing."""
    return score(key.answers, key.files, {n: Output(p) for n, p in key.files.items()}, key.folder, key.patients)


@pytest.mark.parametrize("category", IDENTIFIERS)
def test_no_identifier_comes_out(project: Score, category: str) -> None:
    leaks = [r for r in project.leaks if r.answer.category == category]
    assert not leaks, [(r.answer.instance, str(r.answer.action), r.answer.place, r.found) for r in leaks[:20]]


def test_every_category_has_a_test(project: Score) -> None:
    planted = {r.answer.category for r in project.results if r.answer.action in PROTECTIVE}
    assert planted <= {*IDENTIFIERS, "names in descriptions"}


@pytest.mark.usefixtures("project")
def test_every_output_was_read_to_its_end(released: Path) -> None:
    """What the scorer cannot read it could not see, either."""
    files = [path for path in released.rglob("*") if path.is_file()]
    assert files
    assert {unread for path in files if (unread := Haystack(path, released).unread)} == set()


def test_nothing_of_another_instance(project: Score) -> None:
    assert not [r for r in project.leaks if r.answer.category == "of another instance"]


def test_names_in_descriptions(project: Score) -> None:
    assert not [r for r in project.leaks if r.answer.category == "names in descriptions"]


def test_most_useful_content_of_released_instances_stays(project: Score) -> None:
    assert project.share(protective=False) < 0.05
    kept = ("useful: technical attributes", "useful: references", "useful: dates", "useful: times")
    lost = {(Path(r.answer.instance).stem, r.answer.path) for r in project.losses if r.answer.category in kept}
    lost -= {("technical-us", "(0008,0008)")}  # ORIGINAL becomes DERIVED where pixels were blanked
    # a maker that is an institute and no known one, a model that is a sentence or the address of a repository
    assert {path for _, path in lost} <= {"(0008,0070)", "(0008,1090)"}
    # real text of the ultrasound and the secondary capture is blanked where pixels are looked at
    changed = {Path(r.answer.instance).stem for r in project.losses if r.answer.category == "useful: pixels"}
    assert changed <= {"technical-us", "technical-sc-deflated"}


def test_the_numbers_of_objects_stay(project: Score) -> None:
    assert not [r for r in project.losses if r.answer.category == "useful: numbers of objects"]
    lost = [r for r in project.losses if r.answer.category == "useful: regions and contours"]
    assert {r.answer.path for r in lost} <= {"(3006,0020)[0](3006,0026)"}
    # what leans on a name (a side, a number) goes with it
    assert all(r.answer.instance.endswith("-name.dcm") for r in lost)


def test_a_copy_fails_every_protective_check(copied: Score) -> None:
    """Each planted identifier is in its file, where a scorer that works has to see it."""
    unseen = [r for r in copied.results if r.answer.action in PROTECTIVE and r.verdict is not Verdict.FAILED]
    assert not unseen, [(r.answer.instance, r.answer.place, r.found) for r in unseen[:20]]


def test_useful_content_is_there_before(copied: Score) -> None:
    lost = [r for r in copied.losses if r.answer.action != "patid_consistent" and r.answer.text != "090Y"]
    assert not lost, [(r.answer.instance, r.answer.place, r.found) for r in lost[:20]]


def test_nothing_at_all_is_withheld_not_leaked(key: Key, tmp_path: Path) -> None:
    nothing = score(key.answers, key.files, {}, tmp_path, key.patients)
    assert not nothing.leaks
    assert {r.verdict for r in nothing.results} == {Verdict.WITHHELD}
    assert nothing.share(protective=False, withheld_counts=True) == 1.0

from __future__ import annotations

from pathlib import Path

import pytest

from pacs_pipeline.deidentify import load_profile
from pacs_pipeline.deidentify.build_recipes import RECIPES, basic_line, field_of, recipes
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.recipe import Action, fields_of, read_recipe
from pacs_pipeline.deidentify.values import vrs_of
from pacs_pipeline.errors import SettingsError


@pytest.mark.parametrize("name", sorted(recipes()))
def test_the_committed_recipe_is_what_the_table_gives(name: str) -> None:
    assert (RECIPES / name).read_text(encoding="utf-8") == recipes()[name]


def test_every_row_of_the_table_has_its_line() -> None:
    rows = read_table()
    assert len(rows) == 657
    written = {rule.field for rule in read_recipe(RECIPES / "basic.deid")}
    assert written == {field_of(row.tag) for row in rows}


def test_every_row_is_bound_to_an_action_that_fits_the_table() -> None:
    profile = load_profile("basic")
    allowed = {
        "X": {Action.REMOVE},
        "Z": {Action.BLANK, Action.REMOVE},
        "D": {Action.DUMMY},
        "U": {Action.UID},
        "X/Z/U*": {Action.KEEP},
        "X/Z": {Action.REMOVE_OR_BLANK},
        "X/D": {Action.REMOVE_OR_DUMMY},
        "Z/D": {Action.BLANK_OR_DUMMY},
        "X/Z/D": {Action.REMOVE_BLANK_OR_DUMMY},
    }
    for row in read_table():
        tag = int(row.tag.replace("xx", "02").replace("xx", "00"), 16) if row.tag != "PRIVATE" else 0x00091001
        rule = profile.rule(tag, (vrs_of(tag) or ("LO",))[0])
        assert rule is not None, row
        assert rule.action in {Action.PSEUDONYM, *allowed[row.basic]}, row


def test_modified_dates_shift_dates_and_keep_times_but_not_the_birth_date() -> None:
    profile = load_profile("basic-modified-dates")
    assert profile.rule(0x00080020, "DA").action is Action.SHIFT  # type: ignore[union-attr]
    assert profile.rule(0x00080020, "DA").fallback is Action.BLANK  # type: ignore[union-attr]
    assert profile.rule(0x00080030, "TM").action is Action.KEEP  # type: ignore[union-attr]
    assert profile.rule(0x00100030, "DA").action is Action.BLANK  # type: ignore[union-attr]
    assert profile.codes == ("113100", "113107")


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"no de-identification profile 'strict'.*basic, basic-modified-dates"):
        load_profile("strict")


def test_profiles_differ_in_their_fingerprint_and_repeat_it() -> None:
    assert load_profile("basic").fingerprint == load_profile("basic").fingerprint
    assert load_profile("basic").fingerprint != load_profile("basic-modified-dates").fingerprint


def _recipe(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "project.deid"
    path.write_text("\n".join(("FORMAT dicom", "", "%header", "", *lines)) + "\n", encoding="ascii")
    return path


def test_a_project_recipe_takes_away_more(tmp_path: Path) -> None:
    extra = _recipe(tmp_path, "REMOVE StudyTime", "REMOVE Manufacturer", "REPLACE InstitutionName SITE", "# why not")
    profile = load_profile("basic-modified-dates", extra)
    assert profile.rule(0x00080030, "TM").action is Action.REMOVE  # type: ignore[union-attr]
    assert profile.rule(0x00080070, "LO").action is Action.REMOVE  # type: ignore[union-attr]
    assert profile.rule(0x00080080, "LO").value == "SITE"  # type: ignore[union-attr]
    assert profile.fingerprint != load_profile("basic-modified-dates").fingerprint


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("DELETE PatientID", "line 5: 'DELETE' is no action"),
        ("remove StudyTime", "line 5: 'remove' is no action"),
        ("REMOVEX StudyTime", "line 5: 'REMOVEX' is no action"),
        ("REPLACE StudyTime func:magic", "line 5: REPLACE does not know 'func:magic'"),
        ("REPLACE StudyTime var:entity", "line 5: REPLACE does not know 'var:entity'"),
        ("JITTER StudyDate 31", "line 5: JITTER does not know '31'"),
        ("ADD ClinicalTrialSiteID 4", "line 5: 'ADD' is no action"),
        ("REMOVE StudyTimes", "line 5: 'StudyTimes' is no DICOM keyword"),
        ("REMOVE values:names", "line 5: the field expander 'values:'"),
        ("REMOVE contains:([", "line 5: the expression of 'contains:' is not valid"),
        ("KEEP StudyDescription", "line 5: 'KEEP StudyDescription' keeps more"),
        ("KEEP Manufacturer", "line 5: 'KEEP Manufacturer' keeps more"),
        ("REPLACE AccessionNumber func:uid", "line 5: .* keeps more"),
        ("KEEP contains:Patient", "line 5: .* is set by the engine"),
        ("REMOVE PatientID", "line 5: PatientID is set by the engine"),
        ("REPLACE StudyInstanceUID 1.2.3", "line 5: StudyInstanceUID is set by the engine"),
        ("REPLACE PatientSex Frau", "line 5: 'Frau' is no value of VR CS"),
        ("%filter dangerous", "line 5: only the section %header"),
    ],
)
def test_a_line_that_would_not_be_executed_or_keeps_more_is_an_error(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_profile("basic-modified-dates", _recipe(tmp_path, line))


def test_a_line_before_its_section_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "loose.deid"
    path.write_text("FORMAT dicom\nREMOVE StudyTime\n", encoding="ascii")
    with pytest.raises(SettingsError, match="line 2: stands outside"):
        load_profile("basic", path)


def test_a_missing_recipe_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_profile("basic", tmp_path / "none.deid")


def test_fields_can_be_named_in_all_of_deids_ways() -> None:
    rule = read_recipe(RECIPES / "basic.deid")[0]
    for field in ("AccessionNumber", "(0008,0050)", "00080050"):
        assert fields_of(type(rule)(Action.BLANK, field)).tag == 0x00080050


@pytest.mark.parametrize("row", [row for row in read_table() if row.basic == "X"][:3], ids=lambda row: row.tag)
def test_removal_is_written_as_removal(row: object) -> None:
    assert basic_line(row).startswith("REMOVE ")  # type: ignore[arg-type]

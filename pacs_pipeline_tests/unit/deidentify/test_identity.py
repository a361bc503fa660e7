"""Who is the same person: at two sites, under two numbers, and in two projects."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pacs_pipeline.deidentify import Deidentifier, IdentityRule, Keys, load_identity, load_profile
from pacs_pipeline.errors import SettingsError

from . import builder

PROFILE = load_profile("basic-modified-dates")


@pytest.fixture
def pseudonym_of(keys: Keys, tmp_path: Path):  # type: ignore[no-untyped-def]
    def pseudonym(rule: IdentityRule, **attributes: object) -> tuple[str, str]:
        engine = Deidentifier(PROFILE, keys, identity=rule)
        outcome = engine.deidentify(builder.save(builder.image(**attributes), tmp_path / "in.dcm"), tmp_path / "out")
        assert outcome.output is not None, outcome.detail
        clean = builder.load(outcome.output)
        return str(clean.PatientID), str(clean.StudyDate)

    return pseudonym


def crosswalk(folder: Path, *lines: str) -> Path:
    path = folder / "crosswalk.csv"
    path.write_text("\n".join(("patient_id,issuer,person", *lines)) + "\n", encoding="utf-8")
    return path


def test_archives_that_number_independently_have_issuers(pseudonym_of) -> None:  # type: ignore[no-untyped-def]
    everywhere = IdentityRule()
    north, south = everywhere.of_site("NORTH"), everywhere.of_site("SOUTH")
    assert pseudonym_of(north, PatientID="4711") != pseudonym_of(south, PatientID="4711")
    assert pseudonym_of(north, PatientID="4711") == pseudonym_of(
        everywhere, PatientID="4711", IssuerOfPatientID="NORTH"
    )
    assert pseudonym_of(south, PatientID="4711", IssuerOfPatientID="NORTH") == pseudonym_of(north, PatientID="4711")


def test_a_crosswalk_joins_the_numbers_of_a_person(pseudonym_of, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = crosswalk(tmp_path, "4711,NORTH,one", "A-88,SOUTH,one", "4711,SOUTH,two")
    north, south = (load_identity(path).of_site(site) for site in ("NORTH", "SOUTH"))
    assert pseudonym_of(north, PatientID="4711") == pseudonym_of(south, PatientID=" A-88 ")
    assert pseudonym_of(south, PatientID="4711") != pseudonym_of(north, PatientID="4711")
    assert pseudonym_of(north, PatientID="9999") == pseudonym_of(IdentityRule("NORTH"), PatientID="9999")


def test_a_person_of_the_crosswalk_is_nobodys_patient_id(keys: Keys, tmp_path: Path) -> None:
    rule = load_identity(crosswalk(tmp_path, "4711,,1234"))
    assert rule.pseudonym(keys, "4711", "") != rule.pseudonym(keys, "1234", "")


def test_other_patient_ids_of_a_person_are_the_same_person(pseudonym_of, keys: Keys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rule = load_identity(crosswalk(tmp_path, "4711,,one", "88,,one"))
    assert rule.pseudonym(keys, "4711", "") == rule.pseudonym(keys, "88", "")


def test_the_rule_travels_to_a_worker_without_the_crosswalk(keys: Keys, tmp_path: Path) -> None:
    rule = load_identity(crosswalk(tmp_path, *(f"{number},,person{number}" for number in range(1000))))
    packed = pickle.dumps(rule)
    assert len(packed) < 1000
    assert pickle.loads(packed).pseudonym(keys, "7", "") == rule.pseudonym(keys, "7", "")


def test_a_changed_crosswalk_is_another_rule(tmp_path: Path) -> None:
    before = load_identity(crosswalk(tmp_path, "4711,,one"))
    after = load_identity(crosswalk(tmp_path, "4711,,two"))
    assert before.fingerprint != after.fingerprint
    assert before.fingerprint != before.of_site("NORTH").fingerprint
    assert load_identity().fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("4711,,",), "line 2.*missing"),
        ((",,one",), "line 2.*missing"),
        (("4711,,one", "4711,,two"), "line 3.*another person"),
        (("4711,,one", " 4711 ,,two"), "line 3.*another person"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_without_its_values(
    tmp_path: Path, lines: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        load_identity(crosswalk(tmp_path, *lines))
    assert "4711" not in caught.value.message + caught.value.fix


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_identity(tmp_path / "missing.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SettingsError, match="lacks columns"):
        load_identity(tmp_path / "other.csv")
    (tmp_path / "latin.csv").write_bytes("patient_id,issuer,person\n1,,M\xfcller\n".encode("latin-1"))
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_identity(tmp_path / "latin.csv")

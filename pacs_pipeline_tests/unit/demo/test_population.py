"""The sample population: the same bytes every time, valid, and full of what must not leave."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pacs_pipeline.demo.plan import STUDY_KINDS, Population
from pacs_pipeline.demo.population import TABLE, WrittenInstance, generate, is_complete, write_population
from pacs_pipeline.errors import SettingsError

Written = tuple[Path, list[WrittenInstance]]


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def text_of(ds: Dataset) -> str:
    """All text of a data set at every depth, decoded."""
    return "\n".join(str(element.value) for element in ds.iterall() if element.VR not in ("OB", "OW", "UN"))


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    generate(tmp_path / "here", Population(patients=5, seed=3))
    script = (
        "import sys; from pathlib import Path; from pacs_pipeline.demo.population import generate;"
        "from pacs_pipeline.demo.plan import Population; generate(Path(sys.argv[1]), Population(5, 3))"
    )
    environment = {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LANG": "C"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "there")], check=True, env=environment)
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_another_seed_gives_other_people_and_uids(tmp_path: Path) -> None:
    one = list(write_population(tmp_path / "1", Population(patients=3, seed=1)))
    two = list(write_population(tmp_path / "2", Population(patients=3, seed=2)))
    for attribute in ("PatientID", "StudyInstanceUID", "SOPInstanceUID"):
        assert not {getattr(w, attribute) for w in one} & {getattr(w, attribute) for w in two}


def test_every_file_is_valid_and_says_what_the_table_says(population: Written) -> None:
    out, written = population
    for instance in written:
        ds = pydicom.dcmread(out / instance.path)  # a warning is an error here
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == instance.SOPInstanceUID
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID == instance.SOPClassUID
        assert ds.SOPClassUID.type == "SOP Class"
        assert str(ds.PatientName) == instance.PatientName
        for element in ds.iterall():
            assert "\ufffd" not in str(element.value)
            if element.VR == "UI" and not element.is_empty:
                assert all(UID(str(uid)).is_valid for uid in ([element.value] if element.VM == 1 else element.value))


def test_there_is_everything_a_hospital_sends(population: Written) -> None:
    _, written = population
    assert {w.Modality for w in written} == {"CT", "MR", "CR", "DX", "US", "NM", "PT", "SR", "DOC"}
    assert {w.SpecificCharacterSet for w in written} == {
        "ISO_IR 100",
        "\\ISO 2022 IR 87",
        "\\ISO 2022 IR 149",
        "ISO_IR 192",
    }
    names = {UID(w.TransferSyntaxUID).keyword for w in written}
    assert names >= {"ExplicitVRLittleEndian", "ImplicitVRLittleEndian", "RLELossless", "JPEG2000Lossless"}
    assert names >= {"JPEGLSLossless", "JPEGBaseline8Bit"}
    assert {w.site for w in written} == {"north", "south"}


def test_names_have_ideographic_and_phonetic_groups(population: Written) -> None:
    _, written = population
    multi = [w.PatientName for w in written if "2022" in w.SpecificCharacterSet]
    assert multi
    assert all(name.count("=") == 2 and name.split("=")[0].isascii() for name in multi)


def test_every_planted_identifier_is_in_its_file(population: Written) -> None:
    out, written = population
    for instance in written:
        ds = pydicom.dcmread(out / instance.path)
        text = text_of(ds) + ("" if "EncapsulatedDocument" not in ds else ds.EncapsulatedDocument.decode("latin-1"))
        for identifier in instance.identifiers:
            if not identifier.startswith("pixels: "):
                assert identifier in text, (instance.Modality, identifier)


def test_the_patient_is_mentioned_outside_the_patient_module(population: Written) -> None:
    out, written = population
    places = set()
    for instance in written:
        ds = pydicom.dcmread(out / instance.path)
        for element in ds.iterall():
            if element.tag.group != 0x0010 and instance.PatientID in str(element.value) and element.VR != "SQ":
                places.add("private" if element.tag.is_private else element.keyword)
    assert {"private", "ImageComments", "TextValue"} <= places


def test_burned_in_text_is_drawn_and_only_sometimes_admitted(population: Written) -> None:
    out, written = population
    frames = [(w.burned_in, pydicom.dcmread(out / w.path)) for w in written if w.Modality == "US"]
    assert {ds.get("BurnedInAnnotation") for burned, ds in frames if burned} == {"YES", None}
    plain = next(ds for burned, ds in frames if ds.get("BurnedInAnnotation") == "NO")
    for burned, ds in frames:
        if burned:
            assert len(ds.PixelData) == len(plain.PixelData)
            assert ds.PixelData[: ds.Columns * 3 * 30] != plain.PixelData[: ds.Columns * 3 * 30]


def test_uncompressed_pixels_are_as_long_as_the_header_says(population: Written) -> None:
    out, written = population
    for instance in written:
        ds = pydicom.dcmread(out / instance.path)
        if "PixelData" in ds and not ds.file_meta.TransferSyntaxUID.is_compressed:
            assert len(ds.PixelData) == ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8


def test_series_and_dates_are_coherent(population: Written) -> None:
    out, written = population
    series: dict[str, list[Dataset]] = defaultdict(list)
    for instance in written:
        series[instance.SeriesInstanceUID].append(pydicom.dcmread(out / instance.path, stop_before_pixels=True))
    for members in series.values():
        assert [int(ds.InstanceNumber) for ds in members] == list(range(1, len(members) + 1))
        assert len({(ds.StudyInstanceUID, ds.StudyDate, ds.AccessionNumber, ds.SeriesDate) for ds in members}) == 1
        assert all(ds.StudyDate <= ds.SeriesDate <= ds.AcquisitionDate == ds.ContentDate for ds in members)
        if len(members) > 1 and "ImagePositionPatient" in members[0]:
            assert len({tuple(ds.ImagePositionPatient) for ds in members}) == len(members)
            assert len({ds.SliceLocation for ds in members}) == len(members)


def test_patients_return_and_some_are_known_at_both_sites() -> None:
    dates, sites = defaultdict(set), defaultdict(set)
    for study in Population(patients=12, seed=9).studies():
        dates[study.patient.PatientID].add(study.when.date())
        sites[study.patient.PatientID, study.patient.IssuerOfPatientID].add(study.site)
    assert sum(len(days) > 1 for days in dates.values()) >= 6
    assert sum(len(places) == 2 for places in sites.values()) >= 2


def test_each_site_has_one_date_without_studies() -> None:
    population = Population(patients=40, seed=9)
    for site in population.sites:
        used = {study.when.date() for study in population.studies() if study.site == site}
        assert used == set(population.study_dates(site))
        assert len(used) == population.days - 1


def test_patient_ids_are_distinct() -> None:
    people = {study.patient.index: study.patient.PatientID for study in Population(patients=3000, seed=9).studies()}
    assert len(people) == len({identifier[1:] for identifier in people.values()}) == 3000


@pytest.mark.parametrize("instances", [95, 100, 1234, 100_000])
def test_the_number_of_instances_is_met_exactly(instances: int) -> None:
    population = Population(patients=12, seed=9, instances=instances)
    lengths = [series.length for series in population.series()]
    assert sum(lengths) == instances
    assert min(lengths) >= 1


def test_too_few_instances_are_refused_with_the_least_number() -> None:
    with pytest.raises(SettingsError, match="at least"):
        next(Population(patients=12, seed=9, instances=10).series())


def test_memory_does_not_grow_with_the_population(tmp_path: Path) -> None:
    """A stream: what is held at any moment is one series' data set, whatever comes before and after."""

    def peak(out: Path, instances: int) -> int:
        tracemalloc.start()
        for _ in write_population(out, Population(patients=1, seed=4, instances=instances)):
            pass
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(tmp_path / "warm", 20)  # fills the caches of templates
    assert peak(tmp_path / "long", 200) < 1.3 * peak(tmp_path / "short", 20)


def test_nothing_is_written_ahead_of_the_reader(tmp_path: Path) -> None:
    written = write_population(tmp_path, Population(patients=12, seed=4))
    assert not list(tmp_path.iterdir())
    next(written)
    assert len(list(tmp_path.rglob("*.dcm"))) == 1
    written.close()


def test_an_interrupted_population_is_not_complete_and_can_be_finished(tmp_path: Path) -> None:
    population = Population(patients=2, seed=4)
    writing = write_population(tmp_path / "a", population)
    for _ in range(3):
        next(writing)
    writing.close()
    assert not is_complete(tmp_path / "a", population)
    generate(tmp_path / "a", population)
    assert is_complete(tmp_path / "a", population)
    generate(tmp_path / "b", population)
    finished = digests(tmp_path / "a")
    finished.pop(f"{TABLE}.partial", None)
    assert finished == digests(tmp_path / "b")


def test_a_folder_with_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SettingsError, match="other files"):
        generate(tmp_path, Population(patients=1, seed=4))
    generate(tmp_path / "p", Population(patients=1, seed=4))
    with pytest.raises(SettingsError, match="another sample population"):
        generate(tmp_path / "p", Population(patients=1, seed=5))


def test_the_table_has_a_row_for_every_file(population: Written) -> None:
    out, written = population
    with (out / TABLE).open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["path"] for row in rows] == [w.path for w in written]
    assert {row["path"] for row in rows} == {p.relative_to(out).as_posix() for p in out.rglob("*.dcm")}
    assert json.loads(rows[0]["identifiers"]) == list(written[0].identifiers)


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    seen: list[WrittenInstance] = []
    summary = generate(tmp_path, Population(patients=4, seed=4), on_progress=seen.append)
    assert summary.instances == len(seen) == len(list(tmp_path.rglob("*.dcm")))
    assert summary.patients == 4
    assert summary.studies == len({w.StudyInstanceUID for w in seen})
    assert summary.series == len({w.SeriesInstanceUID for w in seen})
    assert summary.bytes == sum(p.stat().st_size for p in tmp_path.rglob("*.dcm"))


def test_five_patients_have_every_kind_of_study() -> None:
    kinds = {study.kind.description for study in Population(patients=5, seed=1).studies()}
    assert kinds == {kind.description for kind in STUDY_KINDS}

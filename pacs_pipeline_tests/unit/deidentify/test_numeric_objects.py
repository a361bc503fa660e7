"""Radiotherapy, derived objects and waveforms come through whole, and nobody's name with them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite, uid
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile, tables
from pacs_pipeline.deidentify.codec import SPAN_FROM
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.labels import TABLE, labels
from pacs_pipeline.records import Reason

from . import builder
from . import numeric_objects as objects
from .conftest import Bench

PEOPLE = (b"abernathy", b"quillfeather", b"ottoline", b"josephine", b"5550123")


@pytest.fixture(scope="module")
def research(keys: Keys) -> Deidentifier:
    return Deidentifier(load_profile("research"), keys)


@pytest.fixture
def desk(research: Deidentifier, tmp_path: Path) -> Bench:
    return Bench(research, tmp_path)


@pytest.mark.parametrize("profile", ["basic", "basic-modified-dates", "research", "limited"])
@pytest.mark.parametrize("make", objects.EVERY.values(), ids=objects.EVERY)
def test_every_family_comes_out_without_its_people(
    make: Callable[[], FileDataset], profile: str, keys: Keys, tmp_path: Path
) -> None:
    outcome = Deidentifier(load_profile(profile), keys).deidentify(builder.save(make(), tmp_path / "in.dcm"), tmp_path)
    assert outcome.output is not None, (outcome.reason, outcome.detail)
    content = outcome.output.read_bytes().lower()
    assert not [person for person in PEOPLE if person in content]
    ds = builder.load(outcome.output)
    assert ds.PatientIdentityRemoved == "YES"
    people = [element for element in builder.everything(ds) if element.VR == "PN" and element.value]
    assert {str(element.value) for element in people} <= {str(ds.PatientID), "ANONYMIZED"}


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
@pytest.mark.parametrize(
    "name", ["structure set", "plan", "dose", "binary segmentation", "float map", "ECG", "surface"]
)
def test_every_transfer_syntax(desk: Bench, name: str, syntax: uid.UID) -> None:
    ds = objects.EVERY[name]()
    for element in ds.iterall() if syntax == ExplicitVRBigEndian else ():
        if element.VR in ("OW", "OF", "OL") and element.value:
            size = 2 if element.VR == "OW" and ds.get("BitsAllocated") != 32 else 4
            element.value = np.frombuffer(element.value, f"<u{size}").astype(f">u{size}").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPInstanceUID, ds.file_meta.MediaStorageSOPClassUID = ds.SOPInstanceUID, ds.SOPClassUID
    path = desk.folder / "in.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    outcome = desk.engine.deidentify(path, desk.out)
    assert outcome.output is not None, (outcome.reason, outcome.detail)
    before, after = dcmread(path), dcmread(outcome.output)
    bulk = ("OW", "OF", "OL", "OB", "FL", "US", "UL")
    values = [
        [element.value for element in one.iterall() if element.VR in bulk and element.tag not in (0x00020001,)]
        for one in (before, after)
    ]
    assert values[0] == values[1]


def test_the_labels_are_attributes_outside_the_table() -> None:
    lines = resources.files(tables).joinpath(TABLE).read_text(encoding="ascii").splitlines()
    keywords = [line.partition(",")[0] for line in lines[1:]]
    assert len(set(keywords)) == len(keywords) == len(labels())
    assert labels().isdisjoint(int(row.tag, 16) for row in read_table() if "x" not in row.tag and row.tag != "PRIVATE")


@pytest.mark.parametrize("depth", [0, 3])
def test_no_label_keeps_a_stranger(desk: Bench, depth: int) -> None:
    tags = sorted(labels())
    for start in range(0, len(tags), 20):
        ds = objects.structure_set("Heart")
        place = builder.nested(ds, depth) if depth else ds
        for tag in tags[start : start + 20]:
            builder.put(place, tag, dictionary_VR(tag), "AP WHISTLEDOWN")
        outcome = desk.run(ds)
        assert outcome.output is not None, (outcome.reason, outcome.detail)
        assert b"WHISTLEDOWN" not in outcome.output.read_bytes()


class TestStructureSets:
    NAMES = (
        "PTV_6000", "Heart", "Lung_L", "SpinalCord", "GTVp", "CTV 50.4Gy", "BrainStem PRV", "Parotid_R", "Bowel_Small",
        "OpticNrv_L", "A_LAD", "Lips", "Eye_R", "PTV60Gy", "Ring_5mm", "Glnd_Submand_L", "External", "Femur_Head_R",
    )  # fmt: skip

    def test_names_of_regions_stay(self, desk: Bench) -> None:
        clean = desk.clean(objects.structure_set(*self.NAMES))
        assert [roi.ROIName for roi in clean.StructureSetROISequence] == list(self.NAMES)
        assert [one.ROIObservationLabel for one in clean.RTROIObservationsSequence] == list(self.NAMES)
        assert (clean.StructureSetLabel, clean.StructureSetName) == ("Plan 1", "PELVIS")

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("GTV ABERNATHY", "GTV"),
            ("GTV_Abernathy_J", "GTV"),
            ("ABERNATHY", ""),
            ("PTV Oyelaran", "PTV"),
            ("Liver MRN-5550123", "Liver"),
            ("CTV 19510704", "CTV"),
            ("Heart Ottoline", "Heart"),
            ("Lung Whistledown", "Lung"),
            ("Jos\u00e9phine PTV", "PTV"),
        ],
    )
    def test_people_in_names_go(self, desk: Bench, name: str, kept: str) -> None:
        clean = desk.clean(objects.structure_set(name))
        assert clean.StructureSetROISequence[0].ROIName == kept

    def test_without_clean_descriptors_the_table_decides(self, bench: Bench) -> None:
        clean = bench.clean(objects.structure_set("Heart"))
        assert clean.StructureSetROISequence[0].ROIName == ""  # Z
        assert clean.StructureSetLabel == "ANONYMIZED"  # D
        assert "StructureSetName" not in clean  # X
        assert "ROIObservationLabel" not in clean.RTROIObservationsSequence[0]

    def test_contours_numbers_and_references_stay_together(self, desk: Bench) -> None:
        source = objects.structure_set("Heart", "Lung_L")
        clean = desk.clean(source)
        for before, after in zip(source.ROIContourSequence, clean.ROIContourSequence, strict=True):
            assert after.ContourSequence[0].ContourData == before.ContourSequence[0].ContourData
            assert after.ReferencedROINumber == before.ReferencedROINumber
            assert after.ROIDisplayColor == before.ROIDisplayColor
        assert [roi.ROINumber for roi in clean.StructureSetROISequence] == [1, 2]
        image = desk.clean(builder.image(SOPInstanceUID=objects.IMAGE_UID))
        referenced = clean.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0]
        assert referenced.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert clean.StructureSetROISequence[0].ReferencedFrameOfReferenceUID == image.FrameOfReferenceUID
        assert clean.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == image.FrameOfReferenceUID

    def test_dates_move_together(self, desk: Bench) -> None:
        clean = desk.clean(objects.structure_set("Heart"))
        assert clean.StructureSetDate != "20200320"
        days = [
            np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}")
            for text in (clean.StudyDate, clean.StructureSetDate, clean.ReviewDate)
        ]
        assert [int((day - days[0]).astype(int)) for day in days] == [0, 3, 4]

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
    def test_a_contour_of_any_length(self, desk: Bench, syntax: uid.UID) -> None:
        source = objects.structure_set("Heart", points=40_000)
        source.file_meta.TransferSyntaxUID = syntax
        value = source.ROIContourSequence[0].ContourSequence[0].ContourData
        clean = desk.clean(source)
        kept = clean.ROIContourSequence[0].ContourSequence[0]
        raw = kept.get_item("ContourData").value
        assert len(raw) > SPAN_FROM
        data = kept.ContourData if not isinstance(kept.ContourData, bytes) else kept.ContourData.decode().split("\\")
        assert [float(number) for number in data] == [float(number) for number in value]

    @pytest.mark.parametrize("points", [6, 40_000])
    @pytest.mark.parametrize("hidden", ["ABERNATHY", "12 rue", "5550123", "05550123.0", "5.550123E6", "9" * 25])
    def test_what_is_hidden_among_its_numbers_goes(self, desk: Bench, points: int, hidden: str) -> None:
        source = objects.structure_set("Heart", points=points)
        source.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        contour = source.ROIContourSequence[0].ContourSequence[0]
        numbers = [str(number) for number in contour.ContourData]
        numbers[len(numbers) // 2] = hidden
        builder.put(contour, 0x30060050, "LT", "\\".join(numbers))  # pydicom would not write it as numbers
        outcome = desk.run(source)
        assert outcome.output is not None, (outcome.reason, outcome.detail)
        assert hidden.encode() not in outcome.output.read_bytes()
        assert not builder.load(outcome.output).ROIContourSequence[0].ContourSequence[0].ContourData

    def test_a_text_longer_than_any_number_withholds(self, desk: Bench) -> None:
        source = objects.structure_set("Heart")
        source.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        contour = source.ROIContourSequence[0].ContourSequence[0]
        builder.put(contour, 0x30060050, "LT", "1\\2\\" + "WHISTLEDOWN " * 9000)
        outcome = desk.run(source)
        assert outcome.output is None or b"WHISTLEDOWN" not in outcome.output.read_bytes()

    def test_its_own_pixels_withhold_it(self, desk: Bench) -> None:
        source = objects.structure_set("Heart")
        source.PixelData = b"\1\0" * 20
        source["PixelData"].VR = "OW"
        assert desk.run(source).reason is Reason.HIDDEN_CONTENT

    def test_contours_are_no_part_of_the_row(self, desk: Bench) -> None:
        outcome = desk.run(objects.structure_set("Heart"))
        assert outcome.row is not None
        assert "ContourGeometricType" in str(outcome.row["header"])
        assert "ContourData" not in str(outcome.row["header"])


class TestPlansAndRecords:
    def test_beams_stay_with_their_numbers(self, desk: Bench) -> None:
        clean = desk.clean(objects.plan())
        beam = clean.BeamSequence[0]
        assert (clean.RTPlanLabel, beam.BeamName, beam.BeamDescription) == ("PROSTATE", "AP Field", "AP")
        assert beam.BeamNumber == clean.FractionGroupSequence[0].ReferencedBeamSequence[0].ReferencedBeamNumber == 1
        assert beam.ApplicatorSequence[0].ApplicatorID == "CONE 10X10"
        assert clean.ApprovalStatus == "UNAPPROVED"
        structures = desk.clean(objects.structure_set("Heart"))
        assert clean.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID

    def test_a_person_in_the_name_of_a_beam_goes(self, desk: Bench) -> None:
        source = objects.plan()
        source.BeamSequence[0].BeamName = "AP Abernathy"
        source.BeamSequence[0].ApplicatorSequence[0].ApplicatorID = "Whistledown"
        beam = desk.clean(source).BeamSequence[0]
        assert beam.BeamName == "AP"
        assert beam.ApplicatorSequence[0].ApplicatorID == "ANONYMIZED"  # type 1

    def test_without_clean_descriptors_labels_are_removed_or_dummies(self, bench: Bench) -> None:
        beam = bench.clean(objects.plan()).BeamSequence[0]
        assert "BeamName" not in beam  # type 3
        assert beam.ApplicatorSequence[0].ApplicatorID == "ANONYMIZED"  # type 1

    def test_a_spot_map_beyond_what_is_read(self, desk: Bench) -> None:
        source = objects.plan(uid.RTIonPlanStorage)
        clean = desk.clean(source)
        point = clean.IonBeamSequence[0].IonControlPointSequence[0]
        spots = point["ScanSpotPositionMap"]
        values = np.frombuffer(spots.value, "<f4") if isinstance(spots.value, bytes) else np.array(spots.value)
        assert np.array_equal(values, np.arange(40_000, dtype="<f4") / 8)
        assert clean.IonBeamSequence[0].SnoutSequence[0].SnoutID == "ANONYMIZED"

    @pytest.mark.parametrize("at", [0, 70_000, 159_900])
    def test_letters_in_a_spot_map_take_it_away(self, desk: Bench, at: int) -> None:
        source = objects.plan(uid.RTIonPlanStorage)
        point = source.IonBeamSequence[0].IonControlPointSequence[0]
        raw = bytearray(struct.pack("<40000f", *point.ScanSpotPositionMap))
        raw[at : at + 64] = b"Treated by Whistledown and Featherstonehaugh on Monday, 9 o'clock"[:64]
        builder.put(point, 0x300A0394, "FL", list(struct.unpack("<40000f", raw)))
        clean = desk.clean(source)
        assert "ScanSpotPositionMap" not in clean.IonBeamSequence[0].IonControlPointSequence[0]

    def test_treatments_move_with_the_patient(self, desk: Bench) -> None:
        clean = desk.clean(objects.record())
        point = clean.TreatmentSessionBeamSequence[0].ControlPointDeliverySequence[0]
        assert clean.TreatmentDate == point.TreatmentControlPointDate != "20200322"
        assert point.TreatmentControlPointTime == "083012"
        assert not point.OverrideSequence[0].get("OperatorsName")
        assert clean.TreatmentSessionBeamSequence[0].TreatmentTerminationStatus == "NORMAL"

    def test_the_strength_of_a_source_keeps_its_age(self, desk: Bench) -> None:
        source = desk.clean(objects.brachy())
        recorded = source.RecordedSourceSequence[0]
        treated, measured = (
            np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}")
            for text in (source.TreatmentDate, recorded.SourceStrengthReferenceDate)
        )
        assert int((treated - measured).astype(int)) == 21
        assert recorded.SourceStrengthReferenceTime == "120000"

    @pytest.mark.parametrize("name", ["rtstruct.dcm", "rtplan.dcm", "rtdose.dcm", "rtdose_rle.dcm", "rtdose_expb.dcm"])
    def test_files_of_pydicom(self, research: Deidentifier, tmp_path: Path, name: str) -> None:
        source = Path(str(get_testdata_file(name, download=False)))
        outcome = research.deidentify(source, tmp_path)
        assert outcome.output is not None, (outcome.reason, outcome.detail)
        before, after = dcmread(source, force=True), dcmread(outcome.output)
        assert after.get("PixelData") == before.get("PixelData")
        assert str(after.PatientName) != str(before.PatientName)


class TestDoses:
    @pytest.mark.parametrize("bits", [16, 32])
    def test_the_grid_and_the_histogram_stay(self, desk: Bench, bits: int) -> None:
        source = objects.dose(bits)
        clean = desk.clean(source)
        assert clean.PixelData == source.PixelData
        assert clean.DVHSequence[0].DVHData == source.DVHSequence[0].DVHData
        assert list(clean.GridFrameOffsetVector) == [0, 2.5, 5]
        assert (clean.DoseUnits, clean.DoseSummationType, clean.DoseGridScaling) == ("GY", "PLAN", 0.0001)

    def test_a_dose_without_a_grid(self, desk: Bench) -> None:
        source = objects.dose()
        for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "NumberOfFrames"):
            delattr(source, keyword)
        assert desk.clean(source).DVHSequence

    @pytest.mark.parametrize(("bytes_", "reason"), [(-8, Reason.TRUNCATED), (8, Reason.HIDDEN_CONTENT)])
    def test_a_grid_of_another_length(self, desk: Bench, bytes_: int, reason: Reason) -> None:
        source = objects.dose()
        source.PixelData = source.PixelData[:bytes_] if bytes_ < 0 else source.PixelData + b"JANE DOE"
        assert desk.run(source).reason is reason

    def test_a_histogram_that_names_somebody(self, desk: Bench) -> None:
        source = objects.dose()
        source.DVHSequence[0].DVHData = ["0.1", "5550123"]
        assert not desk.clean(source).DVHSequence[0].get("DVHData")


class TestDerivedObjects:
    @pytest.mark.parametrize("fractional", [False, True])
    def test_segments_stay(self, desk: Bench, *, fractional: bool) -> None:
        source = objects.segmentation(fractional=fractional)
        clean = desk.clean(source)
        assert clean.PixelData == source.PixelData
        segment = clean.SegmentSequence[0]
        assert (segment.SegmentLabel, segment.SegmentDescription, segment.SegmentNumber) == ("Liver", "Liver", 1)
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
        assert clean.ContentLabel == "SEGMENTATION"
        assert segment.TrackingID == "Lesion 1"
        assert segment.TrackingUID not in ("", "1.2.999.6.1")

    def test_a_name_in_a_label_goes(self, desk: Bench) -> None:
        clean = desk.clean(objects.segmentation("Liver Abernathy"))
        assert clean.SegmentSequence[0].SegmentLabel == "Liver"
        clean = desk.clean(objects.segmentation("Abernathy"))
        assert clean.SegmentSequence[0].SegmentLabel == "ANONYMIZED"  # type 1
        assert "SegmentDescription" not in clean.SegmentSequence[0]  # type 3

    def test_without_clean_descriptors_a_label_is_a_dummy(self, bench: Bench) -> None:
        assert bench.clean(objects.segmentation()).SegmentSequence[0].SegmentLabel == "ANONYMIZED"

    @pytest.mark.parametrize("fractional", [False, True])
    def test_compressed_by_runs(self, desk: Bench, *, fractional: bool) -> None:
        source = objects.segmentation(fractional=fractional)
        size = 35 if fractional else 5  # 35 bits of a frame are packed into five bytes
        frames = [bytes([n]) * size for n in (0x15, 0x2A, 0)]
        source.PixelData = encapsulate([_runs(frame) for frame in frames])
        source["PixelData"].VR, source["PixelData"].is_undefined_length = "OB", True
        source.file_meta.TransferSyntaxUID = RLELossless
        assert desk.clean(source).PixelData == source.PixelData
        source.PixelData = encapsulate([*[_runs(frame) for frame in frames[:2]], _runs(frames[2], b"JANE DOE")])
        source["PixelData"].VR, source["PixelData"].is_undefined_length = "OB", True
        assert desk.run(source).reason is Reason.HIDDEN_CONTENT

    def test_frames_that_are_missing(self, desk: Bench) -> None:
        source = objects.segmentation(frames=3)
        source.NumberOfFrames = 30
        assert desk.run(source).reason is Reason.TRUNCATED
        del source.PixelData
        assert desk.run(source).reason is Reason.TRUNCATED

    @pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
    def test_a_map_of_floating_point_numbers(self, desk: Bench, keyword: str) -> None:
        source = objects.parametric_map(keyword)
        assert getattr(desk.clean(source), keyword) == getattr(source, keyword)
        source = objects.parametric_map(keyword)
        setattr(source, keyword, getattr(source, keyword) + b"JANE DOE")
        assert desk.run(source).reason is Reason.HIDDEN_CONTENT
        setattr(source, keyword, getattr(source, keyword)[:-16])
        assert desk.run(source).reason is Reason.TRUNCATED

    def test_a_map_has_pixels_of_one_kind(self, desk: Bench) -> None:
        source = objects.parametric_map()
        source.DoubleFloatPixelData = bytes(320)
        assert desk.run(source).reason is Reason.HIDDEN_CONTENT

    def test_an_image_has_no_floating_point_pixels(self, desk: Bench) -> None:
        source = builder.image()
        source.FloatPixelData = bytes(4 * 16 * 12)
        assert "FloatPixelData" not in desk.clean(source)

    def test_registrations_stay(self, desk: Bench) -> None:
        source = objects.registration()
        before = source.RegistrationSequence[0].MatrixRegistrationSequence[0]
        after = desk.clean(source).RegistrationSequence[0].MatrixRegistrationSequence[0]
        assert after.MatrixSequence == before.MatrixSequence
        assert after.RegistrationTypeCodeSequence[0].CodeValue == "125025"
        frame = desk.clean(builder.image(FrameOfReferenceUID=objects.OTHER_FRAME)).FrameOfReferenceUID
        assert desk.clean(objects.registration()).RegistrationSequence[0].FrameOfReferenceUID == frame

    @pytest.mark.parametrize(
        "size", [4, 24, 60]
    )  # within the element, beyond what is read, beyond what is copied at once
    def test_a_field_of_vectors_stays(self, desk: Bench, size: int) -> None:
        source = objects.deformable(size=size)
        kept = desk.clean(source).DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
        before = source.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
        assert kept.VectorGridData == before.VectorGridData
        assert kept.GridDimensions == before.GridDimensions

    @pytest.mark.parametrize("size", [4, 24, 60])
    def test_a_name_in_a_field_of_vectors_withholds_it(self, desk: Bench, size: int) -> None:
        source = objects.deformable(size=size)
        grid = source.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
        raw = grid.VectorGridData
        grid.VectorGridData = raw[:-64] + b"Whistledown, Featherstonehaugh and Cholmondeley".ljust(64, b"\0")
        assert desk.run(source).reason is Reason.HIDDEN_CONTENT
        grid.VectorGridData = raw + b"JANE"
        assert desk.run(source).reason is Reason.HIDDEN_CONTENT

    @pytest.mark.parametrize("size", [24, 60])
    def test_the_residue_scan_reads_long_sequences(self, desk: Bench, size: int) -> None:
        """Behind a field of a megabyte something stands that only the scan can know to be somebody's."""
        source = objects.deformable(size=size)
        outer = source.DeformableRegistrationSequence[0]
        grid = outer.DeformableRegistrationGridSequence[0]
        vectors = np.frombuffer(grid.VectorGridData, "<f4").copy()
        vectors[-300:-297] = np.frombuffer(b"MRN-5550123\0", "<f4")
        grid.VectorGridData = vectors.tobytes()
        assert desk.run(source).reason is Reason.RESIDUE

    def test_fiducials_surfaces_tracks_and_mappings_stay(self, desk: Bench) -> None:
        mark = desk.clean(objects.fiducials()).FiducialSetSequence[0].FiducialSequence[0]
        assert (mark.FiducialIdentifier, list(mark.ContourData)) == ("Marker 1", [1, 2, 3.5])
        assert mark.FiducialUID != "1.2.999.5.5"
        mark = desk.clean(objects.fiducials("Abernathy")).FiducialSetSequence[0].FiducialSequence[0]
        assert mark.FiducialIdentifier == "ANONYMIZED"
        source = objects.surface()
        kept, before = (ds.SurfaceSequence[0] for ds in (desk.clean(source), source))
        assert kept.SurfacePointsSequence == before.SurfacePointsSequence
        assert kept.SurfaceMeshPrimitivesSequence == before.SurfaceMeshPrimitivesSequence
        assert "Abernathy" not in kept.get("SurfaceComments", "")
        source = objects.tracks()
        kept, before = (ds.TrackSetSequence[0] for ds in (desk.clean(source), source))
        assert kept.TrackSequence == before.TrackSequence
        assert (kept.TrackSetLabel, kept.TrackSetNumber) == ("Corpus callosum", 1)
        value = desk.clean(objects.mapping()).ReferencedImageRealWorldValueMappingSequence[0]
        value = value.RealWorldValueMappingSequence[0]
        assert (value.RealWorldValueSlope, value.RealWorldValueIntercept) == (1.0, -1024.0)
        assert value.MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
        assert value.LUTLabel == value.LUTExplanation == "ANONYMIZED"  # type 1

    def test_files_of_pydicom(self, research: Deidentifier, tmp_path: Path) -> None:
        source = Path(str(get_testdata_file("liver_1frame.dcm", download=False)))
        outcome = research.deidentify(source, tmp_path)
        assert outcome.output is not None, (outcome.reason, outcome.detail)
        assert dcmread(outcome.output).PixelData == dcmread(source).PixelData


class TestWaveforms:
    def test_samples_channels_and_annotations_stay(self, desk: Bench) -> None:
        source = objects.waveform()
        clean = desk.clean(source)
        group, before = clean.WaveformSequence[0], source.WaveformSequence[0]
        assert group.WaveformData == before.WaveformData
        assert group.WaveformPaddingValue == before.WaveformPaddingValue
        assert group.MultiplexGroupLabel == "RHYTHM"
        channel = group.ChannelDefinitionSequence[1]
        assert channel.ChannelLabel == "Lead V2"
        assert channel.ChannelSourceSequence[0].CodeMeaning == "Lead I"
        assert channel.ChannelSensitivityUnitsSequence[0].CodeValue == "uV"
        first, second = clean.WaveformAnnotationSequence
        assert first.UnformattedTextValue == "Sinus rhythm"
        assert "Quillfeather" not in second.UnformattedTextValue
        assert list(second.ReferencedWaveformChannels) == [1, 2]

    def test_without_the_options_texts_are_dummies(self, bench: Bench) -> None:
        clean = bench.clean(objects.waveform())
        assert "MultiplexGroupLabel" not in clean.WaveformSequence[0]
        for annotation in clean.get("WaveformAnnotationSequence", []):
            assert annotation.get("UnformattedTextValue", "ANONYMIZED") == "ANONYMIZED"
            assert len(annotation.ReferencedWaveformChannels) == 2
        assert clean.WaveformSequence[0].WaveformData == objects.waveform().WaveformSequence[0].WaveformData

    @pytest.mark.parametrize("samples", [500, 60_000, 400_000])
    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda raw: raw, None),
            (lambda raw: raw[:-2], Reason.TRUNCATED),
            (lambda raw: raw + b"JD", Reason.HIDDEN_CONTENT),
            (
                lambda raw: raw[:-64] + b"Whistledown and Featherstonehaugh sat here for the whole hour...",
                Reason.HIDDEN_CONTENT,
            ),
        ],
    )
    def test_the_length_is_what_the_module_declares(
        self, desk: Bench, samples: int, spoil: Callable[[bytes], bytes], reason: Reason | None
    ) -> None:
        source = objects.waveform(samples=samples)
        group = source.WaveformSequence[0]
        group.WaveformData = spoil(group.WaveformData)
        assert desk.run(source).reason is reason

    @pytest.mark.parametrize(("pad", "reason"), [(b"\0", None), (b"J", Reason.HIDDEN_CONTENT)])
    def test_an_odd_number_of_bytes_is_padded_with_nothing(
        self, desk: Bench, pad: bytes, reason: Reason | None
    ) -> None:
        source = objects.waveform(channels=1, samples=5)
        group = source.WaveformSequence[0]
        group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 8, "UB"
        group["WaveformData"].VR = "OB"
        group.WaveformData = bytes([1, 2, 3, 4, 5]) + pad
        assert desk.run(source).reason is reason

    def test_a_module_that_does_not_say_how_many(self, desk: Bench) -> None:
        source = objects.waveform()
        del source.WaveformSequence[0].NumberOfWaveformSamples
        assert desk.run(source).reason is Reason.UNREADABLE

    def test_samples_outside_a_waveform_go(self, desk: Bench) -> None:
        source = builder.image()
        item = Dataset()
        item.WaveformData = b"ab" * 20
        item["WaveformData"].VR = "OW"
        source.WaveformSequence = Sequence([item])
        assert "WaveformData" not in desk.clean(source).WaveformSequence[0]

    def test_a_voice_is_withheld_and_why(self, desk: Bench) -> None:
        outcome = desk.run(objects.waveform(uid.BasicVoiceAudioWaveformStorage))
        assert outcome.reason is Reason.UNSUPPORTED
        assert "voice" in outcome.detail

    def test_the_electrocardiogram_of_pydicom(self, research: Deidentifier, tmp_path: Path) -> None:
        source = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))
        outcome = research.deidentify(source, tmp_path)
        assert outcome.output is not None, (outcome.reason, outcome.detail)
        before, after = dcmread(source), dcmread(outcome.output)
        for one, other in zip(before.WaveformSequence, after.WaveformSequence, strict=True):
            assert one.WaveformData == other.WaveformData
        leads = [channel.ChannelSourceSequence[0] for channel in after.WaveformSequence[0].ChannelDefinitionSequence]
        assert [lead.CodeMeaning for lead in leads[:4]] == ["Lead I", "Lead II", "Lead III", "Lead aVR"]


def _runs(data: bytes, tail: bytes = b"") -> bytes:
    """One RLE frame of one segment: a literal run for each 128 bytes (PS3.5 Annex G)."""
    body = b"".join(bytes([len(part) - 1]) + part for at in range(0, len(data), 128) if (part := data[at : at + 128]))
    body += tail
    return struct.pack("<16L", 1, 64, *[0] * 14) + body + b"\0" * (len(body) % 2)

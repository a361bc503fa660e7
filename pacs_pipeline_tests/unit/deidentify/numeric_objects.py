"""Synthetic objects of radiotherapy, derived objects and waveforms of an invented person."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from . import builder

FRAME = "1.2.999.1.9"
IMAGE_UID = "1.2.999.1.2.3.77"
OTHER_FRAME = "1.2.999.1.10"
_PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelSpacing", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelData", "ImagePositionPatient", "KVP", "ConvolutionKernel", "SliceThickness",
    "ImageType",
)  # fmt: skip


def item(**attributes: object) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def sequence(items: Iterable[Dataset]) -> Sequence:
    return Sequence(list(items))


def code(value: str, scheme: str, meaning: str) -> Sequence:
    return Sequence([item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)])


def instance(sop_class: str, modality: str, syntax: UID = ExplicitVRLittleEndian, **attributes: object) -> FileDataset:
    """An instance without pixels; ``attributes`` override or, with None, remove."""
    ds = builder.image(SOPClassUID=sop_class, Modality=modality)
    for keyword in _PIXELS:
        delattr(ds, keyword)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.OperatorsName = "Quillfeather^Ottoline"
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def structure_set(*names: str, points: int = 4, **attributes: object) -> FileDataset:
    """An RT Structure Set with a region and a contour for each of ``names``."""
    ds = instance(uid.RTStructureSetStorage, "RTSTRUCT")
    ds.StructureSetLabel, ds.StructureSetName = "Plan 1", "PELVIS"
    ds.StructureSetDate, ds.StructureSetTime = "20200320", "101500"
    image = item(ReferencedSOPClassUID=builder.CT, ReferencedSOPInstanceUID=IMAGE_UID)
    series = item(SeriesInstanceUID="1.2.999.1.2.9", ContourImageSequence=Sequence([image]))
    study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=ds.StudyInstanceUID,
        RTReferencedSeriesSequence=Sequence([series]),
    )
    ds.ReferencedFrameOfReferenceSequence = Sequence(
        [item(FrameOfReferenceUID=FRAME, RTReferencedStudySequence=Sequence([study]))]
    )
    ds.StructureSetROISequence = sequence(
        item(ROINumber=n, ReferencedFrameOfReferenceUID=FRAME, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        for n, name in enumerate(names, start=1)
    )
    corners = [coordinate for n in range(points) for coordinate in (f"{-10.25 + n:.4f}", f"{n * 1.5:.3f}", "-7.5")]
    ds.ROIContourSequence = sequence(
        item(
            ROIDisplayColor=[255, 0, n],
            ReferencedROINumber=n,
            ContourSequence=Sequence(
                [
                    item(
                        ContourGeometricType="CLOSED_PLANAR",
                        NumberOfContourPoints=points,
                        ContourImageSequence=Sequence([image]),
                        ContourData=corners,
                    )
                ]
            ),
        )
        for n, _ in enumerate(names, start=1)
    )
    ds.RTROIObservationsSequence = sequence(
        item(
            ObservationNumber=n, ReferencedROINumber=n, ROIObservationLabel=name[:16], RTROIInterpretedType="ORGAN",
            ROIInterpreter="Quillfeather^Ottoline",
        )
        for n, name in enumerate(names, start=1)
    )  # fmt: skip
    ds.ApprovalStatus, ds.ReviewDate, ds.ReviewTime = "APPROVED", "20200321", "120000"
    ds.ReviewerName = "Quillfeather^Ottoline"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def plan(sop_class: str = uid.RTPlanStorage) -> FileDataset:
    """An RT Plan, or RT Ion Plan, of one beam."""
    ds = instance(sop_class, "RTPLAN", RTPlanLabel="PROSTATE", RTPlanName="PROSTATE", RTPlanDate="20200320")
    ds.RTPlanTime, ds.RTPlanGeometry, ds.PlanIntent = "101500", "PATIENT", "CURATIVE"
    beam = item(
        Manufacturer="Varian", TreatmentMachineName="TB1", BeamNumber=1, BeamName="AP Field", BeamDescription="AP",
        BeamType="STATIC", RadiationType="PHOTON", TreatmentDeliveryType="TREATMENT", NumberOfWedges=0,
        NumberOfControlPoints=2, FinalCumulativeMetersetWeight="1", SourceAxisDistance="1000",
        ApplicatorSequence=Sequence([item(ApplicatorID="CONE 10X10", ApplicatorType="ELECTRON_SQUARE")]),
    )  # fmt: skip
    if sop_class == uid.RTPlanStorage:
        beam.ControlPointSequence = Sequence(
            [item(ControlPointIndex=0, CumulativeMetersetWeight="0", GantryAngle="180"), item(ControlPointIndex=1)]
        )
        ds.BeamSequence = Sequence([beam])
    else:
        beam.RadiationType, beam.ScanMode = "PROTON", "MODULATED"
        spots = np.arange(40_000, dtype=np.float32) / 8
        beam.IonControlPointSequence = Sequence(
            [item(ControlPointIndex=0, NumberOfScanSpotPositions=20_000, ScanSpotPositionMap=spots.tolist())]
        )
        beam.SnoutSequence = Sequence([item(SnoutID="ABERNATHY 4")])
        ds.IonBeamSequence = Sequence([beam])
    ds.FractionGroupSequence = Sequence(
        [
            item(
                FractionGroupNumber=1, NumberOfFractionsPlanned=25, NumberOfBeams=1, NumberOfBrachyApplicationSetups=0,
                ReferencedBeamSequence=Sequence([item(ReferencedBeamNumber=1, BeamDose="2", BeamMeterset="120")]),
            )
        ]
    )  # fmt: skip
    ds.PatientSetupSequence = Sequence([item(PatientSetupNumber=1, PatientSetupLabel="Supine", PatientPosition="HFS")])
    ds.ReferencedStructureSetSequence = Sequence(
        [item(ReferencedSOPClassUID=uid.RTStructureSetStorage, ReferencedSOPInstanceUID="1.2.999.1.2.3.4")]
    )
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def dose(bits: int = 32) -> FileDataset:
    """An RT Dose with a grid of three frames and a histogram."""
    ds = builder.image(SOPClassUID=uid.RTDoseStorage, Modality="RTDOSE")
    for keyword in ("KVP", "ConvolutionKernel", "ImageType"):
        delattr(ds, keyword)
    ds.Rows, ds.Columns, ds.NumberOfFrames = 6, 5, 3
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.FrameIncrementPointer = 0x3004000C
    ds.GridFrameOffsetVector = ["0", "2.5", "5"]
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    ds.DoseGridScaling, ds.DoseComment = "0.0001", "sum of both phases"
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelData = np.arange(90, dtype=f"<u{bits // 8}").tobytes()
    ds.ReferencedRTPlanSequence = Sequence(
        [item(ReferencedSOPClassUID=uid.RTPlanStorage, ReferencedSOPInstanceUID="1.2.999.1.2.3.5")]
    )
    ds.DVHSequence = Sequence(
        [
            item(
                DVHType="CUMULATIVE", DoseUnits="GY", DoseType="PHYSICAL", DVHDoseScaling="1", DVHVolumeUnits="CM3",
                DVHNumberOfBins=3, DVHData=["0.1", "120.5", "0.1", "118.25", "0.1", "90"],
                DVHReferencedROISequence=Sequence([item(DVHROIContributionType="INCLUDED", ReferencedROINumber=1)]),
            )
        ]
    )  # fmt: skip
    return ds


def record(sop_class: str = uid.RTBeamsTreatmentRecordStorage) -> FileDataset:
    """A treatment record of one beam on one day."""
    ds = instance(sop_class, "RTRECORD", TreatmentDate="20200322", TreatmentTime="083000")
    ds.TreatmentStatusComment = "treated, called Mrs Abernathy afterwards"
    ds.TreatmentMachineSequence = Sequence([item(TreatmentMachineName="TB1", Manufacturer="Varian")])
    beam = item(
        ReferencedBeamNumber=1, BeamName="AP Field", CurrentFractionNumber=3, TreatmentTerminationStatus="NORMAL",
        TreatmentVerificationStatus="VERIFIED", BeamType="STATIC", RadiationType="PHOTON",
        TreatmentDeliveryType="TREATMENT", NumberOfWedges=0, NumberOfCompensators=0, NumberOfBoli=0, NumberOfBlocks=0,
        NumberOfControlPoints=1,
        ControlPointDeliverySequence=Sequence(
            [
                item(
                    TreatmentControlPointDate="20200322", TreatmentControlPointTime="083012", SpecifiedMeterset="120",
                    DeliveredMeterset="119.5",
                    OverrideSequence=Sequence(
                        [item(OverrideReason="Abernathy moved", OperatorsName="Quillfeather^Ottoline")]
                    ),
                )
            ]
        ),
    )  # fmt: skip
    ds.TreatmentSessionBeamSequence = Sequence([beam])
    return ds


def summary() -> FileDataset:
    ds = instance(uid.RTTreatmentSummaryRecordStorage, "RTRECORD", CurrentTreatmentStatus="COMPLETED")
    ds.FirstTreatmentDate, ds.MostRecentTreatmentDate = "20200301", "20200322"
    return ds


def brachy() -> FileDataset:
    ds = instance(uid.RTBrachyTreatmentRecordStorage, "RTRECORD", BrachyTreatmentTechnique="INTRACAVITARY")
    ds.BrachyTreatmentType, ds.TreatmentDate = "HDR", "20200322"
    ds.RecordedSourceSequence = Sequence(
        [
            item(
                SourceNumber=1, SourceType="POINT", SourceSerialNumber="S-77", SourceIsotopeName="Ir-192",
                SourceIsotopeHalfLife="73.8", ReferenceAirKermaRate="40000", SourceStrengthReferenceDate="20200301",
                SourceStrengthReferenceTime="120000",
            )
        ]
    )  # fmt: skip
    return ds


def rt_image(**attributes: object) -> FileDataset:
    ds = builder.image(SOPClassUID=uid.RTImageStorage, Modality="RTIMAGE", ConversionType="DI")
    ds.RTImageLabel, ds.RTImagePlane, ds.RadiationMachineName = "DRR", "NORMAL", "TB1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "PORTAL"]
    ds.XRayImageReceptorAngle = "0"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def registration() -> FileDataset:
    matrix = item(
        FrameOfReferenceTransformationMatrix=[*"100", "4.5", *"010000100001"],
        FrameOfReferenceTransformationMatrixType="RIGID",
    )  # fmt: skip
    inner = item(
        FrameOfReferenceTransformationComment="as Abernathy lay", MatrixSequence=Sequence([matrix]),
        RegistrationTypeCodeSequence=code("125025", "DCM", "Visual Alignment"),
    )  # fmt: skip
    ds = _content(instance(uid.SpatialRegistrationStorage, "REG"), "REGISTRATION")
    ds.RegistrationSequence = Sequence(
        [item(FrameOfReferenceUID=OTHER_FRAME, MatrixRegistrationSequence=Sequence([inner]))]
    )
    return ds


def deformable(*, size: int = 4) -> FileDataset:
    """A deformation field of ``size`` cubed vectors."""
    vectors = np.random.default_rng(7).normal(0, 3, (size**3, 3)).astype("<f4")
    grid = item(
        ImagePositionPatient=["0", "0", "0"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        GridDimensions=[size, size, size], GridResolution=[1.0, 1.0, 2.0], VectorGridData=vectors.tobytes(),
    )  # fmt: skip
    ds = _content(instance(uid.DeformableSpatialRegistrationStorage, "REG"), "REGISTRATION")
    ds.DeformableRegistrationSequence = Sequence(
        [item(SourceFrameOfReferenceUID=OTHER_FRAME, DeformableRegistrationGridSequence=Sequence([grid]))]
    )
    return ds


def fiducials(identifier: str = "Marker 1") -> FileDataset:
    mark = item(
        FiducialIdentifier=identifier, FiducialDescription=identifier, ShapeType="POINT", FiducialUID="1.2.999.5.5",
        ContourData=["1", "2", "3.5"], NumberOfContourPoints=1,
    )  # fmt: skip
    ds = _content(instance(uid.SpatialFiducialsStorage, "FID"), "FIDUCIALS")
    ds.FiducialSetSequence = Sequence([item(FrameOfReferenceUID=FRAME, FiducialSequence=Sequence([mark]))])
    return ds


def surface() -> FileDataset:
    """A surface segmentation of one tetrahedron."""
    points = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], "<f4")
    triangles = np.array([1, 2, 3, 1, 2, 4, 1, 3, 4, 2, 3, 4], "<u4")
    ds = _content(instance(uid.SurfaceSegmentationStorage, "SEG"), "SEGMENTATION")
    ds.NumberOfSurfaces = 1
    ds.SegmentSequence = Sequence([_segment("Liver", 1)])
    ds.SurfaceSequence = Sequence(
        [
            item(
                SurfaceNumber=1, SurfaceProcessing="NO", SurfaceComments="drawn for Abernathy", FiniteVolume="YES",
                Manifold="YES", RecommendedPresentationType="SURFACE",
                SurfacePointsSequence=Sequence(
                    [item(NumberOfSurfacePoints=4, PointCoordinatesData=points.tobytes())]
                ),
                SurfaceMeshPrimitivesSequence=Sequence([item(LongTrianglePointIndexList=triangles.tobytes())]),
            )
        ]
    )  # fmt: skip
    return ds


def tracks() -> FileDataset:
    line = np.linspace(-20, 20, 90).astype("<f4")
    ds = _content(instance(uid.TractographyResultsStorage, "MR"), "TRACTOGRAPHY")
    ds.TrackSetSequence = Sequence(
        [
            item(
                TrackSetNumber=1, TrackSetLabel="Corpus callosum", TrackSetDescription="by Quillfeather",
                TrackSequence=Sequence([item(PointCoordinatesData=line.tobytes())]),
            )
        ]
    )  # fmt: skip
    return ds


def mapping() -> FileDataset:
    """A real world value mapping."""
    value = item(
        RealWorldValueFirstValueMapped=0, RealWorldValueLastValueMapped=4095, RealWorldValueIntercept=-1024.0,
        RealWorldValueSlope=1.0, LUTExplanation="Abernathy", LUTLabel="Abernathy",
        MeasurementUnitsCodeSequence=code("[hnsf'U]", "UCUM", "Hounsfield unit"),
    )  # fmt: skip
    ds = _content(instance(uid.RealWorldValueMappingStorage, "RWV"), "MAPPING")
    ds.ReferencedImageRealWorldValueMappingSequence = Sequence([item(RealWorldValueMappingSequence=Sequence([value]))])
    return ds


def segmentation(label: str = "Liver", *, fractional: bool = False, frames: int = 3) -> FileDataset:
    """A segmentation of 5 rows and 7 columns, in bits or in bytes."""
    ds = _content(builder.image(SOPClassUID=uid.SegmentationStorage, Modality="SEG"), "SEGMENTATION")
    for keyword in ("KVP", "ConvolutionKernel", "PixelSpacing", "ImagePositionPatient", "SliceThickness"):
        delattr(ds, keyword)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.Rows, ds.Columns, ds.NumberOfFrames = 5, 7, frames
    ds.BitsAllocated = ds.BitsStored = 8 if fractional else 1
    ds.HighBit = ds.BitsStored - 1
    ds.SegmentationType = "FRACTIONAL" if fractional else "BINARY"
    pixels = np.random.default_rng(3).integers(0, 2, frames * 35).astype(np.uint8)
    ds.PixelData = (pixels * 255).tobytes() if fractional else np.packbits(pixels, bitorder="little").tobytes()
    ds.PixelData += b"\0" * (len(ds.PixelData) % 2)
    ds.SegmentSequence = Sequence([_segment(label, 1)])
    return ds


def parametric_map(vr: str = "FloatPixelData") -> FileDataset:
    """A parametric map in floating point numbers."""
    ds = _content(builder.image(SOPClassUID=uid.ParametricMapStorage, Modality="MR"), "MAP")
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation", "KVP", "ConvolutionKernel"):
        delattr(ds, keyword)
    ds.ImageType = ["DERIVED", "PRIMARY", "PERFUSION", "NONE"]
    ds.Rows, ds.Columns, ds.NumberOfFrames = 4, 5, 2
    ds.BitsAllocated = 32 if vr == "FloatPixelData" else 64
    values = np.random.default_rng(5).normal(0, 1, 40)
    setattr(ds, vr, values.astype("<f4" if vr == "FloatPixelData" else "<f8").tobytes())
    return ds


def waveform(
    sop_class: str = uid.TwelveLeadECGWaveformStorage, *, channels: int = 3, samples: int = 500
) -> FileDataset:
    """A waveform of 16 bits with annotations."""
    time = np.arange(samples)[:, None]
    signal = (800 * np.sin(time / 40 + np.arange(channels)) + 5 * (time % 7)).astype("<i2")
    group = item(
        MultiplexGroupTimeOffset="0", WaveformOriginality="ORIGINAL", NumberOfWaveformChannels=channels,
        NumberOfWaveformSamples=samples, SamplingFrequency="500", MultiplexGroupLabel="RHYTHM",
        WaveformBitsAllocated=16, WaveformSampleInterpretation="SS", WaveformData=signal.tobytes(),
    )  # fmt: skip
    group.WaveformPaddingValue = b"\x00\x80"
    group.ChannelDefinitionSequence = sequence(
        item(
            ChannelLabel=f"Lead V{n}", ChannelSourceSequence=code("2:1", "MDC", "Lead I"), ChannelSensitivity="1.25",
            ChannelSensitivityUnitsSequence=code("uV", "UCUM", "microvolt"), ChannelBaseline="0",
            ChannelSampleSkew="0", WaveformBitsStored=16, ChannelSensitivityCorrectionFactor="1",
        )
        for n in range(1, channels + 1)
    )  # fmt: skip
    group["WaveformData"].VR = group["WaveformPaddingValue"].VR = "OW"
    ds = instance(sop_class, "ECG", AcquisitionDateTime="20200318101500")
    ds.WaveformSequence = Sequence([group])
    ds.WaveformAnnotationSequence = Sequence(
        [
            item(UnformattedTextValue="Sinus rhythm", AnnotationGroupNumber=0, ReferencedWaveformChannels=[1, 0]),
            item(
                UnformattedTextValue="Seen by Quillfeather", AnnotationGroupNumber=1, ReferencedWaveformChannels=[1, 2]
            ),
        ]
    )
    return ds


def _segment(label: str, number: int) -> Dataset:
    return item(
        SegmentNumber=number, SegmentLabel=label, SegmentDescription=label, SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="Quillfeather net", TrackingID="Abernathy Lesion 1", TrackingUID="1.2.999.6.1",
        SegmentedPropertyCategoryCodeSequence=code("123037004", "SCT", "Anatomical Structure"),
        SegmentedPropertyTypeCodeSequence=code("10200004", "SCT", "Liver"),
    )  # fmt: skip


def _content(ds: FileDataset, label: str) -> FileDataset:
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = label, "of Abernathy", "Quillfeather^Ottoline"
    return ds


def made_by_highdicom(folder: Path) -> list[Path]:
    """Segmentations of every kind and parametric maps of integers and floating point numbers, by another maker."""
    import highdicom as hd
    from highdicom.content import AlgorithmIdentificationSequence
    from pydicom.data import get_testdata_file
    from pydicom.sr.codedict import codes

    image = dcmread(get_testdata_file("CT_small.dcm"))
    image.PatientName, image.PatientID = "Abernathy^Josephine", "MRN-5550123"
    image.PositionReferenceIndicator = ""
    mask = np.zeros((1, image.Rows, image.Columns), np.uint8)
    mask[0, 30:60, 30:60] = 1
    algorithm = AlgorithmIdentificationSequence("nnU-Net", codes.DCM.ArtificialIntelligence, "2.1")
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Liver",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid="1.2.999.6.2",
        tracking_id="Abernathy Lesion 1",
    )
    common: dict[str, Any] = {
        "source_images": [image], "series_instance_uid": "1.2.999.7.1", "series_number": 9, "instance_number": 1,
        "manufacturer": "Whistledown", "manufacturer_model_name": "Whistledown", "software_versions": "1.0",
        "device_serial_number": "77-1",
    }  # fmt: skip
    made = []
    for number, (kind, syntax) in enumerate(
        [("BINARY", ExplicitVRLittleEndian), ("FRACTIONAL", ExplicitVRLittleEndian), ("FRACTIONAL", RLELossless),
         ("LABELMAP", ExplicitVRLittleEndian), ("LABELMAP", RLELossless)]
    ):  # fmt: skip
        pixels = mask if kind != "FRACTIONAL" else mask.astype(np.float32)
        made.append(
            hd.seg.Segmentation(
                pixel_array=pixels, segmentation_type=kind, segment_descriptions=[segment],
                sop_instance_uid=f"1.2.999.7.{number + 2}", transfer_syntax_uid=syntax,
                content_creator_name="Quillfeather^Ottoline", **common,
            )
        )  # fmt: skip
    window = hd.VOILUTTransformation(window_center=1, window_width=1)
    for number, values in enumerate(
        (mask.astype(np.float32) * 1.5, mask.astype(np.float64) * 1.5, mask.astype(np.uint16))
    ):
        value = hd.pm.RealWorldValueMapping(
            lut_label="1", lut_explanation="by Quillfeather", unit=codes.UCUM.NoUnits,
            value_range=(0, 100) if values.dtype.kind == "u" else (0.0, 100.0), intercept=0, slope=1,
        )  # fmt: skip
        made.append(
            hd.pm.ParametricMap(
                pixel_array=values[..., None], real_world_value_mappings=[[value]],
                contains_recognizable_visual_features=False, sop_instance_uid=f"1.2.999.8.{number + 2}",
                voi_lut_transformations=[window], **common,
            )
        )  # fmt: skip
    paths = [folder / f"highdicom-{number}.dcm" for number in range(len(made))]
    for path, ds in zip(paths, made, strict=True):
        ds.save_as(path)
    return paths


EVERY = {
    "structure set": lambda: structure_set("PTV_6000", "Heart"),
    "plan": plan,
    "ion plan": lambda: plan(uid.RTIonPlanStorage),
    "dose": dose,
    "beams record": record,
    "ion record": lambda: record(uid.RTIonBeamsTreatmentRecordStorage),
    "brachy record": brachy,
    "summary record": summary,
    "RT image": lambda: rt_image(BurnedInAnnotation="NO"),
    "registration": registration,
    "deformable registration": deformable,
    "fiducials": fiducials,
    "surface": surface,
    "tracks": tracks,
    "mapping": mapping,
    "binary segmentation": segmentation,
    "fractional segmentation": lambda: segmentation(fractional=True),
    "float map": parametric_map,
    "double map": lambda: parametric_map("DoubleFloatPixelData"),
    "ECG": waveform,
    "hemodynamic": lambda: waveform(uid.HemodynamicWaveformStorage),
    "electrophysiology": lambda: waveform(uid.CardiacElectrophysiologyWaveformStorage),
    "pulse": lambda: waveform(uid.ArterialPulseWaveformStorage),
    "respiration": lambda: waveform(uid.RespiratoryWaveformStorage),
    "EEG": lambda: waveform(uid.RoutineScalpElectroencephalogramWaveformStorage),
}

"""Objects made of numbers: what people type beside regions, beams, segments and signals, and the numbers themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset

from benchmarks.deidentification import expectations
from benchmarks.deidentification.answers import Action, step
from benchmarks.deidentification.plant import Draft, Planter, nested, put

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = {
    "RTSTRUCT": "481.3", "RTPLAN": "481.5", "RTIONPLAN": "481.8", "RTRECORD": "481.4", "BRACHY": "481.6", "REG": "66.1",
    "DEFORMED": "66.3", "FID": "66.2", "SURFACE": "66.5", "TRACKS": "66.6", "RWV": "67", "MAP": "30",
}  # fmt: skip
_MODALITIES = {
    "RTIONPLAN": "RTPLAN", "BRACHY": "RTRECORD", "DEFORMED": "REG", "SURFACE": "SEG", "TRACKS": "MR", "MAP": "MR",
}  # fmt: skip
_ROI, _CONTOUR = 0x30060020, (0x30060039, 0x30060040)
_SESSION = 0x30080020
_DELIVERY = (_SESSION, 0x30080040)
_FIDUCIAL = (0x0070031C, 0x0070031E)
_GRID = (0x00640002, 0x00640005)
_REGIONS = (
    "PTV_6000", "PTV_High", "CTV 50.4Gy", "GTVp", "ITV", "Heart", "Lung_L", "Lungs", "SpinalCord", "BrainStem PRV",
    "Parotid_R", "Bladder", "Rectum", "Bowel_Small", "Femur_Head_L", "OpticChiasm", "Esophagus", "Kidney_R", "Liver",
    "External", "BODY", "Ring_5mm", "Cochlea_L", "Glnd_Submand_L", "BrachialPlex_R", "Eye_L", "Lips", "CouchSurface",
)  # fmt: skip
"""Names of regions as AAPM TG-263 writes them and as planning systems do."""

_LABELS: dict[str, tuple[tuple[tuple[int, ...], int, str], ...]] = {
    "RTSTRUCT": (
        ((_ROI,), 0x30060026, "LO"), ((_ROI,), 0x30060028, "ST"), ((0x30060080,), 0x30060085, "SH"),
        ((0x30060080,), 0x300600A6, "PN"), ((), 0x00700084, "PN"), (_CONTOUR, 0x30060050, "LT"),
        ((0x30060010, 0x300600C0), 0x300600C8, "LO"), ((), 0x300E0008, "PN"),
    ),
    "RTPLAN": (
        ((0x300A00B0,), 0x300A00C2, "LO"), ((0x300A0040,), 0x300A0043, "SH"), ((0x300A0180,), 0x300A0183, "LO"),
        ((0x300A00B0, 0x300A0107), 0x300A0108, "SH"), ((0x300A00B0, 0x300A00F4), 0x300A00FE, "LO"),
        ((0x300A00B0, 0x300A0420), 0x300A00F9, "LO"), ((0x300A0180, 0x300A0190), 0x300A0194, "SH"),
        ((), 0x300A0009, "LO"),
    ),
    "RTIONPLAN": (
        ((0x300A03A2, 0x300A030C), 0x300A030F, "SH"), ((0x300A03A2, 0x300A0314), 0x300A0318, "SH"),
        ((0x300A03A2,), 0x300A00C2, "LO"), ((0x300A03A2,), 0x300A0352, "SH"),
    ),
    "RTRECORD": (
        ((), 0x30080202, "ST"), ((*_DELIVERY, 0x30080060), 0x30080066, "ST"),
        ((*_DELIVERY, 0x30080060), 0x00081070, "PN"),
        ((0x30080010,), 0x30080012, "ST"), ((_SESSION,), 0x300A00C2, "LO"), ((_SESSION,), 0x300A0730, "ST"),
    ),
    "BRACHY": (
        ((0x30080110,), 0x300A0236, "LO"), ((0x30080110, 0x30080120), 0x300A0263, "SH"),
    ),
    "REG": (((0x00700308, 0x00700309), 0x300600C8, "LO"), ((), 0x00700081, "LO"), ((), 0x00700080, "CS")),
    "FID": ((_FIDUCIAL, 0x00700310, "SH"), (_FIDUCIAL, 0x0070030F, "ST"), (_FIDUCIAL, 0x0070031A, "UI")),
    "SURFACE": (
        ((0x00660002,), 0x00660004, "LT"), ((0x00660002,), 0x0066000B, "LO"), ((0x00620002,), 0x00620005, "LO"),
        ((0x00660002, 0x00660035), 0x00660036, "LO"),
    ),
    "TRACKS": (((0x00660101,), 0x00660106, "LO"), ((0x00660101,), 0x00660107, "UT")),
    "RWV": (((0x00409094, 0x00409096), 0x00283003, "LO"), ((0x00409094, 0x00409096), 0x00409210, "SH")),
}  # fmt: skip


def _of_class(draft: Draft, kind: str) -> Dataset:
    """The draft as an object of another class, without what its base had of its own."""
    ds = draft.ds
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = _STORAGE + _CLASSES[kind]
    ds.Modality = _MODALITIES.get(kind, kind)
    for group in (0x300A, 0x300C, 0x7FE0):
        draft.without_group(group)
    return ds


def labels(planter: Planter) -> None:
    """Names in every label of every class."""
    for kind, places in _LABELS.items():
        for number, (tags, tag, vr) in enumerate(places):
            with planter.draft(f"numbers/{kind}-{number:02}-{tag:08x}.dcm", "rtplan") as draft:
                _of_class(draft, kind)
                draft.plant(tag, "labels of objects", vr=vr, tags=tags, where=kind)


def regions(planter: Planter) -> None:
    """Names of regions alone, with a patient's name and with a stranger's, and the contours beside them."""
    for number, name in enumerate(_REGIONS):
        with planter.draft(f"numbers/region-{number:02}.dcm", "rtplan") as draft:
            _structures(draft, planter, name)
        with planter.draft(f"numbers/region-{number:02}-name.dcm", "rtplan") as draft:
            family, stranger = draft.mint.token(), draft.mint.token()
            put(draft.ds, 0x00100010, "PN", f"{family}^Anna")
            draft.answers = [one for one in draft.answers if one.path != "(0010,0010)"]
            _structures(draft, planter, f"{name} {(stranger if number % 2 else family).upper()}", name)
            gone = stranger if number % 2 else family
            draft.answer(Action.TEXT_REMOVED, step(_ROI, 0) + step(0x30060026), gone, "names of regions", (gone,))


def _structures(draft: Draft, planter: Planter, written: str, name: str = "") -> None:
    _of_class(draft, "RTSTRUCT")
    frame = f"1.2.826.0.1.3680043.9.7777.4.{draft.mint.number()}"
    put(draft.ds, 0x00200052, "UI", frame)
    item, prefix = nested(draft.ds, (_ROI,))
    item.ROINumber, item.ROIName, item.ReferencedFrameOfReferenceUID = 7, written, frame
    item.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
    contours, outer = nested(draft.ds, _CONTOUR[:1])
    contours.ReferencedROINumber, contours.ROIDisplayColor = 7, [255, 128, 0]
    corners = "-10.25\\14.125\\-7.5\\10.25\\14.125\\-7.5\\0\\-14.125\\-7.5"
    contour, inner = nested(draft.ds, _CONTOUR)
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 3
    contour.ContourData = corners.split("\\")
    category = "useful: regions and contours"
    if planter.keeps(expectations.DESCRIPTORS):
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x30060026), name or written, category)
    for path, text in (
        (prefix + step(0x30060022), "7"), (outer + step(0x30060084), "7"), (inner + step(0x30060050), corners),
        (inner + step(0x30060042), "CLOSED_PLANAR"), (outer + step(0x3006002A), "255\\128\\0"),
    ):  # fmt: skip
        draft.answer(Action.TEXT_RETAINED, path, text, category)
    for path in (step(0x00200052), prefix + step(0x30060024)):
        draft.answer(Action.TAG_RETAINED, path, "", category)
        draft.answer(Action.UID_CONSISTENT, path, frame, category)


def hidden_numbers(planter: Planter) -> None:
    """A name, the patient's number and a stranger's words among numbers: short lists, long ones, and binary ones."""
    for length in (30, 30_000):
        for number, form in enumerate(("{}", "0{}", "{}.0", "+{}")):
            with planter.draft(f"numbers/contour-{length}-{number}.dcm", "rtplan") as draft:
                _of_class(draft, "RTSTRUCT")
                item, prefix = nested(draft.ds, _CONTOUR)
                values = [f"{n % 400 - 200}.5" for n in range(length)]
                values[length // 2] = form.format(draft.patient_id)
                put(item, 0x30060050, "LT", "\\".join(values))
                path = prefix + step(0x30060050)
                draft.answer(
                    Action.TEXT_REMOVED, path, draft.patient_id, "numbers of people among numbers", (draft.patient_id,)
                )
        with planter.draft(f"numbers/contour-{length}-word.dcm", "rtplan") as draft:
            _of_class(draft, "RTSTRUCT")
            item, prefix = nested(draft.ds, _CONTOUR)
            secret = draft.secret("words among numbers", f"{length} coordinates", prefix + step(0x30060050))
            values = [f"{n % 400 - 200}.5" for n in range(length)]
            values[length // 2] = secret.token
            put(item, 0x30060050, "LT", "\\".join(values))
    with planter.draft("numbers/histogram.dcm", "rtdose") as draft:
        item, prefix = nested(draft.ds, (0x30040050,))
        put(item, 0x30040058, "DS", ["0.1", "99.5", "0.1", draft.patient_id])
        path = prefix + step(0x30040058)
        draft.answer(
            Action.TEXT_REMOVED, path, draft.patient_id, "numbers of people among numbers", (draft.patient_id,)
        )
    with planter.draft("numbers/vectors.dcm", "mr") as draft:
        ds = _of_class(draft, "DEFORMED")
        item, prefix = nested(ds, _GRID)
        item.GridDimensions = [4, 5, 6]
        secret = draft.secret("words among numbers", "deformation field", prefix + step(0x00640009))
        raw = np.linspace(-9, 9, 360, dtype="<f4").tobytes()
        text = secret.sentence.encode()
        put(item, 0x00640009, "OF", raw[:400] + text + raw[400 + len(text) :])
    with planter.draft("numbers/map.dcm", "mr") as draft:
        ds = _of_class(draft, "MAP")
        secret = draft.secret("words among numbers", "behind floating point pixels", step(0x7FE00008))
        text = secret.sentence.encode().ljust(64)
        put(ds, 0x7FE00008, "OF", np.ones(ds.Rows * ds.Columns, "<f4").tobytes() + text)


def numbers(planter: Planter) -> None:
    """What a researcher needs of them: grids, fields, samples, matrices, histograms, plans."""
    category = "useful: numbers of objects"
    for base, tag in (("rtdose", 0x7FE00010), ("seg", 0x7FE00010)):
        with planter.draft(f"numbers/useful-{base}.dcm", base) as draft:
            draft.answer(Action.TEXT_RETAINED, step(tag), _text(draft.ds[tag].value), category)
    with planter.draft("numbers/useful-ecg.dcm", "ecg") as draft:
        for number, group in enumerate(draft.ds.WaveformSequence):
            path = step(0x54000100, number)
            draft.answer(Action.TEXT_RETAINED, path + step(0x54001010), _text(group.WaveformData), category)
            samples = str(group.NumberOfWaveformSamples)
            draft.answer(Action.TEXT_RETAINED, path + step(0x003A0010), samples, category)
            lead = path + step(0x003A0200, 0) + step(0x003A0208, 0) + step(0x00080100)
            draft.answer(Action.TEXT_RETAINED, lead, "5.6.3-9-1", category)
    with planter.draft("numbers/useful-histogram.dcm", "rtdose") as draft:
        item, prefix = nested(draft.ds, (0x30040050,))
        values = "0.1\\120.5\\0.1\\118.25\\0.1\\90"
        item.DVHType, item.DVHData = "CUMULATIVE", values.split("\\")
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x30040058), values, category)
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x30040001), "CUMULATIVE", category)
    with planter.draft("numbers/useful-registration.dcm", "mr") as draft:
        item, prefix = nested(_of_class(draft, "REG"), (0x00700308, 0x00700309, 0x0070030A))
        matrix = "1\\0\\0\\4.5\\0\\1\\0\\-3\\0\\0\\1\\0.25\\0\\0\\0\\1"
        item.FrameOfReferenceTransformationMatrix = matrix.split("\\")
        item.FrameOfReferenceTransformationMatrixType = "RIGID"
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x300600C6), matrix, category)
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x0070030C), "RIGID", category)
    with planter.draft("numbers/useful-vectors.dcm", "mr") as draft:
        item, prefix = nested(_of_class(draft, "DEFORMED"), _GRID)
        field = np.linspace(-9, 9, 360, dtype="<f4").tobytes()
        item.GridDimensions = [4, 5, 6]
        put(item, 0x00640009, "OF", field)
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x00640009), _text(field), category)
    with planter.draft("numbers/useful-map.dcm", "mr") as draft:
        ds = _of_class(draft, "MAP")
        pixels = np.linspace(-1, 1, ds.Rows * ds.Columns, dtype="<f4").tobytes()
        put(ds, 0x7FE00008, "OF", pixels)
        draft.answer(Action.TEXT_RETAINED, step(0x7FE00008), _text(pixels), category)
    with planter.draft("numbers/useful-surface.dcm", "mr") as draft:
        ds = _of_class(draft, "SURFACE")
        points = np.linspace(-80, 80, 12, dtype="<f4").tobytes()
        item, prefix = nested(ds, (0x00660002, 0x00660011))
        item.NumberOfSurfacePoints = 4
        put(item, 0x00660016, "OF", points)
        draft.answer(Action.TEXT_RETAINED, prefix + step(0x00660016), _text(points), category)
    if planter.keeps(expectations.DESCRIPTORS):
        for number, label in enumerate(("Liver", "Left kidney", "Tumor", "Edema")):
            with planter.draft(f"numbers/useful-segment-{number}.dcm", "seg") as draft:
                draft.ds.SegmentSequence[0].SegmentLabel = label
                path = step(0x00620002, 0) + step(0x00620005)
                draft.answer(Action.TEXT_RETAINED, path, label, "useful: labels of objects")
        for number, label in enumerate(("AP", "PA", "Arc 1", "Lt Lateral", "Boost", "Left Anterior Oblique")):
            with planter.draft(f"numbers/useful-beam-{number}.dcm", "rtplan") as draft:
                draft.ds.BeamSequence[0].BeamName = label
                path = step(0x300A00B0, 0) + step(0x300A00C2)
                draft.answer(Action.TEXT_RETAINED, path, label, "useful: labels of objects")
                number_path = step(0x300A00B0, 0) + step(0x300A00C0)
                draft.answer(Action.TEXT_RETAINED, number_path, str(draft.ds.BeamSequence[0].BeamNumber), category)


def treatment_dates(planter: Planter) -> None:
    """Dates of a plan, its approval and a treatment: moved as one."""
    if not planter.keeps(expectations.MODIFIED_DATES):
        return
    places: dict[str, tuple[tuple[tuple[int, ...], int], ...]] = {
        "RTSTRUCT": (((), 0x30060008), ((), 0x300E0004)), "RTPLAN": (((), 0x300A0006), ((), 0x300E0004)),
        "RTRECORD": (((), 0x30080250), (_DELIVERY, 0x30080024)), "BRACHY": (((0x30080100,), 0x300A022C),),
    }  # fmt: skip
    for kind, tags in places.items():
        with planter.draft(f"numbers/dates-{kind}.dcm", "rtplan") as draft:
            ds = _of_class(draft, kind)
            for path, tag in (((), 0x00080020), *tags):
                item, prefix = nested(ds, path) if path else (ds, "")
                value = draft.mint.date().strftime("%Y%m%d")
                put(item, tag, "DA", value)
                draft.answer(Action.DATE_SHIFTED, prefix + step(tag), value, "dates of a patient")
                draft.answer(Action.TEXT_NOTNULL, prefix + step(tag), value, "useful: dates")


def _text(value: bytes) -> str:
    return value.decode("latin-1").rstrip("\0 ")


PLANTS: tuple[Callable[[Planter], None], ...] = (labels, regions, hidden_numbers, numbers, treatment_dates)

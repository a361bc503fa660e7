"""Objects that are no images: structured reports, waveforms, radiotherapy, segmentations, documents, signatures."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.deidentification.answers import step
from benchmarks.deidentification.expectations import FULL_DATES
from benchmarks.deidentification.plant import NEST, Draft, Planter, nested, put

_CONTENT = 0x0040A730


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def _content_item(value_type: str, concept: tuple[str, str, str]) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", value_type
    item.ConceptNameCodeSequence = _code(*concept)
    return item


_SR_VALUES: tuple[tuple[str, tuple[str, str, str], int, str], ...] = (
    ("TEXT", ("121071", "DCM", "Finding"), 0x0040A160, "UT"),
    ("TEXT", ("121106", "DCM", "Comment"), 0x0040A160, "UT"),
    ("TEXT", ("L-77", "99LOCAL", "Anything"), 0x0040A160, "UT"),
    ("PNAME", ("121008", "DCM", "Person Observer Name"), 0x0040A123, "PN"),
    ("PNAME", ("121029", "DCM", "Subject Name"), 0x0040A123, "PN"),
    ("DATE", ("121031", "DCM", "Subject Birth Date"), 0x0040A121, "DA"),
    ("DATETIME", ("111060", "DCM", "Study Date"), 0x0040A120, "DT"),
    ("UIDREF", ("121012", "DCM", "Device Observer UID"), 0x0040A124, "UI"),
    ("UIDREF", ("L-78", "99LOCAL", "Anything"), 0x0040A124, "UI"),
)


def reports(planter: Planter) -> None:
    """Content trees with identifiers at several depths, one at a time."""
    for depth in (1, 3, 8):
        for number, (value_type, concept, tag, vr) in enumerate(_SR_VALUES):
            if vr == "DT" and planter.keeps(FULL_DATES):
                continue  # a study date may stay then, however it is written
            with planter.draft(f"sr/{depth}-{number}.dcm", "sr") as draft:
                item, prefix = _at_depth(draft, depth)
                child = _content_item(value_type, concept)
                item.ContentSequence.append(child)
                path = f"{prefix}{step(_CONTENT, len(item.ContentSequence) - 1)}"
                where = f"{value_type} {concept[2]}, depth {depth}"
                draft.plant_in(child, path, tag, "structured reports", vr=vr, where=where)
        for number, (tag, vr) in enumerate(((0x00080104, "LO"), (0x00080100, "SH"), (0x00080102, "SH"))):
            with planter.draft(f"sr/{depth}-code-{number}.dcm", "sr") as draft:
                item, prefix = _at_depth(draft, depth)
                child = _content_item("CODE", ("121071", "DCM", "Finding"))
                child.ConceptCodeSequence = _code("T-D3000", "SRT", "Chest")
                item.ContentSequence.append(child)
                path = f"{prefix}{step(_CONTENT, len(item.ContentSequence) - 1)}{step(0x0040A168, 0)}"
                target = child.ConceptCodeSequence[0]
                draft.plant_in(target, path, tag, "structured reports", vr=vr, where=f"CODE, depth {depth}")
        with planter.draft(f"sr/{depth}-name.dcm", "sr") as draft:
            item, prefix = _at_depth(draft, depth)
            child = _content_item("TEXT", ("L-79", "99LOCAL", "Anything"))
            child.TextValue = "ordinary"
            item.ContentSequence.append(child)
            path = f"{prefix}{step(_CONTENT, len(item.ContentSequence) - 1)}{step(0x0040A043, 0)}"
            draft.plant_in(
                child.ConceptNameCodeSequence[0], path, 0x00080104, "structured reports", where="concept name"
            )


def _at_depth(draft: Draft, depth: int) -> tuple[Dataset, str]:
    """The container ``depth`` levels below the root, ready for children, and its path."""
    item: Dataset = draft.ds
    path = ""
    for level in range(depth):
        if "ContentSequence" not in item:
            item.ContentSequence = Sequence()
        if level == depth - 1:
            break
        child = _content_item("CONTAINER", ("121070", "DCM", "Findings"))
        child.ContinuityOfContent = "SEPARATE"
        item.ContentSequence.append(child)
        path += step(_CONTENT, len(item.ContentSequence) - 1)
        item = child
    return item, path


def waveforms(planter: Planter) -> None:
    """Annotations, labels and samples of an ECG."""
    for tag, vr in ((0x00700006, "ST"), (0x003A0020, "SH"), (0x003A0203, "SH"), (0x0040A160, "UT"), (0x54001010, "OW")):
        with planter.draft(f"waveform/{tag:08x}.dcm", "ecg") as draft:
            if tag in (0x00700006, 0x0040A160):
                draft.plant(tag, "waveforms", vr=vr, tags=(0x0040B020,))
            elif tag == 0x003A0203:
                draft.plant(tag, "waveforms", vr=vr, tags=(0x54000100, 0x003A0200))
            elif tag == 0x54001010:
                secret = draft.secret("waveforms", "samples", "(5400,0100)[0](5400,1010)")
                item, _ = nested(draft.ds, (0x54000100,))
                text = secret.sentence.encode()
                item.WaveformData = text + item.WaveformData[len(text) :]
            else:
                draft.plant(tag, "waveforms", vr=vr, tags=(0x54000100,))


_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
_GSPS = "1.2.840.10008.5.1.4.1.1.11.1"


def radiotherapy(planter: Planter) -> None:
    """Labels and names in structure sets, plans, doses, segmentations and presentation states."""
    roi, observation, contour = 0x30060020, 0x30060080, 0x30060039
    structure: tuple[tuple[tuple[int, ...], int, str], ...] = (
        ((), 0x30060002, "SH"), ((), 0x30060004, "LO"), ((), 0x30060006, "ST"), ((roi,), 0x30060026, "LO"),
        ((roi,), 0x30060028, "ST"), ((roi,), 0x30060038, "LO"), ((roi,), 0x30060024, "UI"),
        ((observation,), 0x30060085, "SH"), ((observation,), 0x30060088, "ST"), ((observation,), 0x300600A6, "PN"),
        ((contour, 0x30060040), 0x30060048, "IS"), ((0x30060010,), 0x30060027, "LO"),
    )  # fmt: skip
    plan: tuple[tuple[tuple[int, ...], int, str], ...] = (
        ((), 0x300A0002, "SH"), ((), 0x300A0003, "LO"), ((), 0x300A0004, "ST"), ((0x300A00B0,), 0x300A00C2, "LO"),
        ((0x300A00B0,), 0x300A00C3, "ST"), ((0x300A0010,), 0x300A0016, "LO"), ((0x300A0180,), 0x300A01B2, "ST"),
        ((), 0x300E0008, "PN"),
    )  # fmt: skip
    segments: tuple[tuple[tuple[int, ...], int, str], ...] = (
        ((0x00620002,), 0x00620005, "LO"), ((0x00620002,), 0x00620006, "ST"), ((0x00620002,), 0x00620020, "UT"),
        ((), 0x00700080, "CS"), ((), 0x00700081, "LO"), ((), 0x00700084, "PN"),
    )  # fmt: skip
    annotation = (0x00700001, 0x00700008)
    state: tuple[tuple[tuple[int, ...], int, str], ...] = (
        (annotation, 0x00700006, "ST"), ((0x00700060,), 0x00700002, "CS"), ((0x00700060,), 0x00700068, "LO"),
        ((), 0x00700084, "PN"), ((), 0x00700080, "CS"), ((), 0x00700081, "LO"),
    )  # fmt: skip
    for what, base, places in (
        ("structure sets", "rtplan", structure), ("plans and doses", "rtplan", plan),
        ("plans and doses", "rtdose", (((), 0x30040006, "LO"), ((), 0x30040004, "CS"))),
        ("segmentations", "seg", segments), ("presentation states", "sr-text", state),
    ):  # fmt: skip
        for tags, tag, vr in places:
            if vr == "IS":
                continue
            with planter.draft(f"objects/{what.replace(' ', '-')}-{base}-{tag:08x}.dcm", base) as draft:
                for wanted, sop_class, modality in (
                    ("structure sets", _RTSTRUCT, "RTSTRUCT"), ("presentation states", _GSPS, "PR")
                ):  # fmt: skip
                    if what == wanted:
                        draft.ds.SOPClassUID = draft.ds.file_meta.MediaStorageSOPClassUID = sop_class
                        draft.ds.Modality = modality
                        for keyword in ("ContentSequence", "BeamSequence", "FractionGroupSequence", "ValueType"):
                            draft.ds.pop(keyword, None)
                draft.plant(tag, what, vr=vr, tags=tags)


def encapsulated(planter: Planter) -> None:
    """PDF, CDA, STL and others with the name inside, and the attributes around them."""
    classes = {"pdf": "104.1", "cda": "104.2", "stl": "104.3", "obj": "104.4"}
    types = {"pdf": "application/pdf", "cda": "text/XML", "stl": "model/stl", "obj": "model/obj"}
    for kind, suffix in classes.items():
        for tag, vr in ((0x00420011, "OB"), (0x00420010, "ST"), (0x0040E008, "SQ")):
            with planter.draft(f"documents/{kind}-{tag:08x}.dcm", "sr-text") as draft:
                draft.ds.SOPClassUID = draft.ds.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.{suffix}"
                draft.ds.Modality = "DOC"
                draft.ds.pop("ContentSequence", None)
                draft.ds.MIMETypeOfEncapsulatedDocument = types[kind]
                document = b"nothing in here "
                if tag == 0x00420011:
                    secret = draft.secret("encapsulated documents", kind, step(tag))
                    document = _document(kind, secret.sentence)
                put(draft.ds, 0x00420011, "OB", document + b"\0" * (len(document) % 2))
                if tag != 0x00420011:
                    draft.plant(tag, "encapsulated documents", vr=vr, where=kind)


def _document(kind: str, text: str) -> bytes:
    if kind == "pdf":
        stream = f"BT /F1 12 Tf 40 700 Td ({text.replace('(', '[').replace(')', ']')}) Tj ET"
        return (
            f"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
            f"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R>>endobj\n"
            f"4 0 obj<</Length {len(stream)}>>stream\n{stream}\nendstream endobj\n"
            f"5 0 obj<</Author({text[12:21]})>>endobj\ntrailer<</Root 1 0 R/Info 5 0 R>>\n%%EOF\n"
        ).encode()
    if kind == "cda":
        return f'<?xml version="1.0"?><ClinicalDocument><title>{text}</title></ClinicalDocument>'.encode()
    if kind == "stl":
        return text.encode().ljust(80, b" ") + bytes(4)
    return f"# {text}\nv 0 0 0\n".encode()


def signatures(planter: Planter) -> None:
    """Digital signatures, MAC parameters and encrypted attributes, at top level and nested."""
    places: tuple[tuple[tuple[int, ...], int, str], ...] = (
        ((0xFFFAFFFA,), 0x04000115, "OB"), ((0xFFFAFFFA,), 0x04000120, "OB"), ((0xFFFAFFFA,), 0x04000310, "OB"),
        ((0xFFFAFFFA,), 0x04000105, "DT"), ((0xFFFAFFFA,), 0x04000100, "UI"), ((0x4FFE0001,), 0x04000015, "CS"),
        ((0x04000500,), 0x04000520, "OB"), ((0x04000561, 0x04000550), 0x00100010, "PN"),
        ((0x04000561,), 0x04000563, "LO"), ((0x04000402,), 0x00081155, "UI"),
    )  # fmt: skip
    for nest in ((), NEST):
        for tags, tag, vr in places:
            with planter.draft(f"signatures/{len(nest)}-{tags[0]:08x}-{tag:08x}.dcm") as draft:
                draft.plant(tag, "signatures", vr=vr, tags=(*nest, *tags))


def addresses(planter: Planter) -> None:
    """Application entity titles and links, in the data set and nested."""
    for tag, vr in (
        (0x00080054, "AE"), (0x00080055, "AE"), (0x00081190, "UR"), (0x00404073, "UR"), (0x00404074, "UR"),
        (0x00400241, "AE"), (0x0074100A, "UR"), (0x00287FE0, "UR"), (0x0040E010, "UR"), (0x04000404, "OB"),
    ):  # fmt: skip
        for tags in ((), (0x00081115,)):
            with planter.draft(f"addresses/{len(tags)}-{tag:08x}.dcm") as draft:
                draft.plant(tag, "addresses", vr=vr, tags=tags)


PLANTS: tuple[Callable[[Planter], None], ...] = (
    reports, waveforms, radiotherapy, encapsulated, signatures, addresses,
)  # fmt: skip

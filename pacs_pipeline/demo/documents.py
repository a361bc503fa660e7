"""Content of the documents that mention a patient: a PDF letter, a report's content tree, text drawn into pixels."""

from __future__ import annotations

import datetime as dt

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pacs_pipeline.demo.names import Patient, to_ascii
from pacs_pipeline.errors import SettingsError


def pdf_letter(lines: list[str]) -> bytes:
    """A minimal PDF 1.4 of one page with ``lines`` as real, selectable text; what Latin-1 lacks is transliterated."""
    text = ["BT", "/F1 12 Tf", "72 770 Td", "16 TL"]
    for line in lines:
        encoded = line if _is_latin(line) else to_ascii(line)
        escaped = encoded.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        text.append(f"({escaped}) Tj T*")
    text.append("ET")
    stream = "\n".join(text).encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
        b"/Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def write_report(ds: Dataset, patient: Patient, *, observer: str, organization: str, when: dt.datetime) -> None:
    """Add to the SR ``ds`` who reported on whom: observer and subject context, findings that name the patient."""
    verifier = Dataset()
    verifier.VerifyingOrganization = organization
    verifier.VerificationDateTime = f"{when:%Y%m%d%H%M%S}"
    verifier.VerifyingObserverName = observer
    verifier.VerifyingObserverIdentificationCodeSequence = Sequence()
    ds.VerifyingObserverSequence = Sequence([verifier])
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "VERIFIED"
    findings = _item("CONTAINS", "CONTAINER", "121070", "Findings")
    findings.ContinuityOfContent = "SEPARATE"
    remark = _item("CONTAINS", "TEXT", "121071", "Finding")
    remark.TextValue = patient.note()
    findings.ContentSequence = Sequence([remark])
    observer_item = _item("HAS OBS CONTEXT", "PNAME", "121008", "Person Observer Name")
    observer_item.PersonName = observer
    subject = _item("HAS OBS CONTEXT", "PNAME", "121029", "Subject Name")
    subject.PersonName = patient.PatientName
    number = _item("HAS OBS CONTEXT", "TEXT", "121030", "Subject ID")
    number.TextValue = patient.PatientID
    birth = _item("HAS OBS CONTEXT", "DATE", "121031", "Subject Birth Date")
    birth.Date = f"{patient.PatientBirthDate:%Y%m%d}"
    ds.ContentSequence.extend([observer_item, subject, number, birth, findings])


def burn_in(ds: Dataset, lines: list[str]) -> None:
    """Draw ``lines`` into the top left of the uncompressed 8-bit RGB image ``ds``, white on black.

    The font is Pillow's built-in bitmap, so that the pixels don't depend on the machine's font library.
    Raises SettingsError when Pillow is missing.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise SettingsError(
            "the sample population needs Pillow to draw burned-in text", fix="pip install 'pacs-pipeline[demo]'"
        ) from error
    image = Image.frombytes("RGB", (ds.Columns, ds.Rows), ds.PixelData[: ds.Columns * ds.Rows * 3])
    font = ImageFont.load_default_imagefont()
    for row, line in enumerate(lines):
        drawn = line if _is_latin(line) else to_ascii(line)
        left, top, right, bottom = (int(edge) for edge in font.getbbox(drawn))
        label = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(label).text((0, 0), drawn, font=font, fill=255)
        height = label.height + 3
        image.paste((0, 0, 0), (0, row * height, min(label.width + 4, image.width), (row + 1) * height))
        image.paste((255, 255, 255), (2, row * height + 1), label)
    ds.PixelData = image.tobytes()


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def _item(relationship: str, value_type: str, code: str, meaning: str) -> Dataset:
    """A content item (PS3.3 C.17.3) whose concept is a DCM code."""
    concept = Dataset()
    concept.CodeValue = code
    concept.CodingSchemeDesignator = "DCM"
    concept.CodeMeaning = meaning
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = value_type
    item.ConceptNameCodeSequence = Sequence([concept])
    return item

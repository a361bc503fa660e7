"""Places in and around the pixels: unused bits, padding, compressed streams, icons, lookup tables, burned-in text."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from benchmarks.deidentification.answers import Action
from benchmarks.deidentification.plant import Draft, Planter, nested, put

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
SC, US, XA = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.12.1"
_MODALITY = {CR: "CR", DX: "DX", SC: "OT", US: "US", XA: "XA"}
_SIZE = 96


def picture(text: str = "", *, rgb: bool = False, at: tuple[int, int] = (4, 4)) -> tuple[np.ndarray, tuple[int, ...]]:
    """A soft gradient with ``text`` drawn into it, and the region of the text: row, column, rows, columns."""
    ramp = np.add.outer(np.arange(_SIZE), np.arange(_SIZE)) % 120
    image = Image.fromarray(ramp.astype(np.uint8), "L")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(16)
    left, top, right, bottom = draw.textbbox(at, text, font=font)
    draw.text(at, text, fill=255, font=font)
    pixels = np.asarray(image.convert("RGB") if rgb else image)
    return pixels, (int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)


def set_pixels(draft: Draft, pixels: np.ndarray, sop_class: str, syntax: UID, data: bytes, photometric: str) -> None:
    """Make the draft an image of ``sop_class`` with these pixels."""
    ds = draft.ds
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Modality = _MODALITY.get(sop_class, ds.get("Modality", "OT"))
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.pop("SmallestImagePixelValue", None)
    ds.pop("LargestImagePixelValue", None)
    ds.pop("PixelPaddingValue", None)
    put(ds, 0x7FE00010, "OB", data + b"\0" * (len(data) % 2))
    ds["PixelData"].is_undefined_length = syntax.is_encapsulated


def unused_bits(planter: Planter) -> None:
    """Text drawn into the bits of PixelData above BitsStored, declared as an overlay or not."""
    for number, (declared, base) in enumerate(((True, "mr"), (False, "mr"), (True, "mr-big"))):
        with planter.draft(f"pixels/unused-bits-{number}.dcm", base) as draft:
            ds = draft.ds
            order = ">u2" if base == "mr-big" else "<u2"
            samples = np.frombuffer(ds.PixelData, order).reshape(ds.Rows, ds.Columns) & 0x0FFF
            canvas = Image.new("L", (ds.Columns, ds.Rows))
            token = draft.mint.secret().token
            ImageDraw.Draw(canvas).text((1, 20), token, fill=1)
            ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
            ds.PixelData = (samples | (np.asarray(canvas).astype(np.uint16) << 13)).astype(order).tobytes()
            if declared:
                shape = ((0x10, "US", ds.Rows), (0x11, "US", ds.Columns), (0x40, "CS", "G"), (0x50, "SS", [1, 1]))
                for element, vr, value in (*shape, (0x100, "US", 16), (0x102, "US", 13)):
                    put(ds, 0x60000000 | element, vr, value)
            where = "declared as an overlay" if declared else "not declared"
            draft.answer(Action.PIXELS_HIDDEN, "", "unused bits", "bits of pixels", (), where)
            _kept(draft)


def around_pixels(planter: Planter) -> None:
    """More PixelData than declared, bytes behind the last item, another frame, other pixel elements."""
    for base in ("mr", "ct", "mr-implicit", "mr-big"):
        with planter.draft(f"pixels/longer-{base}.dcm", base) as draft:
            secret = draft.secret("padding of pixels", "PixelData longer than declared", "(7FE0,0010)")
            extra = secret.sentence.encode()
            draft.ds.PixelData = draft.ds.PixelData + extra + b" " * (len(extra) % 2)
            _kept(draft)
    for base in ("mr-rle", "mr-jpegls", "mr-jpeg2000"):
        with planter.draft(f"pixels/behind-{base}.dcm", base) as draft:
            secret = draft.secret("padding of pixels", "behind the compressed frame", "(7FE0,0010)")
            tail = secret.sentence.encode().ljust(128, b"\0")
            draft.patch = lambda raw, tail=tail: _grow_last_item(raw, tail)  # type: ignore[misc]
            _kept(draft)
        with planter.draft(f"pixels/item-{base}.dcm", base) as draft:
            secret = draft.secret("padding of pixels", "another fragment", "(7FE0,0010)")
            end = b"\xfe\xff\xdd\xe0" + bytes(4)
            item = b"\xfe\xff\x00\xe0" + (64).to_bytes(4, "little") + secret.token.encode().ljust(64, b"\0")
            draft.patch = lambda raw, item=item, end=end: raw.replace(end, item + end)  # type: ignore[misc]
            _kept(draft)
    for tag, vr in ((0x7FE00008, "OF"), (0x7FE00009, "OD"), (0x7FE00001, "OV"), (0x00280A02, "CS"), (0x00283006, "OW")):
        with planter.draft(f"pixels/{tag:08x}.dcm") as draft:
            draft.plant(tag, "padding of pixels", vr=vr, where="beside PixelData")


def _kept(draft: Draft) -> None:
    """The image itself has nothing to do with what hides beside it, and must stay."""
    draft.answer(Action.PIXELS_RETAINED, "", "samples", "useful: pixels beside hidden content")


def _grow_last_item(raw: bytes, tail: bytes) -> bytes:
    """Encapsulated ``raw`` with ``tail`` at the end of its last fragment."""
    end = raw.rindex(b"\xfe\xff\xdd\xe0")
    start = raw.rindex(b"\xfe\xff\x00\xe0", 0, end)
    while start + 8 + int.from_bytes(raw[start + 4 : start + 8], "little") != end:
        start = raw.rindex(b"\xfe\xff\x00\xe0", 0, start)
    size = end - start - 8 + len(tail)
    return raw[: start + 4] + size.to_bytes(4, "little") + raw[start + 8 : end] + tail + raw[end:]


def compressed_comments(planter: Planter) -> None:
    """COM, APP and EXIF segments, and bytes behind EOI, in frames of classes that are usually released."""
    for place in ("COM", "APP1 EXIF", "APP13", "behind EOI", "thumbnail"):
        for sop_class, rgb in ((CR, False), (DX, False), (SC, True)):
            with planter.draft(f"jpeg/{place.replace(' ', '-')}-{_MODALITY[sop_class]}.dcm") as draft:
                secret = draft.secret("JPEG segments", place, "(7FE0,0010)")
                pixels, _ = picture(rgb=rgb)
                draft.ds.BurnedInAnnotation = "NO"
                stream = _jpeg(pixels, place, secret.sentence.encode())
                photometric = "YBR_FULL_422" if rgb else "MONOCHROME2"
                set_pixels(draft, pixels, sop_class, JPEGBaseline8Bit, encapsulate([stream]), photometric)
                _kept(draft)
    with planter.draft("jpeg/j2k-comment.dcm") as draft:
        secret = draft.secret("JPEG segments", "JPEG 2000 COM", "(7FE0,0010)")
        pixels, _ = picture()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
        text = secret.sentence.encode()
        stream, at = buffer.getvalue(), buffer.getvalue().index(b"\xff\x52")  # before the coding style
        segment = b"\xff\x64" + (len(text) + 4).to_bytes(2, "big") + b"\0\1" + text
        data = encapsulate([stream[:at] + segment + stream[at:]])
        set_pixels(draft, pixels, CR, JPEG2000Lossless, data, "MONOCHROME2")
        _kept(draft)


def _jpeg(pixels: np.ndarray, place: str, text: bytes) -> bytes:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    options: dict[str, object] = {"subsampling": 1} if pixels.ndim == 3 else {}
    if place == "COM":
        options["comment"] = text
    if place == "APP1 EXIF":
        exif = Image.Exif()
        exif[0x013B] = exif[0x010E] = text.decode()
        options["exif"] = exif
    image.save(buffer, "JPEG", quality=90, **options)
    stream = buffer.getvalue()
    if place == "APP13":
        stream = stream[:2] + b"\xff\xed" + (len(text) + 2).to_bytes(2, "big") + text + stream[2:]
    if place == "behind EOI":
        stream += text
    if place == "thumbnail":
        small = io.BytesIO()
        Image.fromarray(pixels).resize((16, 16)).save(small, "JPEG", comment=text)
        body = b"Exif\0\0" + small.getvalue()
        stream = stream[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + stream[2:]
    return stream + b"\0" * (len(stream) % 2)


def icons(planter: Planter) -> None:
    """An icon, whose pixels are a picture of the patient's name and whose bytes carry it."""
    for tags in ((), (0x52009229,)):
        with planter.draft(f"icon/{len(tags)}.dcm", "ct") as draft:
            item, prefix = nested(draft.ds, (*tags, 0x00880200))
            secret = draft.secret("icons", "pixels of the icon", f"{prefix}(7FE0,0010)")
            for tag, vr, value in (
                (0x00280002, "US", 1), (0x00280004, "CS", "MONOCHROME2"), (0x00280010, "US", 16),
                (0x00280011, "US", 16), (0x00280100, "US", 8), (0x00280101, "US", 8), (0x00280102, "US", 7),
                (0x00280103, "US", 0), (0x7FE00010, "OB", secret.sentence.encode().ljust(256, b"\0")),
            ):  # fmt: skip
                put(item, tag, vr, value)


def lookup_tables(planter: Planter) -> None:
    """Explanations and contents of lookup tables, window explanations, palettes."""
    for sequence in (0x00283000, 0x00283010):
        for tag, vr in ((0x00283003, "LO"), (0x00283004, "LO"), (0x00283006, "OW")):
            with planter.draft(f"lut/{sequence:08x}-{tag:08x}.dcm", "ct") as draft:
                item, prefix = nested(draft.ds, (sequence,))
                for its_tag, vr_, value in (
                    (0x00283002, "US", [12, 0, 16]), (0x00283004, "LO", "US"), (0x00283006, "OW", bytes(24))
                ):  # fmt: skip
                    put(item, its_tag, vr_, value)
                draft.plant_in(item, prefix, tag, "lookup tables", vr=vr)
    for tag in (0x00281201, 0x00281101, 0x00281221, 0x00282000):
        with planter.draft(f"lut/{tag:08x}.dcm", "ct") as draft:
            draft.plant(tag, "lookup tables", vr="OW", where="palette or ICC profile")
    for tag, vr in ((0x00281055, "LO"), (0x00281056, "CS"), (0x00281090, "CS"), (0x00281300, "CS")):
        with planter.draft(f"lut/{tag:08x}.dcm", "ct") as draft:
            draft.plant(tag, "lookup tables", vr=vr)


def burned_in(planter: Planter) -> None:
    """The patient's name drawn into frames that say so, that do not say, and that say they have none."""
    makers: tuple[tuple[str, str, bool, Callable[[Dataset], None]], ...] = (
        ("secondary capture", SC, True, lambda _: None),
        ("secondary capture, says NO", SC, True, lambda ds: setattr(ds, "BurnedInAnnotation", "NO")),
        ("ultrasound with regions", US, True, _ultrasound_regions),
        ("ultrasound", US, True, lambda _: None),
        ("angiography, says nothing", XA, False, lambda _: None),
        ("screen save", CR, False, lambda ds: setattr(ds, "ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"])),
        ("radiograph, says YES", CR, False, lambda ds: setattr(ds, "BurnedInAnnotation", "YES")),
        ("radiograph, says nothing", CR, False, lambda _: None),
    )
    for number, (what, sop_class, rgb, prepare) in enumerate(makers):
        with planter.draft(f"burned-in/{number}.dcm", "mr") as draft:
            family = draft.mint.token()
            put(draft.ds, 0x00100010, "PN", f"{family}^Anna")
            draft.answers = [one for one in draft.answers if one.path != "(0010,0010)"]
            draft.answer(Action.TEXT_REMOVED, "(0010,0010)", family, "patient", (family,))
            draft.ds.ImageType = ["ORIGINAL", "PRIMARY"]
            pixels, region = picture(family.upper()[:9], rgb=rgb)
            photometric = "RGB" if rgb else "MONOCHROME2"
            set_pixels(draft, pixels, sop_class, ExplicitVRLittleEndian, pixels.tobytes(), photometric)
            prepare(draft.ds)
            text = ",".join(map(str, region))
            draft.answer(Action.PIXELS_HIDDEN, "", text, "burned-in text", (), what)
            draft.answer(Action.PIXELS_RETAINED, "", f"outside {text}", "useful: pixels beside redaction", (), what)


def _ultrasound_regions(ds: Dataset) -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 2
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 40
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = _SIZE - 1, _SIZE - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.05
    ds.SequenceOfUltrasoundRegions = Sequence([region])


PLANTS: tuple[Callable[[Planter], None], ...] = (
    unused_bits, around_pixels, compressed_comments, icons, lookup_tables, burned_in,
)  # fmt: skip

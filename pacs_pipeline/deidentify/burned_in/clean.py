"""One file to another with its burned-in text blanked: regions, look, blank, look again, write."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from pacs_pipeline.deidentify.burned_in import ultrasound
from pacs_pipeline.deidentify.burned_in.detector import Detector, TextDetector, models
from pacs_pipeline.deidentify.burned_in.device_rules import DeviceRules
from pacs_pipeline.deidentify.burned_in.encode import write_cleaned, write_unchanged
from pacs_pipeline.deidentify.burned_in.frames import Frames, black, blank, copied, decoded, layout_of
from pacs_pipeline.deidentify.burned_in.look import measure, text_in
from pacs_pipeline.deidentify.burned_in.regions import Box, Mask, Region, fill, rectangles
from pacs_pipeline.deidentify.burned_in.views import Display
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

ROUNDS = 3
DEFAULT_MAX_PIXEL_BYTES = 2 * 1024 * 1024 * 1024  # of all frames, decoded
MAX_HEADER_BYTES = 256 * 1024 * 1024
PIXEL_DATA = 0x7FE00010
_CHUNK = 1024 * 1024
_READ_ERRORS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What was done to one instance."""

    regions: tuple[Region, ...]
    transfer_syntax: str


def available() -> bool:
    """Whether the extra ``pixels`` is installed: without it no instance can be cleaned."""
    return models() is not None


def clean_pixels(
    src: Path,
    dst: Path,
    *,
    rules: DeviceRules,
    detector: Detector | None = None,
    max_pixel_bytes: int = DEFAULT_MAX_PIXEL_BYTES,
) -> Redaction:
    """Write to ``dst`` the file ``src`` with text blanked in every frame (PS3.15 E.3.1).

    Blanked is the union of three: what ``rules`` say of the device, what lies outside of the ultrasound regions,
    and what ``detector`` finds (the built-in one unless given). Text found in one frame is blanked in all, since
    a caption stands still while the image behind it hides it now and then. The second look is a measurement: faint
    strings are planted in a copy of every frame (:mod:`probes`), and when one of them is not found the instance is
    set aside. Text that is still found after three rounds sets it aside too.

    The header is the source's, still identified: ``dst`` is private (mode 0600). Changed are PixelData, the
    attributes that describe it, BurnedInAnnotation (``NO``), and the icon image, which is removed with whatever
    follows PixelData. Pixels outside of the regions are those of the (decoded) source. Nothing to blank: the
    encoded frames stay as they are.

    Raises Quarantine: BURNED_IN_TEXT, UNSUPPORTED, TRUNCATED, TOO_LARGE, UNREADABLE or HIDDEN_CONTENT; ``dst``
    does not exist then.
    """
    if detector is None:
        if not available():
            raise Quarantine(Reason.BURNED_IN_TEXT, "the extra 'pixels' is not installed")
        detector = TextDetector()
    try:
        with _silent():
            return _cleaned(src, dst, rules, detector, max_pixel_bytes)
    except BaseException:
        dst.unlink(missing_ok=True)
        raise


def _cleaned(src: Path, dst: Path, rules: DeviceRules, detector: Detector, max_pixel_bytes: int) -> Redaction:
    with _opened(src, dst.parent) as file:
        ds, element, length = _header(file)
        value = file.tell()
        with _frames(file, ds, length, max_pixel_bytes, dst.parent) as frames:
            regions = _blanked(frames, ds, rules, detector)
            if not regions:
                file.seek(element)
                return Redaction((), write_unchanged(ds, file, dst))
            file.seek(value)
            compressed = file.read(_CHUNK) if length is None else b""
            ratio = frames.size / max(1, file.seek(0, os.SEEK_END) - value)
            written = write_cleaned(ds, frames, dst, compressed=compressed, ratio=ratio)
            return Redaction(regions, written)


def _blanked(frames: Frames, ds: FileDataset, rules: DeviceRules, detector: Detector) -> tuple[Region, ...]:
    """Blank every frame until nothing is found any more. Raises Quarantine (BURNED_IN_TEXT)."""
    layout = frames.layout
    rows, columns = layout.rows, layout.columns
    value = black(ds, layout)
    display = Display(ds, layout)
    blanked: Mask = np.zeros((rows, columns), np.bool_)
    regions = [Region(*layout.widened(box), "device") for box in rules.boxes(ds, rows, columns)]
    regions += [Region(*layout.widened(box), "ultrasound") for box in ultrasound.outside(ds, rows, columns)]
    to_measure = isinstance(detector, TextDetector)  # one that is told what to find is not
    added = regions
    for number in range(ROUNDS + 1):
        new = fill(np.zeros((rows, columns), np.bool_), [region.box for region in added])
        blanked |= new
        for index in range(len(frames) if added else 0):
            blank(frames, index, rectangles(new), value)
        found: set[Box] = set()
        if number != 1 or not to_measure:  # the measurement is the second look
            found = text_in(frames, display, detector, blanked, new=None if number == 0 else new)
        if not found and to_measure:
            found, to_measure = measure(frames, display, detector, blanked), False
        if not found:
            return tuple(regions)
        added = [Region(*layout.widened(box), "text") for box in sorted(found)]
        regions = regions + added
    raise Quarantine(Reason.BURNED_IN_TEXT, "text is still found after it was blanked")


def _frames(file: BinaryIO, ds: FileDataset, length: int | None, limit: int, folder: Path) -> Frames:
    """The native frames of PixelData, which ``file`` stands at; ``length`` is None when it is encapsulated."""
    syntax = ds.file_meta.TransferSyntaxUID
    layout = layout_of(ds, big_endian=syntax == ExplicitVRBigEndian)
    if layout.frame_bytes * layout.frames > limit:
        raise Quarantine(Reason.TOO_LARGE, "the frames are larger than the limit for cleaning")
    if syntax.is_encapsulated == (length is not None):
        raise Quarantine(Reason.UNREADABLE, "PixelData is not encoded as the transfer syntax says")
    if length is not None:
        if layout.big_endian and layout.allocated == 8:
            raise Quarantine(Reason.UNSUPPORTED, "bytes in big endian words are not cleaned")
        return copied(file, length, layout, folder)
    table = (ds.get("ExtendedOffsetTable"), ds.get("ExtendedOffsetTableLengths"))
    return decoded(file, layout, str(syntax), folder, table if all(table) else None)


def _header(file: BinaryIO) -> tuple[FileDataset, int, int | None]:
    """The data set before PixelData, where that element starts, and how long its value is (None: encapsulated).

    Leaves ``file`` at the value. Raises Quarantine (UNREADABLE, TRUNCATED, TOO_DEEP).
    """
    try:
        ds = dcmread(file, stop_before_pixels=True)
        syntax = ds.file_meta.TransferSyntaxUID
        implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    except RecursionError:
        raise Quarantine(Reason.TOO_DEEP, "sequences are nested too deeply") from None
    except _READ_ERRORS as error:
        raise Quarantine(Reason.UNREADABLE, f"the header cannot be read ({type(error).__name__})") from None
    order = "little" if little else "big"
    start = file.tell()
    head = file.read(8 if implicit else 12)
    group, element = (int.from_bytes(head[n : n + 2], order) for n in (0, 2))  # type: ignore[arg-type]
    if len(head) < 8 or (group << 16 | element) != PIXEL_DATA:
        raise Quarantine(Reason.TRUNCATED, "PixelData is missing")
    if not implicit and head[4:6] not in (b"OB", b"OW"):
        raise Quarantine(Reason.UNREADABLE, "PixelData has another VR than OB or OW")
    length = int.from_bytes(head[-4:], order)  # type: ignore[arg-type]
    return ds, start, None if length == 0xFFFFFFFF else length


@contextmanager
def _opened(src: Path, folder: Path) -> Iterator[BinaryIO]:
    """``src`` for reading; a deflated data set is inflated first, within a limit, and called Explicit VR."""
    with src.open("rb") as file:
        try:
            meta = read_file_meta_info(src)
            deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
        except _READ_ERRORS as error:
            raise Quarantine(Reason.UNREADABLE, f"the file cannot be read ({type(error).__name__})") from None
        if not deflated:
            yield file
            return
        with tempfile.TemporaryFile(dir=folder) as plain:
            _inflate(file, plain)
            yield plain


def _inflate(file: BinaryIO, plain: BinaryIO) -> None:
    """Write the deflated file as one in Explicit VR Little Endian. Raises Quarantine (TOO_LARGE, UNREADABLE)."""
    try:
        file.seek(132)
        head = file.read(12)
        end = 144 + int.from_bytes(head[8:12], "little")  # FileMetaInformationGroupLength comes first
        meta = read_file_meta_info(file.name)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dcmwrite(plain, FileDataset("", {}, preamble=bytes(128), file_meta=meta), implicit_vr=False, little_endian=True)
        file.seek(end)
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        size = 0
        while not stream.eof and (piece := stream.unconsumed_tail or file.read(_CHUNK)):
            part = stream.decompress(piece, _CHUNK)
            size += len(part)
            if size > DEFAULT_MAX_PIXEL_BYTES + MAX_HEADER_BYTES:
                raise Quarantine(Reason.TOO_LARGE, "the data set inflates beyond the limit")
            plain.write(part)
        if not stream.eof:
            raise Quarantine(Reason.TRUNCATED, "the deflated data set is cut off")
    except _READ_ERRORS as error:
        raise Quarantine(Reason.UNREADABLE, f"the file cannot be inflated ({type(error).__name__})") from None
    plain.seek(0)


@contextmanager
def _silent() -> Iterator[None]:
    """pydicom quotes values in its warnings and log lines; none may leave."""
    logger = logging.getLogger("pydicom")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled

"""Writes a cleaned instance: frames encoded without loss, and a header that tells the truth about them."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacs_pipeline.deidentify.burned_in.frames import (
    DECODE_ERRORS,
    DECODERS,
    J2K,
    J2K_LOSSY,
    JPEG_LS,
    JPEG_LS_LOSSY,
    RLE,
    Frames,
    Layout,
    native,
    options_of,
)

_ENCODERS = {RLE: "pylibjpeg", JPEG_LS: "pyjpegls", J2K: "pylibjpeg"}
# What a syntax becomes when its frames were decoded: itself or its lossless sibling, otherwise native
_LOSSLESS = {RLE: RLE, JPEG_LS: JPEG_LS, JPEG_LS_LOSSY: JPEG_LS, J2K: J2K, J2K_LOSSY: J2K}
# LossyImageCompressionMethod by transfer syntax, PS3.3 C.7.6.1.1.5.1
_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    JPEG_LS_LOSSY: "ISO_14495_1",
    J2K_LOSSY: "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
_MAY_BE_LOSSLESS = frozenset((J2K_LOSSY, "1.2.840.10008.1.2.4.203"))
_DECORRELATED = frozenset(("YBR_RCT", "YBR_ICT"))  # colour of JPEG 2000, decoded to RGB
_LARGEST_OFFSET = 0xFFFFFFFF
_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def write_unchanged(ds: FileDataset, rest: BinaryIO, dst: Path) -> str:
    """Write ``ds`` and, as they are, the bytes of ``rest`` from PixelData on. Returns the transfer syntax."""
    ds.BurnedInAnnotation = "NO"
    ds.pop("IconImageSequence", None)
    with _private(dst) as file:
        dcmwrite(file, ds, enforce_file_format=False)
        shutil.copyfileobj(rest, file)
    return str(ds.file_meta.TransferSyntaxUID)


def write_cleaned(ds: FileDataset, frames: Frames, dst: Path, *, compressed: bytes, ratio: float) -> str:
    """Write ``ds`` with ``frames``; returns the transfer syntax.

    A native source keeps its syntax. A decoded one keeps it, or takes its lossless sibling, when an encoder
    exists and gives back every sample; otherwise it becomes Explicit VR Little Endian. ``compressed`` is the
    beginning of an encapsulated source's first frame and ``ratio`` how much smaller it was than the decoded.
    """
    source = str(ds.file_meta.TransferSyntaxUID)
    _describe(ds, source, compressed, ratio)
    if not UID(source).is_encapsulated:
        _write_native(ds, frames, dst)
        return source
    target = _LOSSLESS.get(source)
    if target is not None:
        layout = _encodable(frames.layout, str(ds.PhotometricInterpretation), target)
        with tempfile.TemporaryFile(dir=dst.parent) as items:
            sizes = _encode(frames, layout, target, items)
            if sizes is not None:
                ds.file_meta.TransferSyntaxUID = UID(target)
                ds.PhotometricInterpretation = layout.photometric
                if layout.samples > 1 and target != source:
                    ds.PlanarConfiguration = 0
                _write_encapsulated(ds, items, sizes, dst)
                return target
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PhotometricInterpretation = frames.layout.photometric
    if frames.layout.samples > 1:
        ds.PlanarConfiguration = 0
    _write_native(ds, frames, dst)
    return str(ExplicitVRLittleEndian)


def _describe(ds: FileDataset, source: str, compressed: bytes, ratio: float) -> None:
    """What the standard wants said of an image whose pixels were changed (PS3.3 C.7.6.1.1.2, C.7.6.1.1.5)."""
    ds.BurnedInAnnotation = "NO"
    ds.DerivationDescription = "Burned-in text blanked" + (
        ", frames decoded and stored without further loss" if UID(source).is_encapsulated else ""
    )
    kinds = ds.get("ImageType")
    values = [kinds] if isinstance(kinds, str) else list(kinds or ())
    ds.ImageType = ["DERIVED", *(values[1:] or ["PRIMARY"])]
    for keyword in (
        "IconImageSequence",
        "SmallestImagePixelValue",  # the blanked pixels may be smaller or larger
        "LargestImagePixelValue",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
        "PixelDataProviderURL",
    ):
        ds.pop(keyword, None)
    method = _METHODS.get(source)
    stated = str(ds.get("LossyImageCompression") or "")
    if method is None or stated == "01":  # lossless here, or what is stated is true already
        return
    if source in _MAY_BE_LOSSLESS and _reversible(compressed):
        return
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = f"{ratio:.4g}"
    ds.LossyImageCompressionMethod = method


def _reversible(codestream: bytes) -> bool:
    """Whether a JPEG 2000 codestream uses the reversible wavelet, ISO 15444-1 A.6.1; no proof of its being lossless."""
    start = codestream.find(b"\xff\x4f\xff\x51")
    found = codestream.find(b"\xff\x52", start) if start >= 0 else -1
    return found >= 0 and codestream[found + 13 : found + 14] == b"\x01"


def _encodable(layout: Layout, photometric: str, target: str) -> Layout:
    """The layout as it is encoded: decorrelated colour of JPEG 2000 is decorrelated again, reversibly."""
    return native(layout, "YBR_RCT" if target == J2K and photometric in _DECORRELATED else layout.photometric)


def _encode(frames: Frames, layout: Layout, target: str, items: BinaryIO) -> list[int] | None:
    """Write each frame as one item; the items' sizes, or None when a frame does not come back as it was."""
    encoder, decoder = get_encoder(UID(target)), get_decoder(UID(target))
    if _ENCODERS[target] not in encoder.available_plugins or DECODERS[target] not in decoder.available_plugins:
        return None
    options: dict[str, Any] = options_of(layout) | {"number_of_frames": 1}
    back = options | {"pixel_keyword": "PixelData"}
    sizes = []
    for index in range(len(frames)):
        pixels = np.ascontiguousarray(frames.pixels(index))
        try:
            code: bytes = encoder.encode(pixels, encoding_plugin=_ENCODERS[target], **options)
            again, _ = decoder.as_array(
                encapsulate([code]),
                raw=True,
                decoding_plugin=DECODERS[target],
                **back,
            )
        except DECODE_ERRORS:
            return None
        if not np.array_equal(again, pixels):
            return None
        code += b"\0" * (len(code) % 2)
        items.write(_ITEM + struct.pack("<L", len(code)) + code)
        sizes.append(len(code) + 8)
    return sizes


def _write_native(ds: FileDataset, frames: Frames, dst: Path) -> None:
    little = ds.file_meta.TransferSyntaxUID.is_little_endian
    length = struct.pack("<L" if little else ">L", frames.size + frames.size % 2)
    head = _PIXEL_DATA if little else b"\x7f\xe0\x00\x10"
    if not ds.file_meta.TransferSyntaxUID.is_implicit_VR:
        head += (b"OW" if frames.layout.allocated > 8 else b"OB") + b"\0\0"
    frames.file.seek(0)
    with _private(dst) as file:
        dcmwrite(file, ds, enforce_file_format=False)
        file.write(head + length)
        shutil.copyfileobj(frames.file, file)


def _write_encapsulated(ds: FileDataset, items: BinaryIO, sizes: list[int], dst: Path) -> None:
    """PS3.5 A.4, with a basic offset table where its 32 bits suffice."""
    table = b""
    if sum(sizes) <= _LARGEST_OFFSET:
        starts = np.concatenate(([0], np.cumsum(sizes[:-1], dtype=np.int64)))
        table = starts.astype("<u4").tobytes()
    items.seek(0)
    with _private(dst) as file:
        dcmwrite(file, ds, enforce_file_format=False)
        file.write(_PIXEL_DATA + b"OB\0\0\xff\xff\xff\xff" + _ITEM + struct.pack("<L", len(table)) + table)
        shutil.copyfileobj(items, file)
        file.write(_SEQUENCE_END)


def _private(path: Path) -> BinaryIO:
    """``path`` for writing, emptied, for its owner only: what is written is still identified."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(handle, 0o600)
    return os.fdopen(handle, "wb")

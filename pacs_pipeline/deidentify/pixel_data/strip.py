"""From a source to its PixelData without anything that is no pixel, by transfer syntax."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from pacs_pipeline.deidentify.codec import NATIVE, PIXEL_DATA, Element, Source, Span, encode, encode_meta
from pacs_pipeline.deidentify.pixel_data import encapsulated, native
from pacs_pipeline.deidentify.pixel_data.shape import shape_of
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason


def only_pixels(source: Source) -> Element | None:
    """PixelData without what is no pixel, or None when there is nothing else in it (the usual case).

    Taken out are bytes behind the declared length and behind compressed frames, bits outside BitsStored, comments
    and application segments of compressed frames. The decoded samples are those of the source. The value is made
    while it is written, so an object of any size takes the memory of one piece or one compressed frame.

    Raises Quarantine (TRUNCATED, HIDDEN_CONTENT, UNSUPPORTED, TOO_LARGE, UNREADABLE) for what is not what the
    header says and cannot be made so with certainty.
    """
    element = source.dataset[PIXEL_DATA]
    shape = shape_of(source)
    is_native = source.transfer_syntax in NATIVE
    if is_native != (element.fragments is None):
        raise Quarantine(Reason.UNREADABLE, "PixelData is not encoded as the transfer syntax says")
    if is_native:
        return native.stripped(source, element, shape)
    return encapsulated.stripped(source, element, shape)


def written_with(pixels: Element, source: Source, path: Path) -> None:
    """Write ``source`` to ``path`` with ``pixels`` as its PixelData, its header as it is; deflated data inflated.

    The file is as identified as the source: its folder has to be private.
    """
    deflated = source.transfer_syntax == DeflatedExplicitVRLittleEndian
    syntax = str(ExplicitVRLittleEndian) if deflated else source.transfer_syntax
    with path.open("wb") as file:
        file.write(encode_meta({0x00020010: ("UI", syntax.encode("ascii"))}))
        for piece in encode(source.dataset | {PIXEL_DATA: pixels}, source.encoding):
            for chunk in source.buffer.chunks(piece) if isinstance(piece, Span) else (piece,):
                file.write(chunk)

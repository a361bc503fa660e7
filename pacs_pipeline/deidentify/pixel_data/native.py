"""Uncompressed pixel data: as long as declared, and nothing in the bits that are no pixel."""

from __future__ import annotations

from collections.abc import Iterator

from pacs_pipeline.deidentify.codec import Buffer, Edited, Element, Source, Span
from pacs_pipeline.deidentify.pixel_data.shape import Shape
from pacs_pipeline.deidentify.pixel_data.unused_bits import unused_bits
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason


def stripped(source: Source, element: Element, shape: Shape) -> Element | None:
    """The element cut to its declared length and without bits outside BitsStored; None when it is that already."""
    buffer, order = source.buffer, source.encoding.order
    excess = len(element.span) - shape.length
    if excess < 0:
        raise Quarantine(Reason.TRUNCATED, "PixelData is shorter than its header says")
    pixels = Span(element.span.start, element.span.start + shape.length)
    longer = bool(excess) and any(any(piece) for piece in buffer.chunks(Span(pixels.end, element.span.end)))
    if longer and order == ">" and shape.allocated < 16 and shape.length % 2:
        # the last sample stands behind the pad byte when bytes are written as big endian words
        raise Quarantine(Reason.HIDDEN_CONTENT, "PixelData is longer than its header says")
    bits = unused_bits(source.dataset, shape, order, order)
    if bits is not None and not bits.are_clean(buffer.views(pixels)):

        def cleared(buffer: Buffer) -> Iterator[bytes]:
            return bits.cleared(buffer.chunks(pixels))

        return Element(element.tag, element.vr, Edited(pixels.start, pixels.end, shape.length, cleared))
    return Element(element.tag, element.vr, pixels) if longer else None

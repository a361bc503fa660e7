"""Proves that an object of numbers holds the pixels its class has, and no others."""

from __future__ import annotations

import struct

from pacs_pipeline.deidentify.codec import NATIVE, PIXEL_DATA, PIXELS, Elements, Source, components
from pacs_pipeline.deidentify.object_classes import Content, content_of
from pacs_pipeline.deidentify.pixels import check_pixels
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

FLOAT_PIXELS = {0x7FE00008: 4, 0x7FE00009: 8}  # FloatPixelData, DoubleFloatPixelData: bytes of a sample
ROWS, COLUMNS, SAMPLES, FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280008


def check_object(source: Source, sop_class: str) -> None:
    """Raise Quarantine unless the pixels are those of the class (PS3.3 A.51, A.75, A.18).

    Missing pixels are TRUNCATED, pixels that the class does not have HIDDEN_CONTENT; what is there passes the
    checks for an image, or, as floating point numbers, has exactly the length its header says.
    """
    dataset = source.dataset
    present = [tag for tag in sorted(PIXELS) if tag in dataset]
    content = content_of(sop_class)
    allowed = {
        Content.FRAMES: frozenset((PIXEL_DATA,)),
        Content.GRID: frozenset((PIXEL_DATA,)),
        Content.MAP: PIXELS,
    }.get(content or Content.ATTRIBUTES, frozenset())
    if len(present) > 1 or not allowed.issuperset(present):
        raise Quarantine(Reason.HIDDEN_CONTENT, "there are pixels where this class has none")
    if not present and content in (Content.FRAMES, Content.MAP):
        raise Quarantine(Reason.TRUNCATED, "PixelData is missing")
    for tag in present:
        if tag == PIXEL_DATA:
            check_pixels(source)
        else:
            _check_floats(source, tag)


def _check_floats(source: Source, tag: int) -> None:
    element = source.dataset[tag]
    if element.fragments is not None or element.items is not None or source.transfer_syntax not in NATIVE:
        raise Quarantine(Reason.UNREADABLE, "pixels of floating point numbers are not native")
    order = source.encoding.order
    wanted = FLOAT_PIXELS[tag] * _frames(source.dataset)
    for number in (ROWS, COLUMNS, SAMPLES):
        value = source.dataset[number].value if number in source.dataset else b"\1\0" if order == "<" else b"\0\1"
        if not isinstance(value, bytes) or len(value) != 2 or (number != SAMPLES and number not in source.dataset):
            raise Quarantine(Reason.UNREADABLE, "the image pixel module is incomplete")
        wanted *= struct.unpack(order + "H", value)[0]
    if len(element.value) < wanted:
        raise Quarantine(Reason.TRUNCATED, "the pixels are fewer than their header says")
    if len(element.value) > wanted:
        raise Quarantine(Reason.HIDDEN_CONTENT, "the pixels are more than their header says")


def _frames(dataset: Elements) -> int:
    element = dataset.get(FRAMES)
    try:
        frames = int(components(element.value)[0] or 1) if element and isinstance(element.value, bytes) else 1
    except ValueError as error:
        raise Quarantine(Reason.UNREADABLE, "NumberOfFrames is no number") from error
    if frames < 1:
        raise Quarantine(Reason.UNREADABLE, "the image pixel module is impossible")
    return frames

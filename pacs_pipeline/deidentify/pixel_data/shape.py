"""What the Image Pixel module declares (PS3.3 C.7.6.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pacs_pipeline.deidentify.codec import Source, components
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103


@dataclass(frozen=True, slots=True)
class Shape:
    """The declared size of the image and of its samples."""

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame."""
        samples = 2 if self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") else self.samples
        return self.rows * self.columns * samples * self.allocated

    @property
    def length(self) -> int:
        """Bytes of native pixel data without padding."""
        return (self.frame_bits * self.frames + 7) // 8


def shape_of(source: Source) -> Shape:
    """The shape that ``source`` declares. Raises Quarantine (UNREADABLE) when it declares none that can be."""
    dataset, order = source.dataset, source.encoding.order

    def number(tag: int, default: int | None = None) -> int:
        element = dataset.get(tag)
        value = element.value if element is not None else b""
        if isinstance(value, bytes) and len(value) == 2:
            return int(struct.unpack(order + "H", value)[0])
        if default is None:
            raise Quarantine(Reason.UNREADABLE, "the image pixel module is incomplete")
        return default

    allocated = number(_ALLOCATED)
    stored = number(_STORED, allocated)
    frames = dataset.get(_FRAMES)
    try:
        count = int(components(frames.value)[0] or 1) if frames and isinstance(frames.value, bytes) else 1
    except ValueError as error:
        raise Quarantine(Reason.UNREADABLE, "NumberOfFrames is no number") from error
    photometric = dataset.get(_PHOTOMETRIC)
    shape = Shape(
        rows=number(_ROWS),
        columns=number(_COLUMNS),
        samples=number(_SAMPLES, 1),
        frames=count,
        allocated=allocated,
        stored=stored,
        high_bit=number(_HIGH_BIT, stored - 1),
        signed=number(_SIGNED, 0) == 1,
        photometric=components(photometric.value)[0] if photometric and isinstance(photometric.value, bytes) else "",
    )
    possible = shape.allocated in (1, 8, 16, 32, 64) and 0 < shape.stored <= shape.allocated > shape.high_bit
    if not possible or shape.high_bit + 1 < shape.stored or shape.frames < 1 or not shape.frame_bits:
        raise Quarantine(Reason.UNREADABLE, "the image pixel module is impossible")
    return shape

"""The bits of samples outside BitsStored: ones of their own could draw letters, and old overlays live there."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.codec import CHUNK, Elements
from pacs_pipeline.deidentify.pixel_data.shape import Shape
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_PADDING = 0x00280120
_OVERLAY_BITS, _OVERLAY_POSITION, _OVERLAY_DATA = 0x0100, 0x0102, 0x3000
_OVERLAYS = frozenset(
    group << 16 | element for group in range(0x6000, 0x6100, 2) for element in (_OVERLAY_BITS, _OVERLAY_POSITION)
)

Samples = NDArray[Any]


@dataclass(frozen=True, slots=True)
class UnusedBits:
    """Which bits of a sample are not its value, and what they may be: zero, or the sign of a signed sample.

    ``fill`` is PixelPaddingValue where it uses such bits: a sample that equals it is background and stays.
    """

    dtype: np.dtype[Any]
    used: int
    unused: int
    sign: int  # the sign bit, 0 for unsigned samples
    above: int  # the bits above the sign
    fill: int | None

    def are_clean(self, pieces: Iterable[bytes | memoryview]) -> bool:
        """Whether all samples are written alike, and none has a bit of its own. Stops at the first that has."""
        plain, extended = True, bool(self.sign)
        for samples in self._samples(pieces):
            if not len(samples):
                continue
            present = int(np.bitwise_or.reduce(samples))
            if present & self.unused:
                plain = plain and self.fill is not None and np.array_equal(self._written(samples), samples)
                extended = extended and np.array_equal(self._written(samples, extended=True), samples)
            elif present & self.sign:
                extended = False  # a negative sample without ones above its sign
            if not (plain or extended):
                return False
        return True

    def cleared(self, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
        """The samples with zeros outside BitsStored, or the sign above it; all other bits as they are."""
        for samples in self._samples(pieces):
            yield self._written(samples, extended=bool(self.sign)).astype(self.dtype, copy=False).tobytes()

    # numpy computes in the machine's byte order
    def _written(self, samples: Samples, *, extended: bool = False) -> Samples:
        made = samples
        if extended:
            distance = 8 * self.dtype.itemsize - self.sign.bit_length()
            signed = made.view(self.dtype.str.replace("u", "i"))
            made = (signed << distance >> distance).view(f"u{self.dtype.itemsize}")
        made = made & (self.used | self.above if extended else self.used)
        return made if self.fill is None else np.where(samples == self.fill, samples, made)

    def _samples(self, pieces: Iterable[bytes | memoryview]) -> Iterator[Samples]:
        """The samples in pieces that are small whatever the size of ``pieces``."""
        size, rest = self.dtype.itemsize, b""
        for piece in pieces:
            data = memoryview(rest + piece if rest else piece)
            whole = len(data) - len(data) % size
            for start in range(0, whole, CHUNK):
                yield np.frombuffer(data[start : min(start + CHUNK, whole)], self.dtype)
            rest = bytes(data[whole:])


def unused_bits(dataset: Elements, shape: Shape, order: str, sample_order: str) -> UnusedBits | None:
    """The unused bits of an uncompressed image, or None when it has none.

    ``order`` is the byte order of the data set and ``sample_order`` that of its samples. Raises Quarantine
    (HIDDEN_CONTENT) for an overlay that is embedded in bits of the samples themselves (PS3.3 C.9.2): the two
    cannot be told apart.
    """
    low = shape.high_bit + 1 - shape.stored
    used = ((1 << shape.stored) - 1) << low
    unused = ((1 << shape.allocated) - 1) & ~used
    overlays = _embedded_overlays(dataset, order)
    if shape.allocated not in (8, 16, 32):
        unused, used = 0, -1
    if overlays & used:
        raise Quarantine(Reason.HIDDEN_CONTENT, "an overlay is embedded in the samples of PixelData")
    if not unused:
        return None
    fill = _number(dataset, _PADDING, order) if shape.allocated == 16 else None
    if fill is not None and not fill & unused:
        fill = None
    if fill is not None and fill & overlays:
        raise Quarantine(Reason.HIDDEN_CONTENT, "an overlay is embedded in bits of PixelPaddingValue")
    sign = 1 << shape.high_bit if shape.signed else 0
    above = unused & ~((1 << shape.high_bit) - 1)
    return UnusedBits(np.dtype(f"{sample_order}u{shape.allocated // 8}"), used, unused, sign, above, fill)


def refuse_overlays(dataset: Elements, order: str) -> None:
    """Raise Quarantine (HIDDEN_CONTENT) when an overlay is embedded in samples that are not looked at."""
    if _embedded_overlays(dataset, order):
        raise Quarantine(Reason.HIDDEN_CONTENT, "an overlay is embedded in compressed PixelData")


def _embedded_overlays(dataset: Elements, order: str) -> int:
    """The bits in which overlays say they are embedded. Overlays of their own are removed as groups."""
    bits = 0
    for tag in _OVERLAYS.intersection(dataset):
        group = tag & 0xFFFF0000
        position = _number(dataset, group | _OVERLAY_POSITION, order) or 0
        allocated = _number(dataset, group | _OVERLAY_BITS, order) or 0
        if position or (allocated > 1 and group | _OVERLAY_DATA not in dataset):
            bits |= 1 << position
    return bits


def _number(dataset: Elements, tag: int, order: str) -> int | None:
    element = dataset.get(tag)
    if element is None or element.value == b"":
        return None
    if not isinstance(element.value, bytes) or len(element.value) != 2:
        if tag == _PADDING:
            return None
        raise Quarantine(Reason.HIDDEN_CONTENT, "the position of an overlay is no number")
    return int(struct.unpack(order + "H", element.value)[0])

"""One RLE frame (PS3.5 Annex G): decoded to prove it, written anew where it holds more than its planes."""

from __future__ import annotations

import re
import struct
from itertools import pairwise

import numpy as np

from pacs_pipeline.deidentify.pixel_data.shape import Shape
from pacs_pipeline.deidentify.pixel_data.unused_bits import UnusedBits
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_HEADER = 64
_RUN = re.compile(rb"(.)\1{2,127}", re.DOTALL)


def cleaned(data: bytes, *, shape: Shape, bits: UnusedBits | None) -> bytes:
    """``data`` with segments that fill their planes and nothing behind them; itself when it is that already.

    Where bits outside BitsStored are set the frame is encoded again without them. Raises Quarantine: TRUNCATED,
    HIDDEN_CONTENT.
    """
    if len(data) < _HEADER:
        raise Quarantine(Reason.TRUNCATED, "an RLE frame is cut off")
    count, *offsets = struct.unpack_from("<16L", data)
    if count != shape.samples * max(shape.allocated // 8, 1) or count > 15:
        raise Quarantine(Reason.HIDDEN_CONTENT, "an RLE header is not what the image needs")
    bounds = [*offsets[:count], len(data)]
    if bounds[0] < _HEADER or any(low > high for low, high in pairwise(bounds)):
        raise Quarantine(Reason.TRUNCATED, "an RLE frame is cut off")
    clean = bounds[0] == _HEADER and not any(offsets[count:])
    size = shape.rows * shape.columns
    if shape.allocated == 1:  # the bits of a frame are packed (PS3.5 8.1.1)
        size = (size + 7) // 8
    planes, segments = [], []
    for start, stop in pairwise(bounds):
        plane, end = _unpacked(data, start, stop, size)
        clean = clean and not any(data[end:stop])
        planes.append(plane)
        segments.append(data[start:end])
    if bits is not None:
        cleared = _cleared(planes, shape, bits)
        if cleared is not None:
            return _frame([_packed(plane, shape.columns) for plane in cleared])
    return data if clean else _frame(segments)


def _cleared(planes: list[bytes], shape: Shape, bits: UnusedBits) -> list[bytes] | None:
    """The planes without unused bits, or None when none are set; a sample begins with its most significant byte."""
    width = shape.allocated // 8
    samples = [planes[first : first + width] for first in range(0, len(planes), width)]
    interleaved = [np.stack([np.frombuffer(p, np.uint8) for p in sample], axis=1).tobytes() for sample in samples]
    if bits.are_clean(interleaved):
        return None
    made = []
    for sample in interleaved:
        words = np.frombuffer(b"".join(bits.cleared([sample])), np.uint8).reshape(-1, width)
        made += [words[:, number].tobytes() for number in range(width)]
    return made


def _frame(segments: list[bytes]) -> bytes:
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    starts = [_HEADER + sum(len(segment) for segment in segments[:number]) for number in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(starts))) + b"".join(segments)


def _packed(plane: bytes, columns: int) -> bytes:
    """PackBits, row by row (G.3.1): runs of three and more as runs, everything between as it is."""
    made = bytearray()
    for first in range(0, len(plane), columns):
        row = plane[first : first + columns]
        position = 0
        for run in _RUN.finditer(row):
            _pack_literal(made, row[position : run.start()])
            made += bytes((257 - len(run[0]), run[1][0]))
            position = run.end()
        _pack_literal(made, row[position:])
    return bytes(made)


def _pack_literal(made: bytearray, literal: bytes) -> None:
    for first in range(0, len(literal), 128):
        piece = literal[first : first + 128]
        made.append(len(piece) - 1)
        made += piece


def _unpacked(data: bytes, position: int, stop: int, size: int) -> tuple[bytes, int]:
    """The ``size`` bytes that the PackBits runs from ``position`` make, and where those runs end."""
    made = bytearray()
    while len(made) < size:
        if position >= stop:
            raise Quarantine(Reason.TRUNCATED, "an RLE segment is cut off")
        control = data[position]
        if control < 128:
            made += data[position + 1 : position + control + 2]
            position += control + 2
        elif control > 128:
            made += data[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    if position > stop or len(made) > size + 1 or any(made[size:]):
        raise Quarantine(Reason.TRUNCATED, "an RLE segment does not fill its plane")
    return bytes(made[:size]), position

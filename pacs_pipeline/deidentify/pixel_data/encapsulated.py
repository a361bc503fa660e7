"""Compressed pixel data: fragments grouped to frames, and every frame an image and nothing else (PS3.5 A.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from pacs_pipeline.deidentify.codec import ITEM, SEQUENCE_END, Buffer, Edited, Element, Source, Span
from pacs_pipeline.deidentify.pixel_data import jpeg, jpeg_2000, rle
from pacs_pipeline.deidentify.pixel_data.shape import Shape
from pacs_pipeline.deidentify.pixel_data.unused_bits import refuse_overlays, unused_bits
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

RLE = "1.2.840.10008.1.2.5"
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
_JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
_LARGEST_FRAME = 512 * 1024 * 1024
_LARGEST_OFFSET = 0xFFFFFFFF
_PADDED = 16  # zero bytes that may follow the end marker of a frame within its last fragment

Frame = list[Span]
Cleaner = Callable[[bytes], bytes]
"""Takes one compressed frame to what may stay of it; the same object when that is all."""


def stripped(source: Source, element: Element, shape: Shape) -> Element | None:
    """The element with clean frames, one fragment each, and offsets that point at them; None when nothing changes."""
    buffer = source.buffer
    table, *fragments = element.fragments or [Span(0, 0)]
    if not fragments:
        raise Quarantine(Reason.TRUNCATED, "PixelData has no frame")
    clean = _cleaner(source, shape)
    offsets = _offsets(buffer, table, fragments)
    frames = _frames(buffer, fragments, offsets, shape.frames, single=source.transfer_syntax == RLE)
    sizes, changed = [], offsets is None
    for frame in frames:
        data = _joined(buffer, frame)
        kept = clean(data)
        changed = changed or kept is not data
        sizes.append(len(kept) + len(kept) % 2)
    if not changed:
        return None
    starts = _starts(sizes) if len(table) else b""

    def encoded(buffer: Buffer) -> Iterator[bytes]:
        yield _item(starts)
        for frame in frames:
            yield _item(clean(_joined(buffer, frame)))
        yield struct.pack("<HHL", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)

    length = 8 + len(starts) + sum(sizes) + 8 * len(sizes) + 8
    made = Element(element.tag, element.vr, Edited(element.span.start, element.span.end, length, encoded))
    made.fragments = element.fragments  # those of the source; what counts is that there are some
    return made


def _cleaner(source: Source, shape: Shape) -> Cleaner:
    syntax, order = source.transfer_syntax, source.encoding.order
    if syntax == RLE:
        return partial(rle.cleaned, shape=shape, bits=unused_bits(source.dataset, shape, order, ">"))
    refuse_overlays(source.dataset, order)
    if syntax in _JPEG_2000:
        return jpeg_2000.cleaned
    if syntax in _JPEG or syntax in _JPEG_LS:
        return partial(jpeg.cleaned, lossless_coder=syntax in _JPEG_LS)
    raise Quarantine(Reason.UNSUPPORTED, "no rule says how to check this transfer syntax")


def _offsets(buffer: Buffer, table: Span, fragments: list[Span]) -> tuple[int, ...] | None:
    """The basic offset table as numbers of fragments; None when it is no list of offsets to fragments."""
    raw = _joined(buffer, [table])
    if len(raw) % 4:
        return None
    number_of = {fragment.start - fragments[0].start: number for number, fragment in enumerate(fragments)}
    offsets = [number_of.get(offset) for (offset,) in struct.iter_unpack("<L", raw)]
    known = [number for number in offsets if number is not None]
    return tuple(known) if len(known) == len(offsets) else None


def _frames(
    buffer: Buffer, fragments: list[Span], offsets: tuple[int, ...] | None, count: int, *, single: bool
) -> list[Frame]:
    """The fragments of each of ``count`` frames. What follows the last frame goes to it, to be cut off behind its end.

    The offset table decides where it knows all frames; then a fragment is a frame where there are as many, or
    where the encoding has it so (``single``); otherwise a frame ends with the fragment that ends with an end marker.
    """
    if offsets and len(offsets) == count and offsets[0] == 0 and all(a < b for a, b in pairwise(offsets)):
        bounds = [*offsets, len(fragments)]
        return [fragments[first:last] for first, last in pairwise(bounds)]
    each = single or len(fragments) == count
    frames: list[Frame] = [[]]
    tail = b""
    for number, fragment in enumerate(fragments):
        frames[-1].append(fragment)
        if not each:
            last = Span(max(fragment.start, fragment.end - _PADDED), fragment.end)
            tail = (tail + b"".join(buffer.chunks(last)))[-_PADDED:]
        complete = each or tail.rstrip(b"\0").endswith(b"\xff\xd9")
        if complete and len(frames) < count and number + 1 < len(fragments):
            frames.append([])
            tail = b""
    if len(frames) != count:
        raise Quarantine(Reason.TRUNCATED, "PixelData has fewer frames than its header says")
    return frames


def _joined(buffer: Buffer, spans: list[Span]) -> bytes:
    if sum(len(span) for span in spans) > _LARGEST_FRAME:
        raise Quarantine(Reason.TOO_LARGE, "a compressed frame is too long")
    return b"".join(piece for span in spans for piece in buffer.chunks(span))


def _starts(sizes: list[int]) -> bytes:
    """The basic offset table; empty, which is as good, where its 32 bits do not suffice."""
    starts, position = [], 0
    for size in sizes:
        starts.append(position)
        position += size + 8
    return struct.pack(f"<{len(starts)}L", *starts) if starts[-1] <= _LARGEST_OFFSET else b""


def _item(value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, len(value)) + value

"""Proves that the samples of a waveform are samples: channels times samples times bits, and spelling nothing."""

from __future__ import annotations

from pacs_pipeline.deidentify.arrays import Order, spelled, units, whole
from pacs_pipeline.deidentify.codec import Buffer, Element, Elements, Span
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

WAVEFORM_DATA, WAVEFORM_PADDING = 0x54001010, 0x5400100A
ONE_SAMPLE = frozenset((0x54000110, 0x54000112, WAVEFORM_PADDING))  # Channel Minimum and Maximum Value
CHANNELS, SAMPLES, BITS = 0x003A0005, 0x003A0010, 0x54001004
_SIZES = (8, 16, 24, 32, 64)  # PS3.3 C.10.9.1.5


def check_samples(element: Element, item: Elements, buffer: Buffer, order: Order) -> None:
    """Raise Quarantine (TRUNCATED, HIDDEN_CONTENT, UNREADABLE) unless WaveformData is what its item says.

    ``item`` is the item of WaveformSequence (PS3.3 C.10.9) the element stands in. One byte of zero may pad an odd
    length.
    """
    channels = whole(item, CHANNELS, order, size=2)
    samples = whole(item, SAMPLES, order, size=4)
    bits = whole(item, BITS, order, size=2)
    if channels is None or samples is None or bits is None or bits[0] not in _SIZES or element.items is not None:
        raise Quarantine(Reason.UNREADABLE, "the waveform module is incomplete")
    size = bits[0] // 8
    wanted = channels[0] * samples[0] * size
    length = len(element.value)
    if length < wanted:
        raise Quarantine(Reason.TRUNCATED, "WaveformData is shorter than its header says")
    if length > wanted + wanted % 2:
        raise Quarantine(Reason.HIDDEN_CONTENT, "WaveformData is longer than its header says")
    value = element.value
    if length > wanted:
        last = b"".join(buffer.chunks(Span(value.end - 1, value.end))) if isinstance(value, Span) else value[-1:]
        if last != b"\0":
            raise Quarantine(Reason.HIDDEN_CONTENT, "WaveformData is longer than its header says")
    chunks = buffer.chunks(value) if isinstance(value, Span) else (value,)
    if any(spelled(piece, size, order) for piece in units(chunks, size)):
        raise Quarantine(Reason.HIDDEN_CONTENT, "WaveformData spells something")

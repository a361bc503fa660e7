"""One JPEG or JPEG-LS image (ISO 10918-1, ISO 14495-1): comments and application segments are cut out."""

from __future__ import annotations

import re

from pacs_pipeline.deidentify.pixel_data.edits import Edits
from pacs_pipeline.deidentify.pixel_data.stamps import is_stamp
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_SOF = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
_DHT, _DAC, _EOI, _SOS, _DQT, _DNL, _DRI, _LSE, _COM = 0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xF8, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_FIXED = {_DNL: 2, _DRI: 2}  # bytes of content
# What ends entropy-coded data; restart markers and stuffed zeros do not (B.1.1.5), for JPEG-LS a stuffed bit (A.1)
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_MARKER_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
# The application segments that decide on colour, by what decoders read of them
_JFIF = re.compile(rb"JFIF\x00\x01[\x00-\x02][\x00-\x02][\x00-\xff]{4}\x00\x00")
_PLAIN_JFIF = b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE = re.compile(rb"Adobe\x00[\x64\x65](?:[\x00\x40\x80\xc0]\x00){2}[\x00-\x02]")
_PLAIN_ADOBE = b"Adobe\x00\x64\x00\x00\x00\x00"
_HP_COLOUR = b"mrfx"  # APP8 of JPEG-LS: the colour transform of its authors, one byte


def cleaned(data: bytes, *, lossless_coder: bool) -> bytes:
    """``data`` without comments, application segments and bytes behind its end; itself when it has none.

    Kept are stamps of encoders, and JFIF, Adobe and colour transform segments reduced to what decoders use. Tables,
    headers and entropy-coded bytes stay as they are. ``lossless_coder`` says that it is JPEG-LS.

    Raises Quarantine: TRUNCATED, or HIDDEN_CONTENT for segments that are unknown or longer than what they hold.
    """
    if data[:2] != b"\xff\xd8":
        raise Quarantine(Reason.HIDDEN_CONTENT, "a frame is no JPEG image")
    marker = _MARKER_LS if lossless_coder else _MARKER
    edits = Edits(data)
    position = 2
    while True:
        filled = position  # fill bytes before a marker go with its segment
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 2 > len(data) or data[position] != 0xFF:
            raise Quarantine(Reason.TRUNCATED, "a JPEG image is damaged or cut off")
        code = data[position + 1]
        if code == _EOI:
            edits.cut_tail(position + 2)
            return edits.made()
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        stop = position + 2 + length
        if length < 2 or stop > len(data):
            raise Quarantine(Reason.TRUNCATED, "a JPEG image is damaged or cut off")
        content = data[position + 4 : stop]
        if code == _COM or code in _APPLICATION:
            kept = _kept(code, content, lossless_coder=lossless_coder)
            if kept is None:
                edits.replace(filled, stop)
            else:
                edits.replace(position, stop, _segment(code, kept))
        elif not _is_structure(code, content):
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG image carries a segment that is not understood")
        position = stop
        if code == _SOS:
            found = marker.search(data, stop)
            if found is None:
                raise Quarantine(Reason.TRUNCATED, "a JPEG image has no end")
            position = found.start()
            while data[position - 1] == 0xFF:
                position -= 1


def _segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + (len(content) + 2).to_bytes(2, "big") + content


def _kept(code: int, content: bytes, *, lossless_coder: bool) -> bytes | None:
    """What stays of a comment or an application segment; None when it goes."""
    if code == _COM:
        return content if is_stamp(content) else None
    if code == 0xE0 and content.startswith(b"JFIF\x00") and len(content) >= len(_PLAIN_JFIF):
        return content if _JFIF.fullmatch(content) else _PLAIN_JFIF
    if code == 0xEE and content.startswith(b"Adobe") and len(content) > len(_PLAIN_ADOBE):
        if _ADOBE.fullmatch(content):
            return content
        transform = content[len(_PLAIN_ADOBE)]
        if transform > 2:
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG image has an unknown colour transform")
        return _PLAIN_ADOBE + bytes((transform,))
    if code == 0xE8 and lossless_coder and content.startswith(_HP_COLOUR):
        if len(content) < 5 or content[4] > 3:
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG image has an unknown colour transform")
        return content[:5]
    return None


def _is_structure(code: int, content: bytes) -> bool:
    """Whether a segment that decoding needs is exactly as long as what it holds (ISO 10918-1 B.2, 14495-1 C.2)."""
    if code in _FIXED:
        return len(content) == _FIXED[code]
    if code in _SOF:
        return len(content) >= 6 and len(content) == 6 + 3 * content[5]
    if code == _SOS:
        return bool(content) and len(content) == 4 + 2 * content[0]
    if code == _DAC:
        return len(content) % 2 == 0
    if code == _LSE:  # preset parameters; mapping tables change what the samples mean
        return content[:1] == b"\x01" and len(content) == 11
    return code in (_DQT, _DHT) and _is_filled(code, content)


def _is_filled(code: int, content: bytes) -> bool:
    """Whether quantization or Huffman tables follow each other to the end of their segment."""
    position = 0
    while position < len(content):
        if code == _DQT:
            position += 1 + (128 if content[position] >> 4 else 64)
        else:
            position += 17 + sum(content[position + 1 : position + 17])
    return position == len(content)

"""ICC profiles (ISO 15076-1): the colorimetry of a profile stays, its texts and its maker do not."""

from __future__ import annotations

import struct

_HEADER = 128
_MOST_TAGS = 100
# Tags that hold numbers only, and the types they may have
_KEPT_TAGS = frozenset(
    (b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2", b"B2D0", b"B2D1", b"B2D2", b"B2D3", b"D2B0", b"D2B1",
     b"D2B2", b"D2B3", b"bTRC", b"bXYZ", b"bkpt", b"chad", b"chrm", b"gTRC", b"gXYZ", b"gamt", b"kTRC", b"lumi",
     b"rTRC", b"rXYZ", b"wtpt")
)  # fmt: skip
_KEPT_TYPES = frozenset(
    (b"XYZ ", b"chrm", b"curv", b"para", b"mft1", b"mft2", b"mAB ", b"mBA ", b"mpet", b"sf32", b"uf32")
)
_SIGNATURES = {  # places in the header with a closed list each: device class, colour space, connection space
    12: frozenset((b"scnr", b"mntr", b"prtr", b"spac")),
    16: frozenset((b"RGB ", b"GRAY", b"XYZ ", b"Lab ")),
    20: frozenset((b"XYZ ", b"Lab ")),
}
_PLAIN = b"ICC profile"


def without_text(profile: bytes) -> bytes | None:
    """``profile`` with description and copyright replaced, device and maker blanked, every other text left out.

    None when it is no profile that can be understood. Tags that held the same data share them again.
    """
    if len(profile) < _HEADER + 4 or profile[36:40] != b"acsp":
        return None
    if any(profile[at : at + 4] not in known for at, known in _SIGNATURES.items()) or profile[8] not in (2, 4):
        return None
    (count,) = struct.unpack_from(">L", profile, _HEADER)
    if count > _MOST_TAGS or len(profile) < _HEADER + 4 + 12 * count:
        return None
    kept: dict[bytes, bytes] = {}
    for index in range(count):
        name, start, size = struct.unpack_from(">4sLL", profile, _HEADER + 4 + 12 * index)
        data = profile[start : start + size]
        if len(data) != size:
            return None
        if name in _KEPT_TAGS:
            if data[:4] not in _KEPT_TYPES or _spells(data[8:]):
                return None
            kept[name] = data[:4] + bytes(4) + data[8:]
    kept[b"desc"], kept[b"cprt"] = _texts(profile[8])
    return _written(profile, kept)


def _spells(data: bytes) -> bool:
    """Whether the numbers are letters: all of them printable, which colorimetry is not."""
    return len(data) >= 8 and data.isascii() and data.decode("ascii").isprintable()


def _texts(version: int) -> tuple[bytes, bytes]:
    """The two texts a profile must have, as its version writes them."""
    if version == 4:
        text = _PLAIN.decode("ascii").encode("utf-16-be")
        localized = b"mluc" + bytes(4) + struct.pack(">LL2s2sLL", 1, 12, b"en", b"US", len(text), 28) + text
        return localized, localized
    plain = _PLAIN + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">L", len(plain)) + plain + bytes(4 + 4 + 2 + 1 + 67)
    return described, b"text" + bytes(4) + plain


def _written(profile: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, places = b"", b"", dict[bytes, int]()
    start = _HEADER + 4 + 12 * len(tags)
    for name in sorted(tags):
        data = tags[name]
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sLL", name, places[data], len(data))
    size = start + len(body)
    header = bytearray(_HEADER)
    header[0:4] = struct.pack(">L", size)
    header[8:12] = profile[8:10] + bytes(2)  # version
    header[12:24] = profile[12:24]  # class and colour spaces
    header[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # a date is required; this one says nothing
    header[36:40] = b"acsp"
    header[67] = profile[67] & 3  # rendering intent
    header[68:80] = struct.pack(">3L", 0x0000F6D6, 0x00010000, 0x0000D32D)  # D50, the only illuminant allowed
    return bytes(header) + struct.pack(">L", len(tags)) + table + body

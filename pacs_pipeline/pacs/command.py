"""Command sets (PS3.7 6.3.1, E.1): the header of every DIMSE message, as a mapping by DICOM keyword."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum

Command = Mapping[str, str | int]
"""UIDs and AE titles are text without padding, everything else is a number."""

NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
_ELEMENT = struct.Struct("<HHL")
_NUMBER = struct.Struct("<H")

_TEXT = {
    0x0002: "AffectedSOPClassUID",
    0x0600: "MoveDestination",
    0x1000: "AffectedSOPInstanceUID",
    0x1030: "MoveOriginatorApplicationEntityTitle",
}
_NUMBERS = {
    0x0100: "CommandField",
    0x0110: "MessageID",
    0x0120: "MessageIDBeingRespondedTo",
    0x0700: "Priority",
    0x0800: "CommandDataSetType",
    0x0900: "Status",
    0x1020: "NumberOfRemainingSuboperations",
    0x1021: "NumberOfCompletedSuboperations",
    0x1022: "NumberOfFailedSuboperations",
    0x1023: "NumberOfWarningSuboperations",
    0x1031: "MoveOriginatorMessageID",
}
_ELEMENTS = {keyword: element for element, keyword in sorted((_TEXT | _NUMBERS).items())}


class CommandField(IntEnum):
    """The requests this program knows (PS3.7 E.1); a response has the highest bit set."""

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030

    @property
    def response(self) -> int:
        """The CommandField of a response to this request."""
        return self | _RESPONSE


def encode(command: Command) -> bytes:
    """A command set, with its group length first, in Implicit VR Little Endian (PS3.7 6.3.1)."""
    elements = b"".join(
        _encoded(element, command[keyword]) for keyword, element in _ELEMENTS.items() if keyword in command
    )
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(elements)) + elements


def _encoded(element: int, value: str | int) -> bytes:
    if isinstance(value, int):
        content = _NUMBER.pack(value)
    else:
        content = value.encode("latin-1")
        pad = b"\0" if element in (0x0002, 0x1000) else b" "  # a UID, or an AE title (PS3.5 6.2)
        content += pad * (len(content) % 2)
    return _ELEMENT.pack(0, element, len(content)) + content


def decode(encoded: bytes | bytearray) -> dict[str, str | int]:
    """What a command set says; elements that are of no use here are passed over.

    Raises ValueError when it is no command set, or has no CommandField or CommandDataSetType.
    """
    command: dict[str, str | int] = {}
    position, end = 0, len(encoded)
    while position < end:
        if position + _ELEMENT.size > end:
            raise ValueError("it ends inside an element")
        group, element, length = _ELEMENT.unpack_from(encoded, position)
        start = position + _ELEMENT.size
        position = start + length
        if position > end:
            raise ValueError("an element is longer than the command set")
        if group:  # DCMTK's servers append what belongs into the identifier, such as FailedSOPInstanceUIDList
            continue
        if element in _TEXT:
            command[_TEXT[element]] = encoded[start:position].decode("latin-1").strip(" \0")
        elif element in _NUMBERS and length:
            if length != _NUMBER.size:
                raise ValueError("a number is not of two bytes")
            command[_NUMBERS[element]] = _NUMBER.unpack_from(encoded, start)[0]
    if "CommandField" not in command or "CommandDataSetType" not in command:
        raise ValueError("it does not say what it is")
    return command


def number(command: Command, keyword: str) -> int | None:
    """The number under a keyword, None where there is none."""
    value = command.get(keyword)
    return value if isinstance(value, int) else None


def text(command: Command, keyword: str) -> str:
    """The text under a keyword, empty where there is none."""
    value = command.get(keyword)
    return value if isinstance(value, str) else ""

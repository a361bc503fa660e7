import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dsutils import decode as pynetdicom_decode

from pacs_pipeline.pacs.command import NO_DATA_SET, decode, encode, number, text

uids = st.from_regex(r"[0-2](\.[1-9][0-9]{0,5}){1,8}", fullmatch=True)
titles = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", min_size=1, max_size=16)
words = st.integers(0, 0xFFFF)
commands = st.fixed_dictionaries(
    {"CommandField": words, "CommandDataSetType": words},
    optional={
        "AffectedSOPClassUID": uids,
        "AffectedSOPInstanceUID": uids,
        "MessageID": words,
        "MessageIDBeingRespondedTo": words,
        "MoveDestination": titles,
        "MoveOriginatorApplicationEntityTitle": titles,
        "MoveOriginatorMessageID": words,
        "NumberOfCompletedSuboperations": words,
        "NumberOfFailedSuboperations": words,
        "Priority": words,
        "Status": words,
    },
)


@given(commands)
def test_what_is_encoded_is_decoded(command: dict[str, str | int]) -> None:
    assert decode(encode(command)) == command


@given(commands)
def test_pynetdicom_reads_the_same(command: dict[str, str | int]) -> None:
    ds = pynetdicom_decode(BytesIO(encode(command)), True, True)
    assert ds.CommandGroupLength == len(encode(command)) - 12
    assert {keyword: ds[keyword].value for keyword in command} == command


@pytest.mark.parametrize("size", range(1, 60, 7))
def test_a_command_set_that_breaks_off(size: int) -> None:
    whole = encode({"CommandField": 1, "CommandDataSetType": NO_DATA_SET, "AffectedSOPClassUID": "1.2.840.10008.1.1"})
    with pytest.raises(ValueError, match=r"ends|longer|say"):
        decode(whole[:-size])


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        encode({"CommandField": 1}),
        encode({"CommandDataSetType": 1}),
        struct.pack("<HHL", 0x0010, 0x0010, 0),
        struct.pack("<HHLL", 0, 0x0100, 4, 1),
        struct.pack("<HHL", 0, 0x0002, 0xFFFFFFFF),
    ],
)
def test_what_is_no_command_set(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(encoded)


def test_elements_of_other_groups_are_passed_over() -> None:
    status = {"CommandField": 0x8010, "CommandDataSetType": NO_DATA_SET, "Status": 0xC000}
    appended = struct.pack("<HHLL", 0x0008, 0x0000, 4, 10) + struct.pack("<HHL", 0x0008, 0x0058, 2) + b"31"
    assert decode(encode(status) + appended) == status


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(encoded: bytes) -> None:
    try:
        command = decode(encoded)
    except ValueError:
        return
    assert number(command, "CommandField") is not None
    assert isinstance(text(command, "AffectedSOPClassUID"), str)


def test_a_value_of_another_kind_is_no_value() -> None:
    assert number({"Status": "odd"}, "Status") is None
    assert text({"AffectedSOPClassUID": 7}, "AffectedSOPClassUID") == ""

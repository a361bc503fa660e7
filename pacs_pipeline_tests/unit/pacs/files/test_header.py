"""The first elements of a file, whatever it is."""

import datetime as dt
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.pacs.files.header import Header, Kind, read_header
from pacs_pipeline_tests.unit.pacs.files.dicom_files import DAY, SYNTAXES, Made
from pacs_pipeline_tests.unit.pacs.samples import BIG_ENDIAN, EXPLICIT, IMPLICIT


class Counting:
    """A file that counts how much of it is read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.read_bytes = 0

    def __call__(self, start: int, length: int) -> bytes:
        found = self.content[start : start + length]
        self.read_bytes += len(found)
        return found


def header_of(content: bytes, window: int = 1024) -> Header | Kind:
    return read_header(Counting(content), len(content), window)


@pytest.mark.parametrize("window", [64, 1024, 1 << 16])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_says_where_an_instance_belongs(tmp_path: Path, syntax: str, window: int) -> None:
    made = Made(syntax=syntax)
    content = made.write(tmp_path / "a").read_bytes()
    found = header_of(content, window)
    assert isinstance(found, Header)
    assert (found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID) == (
        made.study,
        made.series,
        made.SOPInstanceUID,
    )
    assert (found.StudyDate, found.StudyTime, found.Modality) == (DAY, "101112.5", "CT")
    assert (found.StudyDescription, found.InstitutionName, found.age_years) == ("Schädel nativ", "Haus Ö", 53)
    assert found.TransferSyntaxUID == syntax
    assert content[found.start :].startswith(b"\x08\0\x05\0") or syntax not in (EXPLICIT, IMPLICIT)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_reads_a_data_set_that_has_nothing_before_it(tmp_path: Path, syntax: str) -> None:
    found = header_of(Made(syntax=syntax, preamble=False).write(tmp_path / "a").read_bytes())
    assert isinstance(found, Header)
    assert (found.TransferSyntaxUID, found.start) == (syntax, 0)


def test_reads_file_meta_without_its_preamble(tmp_path: Path) -> None:
    content = Made().write(tmp_path / "a").read_bytes()
    whole, cut = header_of(content), header_of(content[132:])
    assert isinstance(whole, Header)
    assert isinstance(cut, Header)
    assert (cut.SOPInstanceUID, cut.start) == (whole.SOPInstanceUID, whole.start - 132)


def test_a_wrong_group_length_of_the_file_meta_does_no_harm(tmp_path: Path) -> None:
    content = bytearray(Made().write(tmp_path / "a").read_bytes())
    start = content.index(b"UL\x04\0") + 4
    content[start : start + 4] = struct.pack("<L", 999_999)
    assert header_of(bytes(content)) == header_of(Made().write(tmp_path / "b").read_bytes())


def test_a_long_element_before_the_identifying_ones_is_not_read(tmp_path: Path) -> None:
    content = Made(before=bytes(10_000_000)).write(tmp_path / "a").read_bytes()
    reader = Counting(content)
    assert isinstance(read_header(reader, len(content), 1024), Header)
    assert reader.read_bytes < 50_000


def test_the_pixels_are_not_read(tmp_path: Path) -> None:
    content = Made(pixels=bytes(10_000_000)).write(tmp_path / "a").read_bytes()
    reader = Counting(content)
    read_header(reader, len(content), 1024)
    assert reader.read_bytes < 10_000


@pytest.mark.parametrize("date", ["", "20240230", "00000000", "2024", "not a date"])
def test_a_date_that_is_no_day_is_none(tmp_path: Path, date: str) -> None:
    content = Made().write(tmp_path / "a").read_bytes().replace(b"20240309", date.ljust(8)[:8].encode())
    found = header_of(content)
    assert isinstance(found, Header)
    assert found.StudyDate is None


@pytest.mark.parametrize("content", [b"", b"x", b"%PDF-1.7 a letter " * 50, b"\0" * 500, b"PK\x03\x04" + bytes(300)])
def test_what_says_nothing_of_dicom_is_foreign(content: bytes) -> None:
    assert header_of(content) is Kind.FOREIGN


def test_a_directory_is_none_of_the_instances(tmp_path: Path) -> None:
    content = Made().write(tmp_path / "a").read_bytes()
    at = content.index(b"\x02\0\x02\0UI")
    end = at + 8 + struct.unpack_from("<H", content, at + 6)[0]
    uid = b"1.2.840.10008.1.3.10"
    directory = content[:at] + b"\x02\0\x02\0UI" + struct.pack("<H", len(uid)) + uid + content[end:]
    assert header_of(directory) is Kind.DIRECTORY


def test_what_is_cut_off_before_it_says_where_it_belongs_is_unreadable(tmp_path: Path) -> None:
    content = Made().write(tmp_path / "a").read_bytes()
    with pytest.raises(Quarantine):
        header_of(content[:300])


def test_what_is_cut_off_in_its_pixels_still_belongs_somewhere(tmp_path: Path) -> None:
    content = Made().write(tmp_path / "a").read_bytes()
    assert header_of(content[:-700]) == header_of(content)


@settings(deadline=None)
@given(content=st.binary(max_size=600), head=st.sampled_from([b"", bytes(128) + b"DICM", b"\x08\0\x05\0CS", b"\x02\0"]))
def test_garbage_is_told_or_set_aside_and_nothing_else_happens(content: bytes, head: bytes) -> None:
    try:
        found = header_of(head + content, 64)
    except Quarantine:
        return
    assert isinstance(found, Header | Kind)


@settings(deadline=None)
@given(position=st.integers(0, 3000), value=st.integers(0, 255), syntax=st.sampled_from(SYNTAXES))
def test_a_changed_byte_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, syntax: str
) -> None:
    content = bytearray(_content(tmp_path_factory, syntax))
    content[position % len(content)] = value
    try:
        found = header_of(bytes(content), 64)
    except Quarantine:
        return
    assert isinstance(found, Kind) or isinstance(found.StudyDate, dt.date | None)


_CONTENTS: dict[str, bytes] = {}


def _content(folders: pytest.TempPathFactory, syntax: str) -> bytes:
    if syntax not in _CONTENTS:
        _CONTENTS[syntax] = Made(syntax=syntax).write(folders.mktemp("header") / "a").read_bytes()
    return _CONTENTS[syntax]

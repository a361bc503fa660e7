"""Device rules do what is written, and what deid would skip or misread is an error that names its line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacs_pipeline.deidentify.burned_in import DeviceRules, load_device_rules
from pacs_pipeline.errors import SettingsError

HEAD = "FORMAT dicom\n\n%filter test\n\n"


def load(tmp_path: Path, text: str) -> DeviceRules:
    path = tmp_path / "rules.deid"
    path.write_text(text, encoding="ascii")
    return load_device_rules(path)


def header(**values: object) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "US", "Philips Medical Systems", "iU22"
    ds.Rows, ds.Columns = 480, 640
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_the_committed_rules_find_a_banner(rules: DeviceRules) -> None:
    assert rules.boxes(header(), 480, 640) == [(0, 0, 640, 47)]
    assert rules.boxes(header(Rows=600), 600, 800) == [(0, 0, 800, 59)]
    assert rules.boxes(header(Rows=481), 481, 640) == []
    assert rules.boxes(header(Modality="CT"), 480, 640) == []


def test_rules_are_the_same_in_another_process_and_after_use(rules: DeviceRules) -> None:
    first = rules.boxes(header(), 480, 640)
    assert pickle.loads(pickle.dumps(rules)).boxes(header(), 480, 640) == first == rules.boxes(header(), 480, 640)


def test_coordinates_of_all_kinds(tmp_path: Path) -> None:
    rule = "LABEL a\nequals Modality US\ncoordinates all\nkeepcoordinates 0,10,20,20\nctpcoordinates 5,12,5,2\n"
    boxes = load(tmp_path, HEAD + rule).boxes(header(), 20, 20)
    assert boxes == [(0, 0, 20, 10), (5, 12, 10, 14)]


def test_alternatives_stand_in_one_line(tmp_path: Path) -> None:
    rule = "LABEL a\nequals Rows 600 || equals Rows 480\n+ contains Manufacturer Philips\ncoordinates 0,0,5,5\n"
    rules = load(tmp_path, HEAD + rule)
    assert rules.boxes(header(), 480, 640) == [(0, 0, 5, 5)]
    assert rules.boxes(header(Rows=700), 700, 640) == []
    assert rules.boxes(header(Manufacturer="GE"), 480, 640) == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("LABEL a\nequals Modality US\n|| equals Modality CT\ncoordinates 0,0,1,1\n", 7),  # deid reads "and"
        ("LABEL a\nequals Modality US\nequals Rows 4\ncoordinates 0,0,1,1\n", 7),
        ("LABEL a\n+ equals Modality US\ncoordinates 0,0,1,1\n", 6),
        ("LABEL a\nequals Modalty US\ncoordinates 0,0,1,1\n", 6),
        ("LABEL a\nlike Modality US\ncoordinates 0,0,1,1\n", 6),
        ("LABEL a\nequals Modality\ncoordinates 0,0,1,1\n", 6),
        ("LABEL a\npresent Rows + equals Modality US\ncoordinates 0,0,1,1\n", 6),  # deid loses the value
        ("LABEL a\ncontains Modality U[S\ncoordinates 0,0,1,1\n", 6),
        ("LABEL a\nequals Modality US # comment\ncoordinates 0,0,1,1\n", 6),
        ("LABEL a\nequals Modality US\ncoordinates 0,0,1\n", 7),
        ("LABEL a\nequals Modality US\ncoordinates 5,0,5,9\n", 7),
        ("LABEL a\nequals Modality US\ncoordinates from:SequenceOfUltrasoundRegions\n", 7),
        ("LABEL a\nequals Modality US\nCoordinates 0,0,1,1\n", 7),
        ("LABEL a\nequals Modality US\ncoordinates 0,0,1,1\nequals Rows 4\n", 8),
        ("LABEL a # b\nequals Modality US\ncoordinates 0,0,1,1\n", 5),
        ("equals Modality US\n", 5),
        ("%header\nREMOVE PatientName\n", 5),
    ],
)
def test_what_would_not_be_executed_as_written_is_an_error(tmp_path: Path, body: str, line: int) -> None:
    with pytest.raises(SettingsError, match=rf"line {line}:"):
        load(tmp_path, HEAD + body)


@pytest.mark.parametrize("body", ["LABEL a\nequals Modality US\n", "LABEL a\ncoordinates 0,0,1,1\n"])
def test_a_label_without_filter_or_coordinates_is_an_error(tmp_path: Path, body: str) -> None:
    with pytest.raises(SettingsError, match="every LABEL"):
        load(tmp_path, HEAD + body)


def test_unreadable_recipes_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_device_rules(tmp_path / "absent.deid")
    (tmp_path / "x.deid").write_bytes(b"FORMAT dicom\n# \xff\n")
    with pytest.raises(SettingsError, match="ASCII"):
        load_device_rules(tmp_path / "x.deid")

"""The reader of the MIDI-B answer database, on a small one of the same layout."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pydicom
import pytest

from benchmarks.deidentification import __main__ as command
from benchmarks.deidentification import midi_b, peers
from benchmarks.deidentification.answers import Action
from benchmarks.deidentification.plant import Planter
from benchmarks.deidentification.score import Output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    planter = Planter(tmp_path / "images", "basic-modified-dates", 11)
    first = None
    for number in range(2):
        with planter.draft(f"series/1-{number}.dcm", "ct") as draft:
            draft.ds.StudyDate = "20010203"
            draft.ds.StudyDescription = "FOR ABERNATHY"
            if first is not None:
                draft.belongs_to(first)
            first = first or draft
    (planter.key.folder / "series" / "LICENSE").write_text("no DICOM")
    return planter.key.folder


def check(action: str, tag: str | None, *, value: str | None = None, text: str | None = None, **more: object) -> dict:
    return {
        "scope": "<Instance>",
        "tag": tag and f"<{tag}>",
        "tag_ds": tag and f"<{tag}>",
        "tag_name": "<A Name>",
        "value": value and f"<{value}>",
        "action": f"<{action}>",
        "action_text": text and f"<{text}>",
        "answer_category": ["<HIPAA-B>"],
        "answer_category_v2": {"hipaa": {"z": "<HIPAA-B>"}, "dicom": {"p15": None}},
        **more,
    }


def write(database: Path, images: Path, checks: Mapping[str, list[dict]], scope: str | None = None) -> Path:
    columns = "[index] INTEGER, [group] INTEGER, Modality TEXT, SOPClassUID TEXT, PatientID INTEGER, "
    columns += "StudyInstanceUID TEXT, SeriesInstanceUID TEXT, SOPInstanceUID TEXT, Digest TEXT, AnswerData TEXT"
    connection = sqlite3.connect(database)
    connection.execute(f"CREATE TABLE answer_data ({columns}{', scope TEXT' if scope else ''})")
    for number, (name, its) in enumerate(checks.items()):
        ds = pydicom.dcmread(images / name)
        row = [number, 1, ds.Modality, ds.SOPClassUID, int(ds.PatientID), ds.StudyInstanceUID, ds.SeriesInstanceUID]
        row += [ds.SOPInstanceUID, "0" * 32, json.dumps({str(n): one for n, one in enumerate(its)})]
        row += [scope] if scope else []
        connection.execute(f"INSERT INTO answer_data VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()
    return database


def all_actions(images: Path, name: str) -> list[dict]:
    ds = pydicom.dcmread(images / name)
    corners = {"text": "ABERNATHY", "top_left": [2, 3], "bottom_right": [12, 8]}
    return [
        check("tag_retained", "(0028,0010)"),
        check("text_notnull", "(0008,0018)", value=ds.SOPInstanceUID),
        check("text_retained", "(0008,0060)", text="CT"),
        check("text_removed", "(0008,1030)", text="ABERNATHY"),
        check("date_shifted", "(0008,0020)", value="20010203"),
        check("uid_changed", "(0020,000d)", value=ds.StudyInstanceUID),
        check("uid_consistent", "(0020,000d)", value=ds.StudyInstanceUID),
        check("patid_consistent", "(0010,0020)", value=ds.PatientID),
        check("pixels_retained", "(7fe0,0010)", text="0" * 32),
        check("pixels_hidden", None, text=json.dumps(corners)),
    ]


def test_the_ten_actions_are_read(images: Path, tmp_path: Path) -> None:
    names = ["series/1-0.dcm", "series/1-1.dcm"]
    database = write(tmp_path / "a.db", images, {name: all_actions(images, name) for name in names})
    key = midi_b.read_key(database, images)
    assert set(key.patients) == set(names)
    assert [answer.action for answer in key.answers] == [Action(name) for name in _ORDER] * 2
    by_action = {answer.action: answer for answer in key.answers if answer.instance == names[0]}
    assert by_action[Action.TEXT_REMOVED].text == "ABERNATHY"
    assert by_action[Action.TEXT_REMOVED].path == "<(0008,1030)>"
    assert by_action[Action.DATE_SHIFTED].text == "20010203"
    assert by_action[Action.PIXELS_HIDDEN].text == "3,2,5,10"
    assert {answer.category for answer in key.answers} == {"HIPAA-B"}


_ORDER = (
    "tag_retained", "text_notnull", "text_retained", "text_removed", "date_shifted", "uid_changed",
    "uid_consistent", "patid_consistent", "pixels_retained", "pixels_hidden",
)  # fmt: skip


def test_a_row_of_a_series_holds_for_all_its_instances(images: Path, tmp_path: Path) -> None:
    checks = {"series/1-0.dcm": [check("text_retained", "(0008,0060)", text="CT")]}
    key = midi_b.read_key(write(tmp_path / "a.db", images, checks, "<Series>"), images)
    assert [answer.instance for answer in key.answers] == ["series/1-0.dcm", "series/1-1.dcm"]


def test_another_layout_is_refused(images: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE answer_data (SOPInstanceUID TEXT)")
    connection.close()
    with pytest.raises(ValueError, match="AnswerData"):
        midi_b.read_key(tmp_path / "a.db", images)


def test_one_command_scores_it(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["series/1-0.dcm", "series/1-1.dcm"]
    checks = {name: all_actions(images, name)[:-1] for name in names}
    database = write(tmp_path / "a.db", images, checks)
    out = tmp_path / "result.json"
    arguments = ["--answers", str(database), "--input", str(images), "--project-only", "--out", str(out)]
    assert command.main([*arguments, "--profile", "basic-modified-dates"]) == 0
    assert "RATIO leak_share 0.0" in capsys.readouterr().out.splitlines()
    result = json.loads(out.read_text())
    assert result["answers"] == 18
    assert result["project"]["by_action"]["uid_consistent"] == {"passed": 2}


def test_a_leak_ends_with_1(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def copies(profile: str, inputs: Mapping[str, Path], out: Path) -> dict[str, Output]:
        outputs = {}
        for number, (name, path) in enumerate(inputs.items()):
            outputs[name] = Output(Path(shutil.copy(path, out / f"{number}.dcm")))
        return outputs

    monkeypatch.setattr(peers, "run_project", copies)
    database = write(tmp_path / "a.db", images, {"series/1-0.dcm": all_actions(images, "series/1-0.dcm")})
    arguments = ["--answers", str(database), "--input", str(images), "--project-only"]
    assert command.main(arguments) == 1
    assert "RATIO leak_share 1" in capsys.readouterr().out

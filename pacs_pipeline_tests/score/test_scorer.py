"""The scorer itself: for each of the ten actions a broken tool is caught and a right one is not."""

from __future__ import annotations

import ast
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

import benchmarks.deidentification
from benchmarks.deidentification import images, peers, places, useful
from benchmarks.deidentification.answers import Action, Answer, at, step
from benchmarks.deidentification.leaks import Haystack
from benchmarks.deidentification.plant import Key, Planter, anything_goes, file_bytes, put
from benchmarks.deidentification.score import Output, Score, Verdict, score

Tool = Callable[[FileDataset], None]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    planter = Planter(tmp_path_factory.mktemp("small"), "research", 7)
    for plant in (useful.technical, useful.dates, useful.references, images.burned_in, images.unused_bits):
        plant(planter)
    return planter.key


def run(key: Key, folder: Path, tool: Tool, action: Action) -> Score:
    """Score what ``tool`` makes of every instance, by the answers of one action."""
    outputs = {}
    for number, (name, path) in enumerate(key.files.items()):
        with anything_goes():
            ds = pydicom.dcmread(path)
            ds.decode()
            tool(ds)
            target = folder / f"{number}.dcm"
            target.write_bytes(file_bytes(ds))
        outputs[name] = Output(target)
    return score([a for a in key.answers if a.action is action], key.files, outputs, folder, key.patients)


def uid_of(text: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:15], 'big')}"


def copy(ds: FileDataset) -> None:
    """Nothing."""


def remove_names(ds: FileDataset) -> None:
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "", "", ""


def map_uids(new: Callable[[str], str]) -> Tool:
    def tool(ds: FileDataset) -> None:
        def change(_: Dataset, element: pydicom.DataElement) -> None:
            if element.VR == "UI" and str(element.value).startswith("1.2.826.0.1.3680043.9.7777"):
                element.value = new(str(element.value))

        ds.walk(change)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID

    return tool


class Counter:
    """Another UID every time."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, _: str) -> str:
        self.number += 1
        return f"2.25.{self.number}"


def move_dates(days: Callable[[FileDataset, str], int]) -> Tool:
    def tool(ds: FileDataset) -> None:
        for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime"):
            value = str(ds.get(keyword, "") or "")
            if value[:8].isdigit():
                moved = np.datetime64(f"{value[:4]}-{value[4:6]}-{value[6:8]}") + days(ds, keyword)
                setattr(ds, keyword, str(moved).replace("-", "") + value[8:])

    return tool


def pseudonym(new: Callable[[FileDataset], str]) -> Tool:
    def tool(ds: FileDataset) -> None:
        ds.PatientID = new(ds)

    return tool


def drop(*keywords: str) -> Tool:
    def tool(ds: FileDataset) -> None:
        for keyword in keywords:
            ds.pop(keyword, None)

    return tool


def blank(*, beside: bool = False) -> Tool:
    """Black out the text of :func:`images.burned_in`, or everything."""

    def tool(ds: FileDataset) -> None:
        if ds.file_meta.TransferSyntaxUID.is_compressed or ds.get("Rows") != 96:
            return
        array = np.frombuffer(ds.PixelData, np.uint8).reshape(96, 96, -1).copy()
        array[0 : 96 if beside else 30] = 0
        ds.PixelData = array.tobytes()

    return tool


def one_sample(ds: FileDataset) -> None:
    if "PixelData" in ds:
        ds.PixelData = ds.PixelData[:-10] + bytes(b ^ 1 for b in ds.PixelData[-10:-8]) + ds.PixelData[-8:]


def clear_bits(ds: FileDataset) -> None:
    if ds.get("BitsStored") == 12 and not ds.file_meta.TransferSyntaxUID.is_compressed:
        order = "<u2" if ds.original_encoding[1] else ">u2"
        ds.PixelData = (np.frombuffer(ds.PixelData, order) & 0x0FFF).astype(order).tobytes()


def number_of(ds: FileDataset) -> int:
    return int(ds.StudyInstanceUID.split(".")[-1])


def both(*tools: Tool) -> Tool:
    def tool(ds: FileDataset) -> None:
        for one in tools:
            one(ds)

    return tool


RIGHT: list[tuple[Action, Tool]] = [
    (Action.TEXT_REMOVED, remove_names),
    (Action.UID_CHANGED, map_uids(uid_of)),
    (Action.UID_CONSISTENT, map_uids(uid_of)),
    (Action.DATE_SHIFTED, move_dates(lambda ds, keyword: -77)),
    (Action.PATID_CONSISTENT, pseudonym(lambda ds: "P" + hashlib.sha256(ds.PatientID.encode()).hexdigest()[:8])),
    (Action.TAG_RETAINED, copy),
    (Action.TEXT_NOTNULL, copy),
    (Action.TEXT_RETAINED, copy),
    (Action.PIXELS_RETAINED, copy),
    (Action.PIXELS_RETAINED, blank()),
    (Action.PIXELS_HIDDEN, both(blank(), clear_bits)),
]

BROKEN: list[tuple[str, Action, Tool]] = [
    ("a copy", Action.TEXT_REMOVED, copy),
    ("the name only", Action.TEXT_REMOVED, drop("PatientName")),
    ("a copy", Action.UID_CHANGED, copy),
    ("a copy", Action.DATE_SHIFTED, copy),
    ("every date by another shift", Action.DATE_SHIFTED, move_dates(lambda ds, keyword: -len(keyword))),
    (
        "every study by another shift",
        Action.DATE_SHIFTED,
        move_dates(lambda ds, keyword: -int(ds.StudyInstanceUID.split(".")[-1])),
    ),
    ("a new UID every time", Action.UID_CONSISTENT, map_uids(Counter())),
    ("one UID for all", Action.UID_CONSISTENT, map_uids(lambda uid: "2.25.1")),
    ("a copy", Action.PATID_CONSISTENT, copy),
    ("another PatientID per instance", Action.PATID_CONSISTENT, pseudonym(lambda ds: ds.SOPInstanceUID[-12:])),
    ("no PatientID", Action.PATID_CONSISTENT, drop("PatientID")),
    ("references dropped", Action.TAG_RETAINED, drop("SourceImageSequence")),
    ("dates emptied", Action.TEXT_NOTNULL, lambda ds: setattr(ds, "StudyDate", "")),
    ("dates dropped", Action.TEXT_NOTNULL, drop("StudyDate")),
    ("slice thickness dropped", Action.TEXT_RETAINED, drop("SliceThickness")),
    ("another modality", Action.TEXT_RETAINED, lambda ds: setattr(ds, "Modality", "OT")),
    ("a changed sample", Action.PIXELS_RETAINED, one_sample),
    ("no pixels", Action.PIXELS_RETAINED, drop("PixelData")),
    ("all black", Action.PIXELS_RETAINED, blank(beside=True)),
    ("a copy", Action.PIXELS_HIDDEN, copy),
    ("bits left", Action.PIXELS_HIDDEN, blank()),
]


@pytest.mark.parametrize(("action", "tool"), RIGHT)
def test_a_right_tool_passes(key: Key, tmp_path: Path, action: Action, tool: Tool) -> None:
    judged = run(key, tmp_path, tool, action)
    failed = [(r.answer.instance, r.answer.place, r.found) for r in judged.results if r.verdict is Verdict.FAILED]
    assert judged.results
    assert not failed


@pytest.mark.parametrize(("what", "action", "tool"), BROKEN)
def test_a_broken_tool_is_caught(key: Key, tmp_path: Path, what: str, action: Action, tool: Tool) -> None:
    judged = run(key, tmp_path, tool, action)
    assert any(r.verdict is Verdict.FAILED for r in judged.results), what


def test_every_action_has_both(key: Key) -> None:
    assert {action for action, _ in RIGHT} == set(Action) == {action for _, action, _ in BROKEN}


# -- leaks wherever they are


@pytest.fixture
def plain(tmp_path: Path) -> FileDataset:
    planter = Planter(tmp_path / "in", "basic", 1)
    with planter.draft("one.dcm"):
        pass
    with anything_goes():
        ds = pydicom.dcmread(tmp_path / "in" / "one.dcm")
        ds.decode()
    return ds


def _found(path: Path, form: str) -> str | None:
    return Haystack(path, path.parent).find(form)


@pytest.mark.parametrize(
    "text",
    ["GRÖßENWAHNIG", "größenwahnig", "GRÖSSENWAHNIG", "x größenwahnig-y"],
)
def test_a_name_is_found_in_any_case(plain: FileDataset, tmp_path: Path, text: str) -> None:
    plain.SpecificCharacterSet = "ISO_IR 192"
    plain.PatientComments = text
    path = tmp_path / "out.dcm"
    path.write_bytes(file_bytes(plain))
    assert _found(path, "Größenwahnig") == "(0010,4000)"
    assert _found(path, "somebodyelse") is None


def test_a_name_without_its_marks_is_found(plain: FileDataset, tmp_path: Path) -> None:
    plain.PatientComments = "Muller-Ludenscheidt"
    path = tmp_path / "out.dcm"
    path.write_bytes(file_bytes(plain))
    assert _found(path, "Müller-Lüdenscheidt") == "(0010,4000)"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "latin-1", "iso8859_5", "gb18030", "euc_kr"])
def test_a_name_is_found_in_bytes(plain: FileDataset, tmp_path: Path, encoding: str) -> None:
    name = {"iso8859_5": "Люксембург", "gb18030": "张小北", "euc_kr": "홍길순"}.get(encoding, "Bjornulfsen")
    put(plain, 0x00990010, "LO", "ACME")
    put(plain, 0x00991001, "OB", b"\0\1\2" + name.encode(encoding) + b"\3")
    path = tmp_path / "out.dcm"
    path.write_bytes(file_bytes(plain))
    assert _found(path, name) is not None


def test_a_name_is_found_behind_before_and_around(plain: FileDataset, tmp_path: Path) -> None:
    raw = file_bytes(plain)
    for number, data in enumerate((raw + b"Bjornulfsen", b"Bjornulfsen".ljust(128, b"\0") + raw[128:])):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(data)
        assert _found(path, "bjornulfsen") == "bytes of the file"
    path = tmp_path / "Bjornulfsen.dcm"
    path.write_bytes(raw)
    assert _found(path, "bjornulfsen") == "file name"


def test_a_name_is_found_in_a_deflated_data_set(plain: FileDataset, tmp_path: Path) -> None:
    put(plain, 0x00990010, "LO", "ACME")
    put(plain, 0x00991001, "OB", b"Bjornulfsen ")
    plain.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "out.dcm"
    path.write_bytes(file_bytes(plain))
    assert b"Bjornulfsen" not in path.read_bytes()
    assert _found(path, "bjornulfsen") is not None


def test_a_file_pydicom_cannot_read_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "out.dcm"
    path.write_bytes(zlib.compress(b"nothing") + b"Bjornulfsen")
    assert _found(path, "bjornulfsen") is not None


# -- the key


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    keys = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        planter = Planter(tmp_path / name, "basic", seed)
        places.meta(planter)
        images.compressed_comments(planter)
        keys.append((planter.key, {n: p.read_bytes() for n, p in planter.key.files.items()}))
    assert keys[0][1] == keys[1][1]
    assert keys[0][0].answers == keys[1][0].answers
    assert keys[0][1] != keys[2][1]


def test_paths_are_read_in_both_notations(plain: FileDataset) -> None:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    plain.SourceImageSequence = [item]
    put(plain, 0x00990020, "LO", "Acme 1.0")
    put(plain, 0x00992003, "LO", "kept")
    for path, value in (
        ("(0008,2112)[0](0008,1155)", "1.2.3"),
        ("<(0008,2112)>[<0000>]<(0008,1155)>", "1.2.3"),
        ('<(0099,"ACME 1.0",03)>', "kept"),
    ):
        element = at(plain, path)
        assert element is not None
        assert element.value == value
    assert at(plain, "(0008,2112)[1](0008,1155)") is None
    with pytest.raises(ValueError, match="not a tag path"):
        at(plain, "PatientName")


def test_the_score_does_not_know_the_engine() -> None:
    """Only the public interface, the errors, and the standard's table as a file."""
    allowed = {
        "pacs_pipeline.deidentify",
        "pacs_pipeline.deidentify.burned_in",
        "pacs_pipeline.deidentify.tables",
        "pacs_pipeline.errors",
    }
    for path in Path(benchmarks.deidentification.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name for name in names if name.startswith("pacs_pipeline")} <= allowed, path.name


# -- peers


def test_a_tool_that_is_not_there_is_named() -> None:
    missing = peers._package("no_such_module_anywhere", "no-such-tool")[0]
    assert missing() == "not installed (pip install no-such-tool)"


def test_a_crash_is_withheld_with_its_class(tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no DICOM at all")
    deid = next(peer for peer in peers.PEERS if peer.name == "deid")
    outputs = peers.run_peer(deid, "basic", {"broken.dcm": broken}, tmp_path / "out")
    assert outputs["broken.dcm"].path is None
    assert outputs["broken.dcm"].reason.endswith("Error")


def test_a_tool_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TIME_LIMIT", 0.05)
    outputs = peers.run_peer(peers.PEERS[0], "basic", {"a.dcm": tmp_path / "a.dcm"}, tmp_path / "out")
    assert outputs["a.dcm"] == Output(None, "time limit")


def test_a_word_of_another_instance_is_a_leak(plain: FileDataset, tmp_path: Path) -> None:
    plain.PatientComments = "Bjornulfsen"
    path = tmp_path / "out.dcm"
    path.write_bytes(file_bytes(plain))
    answers = [
        Answer("a", Action.TAG_RETAINED, "(0008,0060)", "", "useful"),
        Answer("b", Action.TEXT_REMOVED, "", "Bjornulfsen", "private", ("Bjornulfsen",)),
    ]
    judged = score(answers, {"a": path, "b": path}, {"a": Output(path)}, tmp_path, {})
    assert [(leak.answer.category, leak.found) for leak in judged.leaks] == [("of another instance", "(0010,4000)")]


def test_unjudged_is_neither_leak_nor_loss(plain: FileDataset, tmp_path: Path) -> None:
    path = tmp_path / "out.dcm"
    path.write_bytes(file_bytes(plain))
    answer = Answer("a", Action.PIXELS_HIDDEN, "", "somewhere", "HIPAA-A")
    judged = score([answer], {"a": path}, {"a": Output(path)}, tmp_path, {})
    assert judged.results[0].verdict is Verdict.UNJUDGED
    assert judged.share(protective=True) == 0.0


def test_a_step_is_written_as_it_is_read() -> None:
    assert step(0x0040A730, 2) == "(0040,A730)[2]"

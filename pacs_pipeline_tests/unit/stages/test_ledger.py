"""What a partition's ledger counts while outcomes stream by."""

from __future__ import annotations

from pathlib import Path

from pacs_pipeline.compute import Done
from pacs_pipeline.deidentify import Keys, Outcome
from pacs_pipeline.records import Reason
from pacs_pipeline.stages.ledger import Ledger

KEPT = (("00420011", "EncapsulatedDocument", "K", 1), ("00100010", "PatientName", "D", 1))
UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID")
OTHERS = ("PatientID", "Modality", "SeriesNumber", "BodyPartExamined", "StudyDate")
ROW = dict.fromkeys(UIDS + OTHERS, "1") | {"size": 1}


def test_documents_are_counted_released_or_not(tmp_path: Path) -> None:
    source = dict.fromkeys(UIDS, "1")
    landed = {tmp_path / name: source | {"size": 1} for name in ("pdf", "withheld", "image", "report")}
    outcomes = {
        "pdf": Outcome(tmp_path / "pdf", "1", output=tmp_path / "a.dcm", row=ROW, actions=KEPT),
        "withheld": Outcome(tmp_path / "withheld", "1", reason=Reason.ENCAPSULATED_DOCUMENT),
        "image": Outcome(tmp_path / "image", "1", output=tmp_path / "b.dcm", row=ROW, actions=KEPT[1:]),
        "report": Outcome(tmp_path / "report", "1", reason=Reason.STRUCTURED_REPORT),
    }
    ledger = Ledger(landed, Keys.derive(b"a secret of the tests, long enough", "unit"), tmp_path)
    done = [Done(path, outcomes[path.name]) for path in landed]
    assert len(list(ledger.released(done))) == 2
    assert ledger.documents == 2

"""Encapsulated documents leave only when a steward has read exactly them."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from pacs_pipeline.deidentify import Deidentifier, DocumentReleases, Keys, Outcome, load_profile, load_releases
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Reason

from . import builder

CLASS = "1.2.840.10008.5.1.4.1.1.104."
PDF = b"%PDF-1.4 a drawing of a valve\n%%EOF"
MODEL = b"solid valve\nendsolid valve\n"
MIME_TYPES = {"1": "application/pdf", "2": "text/XML", "3": "model/stl", "4": "model/obj", "5": "model/mtl"}
UID = "1.2.999.1.2.3.4"
HEAD = "SOPInstanceUID,sha256,reviewed_by,reason"
WITHHELD = Reason.ENCAPSULATED_DOCUMENT


def document(kind: str = "1", content: bytes = PDF, **attributes: object) -> FileDataset:
    ds = builder.image(SOPClassUID=CLASS + kind, PixelData=None, **attributes)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(ds, keyword)
    del ds.SamplesPerPixel, ds.PhotometricInterpretation
    ds.Modality, ds.BurnedInAnnotation = "DOC", "NO"
    ds.DocumentTitle = "REPORT CT CHEST FOR ABERNATHY"
    ds.MIMETypeOfEncapsulatedDocument = MIME_TYPES[kind]
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    ds.EncapsulatedDocumentLength = len(content)
    return ds


def listed(folder: Path, *documents: bytes, uid: str = UID) -> DocumentReleases:
    lines = [f"{uid},{hashlib.sha256(content).hexdigest()},Dr Okafor,read" for content in documents]
    path = folder / "documents.csv"
    path.write_text("\n".join((HEAD, *lines)) + "\n")
    return load_releases(path)


def run(
    ds: FileDataset, keys: Keys, folder: Path, documents: DocumentReleases, profile: str = "research"
) -> tuple[Outcome, FileDataset | None]:
    engine = Deidentifier(load_profile(profile), keys, documents=documents)
    outcome = engine.deidentify(builder.save(ds, folder / "in.dcm"), folder / "out")
    return outcome, None if outcome.output is None else builder.load(outcome.output)


@pytest.mark.parametrize("kind", sorted(MIME_TYPES))
@pytest.mark.parametrize("content", [PDF, PDF + b"\n", b"x" * 200_001])
def test_a_document_on_the_list_leaves_as_it_is(kind: str, content: bytes, keys: Keys, tmp_path: Path) -> None:
    source = document(kind, content)
    outcome, clean = run(source, keys, tmp_path, listed(tmp_path, content))
    assert clean is not None, outcome.detail
    assert clean.EncapsulatedDocument == source.EncapsulatedDocument
    assert clean.MIMETypeOfEncapsulatedDocument == MIME_TYPES[kind]
    assert clean.EncapsulatedDocumentLength == len(content)
    assert clean.DocumentTitle.endswith("CT CHEST")
    assert "Abernathy" not in str(clean)
    assert ("00420011", "EncapsulatedDocument", "K", 1) in outcome.actions
    assert json.loads(str(outcome.row["actions"]))["K"] == 1


def test_the_title_is_empty_without_clean_descriptors(keys: Keys, tmp_path: Path) -> None:
    _, clean = run(document(), keys, tmp_path, listed(tmp_path, PDF), "basic")
    assert clean is not None
    assert clean.DocumentTitle == ""


def test_the_identifier_of_a_cda_document_is_replaced(keys: Keys, tmp_path: Path) -> None:
    _, clean = run(document("2", HL7InstanceIdentifier="1.2.999.77^A-4711"), keys, tmp_path, listed(tmp_path, PDF))
    assert clean is not None
    assert clean.HL7InstanceIdentifier.startswith("2.25.")


def test_the_digest_may_be_that_of_the_padded_document(keys: Keys, tmp_path: Path) -> None:
    outcome, _ = run(document(content=PDF), keys, tmp_path, listed(tmp_path, PDF + b"\0" * (len(PDF) % 2)))
    assert outcome.released


def test_without_an_entry_it_is_withheld(keys: Keys, tmp_path: Path) -> None:
    assert run(document(), keys, tmp_path, DocumentReleases())[0].reason is WITHHELD
    assert run(document(), keys, tmp_path, listed(tmp_path, PDF, uid="1.2.3"))[0].reason is WITHHELD


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"content": PDF + b" "}, "not the one that was reviewed"),
        ({"content": PDF + b"\0\0"}, "not the one that was reviewed"),
        ({"kind": "3"}, ""),
        ({"MIMETypeOfEncapsulatedDocument": "text/html"}, "MIMEType"),
        ({"MIMETypeOfEncapsulatedDocument": ""}, "MIMEType"),
        ({"PixelData": b"\0\0"}, "pixels beside"),
        ({"SOPClassUID": builder.CT}, ""),
    ],
)
def test_another_document_than_the_one_that_was_read_is_withheld(
    keys: Keys, tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    ds = document(content=changes.pop("content", PDF))  # type: ignore[arg-type]
    if kind := changes.pop("kind", None):
        ds.SOPClassUID = CLASS + str(kind)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    outcome, _ = run(ds, keys, tmp_path, listed(tmp_path, PDF))
    assert outcome.reason is WITHHELD
    assert problem in outcome.detail


def test_the_residue_scan_looks_into_it(keys: Keys, tmp_path: Path) -> None:
    content = b"%PDF-1.4 (Josephine Abernathy) Tj %%EOF "
    assert run(document(content=content), keys, tmp_path, listed(tmp_path, content))[0].reason is Reason.RESIDUE


def test_the_list_travels_to_a_worker_and_is_part_of_what_is_in_force(tmp_path: Path) -> None:
    before = listed(tmp_path, PDF)
    assert pickle.loads(pickle.dumps(before)) == before
    assert before.fingerprint != listed(tmp_path, MODEL).fingerprint
    assert load_releases().fingerprint == DocumentReleases().fingerprint == ""


def test_a_list_that_was_changed_while_in_use_is_an_error(keys: Keys, tmp_path: Path) -> None:
    old = listed(tmp_path, MODEL + b"another")
    listed(tmp_path, PDF)
    with pytest.raises(SettingsError, match="changed while in use"):
        run(document(), keys, tmp_path, DocumentReleases(old.path, "0" * 64))


SHA = "a" * 64


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((f",{SHA},Dr Okafor,read",), "line 2.*empty"),
        ((f"1.2.3,{SHA},,read",), "line 2.*empty"),
        ((f"1.2.3,{SHA},Dr Okafor,",), "line 2.*empty"),
        (("1.2.3,abc,Dr Okafor,read",), "line 2.*no SHA-256"),
        ((f"1.2.3,{SHA},a,b", f"1.2.3,{'b' * 64},a,b"), "line 3.*another document"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, lines: tuple[str, ...], problem: str) -> None:
    path = tmp_path / "documents.csv"
    path.write_text("\n".join((HEAD, *lines)) + "\n")
    with pytest.raises(SettingsError, match=problem) as caught:
        load_releases(path)
    assert "1.2.3" not in caught.value.message + caught.value.fix


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_releases(tmp_path / "missing.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SettingsError, match="lacks columns"):
        load_releases(tmp_path / "other.csv")
    (tmp_path / "latin.csv").write_bytes(b"\xe4\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_releases(tmp_path / "latin.csv")

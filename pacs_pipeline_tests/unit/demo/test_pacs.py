"""The embedded PACS, asked by pynetdicom over loopback."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    MRImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from pacs_pipeline.demo.pacs import EmbeddedPacs
from pacs_pipeline.demo.population import WrittenInstance
from pacs_pipeline.errors import Permanent, Transient

Written = tuple[Path, list[WrittenInstance]]
FIND, GET = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove


@pytest.fixture(scope="module")
def north(population: Written) -> list[WrittenInstance]:
    return [instance for instance in population[1] if instance.site == "north"]


@pytest.fixture(scope="module")
def pacs(population: Written) -> Iterator[EmbeddedPacs]:
    with EmbeddedPacs(population[0] / "north", "NORTH", destinations={"NOWHERE": ("127.0.0.1", 1)}) as archive:
        yield archive


def identifier(level: str, **keys: object) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def find(pacs: EmbeddedPacs, level: str, model: str = FIND, **keys: object) -> list[Dataset]:
    status, found = find_status(pacs, level, model, **keys)
    assert status == 0x0000
    return found


def find_status(pacs: EmbeddedPacs, level: str, model: str = FIND, **keys: object) -> tuple[int, list[Dataset]]:
    association = AE().associate("127.0.0.1", pacs.port, [build_context(model)], ae_title=pacs.ae_title)
    assert association.is_established
    found, status = [], -1
    for response, match in association.send_c_find(identifier(level, **keys), model):
        status = response.Status
        if match is not None:
            found.append(match)
    association.release()
    return status, found


def test_studies_are_found_with_their_counts(pacs: EmbeddedPacs, north: list[WrittenInstance]) -> None:
    keys = dict.fromkeys(("StudyInstanceUID", "PatientName", "NumberOfStudyRelatedInstances", "ModalitiesInStudy"), "")
    found = {ds.StudyInstanceUID: ds for ds in find(pacs, "STUDY", NumberOfStudyRelatedSeries="", **keys)}
    counts = Counter(w.StudyInstanceUID for w in north)
    assert {uid: ds.NumberOfStudyRelatedInstances for uid, ds in found.items()} == counts
    for written in north:
        ds = found[written.StudyInstanceUID]
        assert str(ds.PatientName) == written.PatientName
        assert written.Modality in ds.ModalitiesInStudy
        series = {w.SeriesInstanceUID for w in north if w.StudyInstanceUID == written.StudyInstanceUID}
        assert ds.NumberOfStudyRelatedSeries == len(series)
        assert ds.RetrieveAETitle == "NORTH"


def test_only_what_was_asked_for_is_returned(pacs: EmbeddedPacs) -> None:
    keywords = {element.keyword for element in find(pacs, "STUDY", StudyDate="")[0]}
    assert keywords - {"SpecificCharacterSet", "QueryRetrieveLevel", "RetrieveAETitle"} == {
        "StudyDate",
        "StudyInstanceUID",
    }


@pytest.mark.parametrize(
    "dates",
    ["20240304", "20240304-20240305", "20240306-", "-20240306", "20240305", "20240101-20240201", ""],
)
def test_dates_match_alone_and_in_ranges(pacs: EmbeddedPacs, north: list[WrittenInstance], dates: str) -> None:
    first, dash, last = dates.partition("-")
    expected = {
        w.StudyInstanceUID
        for w in north
        if not dates or (first or "0") <= w.StudyDate <= ((last or "9") if dash else first)
    }
    assert {ds.StudyInstanceUID for ds in find(pacs, "STUDY", StudyDate=dates)} == expected


def test_times_match_in_ranges(pacs: EmbeddedPacs) -> None:
    times = [ds.StudyTime for ds in find(pacs, "STUDY", StudyTime="")]
    found = [ds.StudyTime for ds in find(pacs, "STUDY", StudyTime="07-12")]
    assert sorted(found) == sorted(time for time in times if "070000" <= time <= "125959.999")
    assert 0 < len(found) < len(times)


def test_wildcards_and_names(pacs: EmbeddedPacs, north: list[WrittenInstance]) -> None:
    japanese = next(w for w in north if "IR 87" in w.SpecificCharacterSet)
    family = japanese.PatientName.split("^")[0]
    expected = {w.StudyInstanceUID for w in north if w.PatientName.startswith(family)}
    for query in (f"{family}*", f"{family.upper()}*", f"{family[:-1]}?^*", japanese.PatientName.split("=")[0]):
        found = {ds.StudyInstanceUID for ds in find(pacs, "STUDY", PatientName=query)}
        assert found <= expected
        assert japanese.StudyInstanceUID in found
    assert find(pacs, "STUDY", PatientID=f"{japanese.PatientID[:3]}*")
    assert not find(pacs, "STUDY", PatientID="[A-Z]*")  # brackets are no wildcards in DICOM
    assert not find(pacs, "STUDY", PatientName="Nobody^*")


def test_values_are_never_taken_for_sql(pacs: EmbeddedPacs) -> None:
    assert not find(pacs, "STUDY", PatientID="' OR 1=1 --")


def test_lists_of_uids_and_modalities(pacs: EmbeddedPacs, north: list[WrittenInstance]) -> None:
    wanted = list(dict.fromkeys(w.StudyInstanceUID for w in north))[:3]
    assert {ds.StudyInstanceUID for ds in find(pacs, "STUDY", StudyInstanceUID=wanted)} == set(wanted)
    with_ct = {w.StudyInstanceUID for w in north if w.Modality == "CT"}
    found = find(pacs, "STUDY", ModalitiesInStudy="CT", NumberOfStudyRelatedInstances="")
    assert {ds.StudyInstanceUID for ds in found} == with_ct
    for ds in found:  # the count is the whole study's, whichever modality found it
        assert ds.NumberOfStudyRelatedInstances == sum(w.StudyInstanceUID == ds.StudyInstanceUID for w in north)


def test_series_and_instances_are_found(pacs: EmbeddedPacs, north: list[WrittenInstance]) -> None:
    study = north[0].StudyInstanceUID
    inside = [w for w in north if w.StudyInstanceUID == study]
    found = find(pacs, "SERIES", StudyInstanceUID=study, Modality="", NumberOfSeriesRelatedInstances="")
    counts = {ds.SeriesInstanceUID: ds.NumberOfSeriesRelatedInstances for ds in found}
    assert counts == Counter(w.SeriesInstanceUID for w in inside)
    series = inside[0].SeriesInstanceUID
    images = find(
        pacs, "IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series, SOPClassUID="", AvailableTransferSyntaxUID=""
    )
    expected = {w.SOPInstanceUID: (w.SOPClassUID, w.TransferSyntaxUID) for w in inside if w.SeriesInstanceUID == series}
    assert {ds.SOPInstanceUID: (ds.SOPClassUID, ds.AvailableTransferSyntaxUID) for ds in images} == expected


def test_patient_root(pacs: EmbeddedPacs, north: list[WrittenInstance]) -> None:
    model = PatientRootQueryRetrieveInformationModelFind
    found = find(pacs, "PATIENT", model, PatientID="", NumberOfPatientRelatedStudies="")
    assert {ds.PatientID for ds in found} == {w.PatientID for w in north}
    one = found[0]
    studies = find(pacs, "STUDY", model, PatientID=one.PatientID, StudyInstanceUID="")
    assert len(studies) == one.NumberOfPatientRelatedStudies


@pytest.mark.parametrize(
    ("level", "model", "keys"),
    [
        ("SERIES", FIND, {"SeriesInstanceUID": ""}),
        ("IMAGE", FIND, {"StudyInstanceUID": "1.2.3", "SOPInstanceUID": ""}),
        ("PATIENT", FIND, {"PatientID": ""}),
        ("STUDY", PatientRootQueryRetrieveInformationModelFind, {"StudyInstanceUID": ""}),
        ("NONSENSE", FIND, {"StudyInstanceUID": ""}),
    ],
)
def test_a_query_outside_the_model_is_refused(pacs: EmbeddedPacs, level: str, model: str, keys: dict[str, str]) -> None:
    assert find_status(pacs, level, model, **keys) == (0xA900, [])


def get(
    pacs: EmbeddedPacs, classes: dict[str, list[str]], **keys: object
) -> tuple[Dataset, Dataset | None, dict[str, tuple[str, bytes]]]:
    """A C-GET that accepts the given syntaxes of each class; the final status, its identifier, what arrived."""
    received: dict[str, tuple[str, bytes]] = {}

    def store(event: evt.Event) -> int:
        data = event.request.DataSet.getvalue()
        received[event.request.AffectedSOPInstanceUID] = (event.context.transfer_syntax, data)
        return 0x0000

    contexts = [build_context(GET)]
    contexts += [build_context(sop_class, syntax) for sop_class, syntaxes in classes.items() for syntax in syntaxes]
    association = AE().associate(
        "127.0.0.1",
        pacs.port,
        contexts,
        ae_title=pacs.ae_title,
        ext_neg=[build_role(sop_class, scp_role=True) for sop_class in classes],
        evt_handlers=[(evt.EVT_C_STORE, store)],
    )
    assert association.is_established
    *_, (status, last) = association.send_c_get(identifier("STUDY", **keys), GET)
    association.release()
    return status, last, received


def data_set_bytes(path: Path) -> bytes:
    """What follows the file meta information."""
    meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
    return path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]


def test_c_get_sends_every_instance_as_it_is_stored(population: Written, pacs: EmbeddedPacs) -> None:
    written = [w for w in population[1] if w.site == "north" and w.Modality == "MR"]
    syntaxes = {MRImageStorage: sorted({w.TransferSyntaxUID for w in written})}
    assert len(syntaxes[MRImageStorage]) >= 2
    status, _, received = get(pacs, syntaxes, StudyInstanceUID=list({w.StudyInstanceUID for w in written}))
    assert status.Status == 0x0000
    assert status.NumberOfCompletedSuboperations == len(written) == len(received)
    for instance in written:
        syntax, data = received[instance.SOPInstanceUID]
        assert syntax == instance.TransferSyntaxUID
        stored = data_set_bytes(population[0] / instance.path)
        assert hashlib.sha256(data).hexdigest() == hashlib.sha256(stored).hexdigest()


def test_a_syntax_the_peer_did_not_accept_is_a_failed_sub_operation(population: Written, pacs: EmbeddedPacs) -> None:
    written = [w for w in population[1] if w.site == "north" and w.Modality == "MR"]
    plain = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
    refused = {w.SOPInstanceUID for w in written if w.TransferSyntaxUID not in plain}
    assert 0 < len(refused) < len(written)
    status, last, received = get(
        pacs,
        {MRImageStorage: ["1.2.840.10008.1.2.1"]},
        StudyInstanceUID=list({w.StudyInstanceUID for w in written}),
    )
    assert status.Status == 0xB000
    assert status.NumberOfFailedSuboperations == len(refused)
    assert last is not None
    assert set(last.FailedSOPInstanceUIDList) == refused
    assert set(received) == {w.SOPInstanceUID for w in written} - refused


def test_an_instance_whose_file_is_gone_is_a_failed_sub_operation(population: Written, tmp_path: Path) -> None:
    study = next(w for w in population[1] if w.Modality == "CT" and w.TransferSyntaxUID == "1.2.840.10008.1.2.1")
    shutil.copytree(population[0] / study.site / study.StudyInstanceUID, tmp_path / "archive" / "study")
    with EmbeddedPacs(tmp_path / "archive", "LOSSY") as pacs:
        gone = next((tmp_path / "archive").rglob(f"{study.SOPInstanceUID}.dcm"))
        gone.unlink()
        status, last, received = get(
            pacs, {CTImageStorage: ["1.2.840.10008.1.2.1"]}, StudyInstanceUID=study.StudyInstanceUID
        )
    assert last is not None
    assert study.SOPInstanceUID in last.FailedSOPInstanceUIDList
    assert status.NumberOfCompletedSuboperations == len(received) > 0


def test_nothing_to_retrieve_and_a_wrong_level(pacs: EmbeddedPacs) -> None:
    assert get(pacs, {CTImageStorage: ["1.2.840.10008.1.2"]}, StudyInstanceUID="1.2.3")[0].Status == 0x0000
    assert get(pacs, {CTImageStorage: ["1.2.840.10008.1.2"]}, StudyInstanceUID="")[0].Status == 0xA900


def move(pacs: EmbeddedPacs, destination: str, **keys: object) -> Dataset:
    association = AE().associate("127.0.0.1", pacs.port, [build_context(MOVE)], ae_title=pacs.ae_title)
    *_, (status, _) = association.send_c_move(identifier("STUDY", **keys), destination, MOVE)
    association.release()
    return status


def test_c_move_sends_to_the_destination(population: Written) -> None:
    written = [w for w in population[1] if w.site == "south"]
    received: dict[str, str] = {}

    def store(event: evt.Event) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.context.transfer_syntax
        return 0x0000

    receiver = AE("DEST")
    for sop_class, syntax in {(w.SOPClassUID, w.TransferSyntaxUID) for w in written}:
        receiver.add_supported_context(sop_class, syntax)
    server = receiver.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        port = server.socket.getsockname()[1]
        with EmbeddedPacs(population[0] / "south", "SOUTH", destinations={"DEST": ("127.0.0.1", port)}) as pacs:
            status = move(pacs, "DEST", StudyInstanceUID=list({w.StudyInstanceUID for w in written}))
    finally:
        receiver.shutdown()
    assert status.Status == 0x0000
    assert status.NumberOfCompletedSuboperations == len(written)
    assert received == {w.SOPInstanceUID: w.TransferSyntaxUID for w in written}


# pynetdicom forgets the socket of a connection that was refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_c_move_to_nobody_and_nowhere(pacs: EmbeddedPacs, north: list[WrittenInstance]) -> None:
    assert move(pacs, "STRANGER", StudyInstanceUID=north[0].StudyInstanceUID).Status == 0xA801
    assert move(pacs, "NOWHERE", StudyInstanceUID=north[0].StudyInstanceUID).Status == 0xA801


def test_another_called_ae_title_is_refused(pacs: EmbeddedPacs) -> None:
    association = AE().associate("127.0.0.1", pacs.port, [build_context(FIND)], ae_title="SOMEBODY")
    assert association.is_rejected


def test_a_late_study_appears_after_a_refresh_and_a_deleted_one_goes(population: Written, tmp_path: Path) -> None:
    studies = list(dict.fromkeys(w.StudyInstanceUID for w in population[1] if w.site == "north"))[:2]
    archive = tmp_path / "archive"
    shutil.copytree(population[0] / "north" / studies[0], archive / studies[0])
    (archive / "README").write_text("not DICOM")
    with EmbeddedPacs(archive, "GROWING") as pacs:
        assert [ds.StudyInstanceUID for ds in find(pacs, "STUDY", StudyInstanceUID="")] == studies[:1]
        shutil.copytree(population[0] / "north" / studies[1], archive / studies[1])
        assert pacs.refresh() > 0
        assert {ds.StudyInstanceUID for ds in find(pacs, "STUDY", StudyInstanceUID="")} == set(studies)
        shutil.rmtree(archive / studies[0])
        assert pacs.refresh() == 0
        assert [ds.StudyInstanceUID for ds in find(pacs, "STUDY", StudyInstanceUID="")] == studies[1:]
    assert EmbeddedPacs(archive, "AGAIN").refresh() == 0  # the second start reads no header


def test_without_a_folder_or_a_port_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="does not exist"):
        EmbeddedPacs(tmp_path / "none", "X").start()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "empty").mkdir()
        with pytest.raises(Transient, match="not free"):
            EmbeddedPacs(tmp_path / "empty", "X", port=taken.getsockname()[1]).start()


def test_messages_are_sent_without_delay(population: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[tuple[int, int, int]] = []
    original = socket.socket.setsockopt

    def spy(self: socket.socket, *arguments: int) -> None:
        options.append(arguments)  # type: ignore[arg-type]
        original(self, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(socket.socket, "setsockopt", spy)
    with EmbeddedPacs(population[0] / "north", "FAST") as pacs:
        find(pacs, "STUDY", StudyInstanceUID="")
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in options

import datetime as dt
import logging

import pytest
from pydicom.dataset import Dataset

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs import PacsClient
from pacs_pipeline.records import SeriesRef, StudyRef
from pacs_pipeline_tests.unit.pacs.archives import entry
from pacs_pipeline_tests.unit.pacs.peers import SITE, Script, Talk, finds, scripted

DAY = dt.date(2024, 3, 9)


def answer(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def study(uid: str = "1.2.3", **elements: object) -> Dataset:
    defaults: dict[str, object] = {
        "StudyInstanceUID": uid,
        "StudyDate": "20240309",
        "StudyTime": "101500",
        "ModalitiesInStudy": ["CT", "SR"],
        "NumberOfStudyRelatedInstances": "7",
    }
    return answer(**(defaults | elements))


def series(uid: str = "1.2.3.1", **elements: object) -> Dataset:
    defaults: dict[str, object] = {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": uid,
        "Modality": "CT",
        "NumberOfSeriesRelatedInstances": "7",
    }
    return answer(**(defaults | elements))


def by_level(**scripts: Script) -> Script:
    """A script for each query level."""

    def script(talk: Talk) -> None:
        scripts[talk.identifier.QueryRetrieveLevel](talk)

    return script


def census(*studies: Dataset, of: tuple[Dataset, ...] = (series(),)) -> tuple[StudyRef, ...]:
    with scripted(find=by_level(STUDY=finds(*studies), SERIES=finds(*of))) as endpoint, PacsClient(endpoint) as client:
        return client.find_studies(DAY)


def test_a_census() -> None:
    assert census(study()) == (
        StudyRef("1.2.3", DAY, "101500", ("CT", "SR"), 7, (SeriesRef("1.2.3", "1.2.3.1", "CT", 7),)),
    )


def test_no_studies_is_an_answer() -> None:
    assert census() == ()


def test_a_study_whose_uid_has_letters_is_counted_too() -> None:
    listed = entry(StudyInstanceUID="1.2.AF3", StudyDate="20240309")
    (found,) = census(listed, of=(entry(StudyInstanceUID="1.2.AF3", SeriesInstanceUID="1.2.AF3.1"),))
    assert [ref.SeriesInstanceUID for ref in found.series] == ["1.2.AF3.1"]


def test_a_study_given_twice_is_one() -> None:
    (found,) = census(
        study(ModalitiesInStudy="CT", NumberOfStudyRelatedInstances=""),
        study(ModalitiesInStudy="MR", StudyTime="", NumberOfStudyRelatedInstances="9"),
    )
    assert (found.ModalitiesInStudy, found.NumberOfStudyRelatedInstances, found.StudyTime) == (
        ("CT", "MR"),
        9,
        "101500",
    )


def test_series_given_twice_and_series_of_other_studies() -> None:
    (found,) = census(
        study(),
        of=(series(), series(NumberOfSeriesRelatedInstances="8"), series("1.2.9.1", StudyInstanceUID="1.2.9")),
    )
    assert found.series == (SeriesRef("1.2.3", "1.2.3.1", "CT", 8),)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_an_archive_that_ignores_the_date_is_filtered(caplog: pytest.LogCaptureFixture) -> None:
    found = census(study(), study("1.2.4", StudyDate="20240308"), study("1.2.5", StudyDate="2024.03.09"))
    assert [item.StudyInstanceUID for item in found] == ["1.2.3", "1.2.5"]
    assert "1 of 3 studies" in caplog.text


def test_counts_that_are_missing_or_no_numbers_are_unknown() -> None:
    bare = answer(StudyInstanceUID="1.2.3", StudyDate="20240309")
    (found,) = census(bare, of=(answer(SeriesInstanceUID="1.2.3.1"),))
    assert found == StudyRef("1.2.3", DAY, "", (), None, (SeriesRef("1.2.3", "1.2.3.1", "", None),))


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_padding_character_sets_and_invalid_values_do_not_matter() -> None:
    def script(talk: Talk) -> None:
        odd = bytes.fromhex("0800050043530e00") + b"ISO 2022 IR 999"[:14]
        odd += bytes.fromhex("0800200044410a00") + b"20240309 \0"
        odd += bytes.fromhex("0800610043530600") + b"ct\\SR "
        odd += bytes.fromhex("10001000504e0400") + b"\xff\xfe\xfd\xfc"
        odd += bytes.fromhex("20000d0055490600") + b"1.2.3 "
        odd += bytes.fromhex("2000081249530400") + b"+7  "
        talk.answer(0xFF01, odd)
        talk.answer(0x0000)

    with (
        scripted(find=by_level(STUDY=script, SERIES=finds(series()))) as endpoint,
        PacsClient(endpoint) as client,
    ):
        (found,) = client.find_studies(DAY)
    assert (found.StudyInstanceUID, found.ModalitiesInStudy, found.NumberOfStudyRelatedInstances) == (
        "1.2.3",
        ("CT", "SR"),
        7,
    )


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
@pytest.mark.parametrize("uid", ["", "../../etc", "1.2 3", "1" * 65])
def test_a_study_without_a_usable_uid_is_an_error_and_its_value_is_not_told(uid: str) -> None:
    with pytest.raises(Permanent, match=r"1 of 2 answers with.* StudyInstanceUID") as caught:
        census(study(), study(uid))
    assert not uid or uid not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0xA700, Transient),
        (0xA900, Permanent),
        (0x0122, Permanent),
        (0x0124, Permanent),
        (0xC001, Transient),
        (0xFE00, Permanent),  # we never cancel: a limit cut the answer off
        (0xB001, Permanent),
        (0xD123, Transient),
    ],
)
@pytest.mark.parametrize("answers", [0, 2])
def test_a_query_that_does_not_end_in_success_is_no_answer(
    status: int, kind: type[PipelineError], answers: int
) -> None:
    script = finds(*[study(f"1.2.{n}") for n in range(1, answers + 1)], final=status)
    with scripted(find=script) as endpoint, PacsClient(endpoint) as client, pytest.raises(kind) as caught:
        client.find_studies(DAY)
    assert SITE in caught.value.message
    assert f"0x{status:04X}" in caught.value.message
    assert caught.value.fix


def test_a_pacs_that_dies_in_the_middle_of_an_answer_is_no_answer() -> None:
    def script(talk: Talk) -> None:
        talk.answer(0xFF00, study())
        talk.die()

    with scripted(find=script) as endpoint, PacsClient(endpoint) as client, pytest.raises(Transient, match="broke off"):
        client.find_studies(DAY)


def test_a_pacs_that_falls_silent_is_no_answer() -> None:
    with (
        scripted(find=lambda talk: talk.answer(0xFF00, study()), timeout=0.3) as endpoint,
        PacsClient(endpoint) as client,
        pytest.raises(Transient, match="silent"),
    ):
        client.find_studies(DAY)


def test_an_answer_that_cannot_be_decoded_is_an_error() -> None:
    def script(talk: Talk) -> None:
        talk.answer(0xFF00, b"\x08\x00\x20\x00SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0")
        talk.answer(0x0000)

    with scripted(find=script) as endpoint, PacsClient(endpoint) as client, pytest.raises(Permanent, match="decoded"):
        client.find_studies(DAY)


def test_a_series_query_that_fails_fails_the_census() -> None:
    script = by_level(STUDY=finds(study()), SERIES=finds(final=0xA700))
    with scripted(find=script) as endpoint, PacsClient(endpoint) as client, pytest.raises(Transient):
        client.find_studies(DAY)


def test_one_association_serves_many_queries_and_a_lost_one_is_replaced() -> None:
    script = by_level(STUDY=finds(study()), SERIES=finds(series()), IMAGE=finds())
    with scripted(find=script) as endpoint, PacsClient(endpoint) as client:
        client.check()
        first = client._association
        client.find_studies(DAY)
        assert client._association is first
        client.close()
        assert len(client.find_studies(DAY)) == 1


def test_instances_of_a_series() -> None:
    of = SeriesRef("1.2.3", "1.2.3.1", "CT", None)
    instance = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}
    script = finds(
        answer(**instance, SOPInstanceUID="1.2.3.1.2", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
        answer(**instance, SOPInstanceUID="1.2.3.1.1"),
        answer(**instance, SOPInstanceUID="1.2.3.1.2"),
        answer(**(instance | {"SeriesInstanceUID": "1.2.3.9"}), SOPInstanceUID="1.2.3.9.1"),
    )
    with scripted(find=script) as endpoint, PacsClient(endpoint) as client:
        found = client.find_instances(of)
    assert [(ref.SOPInstanceUID, ref.SOPClassUID) for ref in found] == [
        ("1.2.3.1.1", ""),
        ("1.2.3.1.2", "1.2.840.10008.5.1.4.1.1.2"),
    ]


def test_no_patient_is_asked_for_and_none_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked: set[str] = set()

    def script(talk: Talk) -> None:
        asked.update(element.keyword for element in talk.identifier)
        finds(study(PatientName="Findmich^Nirgends", PatientID="SECRET-7"))(talk)

    with scripted(find=by_level(STUDY=script, SERIES=finds(series()))) as endpoint, PacsClient(endpoint) as client:
        client.find_studies(DAY)
    assert not {keyword for keyword in asked if keyword.startswith("Patient")}
    for secret in ("Findmich", "SECRET-7", "1.2.3"):
        assert secret not in caplog.text


def test_a_pacs_without_query_says_so() -> None:
    with scripted() as endpoint, PacsClient(endpoint) as client:
        client.check()
        with pytest.raises(Permanent, match="does not offer C-FIND"):
            client.find_studies(DAY)

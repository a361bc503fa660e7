"""Archives with the faults that archives have, over TCP: everything is found, or an error says what to do."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from functools import partial

import pytest
from pydicom.dataset import Dataset

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import PacsClient
from pacs_pipeline.records import SeriesRef, StudyRef
from pacs_pipeline.settings.site import CensusSettings, FilterSettings
from pacs_pipeline_tests.unit.pacs.archives import REFUSED, SUCCESS, FaultyArchive, entry, study
from pacs_pipeline_tests.unit.pacs.peers import Talk, finds, scripted

DAY = dt.date(2024, 3, 9)
SERIES = SeriesRef("1.2.1", "1.2.1.1", "CT", None)


@contextlib.contextmanager
def talking_to(census: CensusSettings | None = None, **levels: FaultyArchive) -> Iterator[PacsClient]:
    """A client of a PACS that answers each level from an archive; series are one per study where none are given."""

    def find(talk: Talk) -> None:
        level = str(talk.identifier.QueryRetrieveLevel)
        if level in levels:
            levels[level].find(talk)
        else:
            of = str(talk.identifier.StudyInstanceUID)
            finds(entry(StudyInstanceUID=of, SeriesInstanceUID=f"{of}.1", Modality="CT"))(talk)

    with scripted(find=find) as endpoint, PacsClient(endpoint, census) as client:
        yield client


def numbers(studies: tuple[StudyRef, ...]) -> list[str]:
    return [ref.StudyInstanceUID for ref in studies]


def hourly(count: int, modality: str = "CT") -> list[Dataset]:
    return [study(n, f"{n % 24:02d}{n // 24:02d}00", modality) for n in range(count)]


@pytest.mark.parametrize("says", [0xFE00, 0xB000, SUCCESS, REFUSED])
def test_a_limit(says: int) -> None:
    with talking_to(CensusSettings(answer_limit=20), STUDY=FaultyArchive(hourly(45), 20, says)) as client:
        found = client.find_studies(DAY)
    assert numbers(found) == sorted(f"1.2.{n}" for n in range(45))
    assert all(ref.series for ref in found)


def test_a_limit_that_hides_something_for_good() -> None:
    hopeless = FaultyArchive([study(n, "120000") for n in range(12)], 5)
    with talking_to(STUDY=hopeless) as client, pytest.raises(Permanent, match="north.*cut off") as caught:
        client.find_studies(DAY)
    assert "limit of query results" in caught.value.fix


def test_an_archive_that_ignores_dates_and_times(caplog: pytest.LogCaptureFixture) -> None:
    studies = [*hourly(15), *[study(100 + n, "120000", date="20240310") for n in range(10)], study(200, date="")]
    ignoring = FaultyArchive(studies, ignores=frozenset({"StudyDate", "StudyTime"}))
    with talking_to(CensusSettings(answer_limit=1000), STUDY=ignoring) as client:
        assert numbers(client.find_studies(DAY)) == sorted(f"1.2.{n}" for n in range(15))
    assert len(ignoring.asked) == 1
    assert "11 of 26 studies" in caplog.text


def test_an_archive_that_ignores_dates_and_cuts_off() -> None:
    studies = [*hourly(15), *[study(100 + n, f"1{n % 10}3000", date="20240310") for n in range(30)]]
    with talking_to(STUDY=FaultyArchive(studies, 10, ignores=frozenset({"StudyDate"}))) as client:
        assert numbers(client.find_studies(DAY)) == sorted(f"1.2.{n}" for n in range(15))


def test_a_study_whose_date_cannot_be_read_is_not_lost() -> None:
    odd = FaultyArchive([study(1, date="09/03/2024"), study(2)], ignores=frozenset({"StudyDate"}))
    with talking_to(STUDY=odd) as client:
        assert numbers(client.find_studies(DAY)) == ["1.2.1", "1.2.2"]


def test_an_archive_that_omits_what_it_may_and_repeats_itself() -> None:
    bare, any_study = frozenset({"ModalitiesInStudy", "StudyTime", "StudyDate"}), frozenset({"StudyInstanceUID"})
    any_series = any_study | {"SeriesInstanceUID"}
    with talking_to(
        STUDY=FaultyArchive([study(1), study(2)], omits=bare, twice=True),
        SERIES=FaultyArchive(
            [entry(SeriesInstanceUID="1.2.9.1"), entry(SeriesInstanceUID="1.2.9.2")], ignores=any_study, twice=True
        ),
        IMAGE=FaultyArchive([entry(SOPInstanceUID="1.2.9.1.1")], ignores=any_series, twice=True),
    ) as client:
        found = client.find_studies(DAY)
        refs = client.find_instances(found[0].series[0])
    assert [(ref.ModalitiesInStudy, ref.NumberOfStudyRelatedInstances, len(ref.series)) for ref in found] == [
        ((), None, 2)
    ] * 2
    assert [(ref.SOPInstanceUID, ref.SOPClassUID) for ref in refs] == [("1.2.9.1.1", "")]


@pytest.mark.parametrize(
    ("status", "kind"), [(0xA900, Permanent), (0xA800, Permanent), (0x0122, Permanent), (0xC000, Transient)]
)
def test_an_archive_that_refuses_image_queries_says_what_to_ask_for(
    status: int, kind: type[Permanent] | type[Transient]
) -> None:
    with (
        scripted(find=finds(final=status)) as endpoint,
        PacsClient(endpoint) as client,
        pytest.raises(kind, match="IMAGE level") as caught,
    ):
        client.find_instances(SERIES)
    assert "account" in caught.value.fix


def test_image_queries_name_study_and_series() -> None:
    archive = FaultyArchive([])
    with talking_to(IMAGE=archive) as client:
        client.find_instances(SERIES)
    assert {(keys["StudyInstanceUID"], keys["SeriesInstanceUID"]) for keys in archive.asked} == {("1.2.1", "1.2.1.1")}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
@pytest.mark.parametrize("uid", ["1.2.*", "1.2.?", "1.2.3\\1.2.4", '"1.2.3"', "1.2.3-1.2.4", "*"])
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_a_uid_never_acts_as_a_pattern(uid: str, level: str) -> None:
    keyword = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[level]
    levels = {"STUDY": FaultyArchive([study(1)]), level: FaultyArchive([entry(**{keyword: uid.split("\\")})])}
    for archive in levels.values():
        archive.ignores = frozenset({"StudyDate", "StudyInstanceUID", "SeriesInstanceUID"})
    with talking_to(**levels) as client:
        ask = partial(client.find_instances, SERIES) if level == "IMAGE" else partial(client.find_studies, DAY)
        with pytest.raises(Permanent, match=f"invalid {keyword}") as caught:
            ask()
    assert uid not in str(caught.value)
    sent = [value for archive in levels.values() for keys in archive.asked for value in keys.values()]
    assert not [value for value in sent if set(value) & set('*?\\"')]


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_modality_with_a_wildcard_is_not_asked_for() -> None:
    archive = FaultyArchive([*hourly(30), study(99, "120000", "C*\\MR?")], 10)
    with talking_to(STUDY=archive) as client:
        found = client.find_studies(DAY)
    assert len(found) == 31
    assert found[-1].ModalitiesInStudy == ()
    assert not [keys for keys in archive.asked if set(keys.get("ModalitiesInStudy", "")) & set("*?")]


@pytest.mark.parametrize(
    ("charset", "encoding"), [("ISO_IR 100", "latin-1"), ("ISO_IR 192", "utf-8"), ("ISO_IR 144", "iso8859_5")]
)
def test_texts_of_another_character_set_reach_the_filter_and_nothing_else(
    charset: str, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    description = {"iso8859_5": "Грудь"}.get(encoding, "Schädel")
    raw = description.encode(encoding)
    raw += b" " * (len(raw) % 2)

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return (
            group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value
        )

    def find(talk: Talk) -> None:
        if talk.identifier.QueryRetrieveLevel == "SERIES":
            finds(entry(SeriesInstanceUID="1.2.3.1"))(talk)
            return
        asked.extend(e.keyword for e in talk.identifier)
        answer = element(0x08, 0x05, b"CS", charset.encode()) + element(0x08, 0x20, b"DA", b"20240309")
        answer += element(0x08, 0x1030, b"LO", raw) + element(0x20, 0x0D, b"UI", b"1.2.3\0")
        talk.answer(0xFF00, answer)
        talk.answer(0)

    asked: list[str] = []
    census = CensusSettings(filters=FilterSettings(descriptions=("x",)))
    with scripted(find=find) as endpoint, PacsClient(endpoint, census) as client:
        (found,) = client.find_studies(DAY)
    assert found.traits.StudyDescription == description
    assert description not in repr(found) + caplog.text
    assert "InstitutionName" not in asked
    assert not [keyword for keyword in asked if keyword.startswith("Patient")]


def test_only_an_age_filter_asks_for_the_age() -> None:
    archive = FaultyArchive(
        [
            study(1, PatientAge="017Y", PatientBirthDate="20060310"),
            study(2, PatientBirthDate="20060310"),
            study(3, PatientBirthDate="20060309"),
            study(4, PatientAge="023M"),
            study(5, PatientAge="old", PatientBirthDate="20990101"),
        ]
    )
    with talking_to(CensusSettings(filters=FilterSettings(minimum_age_years=18)), STUDY=archive) as client:
        assert [ref.traits.age_years for ref in client.find_studies(DAY)] == [17, 17, 18, 1, None]
    assert {"PatientAge", "PatientBirthDate"} <= archive.asked[0].keys()


class _Undated:
    """What an archive makes of the question for studies without a StudyDate."""

    def __init__(self, *answers: Dataset, final: int = 0) -> None:
        self.script = finds(*answers, final=final)
        self.asked: list[Mapping[str, str]] = []

    def __call__(self, talk: Talk) -> None:
        self.asked.append({e.keyword: str(e.value) for e in talk.identifier})
        self.script(talk)


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        (_Undated(study(1, date=""), study(2, date=""), study(2, date="")), 2),
        (_Undated(), 0),
        (_Undated(study(1, date=""), study(2)), None),  # took it for any date
        (_Undated(*[study(n) for n in range(50)]), None),
        (_Undated(final=0xA900), None),
        (_Undated(study(1, date=""), final=0xFE00), None),
    ],
)
def test_studies_without_a_date(archive: _Undated, expected: int | None) -> None:
    with scripted(find=archive) as endpoint, PacsClient(endpoint) as client:
        assert client.undated_studies() == expected
        assert client.check()  # the client can go on
    assert archive.asked[0]["StudyDate"] == '""'

"""C-FIND and QIDO-RS answers as values: read from raw bytes, because archives pad, mistype, mislabel and cut them."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Protocol

from pydicom import charset
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from pacs_pipeline.errors import Permanent
from pacs_pipeline.pacs.uids import is_listed_uid, is_uid
from pacs_pipeline.records import InstanceRef, SeriesRef, StudyRef, StudyTraits
from pacs_pipeline.settings.site import FilterSettings

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with dots: ACR-NEMA, PS3.5 6.2
_COUNT = re.compile(r"\+?(\d{1,10})(\.0*)?")
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_TIME = re.compile(r"[0-9:.]{1,16}")
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_PER_YEAR = {"D": 365.2425, "W": 365.2425 / 7, "M": 12.0, "Y": 1.0}
_PADDING = " \0\t\r\n"

Answers = Sequence[Dataset]


class Peer(Protocol):
    """Who answered, in words, for messages."""

    @property
    def where(self) -> str:
        """The archive in words."""
        ...


def studies(answers: Answers, study_date: dt.date, peer: Peer) -> tuple[tuple[StudyRef, ...], int]:
    """The studies of ``study_date`` in order of UID, and how many answers were left out as not of that date.

    A study given more than once is merged: the union of its modalities, the larger of its counts. An answer
    without a readable StudyDate is taken for what was asked, unless the same answer holds other dates: then the
    archive ignores the date, and a study without one belongs to no day. Raises Permanent for an answer without a
    usable StudyInstanceUID: it stands for a study that would otherwise be lost in silence.
    """
    _require_uids(answers, "StudyInstanceUID", peer)
    dates = [_date(text(answer, "StudyDate")) for answer in answers]
    wanted = {study_date} if any(date not in (None, study_date) for date in dates) else {study_date, None}
    merged: dict[str, StudyRef] = {}
    for answer, date in zip(answers, dates, strict=True):
        if date not in wanted:
            continue
        uid = text(answer, "StudyInstanceUID")
        found = StudyRef(
            StudyInstanceUID=uid,
            StudyDate=study_date,
            StudyTime=_matching(_TIME, text(answer, "StudyTime")),
            ModalitiesInStudy=modalities(answer),
            NumberOfStudyRelatedInstances=_count(answer, "NumberOfStudyRelatedInstances"),
            traits=_traits(answer, study_date),
        )
        merged[uid] = _merged_study(merged[uid], found) if uid in merged else found
    return tuple(merged[uid] for uid in sorted(merged)), sum(1 for date in dates if date not in wanted)


def series(answers: Answers, study: StudyRef, peer: Peer) -> tuple[SeriesRef, ...]:
    """The series of ``study`` in order of UID, merged; series of other studies are left out."""
    own = [a for a in answers if text(a, "StudyInstanceUID") in ("", study.StudyInstanceUID)]
    _require_uids(own, "SeriesInstanceUID", peer)
    merged: dict[str, SeriesRef] = {}
    for answer in own:
        uid = text(answer, "SeriesInstanceUID")
        count = _count(answer, "NumberOfSeriesRelatedInstances")
        modality = next(iter(modalities(answer, "Modality")), "")
        if uid in merged:
            count = _larger(merged[uid].NumberOfSeriesRelatedInstances, count)
            modality = merged[uid].Modality or modality
        merged[uid] = SeriesRef(study.StudyInstanceUID, uid, modality, count)
    return tuple(merged[uid] for uid in sorted(merged))


def instances(answers: Answers, of: SeriesRef, peer: Peer) -> tuple[InstanceRef, ...]:
    """The instances of a series in order of UID, each once; instances of other series are left out."""
    own = [
        a
        for a in answers
        if text(a, "StudyInstanceUID") in ("", of.StudyInstanceUID)
        and text(a, "SeriesInstanceUID") in ("", of.SeriesInstanceUID)
    ]
    _require_uids(own, "SOPInstanceUID", peer)
    merged: dict[str, InstanceRef] = {}
    for answer in own:
        uid = text(answer, "SOPInstanceUID")
        sop_class = text(answer, "SOPClassUID")
        if uid not in merged or not merged[uid].SOPClassUID:
            known = sop_class if is_uid(sop_class) else ""
            merged[uid] = InstanceRef(of.StudyInstanceUID, of.SeriesInstanceUID, uid, known)
    return tuple(merged[uid] for uid in sorted(merged))


def traits_needed(filters: FilterSettings) -> tuple[str, ...]:
    """The attributes of a study that ``filters`` need to decide; nothing else about a patient is ever asked for."""
    needed: list[str] = []
    if filters.descriptions or filters.exclude_descriptions:
        needed.append("StudyDescription")
    if filters.institutions or filters.exclude_institutions:
        needed.append("InstitutionName")
    if filters.minimum_age_years is not None or filters.maximum_age_years is not None:
        needed += ["PatientAge", "PatientBirthDate"]
    return tuple(needed)


def doubt(count: int, limit: int | None = None) -> str:
    """Why so many entries may not be all there are, in words; empty when the number gives no reason.

    ``limit`` is where the archive is known to cut its answers off.
    """
    if limit is not None and count >= limit:
        return f"{count} entries reach the limit of {limit}"
    if is_round(count):
        return f"{count} entries are a suspiciously round number"
    return ""


def is_round(count: int) -> bool:
    """Whether ``count`` is a number that people choose for a limit: 100, 250, 500, 1000, 1024, 65535 and the like."""
    if count < 100:
        return False
    return count % 100 == 0 or count in (250, 999, 9999, 32767, 65535) or count & (count - 1) == 0


def uid(answer: Dataset, keyword: str) -> str:
    """The UID in an answer; empty when it is none, so that it cannot act as a pattern in the next query."""
    value = text(answer, keyword)
    return value if is_listed_uid(value) else ""


def modalities(answer: Dataset, keyword: str = "ModalitiesInStudy") -> tuple[str, ...]:
    """The code strings of an element in order, without those that are none."""
    values = {_matching(_CODE_STRING, part.strip(" \0").upper()) for part in text(answer, keyword).split("\\")}
    return tuple(sorted(values - {""}))


def text(answer: Dataset, keyword: str) -> str:
    """The value of an element as ASCII text without padding; empty when it is absent or empty.

    For attributes of the default repertoire, for which it does not matter what SpecificCharacterSet says;
    pydicom's conversion (which warns with the value) is not used.
    """
    value = _raw(answer, keyword)
    return value.decode("ascii", "replace").strip(_PADDING) if isinstance(value, bytes) else value.strip(_PADDING)


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _raw(answer: Dataset, keyword: str) -> bytes | str:
    tag = _tag(keyword)
    if tag not in answer:
        return ""
    value = answer.get_item(tag).value
    if isinstance(value, bytes | str):
        return value
    if value is None:
        return ""
    parts: Iterable[object] = value if isinstance(value, Iterable) else [value]
    return "\\".join(str(part) for part in parts)


def _decoded(answer: Dataset, keyword: str) -> str | None:
    """The value of an element in the answer's own character set; None when absent, empty or not decodable."""
    value = _raw(answer, keyword)
    if isinstance(value, bytes):
        names = text(answer, "SpecificCharacterSet").split("\\")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # pydicom warns, with the value, where it only guesses
                encodings = charset.convert_encodings(names)
                value = charset.decode_bytes(value, encodings, set())
        except (LookupError, UnicodeError, Warning):
            return None
    return value.strip(_PADDING) or None


def _traits(answer: Dataset, study_date: dt.date) -> StudyTraits:
    return StudyTraits(
        StudyDescription=_decoded(answer, "StudyDescription"),
        InstitutionName=_decoded(answer, "InstitutionName"),
        age_years=_age(answer, study_date),
    )


def _age(answer: Dataset, study_date: dt.date) -> int | None:
    """Completed years at the study, by PatientAge or else by PatientBirthDate."""
    match = _AGE.fullmatch(text(answer, "PatientAge").upper())
    if match:
        return int(int(match.group(1)) / _PER_YEAR[match.group(2)])
    born = _date(text(answer, "PatientBirthDate"))
    if born is None or born > study_date:
        return None
    return study_date.year - born.year - ((study_date.month, study_date.day) < (born.month, born.day))


def _require_uids(answers: Answers, keyword: str, peer: Peer) -> None:
    values = [text(answer, keyword) for answer in answers]
    missing = sum(1 for value in values if not value)
    invalid = sum(1 for value in values if value and not is_listed_uid(value))
    for count, what in ((missing, "without a"), (invalid, "with an invalid")):
        if count:
            raise Permanent(
                f"{peer.where} sent {count} of {len(values)} answers {what} {keyword}",
                fix="nothing of this answer was recorded; ask the PACS team to repair these entries of the archive",
            )


def _merged_study(one: StudyRef, other: StudyRef) -> StudyRef:
    mine, its = one.traits, other.traits
    return StudyRef(
        StudyInstanceUID=one.StudyInstanceUID,
        StudyDate=one.StudyDate,
        StudyTime=one.StudyTime or other.StudyTime,
        ModalitiesInStudy=tuple(sorted({*one.ModalitiesInStudy, *other.ModalitiesInStudy})),
        NumberOfStudyRelatedInstances=_larger(one.NumberOfStudyRelatedInstances, other.NumberOfStudyRelatedInstances),
        traits=StudyTraits(
            StudyDescription=mine.StudyDescription or its.StudyDescription,
            InstitutionName=mine.InstitutionName or its.InstitutionName,
            age_years=its.age_years if mine.age_years is None else mine.age_years,
        ),
    )


def _larger(one: int | None, other: int | None) -> int | None:
    return max((count for count in (one, other) if count is not None), default=None)


def _date(value: str) -> dt.date | None:
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    try:
        return dt.date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def _count(answer: Dataset, keyword: str) -> int | None:
    match = _COUNT.fullmatch(text(answer, keyword))
    return int(match.group(1)) if match else None


def _matching(pattern: re.Pattern[str], value: str) -> str:
    return value if pattern.fullmatch(value) else ""

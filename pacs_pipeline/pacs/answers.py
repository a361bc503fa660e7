"""Answers to queries as values: read from their raw bytes, because archives pad, mistype and mislabel them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pacs_pipeline.errors import Permanent
from pacs_pipeline.pacs.endpoint import Peer
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.records import InstanceRef, SeriesRef, StudyRef

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with dots: ACR-NEMA, PS3.5 6.2
_COUNT = re.compile(r"\+?(\d{1,10})(\.0*)?")
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_TIME = re.compile(r"[0-9:.]{1,16}")

Answers = Sequence[Dataset]


def studies(answers: Answers, study_date: dt.date, endpoint: Peer) -> tuple[tuple[StudyRef, ...], int]:
    """The studies of ``study_date`` in order of UID, and how many answers were of another date.

    A study given more than once is merged: the union of its modalities, the larger of its counts. An answer
    without a StudyDate is taken for what was asked. Raises Permanent for an answer without a usable
    StudyInstanceUID: it stands for a study that would otherwise be lost in silence.
    """
    _require_uids(answers, "StudyInstanceUID", endpoint)
    merged: dict[str, StudyRef] = {}
    elsewhere = 0
    for answer in answers:
        date = text(answer, "StudyDate")
        if date and _date(date) != study_date:
            elsewhere += 1
            continue
        uid = text(answer, "StudyInstanceUID")
        found = StudyRef(
            StudyInstanceUID=uid,
            StudyDate=study_date,
            StudyTime=_matching(_TIME, text(answer, "StudyTime")),
            ModalitiesInStudy=_code_strings(answer, "ModalitiesInStudy"),
            NumberOfStudyRelatedInstances=_count(answer, "NumberOfStudyRelatedInstances"),
        )
        merged[uid] = _merged_study(merged[uid], found) if uid in merged else found
    return tuple(merged[uid] for uid in sorted(merged)), elsewhere


def series(answers: Answers, study: StudyRef, endpoint: Peer) -> tuple[SeriesRef, ...]:
    """The series of ``study`` in order of UID, merged; series of other studies are left out."""
    own = [a for a in answers if text(a, "StudyInstanceUID") in ("", study.StudyInstanceUID)]
    _require_uids(own, "SeriesInstanceUID", endpoint)
    merged: dict[str, SeriesRef] = {}
    for answer in own:
        uid = text(answer, "SeriesInstanceUID")
        count = _count(answer, "NumberOfSeriesRelatedInstances")
        modality = next(iter(_code_strings(answer, "Modality")), "")
        if uid in merged:
            count = _larger(merged[uid].NumberOfSeriesRelatedInstances, count)
            modality = merged[uid].Modality or modality
        merged[uid] = SeriesRef(study.StudyInstanceUID, uid, modality, count)
    return tuple(merged[uid] for uid in sorted(merged))


def instances(answers: Answers, of: SeriesRef, endpoint: Peer) -> tuple[InstanceRef, ...]:
    """The instances of a series in order of UID, each once; instances of other series are left out."""
    own = [
        a
        for a in answers
        if text(a, "StudyInstanceUID") in ("", of.StudyInstanceUID)
        and text(a, "SeriesInstanceUID") in ("", of.SeriesInstanceUID)
    ]
    _require_uids(own, "SOPInstanceUID", endpoint)
    merged: dict[str, InstanceRef] = {}
    for answer in own:
        uid = text(answer, "SOPInstanceUID")
        sop_class = text(answer, "SOPClassUID")
        if uid not in merged or not merged[uid].SOPClassUID:
            known = sop_class if is_uid(sop_class) else ""
            merged[uid] = InstanceRef(of.StudyInstanceUID, of.SeriesInstanceUID, uid, known)
    return tuple(merged[uid] for uid in sorted(merged))


def text(answer: Dataset, keyword: str) -> str:
    """The value of an element as ASCII text without padding; empty when it is absent or empty.

    Every attribute that is asked for has the default repertoire, so whatever SpecificCharacterSet says does
    not matter, and pydicom's conversion (which warns with the value) is not used.
    """
    tag = Tag(keyword)
    if tag not in answer:
        return ""
    value = answer.get_item(tag).value
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip(" \0\t\r\n")
    if value is None:
        return ""
    parts: Iterable[object] = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
    return "\\".join(str(part) for part in parts).strip(" \0\t\r\n")


def _require_uids(answers: Answers, keyword: str, endpoint: Peer) -> None:
    values = [text(answer, keyword) for answer in answers]
    missing = sum(1 for value in values if not value)
    invalid = sum(1 for value in values if value and not is_uid(value))
    for count, what in ((missing, "without a"), (invalid, "with an invalid")):
        if count:
            raise Permanent(
                f"{endpoint.where} sent {count} of {len(values)} answers {what} {keyword}",
                fix="nothing of this answer was recorded; ask the PACS team to repair these entries of the archive",
            )


def _merged_study(one: StudyRef, other: StudyRef) -> StudyRef:
    return StudyRef(
        StudyInstanceUID=one.StudyInstanceUID,
        StudyDate=one.StudyDate,
        StudyTime=one.StudyTime or other.StudyTime,
        ModalitiesInStudy=tuple(sorted({*one.ModalitiesInStudy, *other.ModalitiesInStudy})),
        NumberOfStudyRelatedInstances=_larger(one.NumberOfStudyRelatedInstances, other.NumberOfStudyRelatedInstances),
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


def _code_strings(answer: Dataset, keyword: str) -> tuple[str, ...]:
    values = {_matching(_CODE_STRING, part.strip(" \0").upper()) for part in text(answer, keyword).split("\\")}
    return tuple(sorted(values - {""}))


def _matching(pattern: re.Pattern[str], value: str) -> str:
    return value if pattern.fullmatch(value) else ""

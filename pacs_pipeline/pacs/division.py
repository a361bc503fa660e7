"""Gets the whole answer out of an archive that cuts its answers off: asks again in parts until nothing can be missing.

Every study, series or instance seen in any answer is kept. What cannot be shown to be all is an error, never a
partial answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from pydicom.dataset import Dataset

from pacs_pipeline.errors import Permanent
from pacs_pipeline.pacs import answers
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.status import SUCCESS, cut_off, failure, in_words, is_out_of_resources
from pacs_pipeline.records import SeriesRef, StudyRef

log = logging.getLogger(__name__)

MAXIMUM_PARTS = 10_000
"""Into how many queries one question is divided at most; an archive that needs more has to be mended."""

MODALITIES = (  # noqa: SIM905 - a list of eighty strings is a page
    "AR ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA FID FS"
    " GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NEARL NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV"
    " OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV"
    " SEG SM SMR SR SRF ST STAIN TEXTUREMAP TG US VA VF VIDD XA XAPROTOCOL XC"
).split()
"""The defined terms of Modality, PS3.3 C.7.3.1.1.1, with the retired ones."""

_SECONDS_PER_DAY = 86400
_END = 2 * _SECONDS_PER_DAY  # times are counted in half steps: even a whole second, odd its last microsecond
_HOUR = 2 * 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query brought: its entries, and the status it ended with."""

    entries: list[Dataset]
    status: int = SUCCESS

    @property
    def cut(self) -> str:
        """What the archive itself says of its answer being cut off, in words; empty when it ended in Success."""
        return "" if self.status == SUCCESS else f"it ended with {in_words(self.status)}"


Ask = Callable[[Mapping[str, str]], Answer]
"""Asks a question once more, narrowed by the keys given."""


def every_study(ask: Ask, endpoint: Endpoint, limit: int | None) -> list[Dataset]:
    """The entries of all studies that ``ask``, which names one study date, is about.

    An answer that may be cut off is divided by StudyTime within the day, since StudyDate and StudyTime match
    independently (PS3.4 C.2.2.2.5), and where that is not enough by ModalitiesInStudy. No time range matches a
    study without a StudyTime: when one is seen, or when something is known to be missing, all modalities of the
    day are asked for as well.
    """
    whole = ask({})
    why = whole.cut or answers.doubt(len(whole.entries), limit)
    if not why:
        return whole.entries
    division = _Division(ask, endpoint, whole, limit, "StudyInstanceUID", "ModalitiesInStudy")
    by_time = division.by_time(0, _END)
    certain = bool(whole.cut) or _reaches(whole, limit) or division.seen != division.uids(whole)
    if by_time and not certain and not division.stray:
        return division.entries
    by_modality = division.by_modality("")
    if not by_modality and (division.stray or not by_time) and (certain or limit is None):
        if is_out_of_resources(whole.status) and not division.some_part_was_whole:
            raise failure(endpoint, "a C-FIND at STUDY level", whole.status)
        raise cut_off(endpoint, "a C-FIND at STUDY level", why)
    if not by_modality and certain:
        log.warning(
            "%s cuts its answers off (%s): every time of the day was asked for; whether there are studies without a "
            "StudyTime could not be asked",
            endpoint.where,
            why,
        )
    return division.entries


def every_series(ask: Ask, study: StudyRef, endpoint: Endpoint, limit: int | None) -> list[Dataset]:
    """The entries of all series of ``study``, judged by the instances that the study announces, or by modality."""
    whole = ask({})
    if is_out_of_resources(whole.status):
        raise failure(endpoint, "a C-FIND at SERIES level", whole.status)
    why = whole.cut or answers.doubt(len(whole.entries), limit)
    fits = _fits(whole.entries, study, endpoint)
    if not whole.cut and (fits or (fits is None and not why)):
        return whole.entries
    division = _Division(ask, endpoint, whole, limit, "SeriesInstanceUID", "Modality")
    swept = division.by_modality("", (*study.ModalitiesInStudy, *(MODALITIES if why else ())))
    fits = _fits(division.entries, study, endpoint)
    certain = bool(whole.cut) or _reaches(whole, limit) or division.seen != division.uids(whole)
    if why and not swept and not fits and (certain or fits is False):
        raise cut_off(endpoint, "a C-FIND at SERIES level", why)
    if fits is False:
        log.info("%s lists series with fewer instances than their study has", endpoint.where)
    return division.entries


def every_instance(ask: Ask, of: SeriesRef, endpoint: Endpoint, limit: int | None) -> list[Dataset]:
    """The entries of all instances of a series, judged by the number that the series announces.

    Where the answer may be cut off, the numbers that are missing are asked for one by one (InstanceNumber knows no
    ranges, PS3.4 C.2.2.2.5).
    """
    whole = ask({})
    if is_out_of_resources(whole.status):
        raise failure(endpoint, "a C-FIND at IMAGE level", whole.status)
    why = whole.cut or answers.doubt(len(whole.entries), limit)
    announced = of.NumberOfSeriesRelatedInstances
    division = _Division(ask, endpoint, whole, limit, "SOPInstanceUID", "InstanceNumber")
    if not why or (not whole.cut and announced is not None and len(division.seen) >= announced):
        return whole.entries
    certain = bool(whole.cut) or _reaches(whole, limit)
    if announced is not None or not certain:
        division.by_number(announced)
        if announced is not None and len(division.seen) >= announced:
            return division.entries
        certain = certain or division.seen != division.uids(whole)
    if certain:
        raise cut_off(endpoint, "a C-FIND at IMAGE level", why)
    return division.entries


class _Division:
    """One question whose answer may be cut off, and the answers to its parts."""

    def __init__(
        self, ask: Ask, endpoint: Endpoint, whole: Answer, limit: int | None, unique_key: str, second_key: str
    ) -> None:
        self._ask = ask
        self._endpoint = endpoint
        self._unique_key = unique_key
        self._second_key = second_key
        self._limit = limit
        if not whole.cut and answers.doubt(len(whole.entries), limit):
            # an archive that says when it cuts may be believed when it does not say so; this one did not, and has
            # not been seen to give more entries than these
            self._limit = min(len(whole.entries), limit or len(whole.entries))
        self._parts = 0
        self.some_part_was_whole = False
        self._proven: set[str] = set()
        self._by_modality: dict[str, bool] = {}
        self.entries = list(whole.entries)
        self.seen = self.uids(whole)

    @property
    def stray(self) -> set[str]:
        """What was seen and is in no part that is known to be whole."""
        return self.seen - self._proven

    def uids(self, answer: Answer) -> set[str]:
        """The UIDs of an answer; what is none is reported where the entries are read."""
        return {answers.uid(entry, self._unique_key) for entry in answer.entries} - {""}

    def by_time(self, earliest: int, latest: int) -> bool:
        """Divide a range until its parts are whole; False when that cannot be reached.

        Neighbours share their boundary and the outer ends are open. So every StudyTime that the archive can put in
        any order at all, even ``24:00``, a leap second, or text that it compares letter by letter, lies in one of
        them; a study in two of them is still one.
        """
        middle = (earliest + latest) // 4 * 2  # a whole second, where there is one between
        if not earliest < middle < latest:
            middle = earliest + 1
        halves = [((a, b), self._part(StudyTime=_range(a, b))) for a, b in ((earliest, middle), (middle, latest))]
        open_halves = [(span, answer) for span, answer in halves if not self._accept(answer)]
        if len(open_halves) == 2 and self.uids(halves[0][1]) == self.uids(halves[1][1]) != set():
            return self.by_modality(_range(earliest, latest))  # both times are answered alike: ranges do not matter
        for (a, b), answer in open_halves:
            if is_out_of_resources(answer.status) and not self.some_part_was_whole and b - a <= _HOUR:
                raise failure(self._endpoint, "a C-FIND at STUDY level", answer.status)
            divided = self.by_time(a, b) if b - a > 1 else self.by_modality(_range(a, b), expected=self.uids(answer))
            if not divided:
                return False
        return True

    def by_modality(
        self, study_time: str, modalities: Iterable[str] = MODALITIES, expected: set[str] | None = None
    ) -> bool:
        """Ask for each modality; whether that shows that all of a range (of the whole day: empty) is known.

        It does when each answer is whole, holds nothing of other modalities, and all together hold what is
        ``expected``, by default everything that was seen.
        """
        if study_time not in self._by_modality:
            self._by_modality[study_time] = self._ask_by_modality(study_time, modalities, expected)
        return self._by_modality[study_time]

    def _ask_by_modality(self, study_time: str, modalities: Iterable[str], expected: set[str] | None) -> bool:
        key = self._second_key
        seen = sorted({name for entry in self.entries for name in answers.modalities(entry, key)})
        if not seen and self.entries:
            return False  # the archive does not tell modalities: there is no way to see whether it matches them
        found: set[str] = set()
        ranges = {"StudyTime": study_time} if study_time else {}
        for modality in dict.fromkeys((*seen, *modalities)):
            answer = self._part(**ranges, **{key: modality})
            if not self._accept(answer, proven=False):
                return False
            if any(modality not in answers.modalities(entry, key) for entry in answer.entries):
                return False
            found |= self.uids(answer)
        if not found >= (self.seen if expected is None else expected):
            return False
        self._proven |= found
        return True

    def by_number(self, announced: int | None) -> None:
        """Ask for the InstanceNumbers that are missing, until all announced instances are there.

        Without a number of them, only the gaps and both ends are looked at.
        """
        listed = {_number(entry) for entry in self._part(InstanceNumber="").entries} - {None}
        known = sorted(number for number in listed if number is not None)
        last = max(known, default=0)
        if announced is None:
            first = min(known, default=1)
            wanted: Iterator[int] = islice((n for n in range(first - 1, last + 2) if n not in listed), 16)
        else:
            missing = (n for n in range(1, max(announced, last) + 1) if n not in listed)
            wanted = chain(missing, (0,), known)  # several instances may share a number
        for number in wanted:
            if announced is not None and len(self.seen) >= announced:
                return
            answer = self._part(InstanceNumber=str(number))
            if not self._accept(answer) or any(_number(entry) != number for entry in answer.entries):
                return

    def _part(self, **keys: str) -> Answer:
        if self._parts >= MAXIMUM_PARTS:
            raise Permanent(
                f"{self._endpoint.where} cuts its answers off, and {MAXIMUM_PARTS} smaller questions did not bring all",
                fix="ask the PACS team to raise the limit of query results for this AE title",
            )
        self._parts += 1
        answer = self._ask(keys)
        self.entries += answer.entries
        self.seen |= self.uids(answer)
        return answer

    def _accept(self, answer: Answer, *, proven: bool = True) -> bool:
        """Whether an answer is whole; what it holds is then proven to be all of its part."""
        if answer.cut or _reaches(answer, self._limit):
            return False
        self.some_part_was_whole = True
        if proven:
            self._proven |= self.uids(answer)
        return True


def _reaches(answer: Answer, limit: int | None) -> bool:
    return limit is not None and len(answer.entries) >= limit


def _fits(entries: list[Dataset], study: StudyRef, endpoint: Endpoint) -> bool | None:
    """Whether the series hold all instances of their study; None when the archive does not count."""
    found = answers.series(entries, study, endpoint)
    counts = [series.NumberOfSeriesRelatedInstances for series in found]
    known = [count for count in counts if count is not None]
    if study.NumberOfStudyRelatedInstances is None or len(known) < len(counts):
        return None
    return sum(known) >= study.NumberOfStudyRelatedInstances


def _number(entry: Dataset) -> int | None:
    try:
        return int(answers.text(entry, "InstanceNumber"))
    except ValueError:
        return None


def _range(earliest: int, latest: int) -> str:
    """A range of StudyTime between two points of the day, open at the day's ends; the whole day matches anything."""
    start = "" if earliest == 0 else _time(earliest)
    end = "" if latest == _END else _time(latest)
    return f"{start}-{end}" if start or end else ""


def _time(point: int) -> str:
    seconds, last = divmod(point, 2)
    whole = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    return f"{whole}.999999" if last else whole

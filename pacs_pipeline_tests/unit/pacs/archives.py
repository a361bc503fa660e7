"""An archive of studies that matches queries as archives do, with the faults that archives have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom import DataElement
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pacs_pipeline.pacs.division import Answer
from pacs_pipeline_tests.unit.pacs.peers import Talk

CUT = 0xFE00
SUCCESS = 0x0000
REFUSED = 0xA700


def entry(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        ds.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE))
    return ds


def study(number: int, time: str = "", modality: str = "CT", date: str = "20240309", **elements: object) -> Dataset:
    return entry(
        StudyInstanceUID=f"1.2.{number}",
        StudyDate=date,
        StudyTime=time,
        ModalitiesInStudy=modality.split("\\"),
        **elements,
    )


def value(ds: Dataset, keyword: str) -> str:
    element = ds.get(keyword)
    if element is None:
        return ""
    return "\\".join(str(part) for part in element) if isinstance(element, MultiValue) else str(element)


@dataclass
class FaultyArchive:
    """Answers one level of queries from a list of entries.

    At most ``limit`` entries come; then the query ends with ``says`` (a refusing archive sends none at all).
    ``ignores`` are keys it does not match, ``omits`` attributes it does not give back. Times are compared as
    numbers, or letter by letter with ``letters``; a time that is no number then matches no range.
    """

    entries: list[Dataset]
    limit: int | None = None
    says: int = CUT
    ignores: frozenset[str] = frozenset()
    omits: frozenset[str] = frozenset()
    letters: bool = False
    twice: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._values = [{e.keyword: value(ds, e.keyword) for e in ds} for ds in self.entries]

    def ask(self, keys: Mapping[str, str]) -> Answer:
        self.asked.append(dict(keys))
        wanted = {k: v for k, v in keys.items() if v and k not in self.ignores}
        found = [
            ds
            for ds, values in zip(self.entries, self._values, strict=True)
            if all(self._matches(k, values.get(k, ""), v) for k, v in wanted.items())
        ]
        found = [ds for ds in found for _ in range(1 + self.twice)]
        status = SUCCESS
        if self.limit is not None and len(found) > self.limit:
            status = self.says
            found = [] if status == REFUSED else found[: self.limit]
        return Answer([self._given(ds) for ds in found], status)

    def find(self, talk: Talk) -> None:
        """The same over an association."""
        keys = {e.keyword: value(talk.identifier, e.keyword) for e in talk.identifier if e.VR != "SQ"}
        del keys["QueryRetrieveLevel"]
        answer = self.ask(keys)
        for ds in answer.entries:
            talk.answer(0xFF00, ds)
        talk.answer(answer.status)

    def _given(self, ds: Dataset) -> Dataset:
        if not self.omits:
            return ds
        given = Dataset()
        for element in ds:
            if element.keyword not in self.omits:
                given.add(element)
        return given

    def _matches(self, keyword: str, stored: str, wanted: str) -> bool:
        return self._in_range(stored, wanted) if keyword == "StudyTime" else wanted in stored.split("\\")

    def _in_range(self, time: str, wanted: str) -> bool:
        first, _, last = wanted.partition("-")
        if "-" not in wanted:
            last = first
        if self.letters:
            return time != "" and (not first or first <= time) and (not last or time <= last)
        moment = _seconds(time)
        if moment is None:
            return False
        bounds = (_seconds(first) if first else 0.0, _seconds(last) if last else float("inf"))
        return bounds[0] is not None and bounds[1] is not None and bounds[0] <= moment <= bounds[1]


def _seconds(time: str) -> float | None:
    """A TM value as seconds of the day; None for what most archives cannot read."""
    digits, _, fraction = time.partition(".")
    if not digits.isdigit() or len(digits) not in (2, 4, 6) or (fraction and not fraction.isdigit()):
        return None
    hours, minutes, seconds = (int(digits[i : i + 2] or 0) for i in (0, 2, 4))
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")

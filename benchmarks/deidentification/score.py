"""Judges outputs by the answer key: every answer passes, fails, or is withheld together with its instance.

The checks are those of the MIDI-B challenge, stricter where the challenge is lenient: a planted string may be nowhere
in the file, a shift must be the same for all dates of a patient, a UID or a PatientID must not merge with another.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from benchmarks.deidentification import frames
from benchmarks.deidentification.answers import PROTECTIVE, Action, Answer, at, values_of
from benchmarks.deidentification.leaks import Haystack, folded, plain
from benchmarks.deidentification.plant import anything_goes

_T = TypeVar("_T")
_STOP_WORDS = frozenset(("the", "and", "for", "with", "from", "was", "were", "has", "had", "are", "not", "her", "his"))


class Verdict(StrEnum):
    """What became of one answer. ``UNJUDGED``: a person has to look."""

    PASSED = "passed"
    FAILED = "failed"
    WITHHELD = "withheld"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Result:
    """One answer and its verdict; ``found`` says where a leak is or what is there instead."""

    answer: Answer
    verdict: Verdict
    found: str = ""

    @property
    def leak(self) -> bool:
        return self.verdict is Verdict.FAILED and self.answer.action in PROTECTIVE

    @property
    def loss(self) -> bool:
        return self.verdict is Verdict.FAILED and self.answer.action not in PROTECTIVE


@dataclass(frozen=True, slots=True)
class Output:
    """What a tool made of one instance: a file, or nothing and a reason."""

    path: Path | None
    reason: str = ""


@dataclass
class Score:
    """All results of one tool."""

    results: list[Result] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def leaks(self) -> list[Result]:
        return [result for result in self.results if result.leak]

    @property
    def losses(self) -> list[Result]:
        return [result for result in self.results if result.loss]

    def count(self, key: Callable[[Answer], str]) -> dict[str, Counter[str]]:
        """Verdicts by a property of the answer."""
        table: dict[str, Counter[str]] = defaultdict(Counter)
        for result in self.results:
            table[key(result.answer)][result.verdict] += 1
        return dict(sorted(table.items()))

    def share(self, *, protective: bool, withheld_counts: bool = False) -> float:
        """The share of failed answers among those judged, protective or retaining ones."""
        chosen = [r for r in self.results if (r.answer.action in PROTECTIVE) is protective]
        judged = [r for r in chosen if r.verdict in (Verdict.PASSED, Verdict.FAILED)]
        if withheld_counts:
            judged += [r for r in chosen if r.verdict is Verdict.WITHHELD]
        bad = sum(r.verdict is not Verdict.PASSED for r in judged)
        return bad / len(judged) if judged else 0.0


def score(
    answers: Iterable[Answer],
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Output],
    root: Path,
    patients: Mapping[str, str],
) -> Score:
    """Judge every answer. ``root`` is the folder of the outputs, whose file names are searched as well.

    A word planted in another instance counts as a leak too. An instance without an entry in ``outputs`` counts as
    withheld.
    """
    by_instance: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_instance[answer.instance].append(answer)
    done = Score()
    groups = Groups(patients)
    owners: dict[str, set[str]] = defaultdict(set)
    for instance, its in by_instance.items():
        for form in (form.lower() for answer in its for form in answer.everywhere):
            if re.fullmatch(r"[a-z]{8,}", form):
                owners[form].add(instance)
    for instance, its in by_instance.items():
        output = outputs.get(instance, Output(None, "no output"))
        if output.path is None:
            done.reasons[output.reason] += 1
            done.results += [Result(answer, Verdict.WITHHELD, output.reason) for answer in its]
            continue
        haystack = Haystack(output.path, root)
        for word in sorted(haystack.words() & owners.keys()):
            if instance not in owners[word]:
                foreign = Answer(instance, Action.TEXT_REMOVED, "", word, "of another instance")
                done.results.append(Result(foreign, Verdict.FAILED, haystack.find(word) or "bytes of the file"))
        with anything_goes():
            for answer in its:
                done.results.append(_judge(answer, haystack, inputs[instance], groups))
    done.results = [groups.settle(result) for result in done.results]
    return done


def _judge(answer: Answer, haystack: Haystack, source: Path, groups: Groups) -> Result:
    for form in answer.everywhere:
        where = haystack.find(form)
        if where is not None:
            return Result(answer, Verdict.FAILED, where)
    if haystack.ds is None:
        return Result(answer, Verdict.PASSED if answer.action in PROTECTIVE else Verdict.FAILED, "unreadable")
    if answer.action in (Action.PIXELS_HIDDEN, Action.PIXELS_RETAINED):
        return _judge_pixels(answer, haystack.ds, source)
    element = _element(haystack.ds, answer.path) if answer.path else None
    if answer.path and element is None and answer.action in PROTECTIVE:
        return Result(answer, Verdict.PASSED, "absent")
    passed, found = _CHECKS[answer.action](answer, element, groups)
    return Result(answer, Verdict.PASSED if passed else Verdict.FAILED, found)


def _element(ds: Dataset, path: str) -> DataElement | None:
    try:
        return at(ds, path)
    except (KeyError, IndexError, AttributeError, TypeError, NotImplementedError):
        return None  # a sequence that is none any more; what it holds is searched everywhere


def text_of(element: DataElement | None) -> str:
    """All values, as the answers write them."""
    return "" if element is None else "\\".join(values_of(element))


def _tag_retained(_: Answer, element: DataElement | None, __: Groups) -> tuple[bool, str]:
    return element is not None, "absent" if element is None else "present"


def _text_notnull(_: Answer, element: DataElement | None, __: Groups) -> tuple[bool, str]:
    text = text_of(element).strip(" \0")
    return bool(text) or (element is not None and element.VR == "SQ" and bool(element.value)), text or "empty"


def _text_retained(answer: Answer, element: DataElement | None, _: Groups) -> tuple[bool, str]:
    """The text is there as a whole, or all its words are; numbers are compared as numbers."""
    text, wanted = folded(text_of(element)), folded(answer.text)
    if _numbers(text) is not None and _numbers(text) == _numbers(wanted):
        return True, text
    if wanted in text and bool(text):
        return True, text
    words = set(re.findall(r"\w+", wanted))
    return bool(words) and words <= set(re.findall(r"\w+", text)), text or "absent or empty"


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(part) for part in text.split("\\")]
    except ValueError:
        return None


def _text_removed(answer: Answer, element: DataElement | None, _: Groups) -> tuple[bool, str]:
    """Nothing of the text is there: not as a whole, and of a text in several words no word of three letters."""
    if element is None or not answer.text:
        return True, ""
    held = text_of(element)
    if element.VR == "SQ" and element.value:
        held = str(element.value)
    text, wanted = plain(held), plain(answer.text)
    if wanted in text:
        return False, "at its place"
    words = set(re.findall(r"\w{3,}", wanted)) - _STOP_WORDS
    rest = words & set(re.findall(r"\w{3,}", text))
    return not rest, "part of it at its place" if rest else ""


def _date_shifted(answer: Answer, element: DataElement | None, groups: Groups) -> tuple[bool, str]:
    text = text_of(element)
    if not text.strip():
        return True, "empty"
    if answer.text and answer.text.replace("\\", "") in text.replace("\\", ""):
        return False, "unchanged"
    before, after = date_of(answer.text), date_of(text)
    if before and after:
        groups.shifts[groups.patients.get(answer.instance, answer.instance)].append((answer, (after - before).days))
    return True, "shifted"


def date_of(text: str) -> dt.date | None:
    """The full date a DA or DT begins with."""
    try:
        return dt.datetime.strptime(text[:8], "%Y%m%d").date()
    except ValueError:
        return None


def _uid_changed(answer: Answer, element: DataElement | None, _: Groups) -> tuple[bool, str]:
    return answer.text not in text_of(element) or not answer.text, "unchanged"


def _uid_consistent(answer: Answer, element: DataElement | None, groups: Groups) -> tuple[bool, str]:
    if element is None:
        return True, "absent"  # as in the challenge; whether it has to be there is another check
    groups.uids.append((answer, text_of(element)))
    return True, ""


def _patid_consistent(answer: Answer, element: DataElement | None, groups: Groups) -> tuple[bool, str]:
    text = text_of(element).strip()
    groups.patids.append((answer, text))
    return bool(text) and text != answer.text, (text and "unchanged") or "absent or empty"


_CHECKS: dict[Action, Callable[[Answer, DataElement | None, Groups], tuple[bool, str]]] = {
    Action.TAG_RETAINED: _tag_retained,
    Action.TEXT_NOTNULL: _text_notnull,
    Action.TEXT_RETAINED: _text_retained,
    Action.TEXT_REMOVED: _text_removed,
    Action.DATE_SHIFTED: _date_shifted,
    Action.UID_CHANGED: _uid_changed,
    Action.UID_CONSISTENT: _uid_consistent,
    Action.PATID_CONSISTENT: _patid_consistent,
}


class Groups:
    """What can only be judged when all instances are there: shifts, UIDs and patients that belong together."""

    def __init__(self, patients: Mapping[str, str]) -> None:
        self.patients = patients
        self.shifts: dict[str, list[tuple[Answer, int]]] = defaultdict(list)
        self.uids: list[tuple[Answer, str]] = []
        self.patids: list[tuple[Answer, str]] = []
        self._odd: dict[Answer, str] | None = None

    def settle(self, result: Result) -> Result:
        """``result``, or a failure when its answer does not agree with the others."""
        if self._odd is None:
            self._odd = self._disagreeing()
        if result.verdict is Verdict.PASSED and result.answer in self._odd:
            return Result(result.answer, Verdict.FAILED, self._odd[result.answer])
        return result

    def _disagreeing(self) -> dict[Answer, str]:
        odd: dict[Answer, str] = {}
        for pairs in self.shifts.values():
            most = _most_common([shift for _, shift in pairs])
            odd |= {answer: "another shift than the patient's other dates" for answer, shift in pairs if shift != most}
        for pairs in (self.uids, self.patids):
            by_old: dict[str, list[str]] = defaultdict(list)
            for answer, new in pairs:
                by_old[answer.text].append(new)
            chosen = {old: _most_common(news) for old, news in by_old.items()}
            uses = Counter(chosen.values())
            for answer, new in pairs:
                if new != chosen[answer.text]:
                    odd[answer] = "not what the same original became elsewhere"
                elif uses[new] > 1:
                    odd[answer] = "merged with another original"
        return odd


def _most_common(values: Sequence[_T]) -> _T:
    return Counter(values).most_common(1)[0][0]


def _judge_pixels(answer: Answer, ds: Dataset, source: Path) -> Result:
    """Regions are ``row,column,rows,columns``; ``unused bits`` are those above BitsStored."""
    if answer.action is Action.PIXELS_HIDDEN and "PixelData" not in ds:
        return Result(answer, Verdict.PASSED, "no pixels")
    if "PixelData" not in ds:
        return Result(answer, Verdict.FAILED, "no pixels")
    original = frames.read(source)
    if answer.action is Action.PIXELS_RETAINED and not answer.text.startswith("outside"):
        if ds.PixelData == original.PixelData or frames.equal(original, ds):
            return Result(answer, Verdict.PASSED)
        return Result(answer, Verdict.FAILED, "other pixels")
    if answer.text == "unused bits":
        clean = not frames.high_bits(ds)
        return Result(answer, Verdict.PASSED if clean else Verdict.FAILED, "" if clean else "bits above BitsStored")
    region = frames.region(answer.text.removeprefix("outside").strip())
    if region is None:
        return Result(answer, Verdict.UNJUDGED, "somebody has to look")
    before, after = frames.pixels(original), frames.pixels(ds)
    if before is None or after is None or before.shape != after.shape:
        return Result(answer, Verdict.FAILED, "pixels that cannot be compared")
    rows, columns = region
    if answer.action is Action.PIXELS_HIDDEN:
        part = after[..., rows, columns, :]
        uniform = bool(np.all(part == part[..., :1, :1, :]))
        return Result(answer, Verdict.PASSED if uniform else Verdict.FAILED, "" if uniform else "the text can be seen")
    mask = np.ones(before.shape, bool)
    mask[..., frames.wider(rows), frames.wider(columns), :] = False
    same = np.abs(before.astype(np.int64) - after.astype(np.int64))[mask] <= 0
    kept = float(same.mean()) if same.size else 1.0
    return Result(answer, Verdict.PASSED if kept >= frames.KEPT else Verdict.FAILED, f"{kept:.0%} kept")

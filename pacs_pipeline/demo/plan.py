"""Who is examined when, where and how: the studies and series of a population, as a stream of small values."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from pacs_pipeline.demo.names import Patient, patient
from pacs_pipeline.errors import SettingsError

UID_ROOT = "1.2.826.0.1.3680043.8.498"
"""The root that pydicom offers for everybody's use: nobody's real studies are under it."""
BASE_DATE = dt.date(2024, 3, 4)


@dataclass(frozen=True, slots=True)
class SeriesKind:
    """A series of an examination: its template, its name and how many instances (a stack may grow)."""

    template: str
    description: str
    least: int = 1
    most: int = 1

    @property
    def is_stack(self) -> bool:
        """Whether the series is a stack of slices, whose number is free."""
        return self.most > self.least


@dataclass(frozen=True, slots=True)
class StudyKind:
    """An examination as a hospital orders it."""

    description: str
    body_part: str
    series: tuple[SeriesKind, ...]


STUDY_KINDS = (
    StudyKind("CT Thorax", "CHEST", (SeriesKind("ct", "axial 5mm", 5, 9), SeriesKind("sr", "report"))),
    StudyKind("MR head", "HEAD", (SeriesKind("mr", "t2 tse sag", 5, 9), SeriesKind("mr-rle", "t1 mpr tra", 4, 6))),
    StudyKind("US abdomen", "ABDOMEN", (SeriesKind("us", "liver and kidneys", 4, 4),)),
    StudyKind("X-ray c-spine", "CSPINE", (SeriesKind("cr", "lateral", 2, 2), SeriesKind("pdf", "letter"))),
    StudyKind("PET-CT", "WHOLEBODY", (SeriesKind("ct", "low dose", 4, 6), SeriesKind("pt", "PET AC", 5, 9))),
    StudyKind("X-ray hand", "HAND", (SeriesKind("dx", "dorsopalmar", 2, 2), SeriesKind("sr-comprehensive", "report"))),
    StudyKind("CT head", "HEAD", (SeriesKind("ct-jpeg2000", "brain 5mm", 4, 6), SeriesKind("sr", "report"))),
    StudyKind("Bone scan", "WHOLEBODY", (SeriesKind("nm", "whole body", 2, 2), SeriesKind("pdf", "letter"))),
    StudyKind(
        "MR knee",
        "KNEE",
        (
            SeriesKind("mr-jpegls", "pd fs cor", 4, 6),
            SeriesKind("mr-jpeg2000", "t1 tse tra", 3, 5),
            SeriesKind("mr-implicit", "t2 fl2d", 3, 5),
        ),
    ),
    StudyKind("US heart", "HEART", (SeriesKind("us-cine", "four chambers"), SeriesKind("us-jpeg2000", "valves", 2, 2))),
)


@dataclass(frozen=True, slots=True)
class Study:
    """One examination of one patient."""

    seed: int
    patient: Patient
    number: int  # of the patient's examinations, from 0
    site: str
    when: dt.datetime
    kind: StudyKind

    @property
    def StudyInstanceUID(self) -> str:
        """The UID of the study, a function of seed, patient and number."""
        return uid(self.seed, self.patient.index, self.number)

    @property
    def AccessionNumber(self) -> str:
        """The order's number: site, year, patient and study."""
        return f"{self.site[0].upper()}{self.when:%y}{self.patient.index:07d}{self.number:03d}"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a study with its number of instances."""

    study: Study
    number: int  # SeriesNumber, from 1
    kind: SeriesKind
    length: int

    @property
    def SeriesInstanceUID(self) -> str:
        """The UID of the series."""
        return uid(self.study.seed, self.study.patient.index, self.study.number, self.number)

    def instance_uid(self, number: int) -> str:
        """The SOPInstanceUID of the instance with InstanceNumber ``number``."""
        return uid(self.study.seed, self.study.patient.index, self.study.number, self.number, number)


@dataclass(frozen=True, slots=True)
class Population:
    """What makes a population: equal values give byte-identical files.

    ``instances`` asks for exactly that many, by growing or shrinking the stacks of slices; without it the
    examinations have their usual size (about 13 instances per patient). Study dates spread over ``days``
    consecutive dates from ``base_date``; with three or more, every site has one date without any study.
    """

    patients: int
    seed: int
    sites: Sequence[str] = ("north", "south")
    instances: int | None = None
    days: int = 4
    base_date: dt.date = field(default=BASE_DATE)

    def __post_init__(self) -> None:
        if self.patients < 1 or self.days < 1 or not self.sites:
            raise SettingsError("a population needs a patient, a day and a site", fix="ask for at least one of each")

    def study_dates(self, site: str) -> tuple[dt.date, ...]:
        """The dates on which ``site`` examines anybody, in order."""
        closed = (1 + list(self.sites).index(site)) % self.days if self.days >= 3 else None
        return tuple(self.base_date + dt.timedelta(days=day) for day in range(self.days) if day != closed)

    def studies(self) -> Iterator[Study]:
        """All studies, patient by patient."""
        for index in range(self.patients):
            yield from self._studies_of(index)

    def series(self) -> Iterator[Series]:
        """All series with their final lengths, study by study.

        Raises SettingsError when ``instances`` is smaller than the number of series.
        """
        fixed, stacks, natural = 0, 0, 0
        if self.instances is not None:
            for series in self._natural_series():
                if series.kind.is_stack:
                    stacks, natural = stacks + 1, natural + series.length - 1
                else:
                    fixed += series.length
            if self.instances < fixed + stacks:
                raise SettingsError(
                    f"{self.patients} patients have at least {fixed + stacks} instances, asked for {self.instances}",
                    fix="ask for more instances or fewer patients",
                )
        spare = (self.instances or 0) - fixed - stacks
        before = 0
        for series in self._natural_series():
            if self.instances is None or not series.kind.is_stack:
                yield series
                continue
            # each stack gets its share of the running total, so that rounding never adds up
            after = before + series.length - 1
            length = 1 + after * spare // natural - before * spare // natural
            before = after
            yield Series(series.study, series.number, series.kind, length)

    def _natural_series(self) -> Iterator[Series]:
        for study in self.studies():
            random = Random(f"{self.seed}/lengths/{study.patient.index}/{study.number}")  # noqa: S311
            for number, kind in enumerate(study.kind.series, start=1):
                yield Series(study, number, kind, random.randint(kind.least, kind.most))

    def _studies_of(self, index: int) -> Iterator[Study]:
        random = Random(f"{self.seed}/studies/{index}")  # noqa: S311 - reproducible on purpose
        home = index % len(self.sites)
        travels = index % 4 == 3 and len(self.sites) > 1
        issuer = "CENTRAL-INDEX" if travels else f"{self.sites[home].upper()}-MPI"
        person = patient(index, seed=self.seed, issuer=issuer)
        first, second = STUDY_KINDS[2 * index % len(STUDY_KINDS)], STUDY_KINDS[(2 * index + 1) % len(STUDY_KINDS)]
        kinds = [first, second] + [first] * random.choice((0, 0, 1))  # sometimes a follow-up of the first
        visits = []
        for number, kind in enumerate(kinds):
            site = self.sites[(home + number) % len(self.sites)] if travels else self.sites[home]
            dates = self.study_dates(site)
            date = dates[(index // len(self.sites) + number) % len(dates)]
            # some examinations start within minutes of midnight
            hour, minute = random.choice(((23, 52), (0, 4))) if random.random() < 0.1 else (random.randint(7, 18), 0)
            time = dt.time(hour, minute + random.randint(0, 5), random.randint(0, 59))
            visits.append((dt.datetime.combine(date, time), site, kind))
        visits.sort(key=lambda visit: visit[0])
        for number, (when, site, kind) in enumerate(visits):
            yield Study(self.seed, person, number, site, when, kind)


def uid(*parts: object) -> str:
    """A UID under ``UID_ROOT`` that is a function of ``parts`` alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode("utf-8")).digest()
    return f"{UID_ROOT}.{int.from_bytes(digest[:15], 'big')}"

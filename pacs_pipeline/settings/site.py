"""One site: how its archive is reached, when it may be asked, what of it is wanted."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pacs_pipeline.settings.access import AccessSettings
from pacs_pipeline.settings.connection import (
    DicomwebSettings,
    FolderSettings,
    PacsSettings,
    ReceiverSettings,
    S3PrefixSettings,
)
from pacs_pipeline.settings.section import AETitle, Section

Protocol = Literal["c-get", "c-move", "dicomweb", "folder", "s3", "push"]
Modality = Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")]

_NEEDS = {
    "c-get": ("pacs",),
    "c-move": ("pacs", "receiver"),
    "dicomweb": ("dicomweb",),
    "folder": ("folder",),
    "s3": ("s3",),
    "push": ("receiver",),
}
"""The sections that say how a protocol reaches the archive."""


class FilterSettings(Section):
    """Which studies are wanted. What a filter excludes is counted in the books as excluded, not fetched.

    Descriptions and institutions are regular expressions, searched anywhere and without regard to case.
    """

    modalities: tuple[Modality, ...] = ()  # series of these only; empty: all
    exclude_modalities: tuple[Modality, ...] = ()
    descriptions: tuple[str, ...] = ()  # StudyDescription must match one; empty: all
    exclude_descriptions: tuple[str, ...] = ()
    institutions: tuple[str, ...] = ()  # InstitutionName must match one; empty: all
    exclude_institutions: tuple[str, ...] = ()
    minimum_age_years: Annotated[int, Field(ge=0, le=150)] | None = None
    maximum_age_years: Annotated[int, Field(ge=0, le=150)] | None = None
    maximum_instances: Annotated[int, Field(ge=1)] | None = None  # of a study

    @field_validator("descriptions", "exclude_descriptions", "institutions", "exclude_institutions")
    @classmethod
    def _expressions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for expression in value:
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression ({error})") from error
        return value


class CensusSettings(Section):
    """What is known of the archive's way to answer queries."""

    answer_limit: Annotated[int, Field(ge=1)] | None = None  # the archive cuts answers off at so many entries
    filters: FilterSettings = FilterSettings()


class SiteSettings(Section):
    """One site: its archive, its zone, its nights."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    timezone: str
    start_date: dt.date
    protocol: Protocol = "c-get"
    pacs: PacsSettings | None = None
    dicomweb: DicomwebSettings | None = None
    folder: FolderSettings | None = None
    s3: S3PrefixSettings | None = None
    ae_title: AETitle = "PACS_PIPELINE"
    receiver: ReceiverSettings | None = None
    access: AccessSettings = AccessSettings()
    census: CensusSettings = CensusSettings()
    issuer_of_patient_id: Annotated[str, Field(max_length=64)] = ""
    lookback_days: Annotated[int, Field(ge=1, le=366)] = 7
    schedule: str = "0 1 * * *"
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    when_deleted: Literal["keep", "withdraw"] = "keep"  # of what the archive does not list any more
    tries: Annotated[int, Field(ge=1, le=100)] = 3  # runs that may fail on a series before it is set aside
    minimum_free_gib: Annotated[float, Field(ge=0)] = 1.0  # of the landing zone's disk; a harvest stops before

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {value!r}; use an IANA name such as Europe/Berlin") from error
        return value

    @field_validator("schedule")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if not re.fullmatch(r"\s*([\w*/,-]+\s+){4}[\w*/,-]+\s*", value):
            raise ValueError("a cron line has five fields, e.g. '0 1 * * *'")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> SiteSettings:
        for section in _NEEDS[self.protocol]:
            if getattr(self, section) is None:
                hint = " (ae_title and port) that the PACS can send to" if section == "receiver" else ""
                article = "a " if section == "receiver" else "the section "
                raise ValueError(f"protocol {self.protocol} needs {article}{section}{hint}")
        return self

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The site's own time zone."""
        return zoneinfo.ZoneInfo(self.timezone)

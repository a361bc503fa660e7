"""Everything but the sites: bucket, zones, warehouse, de-identification, compute; and the whole, validated once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.settings.section import Section
from pacs_pipeline.settings.site import SiteSettings

SECRET_VARIABLE = "PACS_PIPELINE_SECRET"  # noqa: S105 - the name of a variable
SECRET_FILE_VARIABLE = "PACS_PIPELINE_SECRET_FILE"  # noqa: S105 - the name of a variable
MINIMUM_SECRET_BYTES = 32


class BucketSettings(Section):
    """The S3-compatible bucket that researchers read. Keys come from AWS_* variables or the AWS files."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    endpoint_url: str | None = None
    region: str = "us-east-1"
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+/)*$")] = ""
    addressing_style: Literal["path", "virtual", "auto"] = "path"
    checksums: Literal["when_supported", "when_required"] = "when_supported"
    ca_bundle: Path | None = None
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    parallel_uploads: Annotated[int, Field(ge=1, le=64)] = 8


class ZoneSettings(Section):
    """Local folders that may hold PHI; created with owner-only permissions."""

    root: Path = Path("data/zones")


class WarehouseSettings(Section):
    """The DuckDB file of published metadata."""

    path: Path = Path("data/warehouse.duckdb")


class DeidentifySettings(Section):
    """Which profile makes an instance publishable."""

    profile: str = "basic-modified-dates"
    options: tuple[str, ...] = ()
    extra_recipe: Path | None = None
    safe_private: Path | None = None
    descriptor_words: Path | None = None
    unknown_concepts: Literal["replace", "withhold"] = "replace"
    crosswalk: Path | None = None
    release_documents: Path | None = None
    max_date_shift_days: Annotated[int, Field(ge=30, le=36500)] = 3650


class ComputeSettings(Section):
    """How a stage spreads its work; 0 workers means one per core."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0


class Settings(BaseSettings):
    """Everything the pipeline needs to know, validated once."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="PACS_PIPELINE_", env_nested_delimiter="__"
    )

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,47}$")]
    sites: Annotated[tuple[SiteSettings, ...], Field(min_length=1)]
    bucket: BucketSettings
    zones: ZoneSettings = ZoneSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    deidentify: DeidentifySettings = DeidentifySettings()
    compute: ComputeSettings = ComputeSettings()
    contracts: Path = Path("data_contracts")
    automatic: bool = False
    sensor_interval_seconds: Annotated[int, Field(ge=1, le=86400)] = 60
    secret: SecretStr | None = None
    secret_file: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which arrives as keyword arguments."""
        return env_settings, init_settings

    @field_validator("sites")
    @classmethod
    def _unique(cls, sites: tuple[SiteSettings, ...]) -> tuple[SiteSettings, ...]:
        names = [site.name for site in sites]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"site {name!r} is configured twice; names must differ")
        ports = [site.receiver.port for site in sites if site.receiver]
        for port in ports:
            if ports.count(port) > 1:
                raise ValueError(f"receiver port {port} is used by two sites; give each its own")
        return sites

    def site(self, name: str) -> SiteSettings:
        """The site called ``name``; raises SettingsError with the names there are."""
        for site in self.sites:
            if site.name == name:
                return site
        known = ", ".join(site.name for site in self.sites)
        raise SettingsError(f"there is no site {name!r}", fix=f"use one of: {known}")

    def project_secret(self) -> bytes:
        """The project secret, at least 32 bytes; raises SettingsError when missing or too short."""
        return _resolved(self.secret.get_secret_value() if self.secret else None, self.secret_file)


def secret_from_environment() -> bytes:
    """The project secret where there is no configuration; raises SettingsError as :meth:`Settings.project_secret`."""
    file = os.environ.get(SECRET_FILE_VARIABLE)
    return _resolved(os.environ.get(SECRET_VARIABLE), Path(file) if file else None)


def _resolved(secret: str | None, file: Path | None) -> bytes:
    if secret is not None:
        value = secret.encode()
    elif file is not None:
        try:
            value = file.read_bytes().strip()
        except OSError as error:
            raise SettingsError(
                f"the secret file {file} cannot be read ({error.strerror})",
                fix=f"point {SECRET_FILE_VARIABLE} at a file this user may read",
            ) from error
    else:
        raise SettingsError(
            "the project secret is missing",
            fix=f"set {SECRET_FILE_VARIABLE} to a file, or {SECRET_VARIABLE}; "
            "'python3 -c \"import secrets; print(secrets.token_hex(32))\"' makes one",
        )
    if len(value) < MINIMUM_SECRET_BYTES:
        raise SettingsError(
            f"the project secret has {len(value)} bytes", fix=f"use at least {MINIMUM_SECRET_BYTES} random bytes"
        )
    return value

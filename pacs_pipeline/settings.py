"""One model of ``pacs_pipeline.yaml`` plus the environment. Nothing is read at import.

Precedence: environment (``PACS_PIPELINE_…``, nested keys joined by ``__``), then the file, then defaults.
Secrets come only from the environment or from files it names.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.strict_yaml import UniqueKeysLoader

CONFIG_VARIABLE = "PACS_PIPELINE_CONFIG"
SECRET_VARIABLE = "PACS_PIPELINE_SECRET"  # noqa: S105 - the name of a variable
SECRET_FILE_VARIABLE = "PACS_PIPELINE_SECRET_FILE"  # noqa: S105 - the name of a variable
DEFAULT_CONFIG = Path("pacs_pipeline.yaml")
MINIMUM_SECRET_BYTES = 32

AETitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PacsSettings(_Section):
    """Where the PACS of a site listens."""

    host: str
    port: Port
    ae_title: AETitle


class ReceiverSettings(_Section):
    """The Storage SCP that a C-MOVE sends to; the PACS must know this AE title, host and port."""

    ae_title: AETitle
    port: Port
    bind: str = "0.0.0.0"  # noqa: S104 - the PACS must reach it; narrow it per site


class SiteSettings(_Section):
    """One site: its PACS, its zone, its nights."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    timezone: str
    start_date: dt.date
    protocol: Literal["c-get", "c-move"] = "c-get"
    pacs: PacsSettings
    ae_title: AETitle = "PACS_PIPELINE"
    receiver: ReceiverSettings | None = None
    issuer_of_patient_id: Annotated[str, Field(max_length=64)] = ""
    lookback_days: Annotated[int, Field(ge=1, le=366)] = 7
    schedule: str = "0 1 * * *"
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0

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
    def _move_needs_receiver(self) -> SiteSettings:
        if self.protocol == "c-move" and self.receiver is None:
            raise ValueError("protocol c-move needs a receiver (ae_title and port) that the PACS can send to")
        return self

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The site's own time zone."""
        return zoneinfo.ZoneInfo(self.timezone)


class BucketSettings(_Section):
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


class ZoneSettings(_Section):
    """Local folders that may hold PHI; created with owner-only permissions."""

    root: Path = Path("data/zones")


class WarehouseSettings(_Section):
    """The DuckDB file of published metadata."""

    path: Path = Path("data/warehouse.duckdb")


class DeidentifySettings(_Section):
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


class ComputeSettings(_Section):
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


def is_configured() -> bool:
    """Whether a configuration is named or lies in the current folder."""
    return bool(os.environ.get(CONFIG_VARIABLE)) or DEFAULT_CONFIG.exists()


def load_settings(path: Path | None = None) -> Settings:
    """Read and validate the configuration.

    ``path`` defaults to ``$PACS_PIPELINE_CONFIG``, then ``./pacs_pipeline.yaml``. Relative paths inside
    the file are relative to the file. Raises SettingsError with one message that names key and fix.
    """
    path = path or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"the configuration {path} cannot be read ({error.strerror})",
            fix=f"copy pacs_pipeline.example.yaml there, or name another file with --config or {CONFIG_VARIABLE}",
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text", fix="save it as UTF-8") from error
    return settings_from_text(text, path)


def settings_from_text(text: str, path: Path) -> Settings:
    """Validate the YAML ``text`` of the file ``path``; see :func:`load_settings`."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {_one_line(error)}", fix="mend that line") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no settings", fix="copy pacs_pipeline.example.yaml and edit it")
    if "secret" in content:
        raise SettingsError(
            f"{path}: key 'secret' must not be in the file",
            fix=f"set {SECRET_VARIABLE} or {SECRET_FILE_VARIABLE} in the environment",
        )
    _check_environment()
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error)}", fix="see pacs_pipeline.example.yaml") from error
    return _anchor(settings, path.resolve().parent)


class _Loader(UniqueKeysLoader):
    """For which a date is just text: the model parses it and names the key when it is none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check_environment() -> None:
    """A misspelt PACS_PIPELINE_ variable would be ignored in silence; refuse it instead."""
    known = {name.upper() for name in Settings.model_fields} | {"CONFIG", "HOME"}
    for name in os.environ:
        if name.startswith("PACS_PIPELINE_"):
            head = name.removeprefix("PACS_PIPELINE_").split("__")[0]
            if head not in known and not head.startswith("TEST_"):
                close = _closest(head.lower(), [k.lower() for k in known])
                hint = f"did you mean PACS_PIPELINE_{close.upper()}?" if close else "unset it"
                raise SettingsError(f"the environment variable {name} is no setting", fix=hint)


_SectionT = TypeVar("_SectionT", bound=BaseModel)


def _anchor(settings: Settings, folder: Path) -> Settings:
    """Make the paths of the file absolute, relative to the file's folder."""

    def anchored(section: _SectionT) -> _SectionT:
        changes: dict[str, Any] = {}
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, Path):
                changes[name] = value if value.is_absolute() else folder / value
            elif isinstance(value, _Section):
                changes[name] = anchored(value)
        return section.model_copy(update=changes)

    return anchored(settings)


def _explain(error: ValidationError) -> str:
    """The first problem in words, with the full key and, for a typo, the nearest known key."""
    parts = []
    problems = error.errors(include_url=False, include_input=False)
    for problem in problems:
        if problem["type"] == "too_short" and any(p["loc"][:1] == problem["loc"][:1] for p in problems if p != problem):
            continue  # pydantic counts only the valid items; what is wrong with the others is said already
        key = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in problem["loc"]))
        if problem["type"] == "extra_forbidden":
            close = _closest(str(problem["loc"][-1]), _known_keys(problem["loc"]))
            parts.append(f"unknown key '{key}'" + (f" (did you mean '{close}'?)" if close else ""))
        elif problem["type"] == "missing":
            parts.append(f"key '{key}' is missing")
        else:
            parts.append(f"key '{key}': {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys the section at ``loc`` (without its last part) knows."""
    model: Any = Settings
    for part in loc[:-1]:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            model = _model_in(annotation)
            if model is None:
                return []
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _closest(word: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.6)), None)


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be parsed"
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)

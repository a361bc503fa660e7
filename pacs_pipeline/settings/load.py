"""Reads ``pacs_pipeline.yaml`` and the environment, and explains what is wrong with them."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pacs_pipeline.errors import SettingsError
from pacs_pipeline.settings.project import SECRET_FILE_VARIABLE, SECRET_VARIABLE, Settings
from pacs_pipeline.settings.section import Section
from pacs_pipeline.strict_yaml import UniqueKeysLoader

CONFIG_VARIABLE = "PACS_PIPELINE_CONFIG"
DEFAULT_CONFIG = Path("pacs_pipeline.yaml")


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
            elif isinstance(value, Section):
                changes[name] = anchored(value)
            elif isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
                changes[name] = tuple(anchored(item) if isinstance(item, Section) else item for item in value)
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

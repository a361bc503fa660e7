"""Named profiles: which recipes are layered, which options of PS3.15 E.3 they apply, and the compiled rules."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from pacs_pipeline.deidentify import vocabulary
from pacs_pipeline.deidentify.recipe import Action, Fields, Rule, effective_text, fields_of, read_recipe, strength
from pacs_pipeline.deidentify.values import named, valid, vrs_of
from pacs_pipeline.errors import SettingsError

CODE_MEANINGS = vocabulary.CODE_MEANINGS
ENGINE_VERSION = "1"  # raised whenever the same rules give other bytes; it is part of every fingerprint

BASIC, MODIFIED_DATES = "113100", "113107"

_RECIPES = Path(__file__).with_name("recipes")
_PROFILES = {
    "basic": (("basic.deid",), (BASIC,)),
    "basic-modified-dates": (("basic.deid", "modified_dates.deid"), (BASIC, MODIFIED_DATES)),
}
# The identity of the objects and what makes them readable: the engine decides, a project's recipe does not.
PROTECTED = frozenset(
    tag_for_keyword(keyword)
    for keyword in [
        "BitsAllocated",
        "BitsStored",
        "Columns",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
        "HighBit",
        "LongitudinalTemporalInformationModified",
        "MediaStorageSOPInstanceUID",
        "PatientID",
        "PatientIdentityRemoved",
        "PatientName",
        "PhotometricInterpretation",
        "PixelData",
        "PixelRepresentation",
        "Rows",
        "SamplesPerPixel",
        "SeriesInstanceUID",
        "SOPClassUID",
        "SOPInstanceUID",
        "SpecificCharacterSet",
        "StudyInstanceUID",
        "TransferSyntaxUID",
    ]
)


@dataclass(frozen=True, eq=False)
class Profile:
    """What a profile does to every element, independent of keys. Picklable; equal when it does the same."""

    name: str
    options: tuple[str, ...]
    rules: tuple[Rule, ...]
    fields: tuple[Fields, ...] = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and (self.name, self.fingerprint) == (other.name, other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the effective rules, the word lists and the engine's version."""
        text = "\n".join((ENGINE_VERSION, *self.options, self.recipe_text, vocabulary.digest()))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def recipe_text(self) -> str:
        """The effective rules as one recipe in deid's language, superseded lines left out."""
        return effective_text(self.rules)

    @property
    def shifts_dates(self) -> bool:
        """Whether dates are moved (and so kept), or removed."""
        return MODIFIED_DATES in self.options

    def rule(self, tag: int, vr: str) -> Rule | None:
        """The rule for an element: the last line of the recipes that means it."""
        position = self._exact.get(tag, -1)
        for candidate in self._patterns:
            if candidate > position and self.fields[candidate].matches(tag, vr):
                position = candidate
        return self.rules[position] if position >= 0 else None

    @cached_property
    def _exact(self) -> dict[int, int]:
        return {fields.tag: index for index, fields in enumerate(self.fields) if fields.tag is not None}

    @cached_property
    def _patterns(self) -> tuple[int, ...]:
        return tuple(index for index, fields in enumerate(self.fields) if fields.tag is None)


def load_profile(name: str, extra_recipe: Path | None = None) -> Profile:
    """The profile called ``name``, with a project's own recipe layered on top.

    Raises SettingsError: for an unknown profile, with those there are; for a line of ``extra_recipe``
    that the engine would not execute or that would keep more than the profile does.
    """
    if name not in _PROFILES:
        raise SettingsError(
            f"there is no de-identification profile '{name}'", fix=f"use one of: {', '.join(sorted(_PROFILES))}"
        )
    files, options = _PROFILES[name]
    rules = [rule for file in files for rule in read_recipe(_RECIPES / file)]
    profile = _compiled(name, options, rules)
    if extra_recipe is None:
        return profile
    extra = read_recipe(extra_recipe)
    for rule in extra:
        _check(rule, fields_of(rule), profile)
    return _compiled(name, options, [*rules, *extra])


def _compiled(name: str, options: tuple[str, ...], rules: list[Rule]) -> Profile:
    """Rules with the superseded ones dropped; a date shift falls back to the action it supersedes."""
    effective: dict[Fields, Rule] = {}
    for rule in rules:
        fields = fields_of(rule)
        before = effective.pop(fields, None)
        if rule.action is Action.SHIFT and before is not None:
            fallback = before.fallback if before.action is Action.SHIFT else before.action
            rule = Rule(rule.action, rule.field, where=rule.where, fallback=fallback)
        effective[fields] = rule
    return Profile(name, options, tuple(effective.values()), tuple(effective))


def _check(rule: Rule, fields: Fields, profile: Profile) -> None:
    """A project's line may take away more than the profile, never less, and not touch what the engine owns."""
    touched = [tag for tag in PROTECTED if tag is not None and fields.matches(tag, (vrs_of(tag) or ("",))[0])]
    if touched:
        raise SettingsError(
            f"{rule.where}: {named(min(touched))} is set by the engine", fix="name the fields more narrowly"
        )
    if rule.action is Action.LITERAL and fields.tag is not None:
        vr = (vrs_of(fields.tag) or ("UN",))[0]
        if vr not in ("LO", "SH", "ST", "LT", "UT", "UC", "CS", "PN", "DS", "IS", "AE") or not valid(vr, rule.value):
            raise SettingsError(f"{rule.where}: '{rule.value}' is no value of VR {vr}", fix="mend that line")
    covered = [other for other, means in zip(profile.rules, profile.fields, strict=True) if _overlap(fields, means)]
    floor = max((strength(other.action) for other in covered), default=strength(Action.DUMMY))
    if strength(rule.action) < floor or (rule.action is Action.KEEP and not covered):
        raise SettingsError(
            f"{rule.where}: '{rule.line}' keeps more than the profile {profile.name}",
            fix="a project recipe may only take away more; choose another profile to keep more",
        )


def _overlap(fields: Fields, means: Fields) -> bool:
    if means.tag is None:
        return fields == means
    return fields.matches(means.tag, (vrs_of(means.tag) or ("UN",))[0])

"""Named profiles: which recipes are layered, which options of PS3.15 E.3 they apply, and the compiled rules."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from pydicom.datadict import tag_for_keyword

from pacs_pipeline.deidentify import vocabulary
from pacs_pipeline.deidentify.burned_in import load_device_rules, model_version
from pacs_pipeline.deidentify.content_rules import StructuredRules, content_table_digest
from pacs_pipeline.deidentify.descriptor_vocabulary import DescriptorVocabulary, read_words, vocabulary_with
from pacs_pipeline.deidentify.iod import attribute_type
from pacs_pipeline.deidentify.recipe import (
    Action,
    Fields,
    Rule,
    effective_text,
    fields_of,
    read_recipe,
    resolved,
    strength,
)
from pacs_pipeline.deidentify.safe_private import SafePrivate, load_safe_private
from pacs_pipeline.deidentify.values import named, valid, vrs_of
from pacs_pipeline.errors import SettingsError

CODE_MEANINGS = vocabulary.CODE_MEANINGS
ENGINE_VERSION = "3"  # raised whenever the same rules give other bytes; it is part of every fingerprint

UnknownConcepts = Literal["replace", "withhold"]
BASIC = "113100"
_RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of PS3.15 E.3: its code of CID 7050, and its recipe where it changes rules of single attributes."""

    code: str
    recipe: str = ""


# In the order in which they are layered: what cleans lies over what keeps, and dates lie over both.
OPTIONS = {
    "retain-uids": Option("113110", "uids.deid"),
    "retain-device-identity": Option("113109", "device_identity.deid"),
    "retain-institution-identity": Option("113112", "institution_identity.deid"),
    "retain-patient-characteristics": Option("113108", "patient_characteristics.deid"),
    "clean-descriptors": Option("113105", "clean_descriptors.deid"),
    "clean-structured-content": Option("113104", "structured_content.deid"),
    "clean-graphics": Option("113103"),
    "clean-pixel-data": Option("113101"),
    "retain-safe-private": Option("113111"),
    "retain-full-dates": Option("113106", "full_dates.deid"),
    "modified-dates": Option("113107", "modified_dates.deid"),
}
# Cleaned pixels are no part of a named profile: ordinary ultrasound is withheld all the same, a look takes long, and
# without the extra all radiographs would be withheld (decision 8). A steward adds the option.
_RESEARCH = (
    "retain-device-identity",
    "retain-patient-characteristics",
    "clean-descriptors",
    "clean-structured-content",
    "clean-graphics",
    "retain-safe-private",
    "modified-dates",
)
PROFILES: dict[str, tuple[str, ...]] = {
    "basic": (),
    "basic-modified-dates": ("modified-dates",),
    "research": _RESEARCH,
    "limited": (
        "retain-patient-characteristics",
        "clean-descriptors",
        "clean-structured-content",
        "clean-graphics",
        "retain-safe-private",
        "retain-full-dates",
    ),
}
NOT_DONE = {
    "clean-recognizable-visual-features": "faces in head scans are not changed; see the known limits",
}
_PARTIAL = frozenset((Action.SHIFT, Action.KEEP, Action.CLEAN, Action.CONTENT))
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
    safe_private: SafePrivate | None = field(default=None, repr=False)
    unknown_concepts: UnknownConcepts = "replace"
    own_words: tuple[Path | None, str] = field(default=(None, ""), repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and (self.name, self.fingerprint) == (other.name, other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[object, ...]:
        return _unpacked, (self._packed,)

    @cached_property
    def _packed(self) -> bytes:
        """The state, pickled once: a profile goes to a worker with every task, and has some 700 rules."""
        return pickle.dumps(
            {each.name: getattr(self, each.name) for each in dataclasses.fields(self)} | {"": self.fingerprint}
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the effective rules, the lists and word lists, and the engine's version."""
        private = () if self.safe_private is None else (repr(self.safe_private.entries),)
        lists = (vocabulary.digest(), self.vocabulary.digest, content_table_digest(), *private, self.unknown_concepts)
        if "clean-pixel-data" in self.options:  # with the extra installed, what was withheld for it is stale
            lists = (*lists, load_device_rules().fingerprint, model_version())
        text = "\n".join((ENGINE_VERSION, *self.options, self.recipe_text, *lists))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of CID 7050 for the profile and its options."""
        return (BASIC, *sorted(OPTIONS[option].code for option in self.options))

    @property
    def recipe_text(self) -> str:
        """The effective rules as one recipe in deid's language, superseded lines left out."""
        return effective_text(self.rules)

    def rules_for(self, sop_class: str) -> tuple[Rule, ...]:
        """The rules with the choices that the standard leaves to the attribute's type made for one SOP class."""
        made = []
        for rule, means in zip(self.rules, self.fields, strict=True):
            kind = "" if means.tag is None else attribute_type(sop_class, 0, means.tag)
            made.append(replace(rule, action=resolved(rule.action, kind), fallback=resolved(rule.fallback, kind)))
        return tuple(made)

    @property
    def shifts_dates(self) -> bool:
        """Whether dates are moved."""
        return "modified-dates" in self.options

    @property
    def keeps_dates(self) -> bool:
        """Whether dates stay as they are."""
        return "retain-full-dates" in self.options

    @property
    def cleans_descriptors(self) -> bool:
        """Whether descriptions keep their known words."""
        return "clean-descriptors" in self.options

    @property
    def retains_uids(self) -> bool:
        """Whether the UIDs of the table stay as they are."""
        return "retain-uids" in self.options

    @cached_property
    def content(self) -> StructuredRules:
        """The rules for content items."""
        return StructuredRules.of(self.codes, self.unknown_concepts)

    @property
    def vocabulary(self) -> DescriptorVocabulary:
        """The words that may stay in a description; the same object for the same words."""
        return vocabulary_with(*self.own_words)

    @property
    def longitudinal(self) -> str:
        """The value of LongitudinalTemporalInformationModified (PS3.3 C.7.1.3)."""
        return "MODIFIED" if self.shifts_dates else "UNMODIFIED" if self.keeps_dates else "REMOVED"

    def rule(self, tag: int, vr: str) -> Rule | None:
        """The rule for an element: the last line of the recipes that means it."""
        position = self._exact.get(tag, -1)
        for candidate in self._patterns:
            if candidate > position and self.fields[candidate].matches(tag, vr):
                position = candidate
        return self.rules[position] if position >= 0 else None

    def retains(self, tag: int) -> bool:
        """Whether an option keeps what stands in this attribute, so that it is no longer an identifier to look for."""
        known = self._retained.get(tag)
        if known is None:
            vrs = vrs_of(tag)
            rule = self.rule(tag, vrs[0]) if vrs else None
            known = rule is not None and rule.action is Action.KEEP and vrs != ("SQ",)
            self._retained[tag] = known
        return known

    @cached_property
    def _retained(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _exact(self) -> dict[int, int]:
        return {fields.tag: index for index, fields in enumerate(self.fields) if fields.tag is not None}

    @cached_property
    def _patterns(self) -> tuple[int, ...]:
        return tuple(index for index, fields in enumerate(self.fields) if fields.tag is None)


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Profile:
    """The profile in a worker: the same object for every task."""
    state = pickle.loads(packed)  # noqa: S301 - made by the same program, and on its way only between its processes
    fingerprint = state.pop("")
    profile = Profile(**state)
    profile.__dict__["fingerprint"] = fingerprint  # as cached_property does
    return profile


def load_profile(
    name: str,
    extra_recipe: Path | None = None,
    *,
    options: Sequence[str] = (),
    safe_private: Path | None = None,
    unknown_concepts: UnknownConcepts = "replace",
    descriptor_words: Path | None = None,
) -> Profile:
    """The profile called ``name`` with further ``options``, and a project's own recipe layered on top.

    ``safe_private`` adds to the list of safe private elements; ``unknown_concepts`` is what happens to content
    items whose concept nobody published: replaced, or the instance withheld; ``descriptor_words`` is a list of
    words that may stay in descriptions besides the package's. Raises SettingsError: for an unknown
    profile or option, with those there are; for options that contradict each other; for a line of
    ``extra_recipe`` that the engine would not execute or that would keep more than the profile does.
    """
    if name not in PROFILES:
        raise SettingsError(
            f"there is no de-identification profile '{name}'", fix=f"use one of: {', '.join(sorted(PROFILES))}"
        )
    chosen = _chosen(name, options)
    files = ("basic.deid", *(OPTIONS[option].recipe for option in chosen if OPTIONS[option].recipe))
    rules = [rule for file in files for rule in read_recipe(_RECIPES / file)]
    safe = load_safe_private(safe_private) if "retain-safe-private" in chosen else None
    if safe is None and safe_private is not None:
        raise SettingsError(
            f"the profile {name} removes all private elements, so a list of safe ones has no effect",
            fix="add the option retain-safe-private, or remove deidentify.safe_private",
        )
    words = (descriptor_words, "" if descriptor_words is None else read_words(descriptor_words))
    vocabulary_with(*words)
    profile = replace(_compiled(name, chosen, rules, safe, unknown_concepts), own_words=words)
    if extra_recipe is None:
        return profile
    extra = read_recipe(extra_recipe)
    for rule in extra:
        _check(rule, fields_of(rule), profile)
    return replace(_compiled(name, chosen, [*rules, *extra], safe, unknown_concepts), own_words=words)


def _chosen(name: str, options: Sequence[str]) -> tuple[str, ...]:
    """The profile's options and the further ones, in the order in which they are layered."""
    for option in options:
        if option in NOT_DONE:
            raise SettingsError(f"the option {option} is not implemented: {NOT_DONE[option]}", fix="leave it out")
        if option not in OPTIONS:
            raise SettingsError(
                f"there is no de-identification option '{option}'", fix=f"use some of: {', '.join(OPTIONS)}"
            )
    wanted = {*PROFILES[name], *options}
    if {"retain-full-dates", "modified-dates"} <= wanted:
        raise SettingsError("dates can be kept or modified, not both", fix="choose retain-full-dates or modified-dates")
    return tuple(option for option in OPTIONS if option in wanted)


def _compiled(
    name: str, options: tuple[str, ...], rules: list[Rule], safe: SafePrivate | None, unknown: UnknownConcepts
) -> Profile:
    """Rules with the superseded ones dropped; what keeps, cleans or moves falls back to the action it supersedes."""
    effective: dict[Fields, Rule] = {}
    for rule in rules:
        fields = fields_of(rule)
        before = effective.pop(fields, None)
        if rule.action in _PARTIAL and before is not None:
            fallback = before.fallback if before.action in _PARTIAL else before.action
            rule = Rule(rule.action, rule.field, where=rule.where, fallback=fallback)
        effective[fields] = rule
    return Profile(name, options, tuple(effective.values()), tuple(effective), safe, unknown)


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

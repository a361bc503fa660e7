"""A profile compiled for one SOP class: which step each kind of element gets, decided once.

Attributes with a rule do what the rule says. Attributes without one are kept only when their value is of a kind that
cannot carry an identity: numbers, known words, registered UIDs, pixels. Never the reverse.
"""

from __future__ import annotations

from pacs_pipeline.deidentify import arrays, vocabulary
from pacs_pipeline.deidentify.codec import PIXEL_DATA
from pacs_pipeline.deidentify.iod import attribute_type
from pacs_pipeline.deidentify.labels import labels
from pacs_pipeline.deidentify.object_classes import Content, content_of
from pacs_pipeline.deidentify.objects import FLOAT_PIXELS
from pacs_pipeline.deidentify.profile import Profile
from pacs_pipeline.deidentify.recipe import Action, Rule, resolved
from pacs_pipeline.deidentify.steps import actions, numbers, private, texts, times
from pacs_pipeline.deidentify.steps.work import Step, agrees
from pacs_pipeline.deidentify.tags import SCHEME, TIMEZONE_OFFSET
from pacs_pipeline.deidentify.values import BULK, SIZES, vrs_of
from pacs_pipeline.deidentify.waveforms import ONE_SAMPLE, WAVEFORM_DATA


class Plan:
    """A compiled profile for one SOP class: the step for each kind of element, decided once."""

    def __init__(self, profile: Profile, sop_class: str = "") -> None:
        self.profile = profile
        self.sop_class = sop_class
        self._steps: dict[tuple[int, str, int], Step] = {}

    def step(self, tag: int, vr: str, parent: int) -> Step:
        """What to do with an element; ``parent`` is the sequence it stands in, 0 outside all sequences."""
        key = (tag, vr, parent)
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = self._decide(tag, vr, parent)
        return step

    def _decide(self, tag: int, vr: str, parent: int) -> Step:
        group = tag >> 16
        standard = vrs_of(tag)
        if group & 1 and self.profile.safe_private is not None:
            return private.private(self.profile.safe_private)
        if not standard or group < 0x0008 or group >= 0xFF00 or group >> 8 in (0x50, 0x60):
            return actions.remove  # private, unknown, commands, group lengths, padding, curves, overlays
        rule = self.profile.rule(tag, standard[0])
        if rule is None:
            return self._unruled(tag, vr, standard, parent)
        return self._ruled(rule, tag, vr, standard, parent)

    def _ruled(self, rule: Rule, tag: int, vr: str, standard: tuple[str, ...], parent: int) -> Step:
        kind = attribute_type(self.sop_class, parent, tag)
        action = resolved(rule.action, kind)
        fallback = actions.ACTIONS[resolved(rule.fallback, kind)]
        if action is Action.KEEP:
            return self._kept(tag, vr, standard, fallback)
        if action is Action.SHIFT:
            return times.shift(fallback)
        if action is Action.CONTENT:
            return texts.content(fallback)
        if action is Action.CLEAN:
            return texts.clean(vr, standard, fallback)
        if action is Action.LITERAL:
            return actions.literal(rule.value)
        return actions.ACTIONS[action]

    def _kept(self, tag: int, vr: str, standard: tuple[str, ...], fallback: Step) -> Step:
        """What an option of the profile retains; sequences are walked, what is no value of its VR is not kept."""
        kind = standard[0]
        if not agrees(vr, standard):
            return fallback
        if kind == "SQ":
            return actions.walk
        if kind in ("DA", "DT"):
            return times.shift(fallback) if self.profile.shifts_dates else times.date(fallback)
        if kind == "TM":
            return times.time
        if tag == TIMEZONE_OFFSET:
            return times.timezone
        if kind == "UI":
            return actions.same_uid
        if kind == "AS":
            return times.age(fallback)
        if kind in texts.FREE_TEXT:
            return texts.verbatim(fallback)
        return _RETAINED.get(kind, numbers.small if kind in SIZES else fallback)

    def _unruled(self, tag: int, vr: str, standard: tuple[str, ...], parent: int) -> Step:
        if not agrees(vr, standard):
            return actions.remove
        kind = standard[0]
        if tag == PIXEL_DATA:
            return actions.remove if parent else actions.keep
        if kind == "SQ":
            return actions.walk
        if kind in ("DA", "DT"):
            if self.profile.shifts_dates:
                return times.shift(actions.remove)
            return times.date(actions.remove) if self.profile.keeps_dates else actions.remove
        if kind == "TM":
            return times.time if self.profile.shifts_dates or self.profile.keeps_dates else actions.remove
        if tag == TIMEZONE_OFFSET:
            return actions.remove
        if tag in labels():
            return self._label(tag, vr, standard, parent)
        if kind in ("LO", "SH"):
            if tag in vocabulary.technical_tags():
                needed = attribute_type(self.sop_class, parent, tag) == "1"
                return texts.technical_or_dummy if needed else texts.technical
            return texts.scheme if tag == SCHEME else actions.remove
        if tag in numbers.LOOKUP_TABLES:
            return numbers.lookup_table
        if (special := self._numbers_of_objects(tag, parent)) is not None:
            return special
        if not BULK.isdisjoint(standard):
            return actions.remove
        return _RETAINED.get(kind, numbers.small if kind in SIZES else actions.remove)

    def _label(self, tag: int, vr: str, standard: tuple[str, ...], parent: int) -> Step:
        """A label outside the table: cleaned like one of the table's, otherwise what its type allows."""
        kind = attribute_type(self.sop_class, parent, tag) or "3"
        fallback = actions.ACTIONS[resolved(Action.REMOVE_BLANK_OR_DUMMY, kind)]
        return texts.clean(vr, standard, fallback) if self.profile.cleans_descriptors else fallback

    def _numbers_of_objects(self, tag: int, parent: int) -> Step | None:
        """The step for what only objects made of numbers may hold, None for everything else."""
        content = content_of(self.sop_class)
        if content is Content.MAP and tag in FLOAT_PIXELS and not parent:
            return actions.keep
        if content is Content.SIGNALS and parent:
            return numbers.samples if tag == WAVEFORM_DATA else numbers.one_sample if tag in ONE_SAMPLE else None
        return numbers.array if content is Content.ATTRIBUTES and tag in arrays.ARRAYS else None


_RETAINED: dict[str, Step] = {
    "CS": texts.code_strings,
    "DS": numbers.number,
    "IS": numbers.number,
    "PN": actions.blank,
    "UI": actions.registered,
}

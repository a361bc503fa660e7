"""Gives the cleaning of content what it needs of one instance's :class:`Rewrite`; the seam to the engine."""

from __future__ import annotations

from dataclasses import dataclass

from pacs_pipeline.deidentify import dates
from pacs_pipeline.deidentify.codec import Elements
from pacs_pipeline.deidentify.keys import normalised
from pacs_pipeline.deidentify.rewrite import Rewrite
from pacs_pipeline.deidentify.structured import CONTENT
from pacs_pipeline.deidentify.tags import PATIENT_NAME
from pacs_pipeline.deidentify.text import decoded, text_of
from pacs_pipeline.deidentify.values import valid


@dataclass(frozen=True, slots=True)
class RewriteContext:
    """A :class:`~pacs_pipeline.deidentify.structured.ContentContext` over ``rewrite``.

    ``patient_names`` are the original names of the patient, folded by :func:`name_key`.
    """

    rewrite: Rewrite
    patient_names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rewrite: Rewrite, dataset: Elements) -> RewriteContext:
        """The context of the instance whose original ``dataset`` is rewritten."""
        name = name_key(text_of(dataset.get(PATIENT_NAME), rewrite.patient.charsets))
        return cls(rewrite, frozenset((name,)) - {""})

    def uid(self, original: str, /) -> str:
        """The replacement of a UID, or the UID itself under a profile that retains them."""
        retained = self.rewrite.plan.profile.retains_uids and valid("UI", original)
        return original if retained else self.rewrite.uid(original)

    def shift(self, vr: str, text: str, /) -> str | None:
        """DA and DT as the profile moves or keeps them, TM as it is; None when they may not stay or are none."""
        profile = self.rewrite.plan.profile
        if not profile.shifts_dates and not profile.keeps_dates:
            return None
        if vr == "TM":
            return text.replace(":", "") if valid("TM", text) else None
        return dates.shifted(vr, text, self.rewrite.patient.days if profile.shifts_dates else 0)

    def clean_text(self, text: str, /) -> str:
        """What the text cleaner leaves of ``text``."""
        return self.rewrite.cleaner.clean(text)

    def retain_text(self, text: str, /) -> str:
        """What stays of a text that an option retains."""
        return self.rewrite.cleaner.without_identifiers(text)

    def pseudonym_of(self, name: str, /) -> str:
        """The patient's pseudonym when ``name`` is the patient's."""
        return self.rewrite.patient.pseudonym if name_key(name) in self.patient_names else ""

    def decode(self, value: bytes, /) -> str:
        """Text in the instance's character set."""
        return decoded(value, self.rewrite.patient.charsets)

    def generic(self, elements: Elements, /, *, top: bool = False) -> Elements:
        """The engine's ordinary pass."""
        return self.rewrite.dataset(elements, parent=0 if top else CONTENT)

    def count(self, tag: int, letter: str, /) -> None:
        """Record an action."""
        self.rewrite.counts[tag, letter] += 1


def name_key(name: str) -> str:
    """A person name for comparison: components without their empty ends, any case."""
    return "^".join(part.strip() for part in normalised(name).casefold().split("^")).strip("^= ")

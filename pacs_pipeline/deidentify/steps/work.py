"""What a step sees: an element, the data set or item it stands in, and the instance that is worked on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pacs_pipeline.deidentify.codec import Buffer, Element, Elements, components
from pacs_pipeline.deidentify.text import DEFAULT
from pacs_pipeline.deidentify.values import BULK, SIZES, TEXT


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose instance it is: pseudonym, shift in days, and the pseudonym of anybody else by PatientID and issuer."""

    pseudonym: str
    days: int
    pseudonym_of: Callable[[str, str], str]
    charsets: tuple[str, ...] = DEFAULT

    @property
    def decides(self) -> tuple[str, int, tuple[str, ...]]:
        """What of a patient decides on a value; the pseudonyms of others belong to the engine."""
        return self.pseudonym, self.days, self.charsets


class Cleaner(Protocol):
    """Takes away what the file itself knows of people, for one instance."""

    def clean(self, text: str) -> str:
        """What of a description may stay: known words only, in plain ASCII."""

    def without_identifiers(self, text: str) -> str:
        """``text`` in plain ASCII without the identifiers of the patient and the staff, all other words kept."""

    def names_somebody(self, text: str) -> bool:
        """Whether a word of ``text`` is a part of the patient's name or of somebody else's in the file."""

    def is_somebodys_number(self, digits: str) -> bool:
        """Whether ``digits`` are an identifier that stands in the file, or the number in one."""


class Work(Protocol):
    """One instance on its way; ``counts`` records what was done to it, by tag and letter of PS3.15 E.1."""

    @property
    def sop_class(self) -> str:
        """The SOP class, which says what the instance may hold."""

    @property
    def buffer(self) -> Buffer:
        """Where the values are that were left in the file."""

    @property
    def order(self) -> Literal["little", "big"]:
        """The byte order of the source."""

    @property
    def patient(self) -> Patient:
        """Whose instance it is."""

    @property
    def cleaner(self) -> Cleaner:
        """Knows the identifiers of this instance."""

    @property
    def counts(self) -> Counter[tuple[int, str]]:
        """The actions so far."""

    def uid(self, original: str) -> str:
        """The replacement of one UID."""

    def decoded(self, element: Element, dataset: Elements) -> str:
        """The text of an element by the character set that holds where it stands."""

    def dataset(self, elements: Elements, *, parent: int = 0) -> Elements:
        """The de-identified copy of the item ``elements`` of the sequence ``parent``."""

    def content(self, items: list[Elements]) -> list[Elements]:
        """The de-identified copies of content items outside a tree."""


Step = Callable[[Work, Element, Elements], Element | None]
"""Gives the element that is written, or None to leave it out."""


def first(element: Element | None) -> str:
    """The first component of a value, empty when there is none."""
    if element is None or not isinstance(element.value, bytes):
        return ""
    return components(element.value)[0]


def texts_of(element: Element) -> list[str] | None:
    """The components of a value; None of a sequence and of what was left in the file."""
    return components(element.value) if element.items is None and isinstance(element.value, bytes) else None


def agrees(vr: str, standard: tuple[str, ...]) -> bool:
    """Whether the file's VR is of the standard's kind, so that a value can be what the standard means."""
    if vr in standard or vr == "UN":
        return True
    if vr in TEXT:
        return standard[0] in TEXT
    if vr in SIZES:
        return SIZES.get(standard[0]) == SIZES[vr] and vr not in ("FL", "FD")
    return vr in BULK and standard[0] in BULK

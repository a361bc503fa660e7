"""Whose instance it is: the key under which pseudonym and date shift are derived."""

from __future__ import annotations

from pacs_pipeline.deidentify.codec import Elements
from pacs_pipeline.deidentify.keys import Keys, normalised
from pacs_pipeline.deidentify.rewrite import ISSUER_OF_PATIENT_ID, PATIENT_ID, PATIENT_NAME, STUDY_INSTANCE, Patient
from pacs_pipeline.deidentify.text import charsets_of, text_of

PATIENT_BIRTH_DATE = 0x00100030


def patient_of(dataset: Elements, keys: Keys, default_issuer: str = "") -> Patient:
    """The patient of an instance.

    PatientID and its issuer decide. Without a PatientID nobody may be merged with anybody else: a name and
    a birth date together stand for one person, otherwise every study is a person of its own.
    """
    charsets = charsets_of(dataset)
    identifier = normalised(text_of(dataset.get(PATIENT_ID), charsets))
    issuer = text_of(dataset.get(ISSUER_OF_PATIENT_ID), charsets) or default_issuer
    if not identifier:
        name = normalised(text_of(dataset.get(PATIENT_NAME), charsets)).strip("^= ").casefold()
        birth = normalised(text_of(dataset.get(PATIENT_BIRTH_DATE), charsets))
        study = text_of(dataset.get(STUDY_INSTANCE), charsets)
        identifier = f"no-id/name/{name}/{birth}" if name and birth else f"no-id/study/{study}"
    pseudonym = keys.pseudonym(identifier, issuer)
    return Patient(pseudonym, keys.date_shift(pseudonym), default_issuer, charsets)

"""Who is the same person: the rule under which pseudonym and date shift are derived."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pacs_pipeline.deidentify.codec import Elements
from pacs_pipeline.deidentify.keys import Keys, normalised
from pacs_pipeline.deidentify.steps.work import Patient
from pacs_pipeline.deidentify.tags import ISSUER_OF_PATIENT_ID, PATIENT_ID, PATIENT_NAME, STUDY_INSTANCE
from pacs_pipeline.deidentify.text import SPECIFIC_CHARACTER_SET, charsets_of, text_of
from pacs_pipeline.errors import SettingsError

PATIENT_BIRTH_DATE = 0x00100030
PATIENT = (SPECIFIC_CHARACTER_SET, PATIENT_ID, ISSUER_OF_PATIENT_ID, PATIENT_NAME, PATIENT_BIRTH_DATE, STUDY_INSTANCE)
"""The elements of a data set that say who its patient is."""
_COLUMNS = ("patient_id", "issuer", "person")

Crosswalk = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """Which PatientIDs mean one person. Picklable: a crosswalk is read by each worker, once.

    ``default_issuer`` stands for a missing IssuerOfPatientID: one for each archive, where PatientIDs may clash.
    ``crosswalk`` is a CSV file with the columns patient_id, issuer and person: all PatientIDs of a person get one
    pseudonym. ``digest`` is that of its content.
    """

    default_issuer: str = ""
    crosswalk: Path | None = None
    digest: str = ""

    @property
    def fingerprint(self) -> str:
        """The same for the same rule; it tells nothing about anybody."""
        return hashlib.sha256(f"{self.default_issuer}\0{self.digest}".encode()).hexdigest()

    def of_site(self, issuer: str) -> IdentityRule:
        """The rule for a site whose archive is ``issuer``."""
        return replace(self, default_issuer=issuer)

    def pseudonym(self, keys: Keys, patient_id: str, issuer: str) -> str:
        """The pseudonym of the person with this PatientID."""
        identifier, issuer = normalised(patient_id), normalised(issuer or self.default_issuer)
        if self.crosswalk is not None:
            person = _read(self.crosswalk, self.digest).get((identifier, issuer))
            if person is not None:
                return keys.pseudonym(person, "crosswalk/person")
        return keys.pseudonym(identifier, issuer)


EVERYWHERE = IdentityRule()
"""One PatientID is one person, at every site."""


def load_identity(crosswalk: Path | None = None) -> IdentityRule:
    """The project's rule. Raises SettingsError, naming the line, for a crosswalk that cannot be used."""
    if crosswalk is None:
        return IdentityRule()
    try:
        digest = hashlib.sha256(crosswalk.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(
            f"the crosswalk {crosswalk} cannot be read ({error.strerror})", fix="correct deidentify.crosswalk"
        ) from error
    _read(crosswalk, digest)
    return IdentityRule(crosswalk=crosswalk, digest=digest)


@lru_cache(maxsize=2)
def _read(path: Path, digest: str) -> Crosswalk:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise SettingsError(f"the crosswalk {path} was changed while it was in use", fix="run the partition again")
    try:
        reader = csv.DictReader(content.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise SettingsError(f"the crosswalk {path} is not UTF-8", fix="save it as UTF-8") from error
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise SettingsError(f"the crosswalk {path} lacks columns", fix=f"its first line is {','.join(_COLUMNS)}")
    persons: dict[tuple[str, str], str] = {}
    for row in reader:
        key, person = (
            (normalised(row["patient_id"] or ""), normalised(row["issuer"] or "")),
            normalised(row["person"] or ""),
        )
        if not key[0] or not person:
            raise SettingsError(f"{path}, line {reader.line_num}: patient_id or person is missing", fix="fill it in")
        if persons.setdefault(key, person) != person:
            raise SettingsError(
                f"{path}, line {reader.line_num}: this PatientID is another person further up", fix="decide for one"
            )
    return persons


def patient_of(dataset: Elements, keys: Keys, rule: IdentityRule) -> Patient:
    """The patient of an instance, of which the elements ``PATIENT`` are enough.

    PatientID and its issuer decide. Without a PatientID nobody may be merged with anybody else: a name and
    a birth date together stand for one person, otherwise every study is a person of its own.
    """
    charsets = charsets_of(dataset)
    identifier = normalised(text_of(dataset.get(PATIENT_ID), charsets))
    issuer = text_of(dataset.get(ISSUER_OF_PATIENT_ID), charsets)
    if not identifier:
        name = normalised(text_of(dataset.get(PATIENT_NAME), charsets)).strip("^= ").casefold()
        birth = normalised(text_of(dataset.get(PATIENT_BIRTH_DATE), charsets))
        study = text_of(dataset.get(STUDY_INSTANCE), charsets)
        identifier = f"no-id/name/{name}/{birth}" if name and birth else f"no-id/study/{study}"
    pseudonym = rule.pseudonym(keys, identifier, issuer)
    return Patient(
        pseudonym, keys.date_shift(pseudonym), lambda patient_id, by: rule.pseudonym(keys, patient_id, by), charsets
    )

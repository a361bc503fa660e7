"""The exception tree, by what a person or the scheduler should do next.

    PipelineError
    ├── Transient        try again later: a PACS, a network or a store is away
    │   ├── Busy         another run holds the lock of this partition
    │   └── Paused       the site may not be asked now: out of its hours, stopped, or failing
    ├── Permanent        retrying cannot help until somebody changes something
    │   ├── SettingsError    the configuration is wrong (exit code 2)
    │   └── NotAllowed       a gate said no: no PASS verdict for this digest
    └── Quarantine       one instance is set aside, the rest goes on

Messages name sites, partitions, pseudonyms or keyed hashes; never a value that came out of a data set.
"""

from __future__ import annotations

import datetime as dt

from pacs_pipeline.records import Reason


class PipelineError(Exception):
    """What happened and, in ``fix``, what the person who reads it should do next."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}. {self.fix}" if self.fix else self.message


class Transient(PipelineError):
    """A condition that passes by itself: the run may be retried without a change."""


class Busy(Transient):
    """Another process works on the same partition or holds the warehouse."""


class Paused(Transient):
    """A site may not be asked now. ``until`` says from when on it may, None when nobody knows.

    Nothing is wrong with the partition: trying again before then would only be told the same.
    """

    def __init__(self, message: str, *, until: dt.datetime | None = None, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.until = until


class Permanent(PipelineError):
    """A condition that stays until somebody acts: never retried automatically."""


class SettingsError(Permanent):
    """The configuration, a secret or a recipe is wrong; the message names the key or line."""


class NotAllowed(Permanent):
    """A gate refused: nothing was published."""


class Quarantine(PipelineError):
    """One instance cannot be proven clean or cannot be read; ``reason`` says why.

    ``detail`` is shown to stewards and written to tables, so it may name DICOM keywords,
    tags and SOP classes but never a value of the data set.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail

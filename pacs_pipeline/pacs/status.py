"""DIMSE statuses in words (PS3.4 C.4, PS3.7 C), and which failures pass by themselves."""

from __future__ import annotations

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.endpoint import Endpoint

SUCCESS = 0x0000
CANCEL = 0xFE00
PENDING = frozenset({0xFF00, 0xFF01})
RESPONSE_LIMIT = 0xB001
SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORISED = 0x0124
MOVE_DESTINATION_UNKNOWN = 0xA801

_WORDS = {
    0x0110: "processing failure",
    0x0112: "no such SOP instance",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    NOT_AUTHORISED: "not authorised",
    0x0211: "unrecognised operation",
    0x0213: "resource limitation",
    0xA701: "out of resources: cannot count the matches",
    0xA702: "out of resources: cannot send the instances",
    MOVE_DESTINATION_UNKNOWN: "move destination unknown",
    0xB000: "finished with failures",
    RESPONSE_LIMIT: "response limit reached",
    CANCEL: "cancelled by the PACS",
}


def is_warning(status: int) -> bool:
    """Whether a final status says: done, but not all is well (PS3.7 C.3)."""
    return status in (0x0001, 0x0107, 0x0116) or status & 0xF000 == 0xB000


def is_out_of_resources(status: int) -> bool:
    """Whether the PACS says that it has too much to do or to hold."""
    return status in (0xA700, 0xA701, 0x0213)


def in_words(status: int) -> str:
    """A status as a person reads it, with its code."""
    words = _WORDS.get(status, "")
    if not words:
        high = status & 0xFF00
        if high == 0xA700:
            words = "out of resources"
        elif high in (0xA800, 0xA900):
            words = "identifier does not match the SOP class"
        elif status & 0xF000 == 0xC000:
            words = "unable to process"
        else:
            words = "success" if status == SUCCESS else "a status the standard does not define here"
    return f"0x{status:04X}, {words}"


def lost(endpoint: Endpoint, what: str) -> Transient:
    """The association ended in the middle of a request: an answer that is no answer."""
    return Transient(
        f"{endpoint.where} broke off the association, or was silent for {endpoint.timeout:g} s, during {what}",
        fix="nothing incomplete was recorded; the run may be retried",
    )


def says_cut_off(status: int) -> bool:
    """Whether a query that ended with this status gave a part of its answer (we never cancel one)."""
    return status == CANCEL or is_warning(status)


def cut_off(endpoint: Endpoint, what: str, why: str) -> Permanent:
    """The error for an answer that may not be all, and that could not be completed in smaller parts."""
    return Permanent(
        f"{endpoint.where} cut off its answer to {what} ({why}), and smaller questions cannot show that nothing is "
        "missing; nothing of it was recorded",
        fix=(
            f"ask the PACS team to raise the limit of query results for AE title {endpoint.calling_ae_title}; where "
            "there is no such limit, or it is higher than this answer, say so in census.answer_limit of the site"
        ),
    )


def failure(endpoint: Endpoint, what: str, status: int) -> PipelineError:
    """The error for a request that ended with ``status``, which is neither Pending nor Success."""
    message = f"{endpoint.where} ended {what} with {in_words(status)}"
    if status in (CANCEL, RESPONSE_LIMIT):
        return Permanent(
            f"{message}: the answer is cut off and cannot be trusted to be complete",
            fix="ask the PACS team to raise the limit of query results for this AE title",
        )
    if status == MOVE_DESTINATION_UNKNOWN:
        return Permanent(
            message,
            fix="ask the PACS team to register the receiver's AE title, host and port as a C-MOVE destination",
        )
    if status in (SOP_CLASS_NOT_SUPPORTED, NOT_AUTHORISED):
        return Permanent(
            message,
            fix=f"ask the PACS team to allow query and retrieve for AE title {endpoint.calling_ae_title}",
        )
    if status & 0xFF00 in (0xA800, 0xA900):
        return Permanent(
            message,
            fix="the PACS does not accept this form of query: ask its team for the DICOM conformance statement",
        )
    if is_out_of_resources(status):
        return Transient(message, fix="the run may be retried when the PACS is less busy")
    return Transient(message, fix="the run may be retried; if it stays so, give the PACS team this status")

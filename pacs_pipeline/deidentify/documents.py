"""SR documents and key object selections: the header of the document around the cleaned content tree."""

from __future__ import annotations

from pacs_pipeline.deidentify import vocabulary
from pacs_pipeline.deidentify.codec import Element, Elements
from pacs_pipeline.deidentify.content_rules import StructuredRules
from pacs_pipeline.deidentify.structured import (
    CONTENT_TAGS,
    DUMMY,
    SCHEME,
    ContentContext,
    clean_root,
    is_filled,
    items_of,
    keyword_in,
)
from pacs_pipeline.deidentify.values import dummy_of, named, vrs_of
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

VERIFYING_OBSERVERS, OBSERVER_NAME, ORGANIZATION, VERIFIED_AT = 0x0040A073, 0x0040A075, 0x0040A027, 0x0040A030
OBSERVER_CODE = 0x0040A088
COMPLETION_FLAG, VERIFICATION_FLAG, PRELIMINARY_FLAG = 0x0040A491, 0x0040A493, 0x0040A496
REFERENCED_REQUEST = 0x0040A370
CODING_SCHEMES = 0x00080110
EQUIPMENT, MANUFACTURER = 0x0018A001, 0x00080070
# PS3.3 C.17.2: closed lists, and type 2 attributes that Table E.1-1 would remove
_FLAGS = {
    COMPLETION_FLAG: ("PARTIAL", "COMPLETE"),
    VERIFICATION_FLAG: ("UNVERIFIED", "VERIFIED"),
    PRELIMINARY_FLAG: ("PRELIMINARY", "FINAL"),
}
_REQUEST_TYPE_2 = (0x00080050, 0x00081110, 0x00321060, 0x00321064, 0x00401001, 0x00402016, 0x00402017)
_DOCUMENT_TYPE_2 = (0x00081111, 0x0040A372)


def clean_document(dataset: Elements, rules: StructuredRules, context: ContentContext) -> Elements:
    """The clean copy of an SR document or key object selection, without the marks of de-identification.

    Observers, participants and custodians are removed, except that a verified document keeps one verifying
    observer without a name, which its VerificationFlag requires. Evidence, predecessors and identical documents
    are references and stay with their new UIDs. Raises Quarantine: STRUCTURED_REPORT.
    """
    special = CONTENT_TAGS | _FLAGS.keys() | {VERIFYING_OBSERVERS, REFERENCED_REQUEST, CODING_SCHEMES}
    clean = context.generic({tag: element for tag, element in dataset.items() if tag not in special}, top=True)
    clean |= clean_root(dataset, rules, context)
    clean |= published_schemes(dataset, context)
    drop_unknown_equipment(clean)
    for tag, values in _FLAGS.items():
        if tag in dataset:
            flag = keyword_in(dataset[tag])
            if flag not in values:
                raise Quarantine(Reason.STRUCTURED_REPORT, f"{named(tag)} has a value that the standard does not know")
            clean[tag] = Element(tag, "CS", flag.encode("ascii"))
    observers = items_of(dataset.get(VERIFYING_OBSERVERS))
    if observers:
        context.count(VERIFYING_OBSERVERS, "D")
        clean[VERIFYING_OBSERVERS] = Element(VERIFYING_OBSERVERS, "SQ", items=[_observer(observers[0], context)])
    requests = items_of(dataset.get(REFERENCED_REQUEST))
    if requests:
        cleaned = [with_type_2(context.generic(item), item, _REQUEST_TYPE_2) for item in requests]
        clean[REFERENCED_REQUEST] = Element(REFERENCED_REQUEST, "SQ", items=cleaned)
    return with_type_2(clean, dataset, _DOCUMENT_TYPE_2)


def published_schemes(dataset: Elements, context: ContentContext) -> Elements:
    """CodingSchemeIdentificationSequence without the schemes of hospitals and makers, whose codes are gone."""
    items = items_of(dataset.get(CODING_SCHEMES))
    kept = [context.generic(item) for item in items if keyword_in(item.get(SCHEME)) in vocabulary.code_schemes()]
    return {CODING_SCHEMES: Element(CODING_SCHEMES, "SQ", items=kept)} if kept else {}


def drop_unknown_equipment(clean: Elements) -> None:
    """Contributing equipment needs a Manufacturer (type 1, PS3.3 C.12.1); an item whose maker went goes, too."""
    items = items_of(clean.get(EQUIPMENT))
    kept = [item for item in items if is_filled(item.get(MANUFACTURER))]
    if kept:
        clean[EQUIPMENT] = Element(EQUIPMENT, "SQ", items=kept)
    else:
        clean.pop(EQUIPMENT, None)


def with_type_2(clean: Elements, source: Elements, tags: tuple[int, ...]) -> Elements:
    """``clean`` with those of ``tags`` empty that the source has and the pass removed; type 2 allows no less."""
    for tag in tags:
        if tag in source and tag not in clean:
            vr = vrs_of(tag)[0]
            clean[tag] = Element(tag, "SQ", items=[]) if vr == "SQ" else Element(tag, vr)
    return clean


def _observer(observer: Elements, context: ContentContext) -> Elements:
    time = keyword_in(observer.get(VERIFIED_AT))
    moved = context.shift("DT", time) if time else None
    return {
        ORGANIZATION: Element(ORGANIZATION, "LO", DUMMY.encode("ascii")),
        VERIFIED_AT: Element(VERIFIED_AT, "DT", dummy_of("DT") if moved is None else moved.encode("ascii")),
        OBSERVER_NAME: Element(OBSERVER_NAME, "PN", DUMMY.encode("ascii")),
        OBSERVER_CODE: Element(OBSERVER_CODE, "SQ", items=[]),
    }

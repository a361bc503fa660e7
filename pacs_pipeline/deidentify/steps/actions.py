"""The actions of PS3.15 E.1 that look at no value: remove, empty, dummy, another UID, the pseudonym, a literal."""

from __future__ import annotations

from pacs_pipeline.deidentify.codec import Element, Elements
from pacs_pipeline.deidentify.recipe import Action
from pacs_pipeline.deidentify.steps.work import Step, Work, texts_of
from pacs_pipeline.deidentify.tags import INSTANCE_UIDS, ISSUER_OF_PATIENT_ID, PATIENT_ID
from pacs_pipeline.deidentify.text import text_of
from pacs_pipeline.deidentify.values import SIZES, TEXT, dummy_of, is_registered, least_values, valid, vrs_of


def remove(work: Work, element: Element, dataset: Elements) -> Element | None:
    """X: the attribute goes."""
    work.counts[element.tag, "X"] += 1
    return None


def keep(work: Work, element: Element, dataset: Elements) -> Element | None:
    """K: the value stays as it is."""
    return element


def blank(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Z: the attribute stays without a value."""
    work.counts[element.tag, "Z"] += 1
    return empty(element)


def empty(element: Element) -> Element:
    """The element without its value."""
    vr = written(element)
    return Element(element.tag, vr, items=[]) if vr == "SQ" else Element(element.tag, vr)


def dummy(work: Work, element: Element, dataset: Elements) -> Element | None:
    """D: a value of its VR that is the same for everybody; what was empty stays empty."""
    vr = vrs_of(element.tag)[0]
    if not element.items if element.items is not None else len(element.value) == 0:
        return empty(element)
    work.counts[element.tag, "D"] += 1
    if vr == "SQ":
        items = element.items or []
        return Element(element.tag, "SQ", items=[_dummy_item(work, item) for item in items[:1]])
    if vr == "UI":
        return uid(work, element, dataset)
    return Element(element.tag, vr, dummy_of(vr) * (least_values(element.tag) if vr in SIZES else 1))


def _dummy_item(work: Work, item: Elements) -> Elements:
    """An item of the same shape in which every value is a dummy."""
    result: Elements = {}
    for tag, element in item.items():
        standard = vrs_of(tag)
        if standard and tag != 0x00080005 and standard[0] != "UI":
            made = dummy(work, element, item)
        else:
            made = registered(work, element, item) if standard == ("UI",) else None
        if made is not None:
            result[tag] = made
    return result


def uid(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Every UID becomes another, except those the standard registered (frames of reference, classes)."""
    return _mapped(work, element, keep_registered=element.tag not in INSTANCE_UIDS)


def registered(work: Work, element: Element, dataset: Elements) -> Element | None:
    """UIDs the standard registered stay, every other becomes another."""
    return _mapped(work, element, keep_registered=True)


def _mapped(work: Work, element: Element, *, keep_registered: bool) -> Element | None:
    originals = texts_of(element)
    if originals is None:
        work.counts[element.tag, "X"] += 1
        return None
    replaced = [text if not text or (keep_registered and is_registered(text)) else work.uid(text) for text in originals]
    if replaced != originals:
        work.counts[element.tag, "U"] += 1
    return Element(element.tag, "UI", "\\".join(replaced).encode("ascii"))


def same_uid(work: Work, element: Element, dataset: Elements) -> Element | None:
    """UIDs stay when they are UIDs."""
    uids = texts_of(element)
    if uids is None:
        return remove(work, element, dataset)
    if any(uid and not valid("UI", uid) for uid in uids):
        return registered(work, element, dataset)
    return Element(element.tag, "UI", "\\".join(uids).encode("ascii"))


def pseudonym(work: Work, element: Element, dataset: Elements) -> Element | None:
    """The patient's pseudonym, or that of whoever the item speaks of by PatientID."""
    if element.items is not None or len(element.value) == 0:
        return empty(element)
    work.counts[element.tag, "D"] += 1
    patient = work.patient
    value = patient.pseudonym
    if identifier := text_of(dataset.get(PATIENT_ID), patient.charsets):
        issuer = text_of(dataset.get(ISSUER_OF_PATIENT_ID), patient.charsets)
        value = patient.pseudonym_of(identifier, issuer)
    return Element(element.tag, vrs_of(element.tag)[0], value.encode())


def literal(value: str) -> Step:
    """The value that a project's recipe names."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        vr = vrs_of(element.tag)[0]
        if vr not in TEXT or not valid(vr, value):
            return blank(work, element, dataset)
        work.counts[element.tag, "D"] += 1
        return Element(element.tag, vr, value.encode("ascii"))

    return step


def walk(work: Work, element: Element, dataset: Elements) -> Element | None:
    """A sequence stays, item by item."""
    if element.items is None:
        return remove(work, element, dataset)
    return Element(element.tag, "SQ", items=[work.dataset(item, parent=element.tag) for item in element.items])


def written(element: Element) -> str:
    """The VR to write: the file's where the standard allows it, the standard's otherwise."""
    standard = vrs_of(element.tag)
    return element.vr if element.vr in standard or not standard else standard[0]


ACTIONS: dict[Action, Step] = {
    Action.REMOVE: remove,
    Action.BLANK: blank,
    Action.DUMMY: dummy,
    Action.UID: uid,
    Action.PSEUDONYM: pseudonym,
    Action.KEEP: remove,  # as a fallback: nothing to fall back to
}

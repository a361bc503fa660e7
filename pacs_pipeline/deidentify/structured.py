"""Structured content, item by item: what a content item of an SR tree or an acquisition context may keep.

An item is built anew from what its value type may hold, never copied: an attribute that does not belong
to the value type is left behind. Structure, numbers with units, published codes and references stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from pacs_pipeline.deidentify.codec import Element, Elements, components
from pacs_pipeline.deidentify.content_rules import CLEAN_DESCRIPTORS, ContentAction, StructuredRules, canonical
from pacs_pipeline.deidentify.values import dummy_of, is_registered, named, valid
from pacs_pipeline.deidentify.vocabulary import UNKNOWN_CODE
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

RELATIONSHIP, VALUE_TYPE, CONCEPT_NAME, CONTENT = 0x0040A010, 0x0040A040, 0x0040A043, 0x0040A730
REFERENCED_ITEM, CONTINUITY, TEMPLATE = 0x0040DB73, 0x0040A050, 0x0040A504
OBSERVATION_TIME, OBSERVATION_UID = 0x0040A032, 0x0040A171
TEXT, DATE_TIME, DATE, TIME = 0x0040A160, 0x0040A120, 0x0040A121, 0x0040A122
PERSON, UID, CONCEPT_CODE = 0x0040A123, 0x0040A124, 0x0040A168
MEASURED, QUALIFIER, UNITS = 0x0040A300, 0x0040A301, 0x004008EA
NUMERIC, FLOATING, NUMERATOR, DENOMINATOR = 0x0040A30A, 0x0040A161, 0x0040A162, 0x0040A163
REFERENCED_SOP = 0x00081199
GRAPHIC_DATA, GRAPHIC_TYPE, PIXEL_ORIGIN, FIDUCIAL, FRAME_OF_REFERENCE = (
    0x00700022, 0x00700023, 0x00480301, 0x0070031A, 0x30060024,
)  # fmt: skip
RANGE_TYPE, SAMPLE_POSITIONS, TIME_OFFSETS, REFERENCED_TIME = 0x0040A130, 0x0040A132, 0x0040A138, 0x0040A13A
CODE_VALUE, SCHEME, SCHEME_VERSION, MEANING = 0x00080100, 0x00080102, 0x00080103, 0x00080104
LONG_CODE, URN_CODE = 0x00080119, 0x00080120
MAPPING_RESOURCE, MAPPING_RESOURCE_UID, TEMPLATE_ID = 0x00080105, 0x00080118, 0x0040DB00

VALUE_UNKNOWN = ("114010", "DCM", "Value unknown")  # CID 42: why a measurement has no number
DUMMY = "ANONYMIZED"
OLDEST_AGE = 90  # years; higher ages are an identifier of their own (45 CFR 164.514 (b)(2)(i)(C))

# Enumerated values of PS3.3 C.17.3, C.18.6, C.18.7, C.18.9
ENUMERATED = {
    RELATIONSHIP: frozenset(
        ("CONTAINS", "HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "HAS PROPERTIES",
         "INFERRED FROM", "SELECTED FROM")
    ),
    CONTINUITY: frozenset(("SEPARATE", "CONTINUOUS")),
    GRAPHIC_TYPE: frozenset(
        ("POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE", "POLYGON", "ELLIPSOID")
    ),
    PIXEL_ORIGIN: frozenset(("FRAME", "VOLUME")),
    RANGE_TYPE: frozenset(("POINT", "MULTIPOINT", "SEGMENT", "MULTISEGMENT", "BEGIN", "END")),
}  # fmt: skip
_REFERENCES = ((REFERENCED_SOP,), ())
# Required and allowed attributes by value type, those aside that are built by a function below
_PARTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "CONTAINER": ((), ()),
    "TEXT": ((), ()),
    "NUM": ((), ()),
    "NUMERIC": ((), ()),
    "CODE": ((), ()),
    "PNAME": ((), ()),
    "DATE": ((), ()),
    "TIME": ((), ()),
    "DATETIME": ((), ()),
    "UIDREF": ((), ()),
    "IMAGE": _REFERENCES,
    "COMPOSITE": _REFERENCES,
    "WAVEFORM": _REFERENCES,
    "SCOORD": ((GRAPHIC_DATA,), (FIDUCIAL,)),
    "SCOORD3D": ((GRAPHIC_DATA, FRAME_OF_REFERENCE), (FIDUCIAL,)),
    "TCOORD": ((), (SAMPLE_POSITIONS, TIME_OFFSETS, REFERENCED_TIME)),
}
_KEYWORDS = {
    "SCOORD": ((GRAPHIC_TYPE, True), (PIXEL_ORIGIN, False)),
    "SCOORD3D": ((GRAPHIC_TYPE, True),),
    "TCOORD": ((RANGE_TYPE, True),),
    "CONTAINER": ((CONTINUITY, True),),
}
# The content item macro of acquisition contexts lets the value say its type (PS3.3 Table 10-2)
_TYPE_OF = {
    TEXT: "TEXT",
    NUMERIC: "NUMERIC",
    CONCEPT_CODE: "CODE",
    PERSON: "PNAME",
    DATE: "DATE",
    TIME: "TIME",
    DATE_TIME: "DATETIME",
    UID: "UIDREF",
}
_TEMPORAL = {"DATE": (DATE, "DA"), "TIME": (TIME, "TM"), "DATETIME": (DATE_TIME, "DT")}
_AGES = frozenset(
    canonical(*code)
    for code in (("DCM", "121033"), ("SCT", "397669002"), ("SCT", "445518008"), ("LN", "30525-0"), ("LN", "63900-5"))
)
_YEAR = "a"
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_TEMPLATE_ID = re.compile(r"[1-9]\d{0,5}")
_SCHEME_VERSION = re.compile(r"\d{1,2}(\.\d{1,2}){0,2}")  # no date and no number of a person
_LONGEST_POSITION = 64 * 4  # bytes of ReferencedContentItemIdentifier; trees are far less deep


class ContentContext(Protocol):
    """What the engine gives to the cleaning of content: the patient's replacements and its ordinary pass."""

    def uid(self, original: str, /) -> str:
        """The replacement of a UID that the standard did not register."""

    def shift(self, vr: str, text: str, /) -> str | None:
        """A DA, TM or DT as it may be written, or None when it may not stay."""

    def clean_text(self, text: str, /) -> str:
        """What may stay of a text; empty when nothing may."""

    def retain_text(self, text: str, /) -> str:
        """What stays of a text that an option retains: all but identifiers of people; empty when in doubt."""

    def pseudonym_of(self, name: str, /) -> str:
        """The pseudonym when ``name`` is the patient's own; empty otherwise."""

    def decode(self, value: bytes, /) -> str:
        """Text in the instance's character set."""

    def generic(self, elements: Elements, /, *, top: bool = False) -> Elements:
        """The engine's pass over attributes that are no matter of content."""

    def count(self, tag: int, letter: str, /) -> None:
        """Record an action by its letter of PS3.15 E.1."""


def clean_content(
    item: Elements, rules: StructuredRules, context: ContentContext, *, removable: bool = False
) -> Elements | None:
    """The clean copy of one content item with everything below it; None when the item is to be removed.

    ``removable`` says that the table's X may take an item out of the tree. It must not where another item
    points to its place (PS3.3 C.17.3.2.5): then, and where anything hangs on the item, the value is a dummy.
    Raises Quarantine: STRUCTURED_REPORT, for what cannot be understood. Source: PS3.15 E.3.4, Table E.3.4-1.
    """
    return _Cleaner(rules, context, removable).item(item, forced=False)


def clean_items(items: Iterable[Elements], rules: StructuredRules, context: ContentContext) -> list[Elements]:
    """Clean content items outside a tree: acquisition context, specimen preparation (PS3.3 Table 10-2)."""
    cleaned = (clean_content(item, rules, context, removable=True) for item in items)
    return [item for item in cleaned if item is not None]


def clean_root(dataset: Elements, rules: StructuredRules, context: ContentContext) -> Elements:
    """The content attributes of a document's root, with the whole tree below it."""
    removable = not has_references(dataset)
    clean = _Cleaner(rules, context, removable).root(dataset)
    return {tag: element for tag, element in clean.items() if tag in CONTENT_TAGS}


def has_references(item: Elements) -> bool:
    """Whether an item of the tree points to another one by its place (a by-reference relationship)."""
    return any(REFERENCED_ITEM in child or has_references(child) for child in items_of(item.get(CONTENT)))


def identifying_texts(dataset: Elements, rules: StructuredRules, decode: Callable[[bytes], str]) -> Iterator[str]:
    """The texts of content items that the table knows as identifiers, for the residue scan and the text cleaner."""
    for item in items_of(dataset.get(CONTENT)):
        scheme, value = _code_of(item.get(CONCEPT_NAME))
        action = rules.action(scheme, value, "TEXT")
        if action in (ContentAction.REMOVE, ContentAction.DUMMY) and not rules.is_description(scheme, value):
            element = item.get(TEXT)
            if element is not None and isinstance(element.value, bytes):
                yield decode(element.value).strip(" \0")
        yield from identifying_texts(item, rules, decode)


CONTENT_TAGS = frozenset(
    (RELATIONSHIP, VALUE_TYPE, CONCEPT_NAME, CONTENT, REFERENCED_ITEM, CONTINUITY, TEMPLATE, TEXT, DATE_TIME, DATE,
     TIME, PERSON, UID, CONCEPT_CODE, MEASURED, QUALIFIER, NUMERIC, FLOATING, NUMERATOR, DENOMINATOR, REFERENCED_SOP,
     GRAPHIC_DATA, GRAPHIC_TYPE, RANGE_TYPE, SAMPLE_POSITIONS, TIME_OFFSETS, REFERENCED_TIME)
)  # fmt: skip


class _Cleaner:
    """One tree on its way through the rules."""

    def __init__(self, rules: StructuredRules, context: ContentContext, removable: bool) -> None:
        self.rules = rules
        self.context = context
        self.removable = removable

    def root(self, dataset: Elements) -> Elements:
        """The root of a document: a container like any other, that always stays."""
        if keyword_in(dataset.get(VALUE_TYPE)) != "CONTAINER":
            raise _problem("the root of the document is no CONTAINER")
        clean: Elements = {}
        clean[VALUE_TYPE] = Element(VALUE_TYPE, "CS", b"CONTAINER")
        self._concept(dataset, clean)
        self._value("CONTAINER", dataset, clean, None)
        self._children(dataset, clean, forced=False)
        return clean

    def item(self, item: Elements, *, forced: bool) -> Elements | None:
        """One item; ``forced`` gives every value below a removed container a dummy."""
        if REFERENCED_ITEM in item:
            return self._reference(item)
        clean: Elements = {}
        self._enumerated(item, clean, RELATIONSHIP, required=False)
        value_type = self._value_type(item)
        scheme, value = _code_of(item.get(CONCEPT_NAME))
        action = self.rules.action(scheme, value, value_type)
        if self._may_go(item, clean, action, value_type):
            self.context.count(CONTENT, "X")
            return None
        if forced or action is ContentAction.REMOVE:
            forced = forced or value_type == "CONTAINER"
            action = ContentAction.DUMMY
        known = self._concept(item, clean)
        if not known:
            action = ContentAction.DUMMY  # a value of unknown meaning
        if VALUE_TYPE in item:
            clean[VALUE_TYPE] = Element(VALUE_TYPE, "CS", value_type.encode("ascii"))
        self._value(value_type, item, clean, action)
        clean |= self.context.generic({tag: item[tag] for tag in (OBSERVATION_TIME, OBSERVATION_UID) if tag in item})
        self._children(item, clean, forced=forced)
        return clean

    def _may_go(self, item: Elements, clean: Elements, action: ContentAction | None, value_type: str) -> bool:
        if action is not ContentAction.REMOVE or not self.removable:
            return False
        if RELATIONSHIP in clean and clean[RELATIONSHIP].data == b"SELECTED FROM":
            return False  # the parent means nothing without it
        return value_type == "CONTAINER" or not items_of(item.get(CONTENT))

    def _reference(self, item: Elements) -> Elements:
        """A relationship to an item elsewhere in the tree, by its position (type U in PS3.3 C.17.3)."""
        clean: Elements = {}
        self._enumerated(item, clean, RELATIONSHIP, required=False)
        if len(item[REFERENCED_ITEM].value) > _LONGEST_POSITION:
            raise _problem("a by-reference relationship is not understood")
        self._generic(item, clean, required=(REFERENCED_ITEM,))
        return clean

    def _value_type(self, item: Elements) -> str:
        if VALUE_TYPE in item:
            stated = keyword_in(item[VALUE_TYPE])
        else:
            found = [kind for tag, kind in _TYPE_OF.items() if tag in item]
            stated = found[0] if len(found) == 1 else ""
        if stated not in _PARTS:
            raise _problem("the value type of a content item is not understood")
        return stated

    def _children(self, item: Elements, clean: Elements, *, forced: bool) -> None:
        children = [self.item(child, forced=forced) for child in items_of(item.get(CONTENT))]
        kept = [child for child in children if child is not None]
        if kept:
            clean[CONTENT] = Element(CONTENT, "SQ", items=kept)

    def _concept(self, item: Elements, clean: Elements) -> bool:
        """Write the concept name; False when it is one that nobody published."""
        if not items_of(item.get(CONCEPT_NAME)):
            return CONCEPT_CODE not in item and TEXT not in item and MEASURED not in item and NUMERIC not in item
        code = self._published(item[CONCEPT_NAME], "the concept of a content item")
        clean[CONCEPT_NAME] = Element(CONCEPT_NAME, "SQ", items=[code or coded(*UNKNOWN_CODE)])
        return code is not None

    def _published(self, element: Element | None, what: str) -> Elements | None:
        """The code in a code sequence when it is published."""
        scheme, value = _code_of(element)
        written = self.rules.meaning(scheme, value) if value else None
        if written is None:
            if self.rules.unknown == "withhold":
                raise _problem(f"{what} is of no published coding scheme")
            self.context.count(CODE_VALUE, "C")
            return None
        return coded(value, scheme, written, _version_of(element))

    def _value(self, value_type: str, item: Elements, clean: Elements, action: ContentAction | None) -> None:
        required, allowed = _PARTS[value_type]
        for tag, needed in _KEYWORDS.get(value_type, ()):
            self._enumerated(item, clean, tag, required=needed)
        self._generic(item, clean, required=required, allowed=allowed)
        match value_type:
            case "CONTAINER":
                self._template(item, clean)
            case "TEXT":
                self._text(item, clean, action)
            case "NUM":
                self._measurement(item, clean, action)
            case "NUMERIC":
                self._number(item, clean, action)
            case "CODE":
                self._code(item, clean, action)
            case "PNAME":
                self._person(item, clean)
            case "DATE" | "TIME" | "DATETIME":
                self._temporal(value_type, item, clean, action)
            case "UIDREF":
                self._uid(item, clean)
            case "TCOORD":
                if not any(is_filled(clean.get(tag)) for tag in allowed) and any(tag in item for tag in allowed):
                    raise _problem("the times of a content item cannot be kept")

    def _code(self, item: Elements, clean: Elements, action: ContentAction | None) -> None:
        code = None
        if action is ContentAction.DUMMY:
            self.context.count(CONCEPT_CODE, "D")
        else:
            code = self._published(item.get(CONCEPT_CODE), "a coded value")
        clean[CONCEPT_CODE] = Element(CONCEPT_CODE, "SQ", items=[code or coded(*UNKNOWN_CODE)])

    def _text(self, item: Elements, clean: Elements, action: ContentAction | None) -> None:
        original = self._decoded(item.get(TEXT))
        kept = ""
        if original and action is ContentAction.KEEP:
            kept = self.context.retain_text(original)
        elif original and (
            action is ContentAction.CLEAN or (action is None and CLEAN_DESCRIPTORS in self.rules.options)
        ):
            kept = self.context.clean_text(original)
        text = kept if is_writable(kept) else DUMMY
        if text != original:
            self.context.count(TEXT, "D" if text == DUMMY else "C")
        clean[TEXT] = Element(TEXT, "UT", text.encode("ascii"))

    def _measurement(self, item: Elements, clean: Elements, action: ContentAction | None) -> None:
        """NUM: the number stays with its published unit; otherwise the sequence is empty, as type 2 allows."""
        measured = (
            [] if action is ContentAction.DUMMY else [self._measured(m, item) for m in items_of(item.get(MEASURED))]
        )
        kept = [one for one in measured[:1] if one is not None]
        clean[MEASURED] = Element(MEASURED, "SQ", items=kept)
        lost = not kept and bool(items_of(item.get(MEASURED)))
        if lost:
            self.context.count(MEASURED, "Z")
            clean[QUALIFIER] = Element(QUALIFIER, "SQ", items=[coded(*VALUE_UNKNOWN)])
        elif items_of(item.get(QUALIFIER)):
            code = self._published(item[QUALIFIER], "the qualifier of a number")
            clean[QUALIFIER] = Element(QUALIFIER, "SQ", items=[code or coded(*VALUE_UNKNOWN)])

    def _measured(self, measured: Elements, item: Elements) -> Elements | None:
        numbers = (NUMERIC, FLOATING, NUMERATOR, DENOMINATOR)
        kept = self.context.generic({tag: measured[tag] for tag in numbers if tag in measured})
        units = self._units(measured)
        if units is None or NUMERIC not in kept or not kept[NUMERIC].data.strip(b" \0"):
            return None
        kept[UNITS] = Element(UNITS, "SQ", items=[units])
        if canonical(*_code_of(item.get(CONCEPT_NAME))) in _AGES and _code_of(kept[UNITS])[1] == _YEAR:
            kept = _capped(kept)
        return kept

    def _number(self, item: Elements, clean: Elements, action: ContentAction | None) -> None:
        """NUMERIC of the content item macro: number and unit are required and stand in the item itself."""
        measured = None if action is ContentAction.DUMMY else self._measured(item, item)
        if measured is None:
            self.context.count(NUMERIC, "D")
            unit = Element(UNITS, "SQ", items=[coded("1", "UCUM", "no units")])
            measured = {NUMERIC: Element(NUMERIC, "DS", b"0"), UNITS: unit}
        clean |= measured

    def _units(self, measured: Elements) -> Elements | None:
        """A unit with its annotations left out where they are no published ones; they do not change a unit (UCUM)."""
        scheme, value = _code_of(measured.get(UNITS))
        if scheme == "UCUM" and self.rules.meaning(scheme, value) is None:
            value = _ANNOTATION.sub("", value)
            value = f"1{value}" if value[:1] in ("", "/") else value
        written = self.rules.meaning(scheme, value) if value else None
        if written is None:
            if self.rules.unknown == "withhold":
                raise _problem("a unit is of no published coding scheme")
            return None
        return coded(value, scheme, written, _version_of(measured.get(UNITS)))

    def _person(self, item: Elements, clean: Elements) -> None:
        name = self._decoded(item.get(PERSON))
        pseudonym = self.context.pseudonym_of(name) if name else ""
        self.context.count(PERSON, "D")
        clean[PERSON] = Element(PERSON, "PN", (pseudonym or DUMMY).encode("ascii"))

    def _temporal(self, value_type: str, item: Elements, clean: Elements, action: ContentAction | None) -> None:
        tag, vr = _TEMPORAL[value_type]
        moved = None
        if action is not ContentAction.DUMMY:
            original = self._decoded(item.get(tag))
            moved = self.context.shift(vr, original) if original else None
        self.context.count(tag, "D" if moved is None else "C")
        clean[tag] = Element(tag, vr, dummy_of(vr) if moved is None else moved.encode("ascii"))

    def _uid(self, item: Elements, clean: Elements) -> None:
        original = self._decoded(item.get(UID))
        if not original or is_registered(original):
            text = original
        else:
            text = self.context.uid(original)
            self.context.count(UID, "U")
        clean[UID] = Element(UID, "UI", text.encode("ascii", "ignore"))

    def _template(self, item: Elements, clean: Elements) -> None:
        """The standard's templates stay named; a private template names its maker and is left out."""
        for template in items_of(item.get(TEMPLATE))[:1]:
            resource, identifier = keyword_in(template.get(MAPPING_RESOURCE)), keyword_in(template.get(TEMPLATE_ID))
            if resource == "DCMR" and _TEMPLATE_ID.fullmatch(identifier):
                kept = {
                    MAPPING_RESOURCE: Element(MAPPING_RESOURCE, "CS", b"DCMR"),
                    TEMPLATE_ID: Element(TEMPLATE_ID, "CS", identifier.encode("ascii")),
                }
                uid = keyword_in(template.get(MAPPING_RESOURCE_UID))
                if is_registered(uid):
                    kept[MAPPING_RESOURCE_UID] = Element(MAPPING_RESOURCE_UID, "UI", uid.encode("ascii"))
                clean[TEMPLATE] = Element(TEMPLATE, "SQ", items=[kept])

    def _enumerated(self, item: Elements, clean: Elements, tag: int, *, required: bool) -> None:
        """A keyword out of the standard's closed list; anything else cannot be understood."""
        value = keyword_in(item.get(tag))
        if value in ENUMERATED[tag]:
            clean[tag] = Element(tag, "CS", value.encode("ascii"))
        elif value or (required and tag in item):
            raise _problem(f"{named(tag)} has a value that the standard does not know")

    def _generic(
        self, item: Elements, clean: Elements, *, required: tuple[int, ...], allowed: tuple[int, ...] = ()
    ) -> None:
        """Attributes the engine's ordinary pass judges; without a required one the item would be worthless."""
        wanted = {tag: item[tag] for tag in (*required, *allowed) if tag in item}
        if not wanted:
            return
        kept = self.context.generic(wanted)
        for tag in required:
            if tag in wanted and not is_filled(kept.get(tag)):
                raise _problem(f"{named(tag)} of a content item cannot be kept")
        clean |= kept

    def _decoded(self, element: Element | None) -> str:
        if element is None or not isinstance(element.value, bytes):
            return ""
        return self.context.decode(element.value).strip(" \0")


def coded(value: str, scheme: str, meaning: str, version: str = "") -> Elements:
    """The item of a code sequence (PS3.3 Table 8.8-1), of plain ASCII."""
    tag, vr = (CODE_VALUE, "SH") if len(value) <= 16 else (LONG_CODE, "UC")
    item = {
        tag: Element(tag, vr, value.encode("ascii")),
        SCHEME: Element(SCHEME, "SH", scheme.encode("ascii")),
        MEANING: Element(MEANING, "LO", meaning.encode("ascii")),
    }
    if version:
        item[SCHEME_VERSION] = Element(SCHEME_VERSION, "SH", version.encode("ascii"))
    return item


def _code_of(element: Element | None) -> tuple[str, str]:
    """Scheme and value of the first item of a code sequence, empty where they are absent."""
    items = items_of(element)
    if not items:
        return "", ""
    value = keyword_in(items[0].get(CODE_VALUE)) or keyword_in(items[0].get(LONG_CODE))
    return keyword_in(items[0].get(SCHEME)), value


def _version_of(element: Element | None) -> str:
    items = items_of(element)
    version = keyword_in(items[0].get(SCHEME_VERSION)) if items else ""
    return version if _SCHEME_VERSION.fullmatch(version) else ""


def items_of(element: Element | None) -> list[Elements]:
    """The items of a sequence, none when it is absent or no sequence."""
    return (element.items or []) if element is not None else []


def is_filled(element: Element | None) -> bool:
    """Whether an attribute is there with a value."""
    if element is None:
        return False
    return bool(element.items) if element.items is not None else len(element.value) > 0


def keyword_in(element: Element | None) -> str:
    """The first component of a value in the default repertoire; empty when it is absent."""
    if element is None or not isinstance(element.value, bytes):
        return ""
    return components(element.value)[0]


def is_writable(text: str) -> bool:
    """Whether a text is there and plain ASCII without control characters other than those of UT."""
    return bool(text.strip()) and text.isascii() and all(c.isprintable() or c in "\r\n\t\f" for c in text)


def _capped(numbers: Elements) -> Elements:
    """An age in years, not over 90 and without the digits behind the point of it."""
    text = numbers[NUMERIC].data.decode("ascii").strip(" \0")
    if not valid("DS", text) or float(text) < OLDEST_AGE:
        return numbers
    return {NUMERIC: Element(NUMERIC, "DS", str(OLDEST_AGE).encode("ascii")), UNITS: numbers[UNITS]}


def _problem(detail: str) -> Quarantine:
    return Quarantine(Reason.STRUCTURED_REPORT, detail)

"""Presentation states: how an image was shown stays, what somebody wrote on it is cleaned (PS3.15 E.3.3)."""

from __future__ import annotations

from pacs_pipeline.deidentify import icc, vocabulary
from pacs_pipeline.deidentify.codec import Element, Elements
from pacs_pipeline.deidentify.documents import CODING_SCHEMES, drop_unknown_equipment, published_schemes, with_type_2
from pacs_pipeline.deidentify.structured import DUMMY, ContentContext, is_filled, is_writable, items_of, keyword_in
from pacs_pipeline.deidentify.values import dummy_of, named, valid
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

ANNOTATIONS, LAYER, TEXT_OBJECTS, TEXT, GRAPHIC_OBJECTS = 0x00700001, 0x00700002, 0x00700008, 0x00700006, 0x00700009
LAYERS, LAYER_DESCRIPTION = 0x00700060, 0x00700068
CONTENT_LABEL, CONTENT_DESCRIPTION, CREATOR = 0x00700080, 0x00700081, 0x00700084
CREATION_DATE, CREATION_TIME = 0x00700082, 0x00700083
GROUPS, GROUP_LABEL, GROUP_DESCRIPTION = 0x00700234, 0x00700207, 0x00700208
COMPOUND_GRAPHICS, COMPOUND_ID, TEXT_STYLE = 0x00700209, 0x00700226, 0x00700231
SHUTTER_SHAPE, SHUTTER_OVERLAY = 0x00181600, 0x00181623
ICC_PROFILE = 0x00282000
REFERENCED_SERIES, REFERENCED_IMAGE, DISPLAYED_AREA = 0x00081115, 0x00081140, 0x0070005A

# Closed lists of PS3.3 C.10.5 and C.10.4; a drawing of another kind is not understood
ENUMERATED = {
    0x00700003: ("PIXEL", "DISPLAY", "MATRIX"),
    0x00700004: ("PIXEL", "DISPLAY", "MATRIX"),
    0x00700005: ("PIXEL", "DISPLAY", "MATRIX"),
    0x00700012: ("LEFT", "RIGHT", "CENTER"),
    0x00700015: ("Y", "N"),
    0x00700023: ("POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE"),
    0x00700024: ("Y", "N"),
    0x00700100: ("SCALE TO FIT", "TRUE SIZE", "MAGNIFY"),
}
GRAPHIC_REQUIRED = (0x00700020, 0x00700021, 0x00700022)  # dimensions, number of points, the points


def clean_presentation(dataset: Elements, context: ContentContext) -> Elements:
    """The clean copy of a presentation state, without the marks of de-identification.

    References, windows, lookup tables, shutters, areas and drawings stay. Every text is what the context's
    ``clean_text`` leaves of it, or a dummy. Layers with a name that is no known word are numbered. Bitmap
    shutters go with their overlays. Raises Quarantine: UNSUPPORTED, for what cannot be understood.
    """
    special = {ANNOTATIONS, LAYERS, GROUPS, CONTENT_LABEL, CONTENT_DESCRIPTION, ICC_PROFILE, SHUTTER_SHAPE}
    special.add(CODING_SCHEMES)
    clean = context.generic({tag: element for tag, element in dataset.items() if tag not in special}, top=True)
    clean |= published_schemes(dataset, context)
    drop_unknown_equipment(clean)
    names = _layer_names(dataset)
    if ANNOTATIONS in dataset:
        items = [_annotation(item, names, context) for item in items_of(dataset[ANNOTATIONS])]
        clean[ANNOTATIONS] = Element(ANNOTATIONS, "SQ", items=items)
    if LAYERS in dataset:
        items = [_layer(item, names, context) for item in items_of(dataset[LAYERS])]
        clean[LAYERS] = Element(LAYERS, "SQ", items=items)
    if GROUPS in dataset:
        items = [_group(item, number, context) for number, item in enumerate(items_of(dataset[GROUPS]), start=1)]
        clean[GROUPS] = Element(GROUPS, "SQ", items=items)
    _label(dataset, clean, context)
    _shutter(dataset, clean, context)
    if ICC_PROFILE in dataset:
        profile = dataset[ICC_PROFILE].value
        cleaned = icc.without_text(profile) if isinstance(profile, bytes) else None
        if cleaned is None:
            raise _problem(f"{named(ICC_PROFILE)} cannot be kept")
        context.count(ICC_PROFILE, "C")
        clean[ICC_PROFILE] = Element(ICC_PROFILE, "OB", cleaned)
    _same_shape(dataset, clean, (REFERENCED_SERIES, DISPLAYED_AREA))
    return clean


def _label(dataset: Elements, clean: Elements, context: ContentContext) -> None:
    """Identification of the content (PS3.3 C.12.1.1.10 content identification macro)."""
    if CONTENT_LABEL in dataset:
        label = keyword_in(dataset[CONTENT_LABEL])
        known = valid("CS", label) and vocabulary.known_code_string(label)
        context.count(CONTENT_LABEL, "K" if known else "D")
        clean[CONTENT_LABEL] = Element(CONTENT_LABEL, "CS", label.encode("ascii") if known else dummy_of("CS"))
    if CONTENT_DESCRIPTION in dataset:
        text = _cleaned(dataset[CONTENT_DESCRIPTION], context)
        clean[CONTENT_DESCRIPTION] = Element(CONTENT_DESCRIPTION, "LO", _short(text).encode("ascii"))
    for tag, vr in ((CREATION_DATE, "DA"), (CREATION_TIME, "TM")):  # type 1, whatever the profile does with dates
        if is_filled(dataset.get(tag)) and not is_filled(clean.get(tag)):
            clean[tag] = Element(tag, vr, dummy_of(vr))
    with_type_2(clean, dataset, (CREATOR,))


def _shutter(dataset: Elements, clean: Elements, context: ContentContext) -> None:
    """The shape of a shutter stays, except one that is drawn in an overlay, which is gone."""
    shapes = [shape for shape in _keywords(dataset.get(SHUTTER_SHAPE)) if shape]
    if not set(shapes) <= {"RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP"}:
        raise _problem(f"{named(SHUTTER_SHAPE)} has a value that the standard does not know")
    kept = [shape for shape in shapes if shape != "BITMAP"]
    if kept:
        clean[SHUTTER_SHAPE] = Element(SHUTTER_SHAPE, "CS", "\\".join(kept).encode("ascii"))
    elif shapes:
        for tag in [tag for tag in clean if 0x00181600 <= tag <= 0x00181624]:
            del clean[tag]
    if kept != shapes:
        context.count(SHUTTER_SHAPE, "X")
        clean.pop(SHUTTER_OVERLAY, None)


def _layer_names(dataset: Elements) -> dict[str, str]:
    """The name to write for each graphic layer, by the original one; different layers keep different names."""
    originals = [keyword_in(item.get(LAYER)) for item in items_of(dataset.get(LAYERS))]
    originals += [keyword_in(item.get(LAYER)) for item in items_of(dataset.get(ANNOTATIONS))]
    unique = list(dict.fromkeys(originals))
    names = {name: name for name in unique if name and valid("CS", name) and vocabulary.known_code_string(name)}
    free = (f"LAYER {number}" for number in range(1, 2 * len(unique) + 2) if f"LAYER {number}" not in names)
    return {name: names.get(name) or next(free) for name in unique}


def _layer(item: Elements, names: dict[str, str], context: ContentContext) -> Elements:
    clean = context.generic({tag: e for tag, e in item.items() if tag not in (LAYER, LAYER_DESCRIPTION)})
    clean[LAYER] = _named(item, names, context)
    if LAYER_DESCRIPTION in item and (text := _short(_cleaned(item[LAYER_DESCRIPTION], context))):
        clean[LAYER_DESCRIPTION] = Element(LAYER_DESCRIPTION, "LO", text.encode("ascii"))
    return clean


def _named(item: Elements, names: dict[str, str], context: ContentContext) -> Element:
    original = keyword_in(item.get(LAYER))
    context.count(LAYER, "K" if names[original] == original else "C")
    return Element(LAYER, "CS", names[original].encode("ascii"))


def _group(item: Elements, number: int, context: ContentContext) -> Elements:
    clean = context.generic({tag: e for tag, e in item.items() if tag not in (GROUP_LABEL, GROUP_DESCRIPTION)})
    if GROUP_LABEL in item:
        text = _short(_cleaned(item[GROUP_LABEL], context)) or f"GROUP {number}"
        clean[GROUP_LABEL] = Element(GROUP_LABEL, "LO", text.encode("ascii"))
    return clean


def _annotation(item: Elements, names: dict[str, str], context: ContentContext) -> Elements:
    """One item of GraphicAnnotationSequence (PS3.3 C.10.5); compound graphics only repeat its objects."""
    special = (LAYER, TEXT_OBJECTS, GRAPHIC_OBJECTS, COMPOUND_GRAPHICS)
    clean = context.generic({tag: element for tag, element in item.items() if tag not in special})
    if LAYER in item:
        clean[LAYER] = _named(item, names, context)
    if TEXT_OBJECTS in item:
        clean[TEXT_OBJECTS] = Element(
            TEXT_OBJECTS, "SQ", items=[_text_object(one, context) for one in items_of(item[TEXT_OBJECTS])]
        )
    if GRAPHIC_OBJECTS in item:
        clean[GRAPHIC_OBJECTS] = Element(
            GRAPHIC_OBJECTS, "SQ", items=[_graphic_object(one, context) for one in items_of(item[GRAPHIC_OBJECTS])]
        )
    _same_shape(item, clean, (REFERENCED_IMAGE,))
    return clean


def _text_object(item: Elements, context: ContentContext) -> Elements:
    clean = _drawn(item, context, (TEXT, TEXT_STYLE, COMPOUND_ID))
    text = _cleaned(item.get(TEXT), context) or DUMMY
    clean[TEXT] = Element(TEXT, "ST", text[:1024].encode("ascii"))
    return clean


def _graphic_object(item: Elements, context: ContentContext) -> Elements:
    clean = _drawn(item, context, (COMPOUND_ID,))
    for tag in GRAPHIC_REQUIRED:
        if tag in item and not is_filled(clean.get(tag)):
            raise _problem(f"{named(tag)} of an annotation cannot be kept")
    return clean


def _drawn(item: Elements, context: ContentContext, without: tuple[int, ...]) -> Elements:
    """An object by the ordinary pass, its keywords out of the standard's lists."""
    clean = context.generic(
        {tag: element for tag, element in item.items() if tag not in without and tag not in ENUMERATED}
    )
    for tag, values in ENUMERATED.items():
        keyword = keyword_in(item.get(tag))
        if keyword in values:
            clean[tag] = Element(tag, "CS", keyword.encode("ascii"))
        elif keyword:
            raise _problem(f"{named(tag)} has a value that the standard does not know")
    return clean


def _same_shape(source: Elements, clean: Elements, tags: tuple[int, ...]) -> None:
    for tag in tags:
        if is_filled(source.get(tag)) and not is_filled(clean.get(tag)):
            raise _problem(f"{named(tag)} cannot be kept")


def _cleaned(element: Element | None, context: ContentContext) -> str:
    if element is None or not isinstance(element.value, bytes):
        return ""
    original = context.decode(element.value).strip(" \0")
    text = context.clean_text(original).strip() if original else ""
    text = text if is_writable(text) else ""
    if text != original:
        context.count(element.tag, "C")
    return text


def _short(text: str) -> str:
    """A text as LO: one value, one line, 64 characters."""
    return " ".join(text.replace("\\", " ").split())[:64].strip()


def _keywords(element: Element | None) -> list[str]:
    if element is None or not isinstance(element.value, bytes):
        return []
    return [part.decode("latin-1").strip(" \0") for part in element.value.split(b"\\")]


def _problem(detail: str) -> Quarantine:
    return Quarantine(Reason.UNSUPPORTED, detail)

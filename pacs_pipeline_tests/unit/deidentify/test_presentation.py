"""Presentation states and ICC profiles: the view stays, what was written on it does not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from pacs_pipeline.deidentify import Keys, icc
from pacs_pipeline.records import Reason

from . import builder, reports
from .reports import SENTENCE, leaks, presentation, reference
from .test_structured import Reports, leaks_in


@pytest.fixture
def bench(keys: Keys, tmp_path: Path) -> Reports:
    return Reports(keys, tmp_path)


@pytest.mark.parametrize("profile", ["basic", "basic-modified-dates"])
def test_a_presentation_state_keeps_its_view_and_loses_its_words(bench: Reports, profile: str) -> None:
    path = bench.path(presentation(), profile=profile)
    assert leaks(path) == []
    clean = builder.load(path)
    (annotation,) = clean.GraphicAnnotationSequence
    (note,), (line,) = annotation.TextObjectSequence, annotation.GraphicObjectSequence
    assert note.UnformattedTextValue == "ANONYMIZED"
    assert list(note.AnchorPoint) == [10, 20]
    assert (list(line.GraphicData), line.GraphicType) == ([1, 2, 3, 4.5], "POLYLINE")
    assert annotation.GraphicLayer == clean.GraphicLayerSequence[0].GraphicLayer == "LAYER 1"
    assert (clean.ContentLabel, clean.ContentDescription) == ("OTHER", "")
    assert clean.SoftcopyVOILUTSequence[0].WindowWidth == 400
    assert clean.DisplayedAreaSelectionSequence[0].PresentationSizeMode == "SCALE TO FIT"
    series = clean.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert series.ReferencedSOPInstanceUID == annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert len(clean.PresentationCreationDate) == 8
    assert str(clean.ContentCreatorName) == ""  # type 2


def test_texts_are_what_the_cleaner_leaves(bench: Reports) -> None:
    clean = bench.clean(presentation(), clean=lambda t: "lesion 3" if t == SENTENCE else "view\\of a\r\nlayer")
    assert clean.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue == "lesion 3"
    assert clean.ContentDescription == "view of a layer"
    assert clean.GraphicLayerSequence[0].GraphicLayerDescription == "view of a layer"


def test_different_layers_keep_different_names(bench: Reports) -> None:
    ds = presentation()
    names = ["ABERNATHY", "AXIAL", "LAYER 1", "KOWALCZYK"]
    layers, annotations = [], []
    for number, name in enumerate(names, start=1):
        layer, annotation = Dataset(), Dataset()
        layer.GraphicLayer, layer.GraphicLayerOrder = name, number
        annotation.GraphicLayer = name
        layers.append(layer)
        annotations.append(annotation)
    ds.GraphicLayerSequence, ds.GraphicAnnotationSequence = Sequence(layers), Sequence(annotations[::-1])
    path = bench.path(ds)
    assert leaks(path) == []
    clean = builder.load(path)
    written = [layer.GraphicLayer for layer in clean.GraphicLayerSequence]
    assert len(set(written)) == len(names)
    assert written[1] == "AXIAL"
    assert [a.GraphicLayer for a in clean.GraphicAnnotationSequence] == written[::-1]


def test_groups_styles_and_compound_graphics_carry_no_names(bench: Reports) -> None:
    ds = presentation()
    group, style, compound = Dataset(), Dataset(), Dataset()
    group.GraphicGroupID, group.GraphicGroupLabel, group.GraphicGroupDescription = 1, "Josephine", SENTENCE
    ds.GraphicGroupSequence = Sequence([group])
    style.CSSFontName = style.FontName = "Kowalczyk Sans"
    annotation = ds.GraphicAnnotationSequence[0]
    annotation.TextObjectSequence[0].TextStyleSequence = Sequence([style])
    compound.CompoundGraphicInstanceID, compound.GraphicLayer, compound.CompoundGraphicType = 1, "DR KOWALCZYK", "RULER"
    tick = Dataset()
    tick.TickPosition, tick.TickLabel = 0.5, "Abernathy"
    compound.MajorTicksSequence = Sequence([tick])
    annotation.CompoundGraphicSequence = Sequence([compound])
    path = bench.path(ds)
    assert leaks(path) == []
    clean = builder.load(path)
    assert clean.GraphicGroupSequence[0].GraphicGroupLabel == "GROUP 1"
    assert "CompoundGraphicSequence" not in clean.GraphicAnnotationSequence[0]
    assert "TextStyleSequence" not in clean.GraphicAnnotationSequence[0].TextObjectSequence[0]


@pytest.mark.parametrize(
    ("shape", "kept"), [("CIRCULAR", ["CIRCULAR"]), ("BITMAP", []), (["RECTANGULAR", "BITMAP"], ["RECTANGULAR"])]
)
def test_shutters_stay_unless_they_are_drawn_in_an_overlay(bench: Reports, shape: object, kept: list[str]) -> None:
    ds = presentation()
    ds.ShutterShape, ds.CenterOfCircularShutter, ds.RadiusOfCircularShutter = shape, [9, 9], 7
    ds.ShutterOverlayGroup, ds.ShutterPresentationValue = 0x6000, 0
    builder.put(ds, 0x60003000, "OW", SENTENCE.encode().ljust(96))
    path = bench.path(ds)
    assert leaks(path) == []
    clean = builder.load(path)
    found = clean.get("ShutterShape", [])
    assert ([found] if isinstance(found, str) else list(found)) == kept
    assert ("RadiusOfCircularShutter" in clean) is bool(kept)
    assert ("ShutterOverlayGroup" in clean) is (kept == ["CIRCULAR"])


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("GraphicType", "ABERNATHY"), ("GraphicAnnotationUnits", "ABERNATHY"), ("GraphicData", list(range(40000)))],
)
def test_a_drawing_that_is_not_understood_is_withheld(bench: Reports, keyword: str, value: object) -> None:
    ds = presentation()
    setattr(ds.GraphicAnnotationSequence[0].GraphicObjectSequence[0], keyword, value)
    outcome = bench.refused(ds)
    assert (outcome.reason, leaks_in(outcome.detail)) == (Reason.UNSUPPORTED, [])


def test_a_shutter_that_is_not_understood_is_withheld(bench: Reports) -> None:
    assert bench.refused(presentation(ShutterShape="ABERNATHY")).reason is Reason.UNSUPPORTED


def test_references_must_survive(bench: Reports) -> None:
    ds = presentation()
    builder.put(ds, 0x00081115, "LO", "secret")
    assert bench.refused(ds).reason is Reason.UNSUPPORTED


def profile_bytes(*tags: tuple[bytes, bytes], version: int = 2) -> bytes:
    """A display profile with ``tags``; maker, model and date are planted."""
    header = bytearray(128)
    header[4:8], header[8], header[12:24], header[36:40] = b"lcms", version, b"mntrRGB XYZ ", b"acsp"
    header[24:36] = struct.pack(">6H", 2020, 3, 17, 10, 15, 0)
    header[48:52], header[80:84] = b"secr", b"Kowa"
    start, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags:
        table += struct.pack(">4sLL", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    whole = bytes(header) + struct.pack(">L", len(tags)) + table + body
    return struct.pack(">L", len(whole)) + whole[4:]


WHITE = (b"wtpt", b"XYZ " + bytes(4) + struct.pack(">3L", 0xF351, 0x10000, 0x116CC))
CURVE = b"curv" + bytes(4) + struct.pack(">LH", 1, 0x0233)
TAGS = (
    WHITE,
    (b"rTRC", CURVE),
    (b"gTRC", CURVE),
    (b"desc", b"desc" + bytes(4) + b"secret screen of Dr. Kowalczyk"),
    (b"dmnd", b"text" + bytes(4) + b"Marienhospital"),
    (b"xyzq", b"text" + bytes(4) + b"MRN-5550123"),
)


@pytest.mark.parametrize("version", [2, 4])
def test_an_icc_profile_keeps_its_colours_only(version: int) -> None:
    clean = icc.without_text(profile_bytes(*TAGS, version=version))
    assert clean is not None
    assert [p for p in (*reports.PLANTS, "Kowa", "lcms", "secr") if p.lower().encode() in clean.lower()] == []
    assert WHITE[1] in clean
    assert clean.count(CURVE) == 1  # shared, as it was the same
    assert struct.unpack(">L", clean[:4])[0] == len(clean)
    assert icc.without_text(clean) == clean


def test_an_icc_profile_is_still_one_for_others() -> None:
    image_cms = pytest.importorskip("PIL.ImageCms")
    import io

    made = image_cms.ImageCmsProfile(image_cms.createProfile("sRGB")).tobytes()
    clean = icc.without_text(made)
    assert clean is not None
    image_cms.getOpenProfile(io.BytesIO(clean))
    assert image_cms.getProfileDescription(image_cms.ImageCmsProfile(io.BytesIO(clean))).strip() == "ICC profile"


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"Kowalczyk" * 40,
        profile_bytes((b"wtpt", b"text" + bytes(4) + b"Kowalczyk")),
        profile_bytes((b"rTRC", b"curv" + bytes(4) + b"Josephine Abernathy")),
        profile_bytes(WHITE)[:-8],
        profile_bytes(WHITE, version=9),
    ],
)
def test_what_is_no_colorimetry_is_refused(bad: bytes, bench: Reports) -> None:
    assert icc.without_text(bad) is None
    assert bench.refused(presentation("11.2", ICCProfile=bad or b"\0")).reason is Reason.UNSUPPORTED


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_of_a_profile_break_anything(noise: bytes, at: int) -> None:
    whole = profile_bytes(*TAGS)
    icc.without_text(whole[:at] + noise + whole[at + len(noise) :])
    icc.without_text(noise)


def test_a_colour_state_keeps_a_profile(bench: Reports) -> None:
    ds: FileDataset = presentation("11.2", ICCProfile=profile_bytes(*TAGS))
    path = bench.path(ds)
    assert leaks(path) == []
    assert WHITE[1] in builder.load(path).ICCProfile


def test_every_reference_stays(bench: Reports) -> None:
    ds = presentation()
    ds.ReferencedSeriesSequence[0].ReferencedImageSequence = Sequence([reference(), reference("1.2.999.5")])
    clean = bench.clean(ds)
    assert len(clean.ReferencedSeriesSequence[0].ReferencedImageSequence) == 2

"""Content items and SR documents, from file to file: no planted string survives, what is useful does."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacs_pipeline.deidentify import Keys, Outcome, load_profile, structured
from pacs_pipeline.deidentify.codec import read
from pacs_pipeline.deidentify.content_context import RewriteContext
from pacs_pipeline.deidentify.content_rules import ContentAction, StructuredRules, canonical, read_content_table
from pacs_pipeline.deidentify.document_classes import Family, family_of, option_for
from pacs_pipeline.deidentify.steps.work import Patient
from pacs_pipeline.records import Reason

from . import builder, reports
from .reports import (
    COMMENT,
    FINDING,
    MM,
    PLANTS,
    PRIVATE,
    SENTENCE,
    STORAGE,
    by_reference,
    code,
    coded,
    concept_of,
    content,
    document,
    leaks,
    number,
    picture,
    planted,
    text,
    walk,
)

DISTANCE = code("121206", "DCM", "Distance")


profile_of = lru_cache(load_profile)


class Reports:
    """Runs documents through the engine in a folder of its own."""

    def __init__(self, keys: Keys, folder: Path) -> None:
        self.keys, self.folder = keys, folder

    def engine(self, *options: str, profile: str = "basic-modified-dates", **more: object) -> reports.ReportEngine:
        unknown = more.pop("unknown", "replace")
        codes = sorted({*reports.CLEAN[1:], "113103", *options})
        names = tuple(reports.NAMES[code] for code in codes)
        loaded = profile_of(profile, options=names, unknown_concepts=unknown)  # type: ignore[arg-type]
        return reports.ReportEngine(loaded, self.keys, **more)  # type: ignore[arg-type]

    def run(self, ds: FileDataset, engine: reports.ReportEngine) -> Outcome:
        source = self.folder / "in.dcm"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            builder.save(ds, source)
        return engine.deidentify(source, self.folder / "out")

    def path(self, ds: FileDataset, *options: str, **more: object) -> Path:
        outcome = self.run(ds, self.engine(*options, **more))  # type: ignore[arg-type]
        assert outcome.released, (outcome.reason, outcome.detail)
        assert outcome.output is not None
        return outcome.output

    def clean(self, ds: FileDataset, *options: str, **more: object) -> FileDataset:
        return builder.load(self.path(ds, *options, **more))

    def items(self, children: list[Dataset], *options: str, **more: object) -> list[Dataset]:
        return list(self.clean(document(children), *options, **more).get("ContentSequence", []))

    def refused(self, ds: FileDataset, *options: str, **more: object) -> Outcome:
        outcome = self.run(ds, self.engine(*options, **more))  # type: ignore[arg-type]
        assert not outcome.released
        assert not list((self.folder / "out").rglob("*")) or not list((self.folder / "out").rglob("*.dcm"))
        return outcome


@pytest.fixture
def bench(keys: Keys, tmp_path: Path) -> Reports:
    return Reports(keys, tmp_path)


@pytest.mark.parametrize("profile", ["basic", "basic-modified-dates"])
@pytest.mark.parametrize("references", [False, True], ids=["tree", "by-reference"])
@pytest.mark.parametrize("options", [(), ("113107",), ("113105", "113107", "113108", "113109", "113112")])
def test_no_planted_string_is_anywhere_in_the_output(
    bench: Reports, profile: str, references: bool, options: tuple[str, ...]
) -> None:
    children = planted() + ([by_reference(1, 3)] if references else [])
    # the cleaner of a profile removes what it does not know; this one keeps nothing but a word
    path = bench.path(document(children), *options, profile=profile, clean=lambda _: "seen")
    assert leaks(path) == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_comes_through(bench: Reports, syntax: str) -> None:
    ds = document([text(COMMENT, SENTENCE), number(DISTANCE, "12.5")])
    ds.file_meta.TransferSyntaxUID = syntax
    ds._read_little = None  # it was made here, not read
    path = bench.path(ds)
    assert leaks(path) == []
    assert [item.ValueType for item in builder.load(path).ContentSequence] == ["NUM"]


def test_numbers_published_codes_and_coordinates_survive(bench: Reports) -> None:
    clean = bench.clean(document(planted()))
    found = {concept_of(item): item for item in walk(clean)}
    assert found["363698007"].ConceptCodeSequence[0].CodeValue == "39607008"
    assert found["363698007"].ConceptCodeSequence[0].CodeMeaning == "Lung structure"
    assert found["121071"].ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    regions = [item for item in walk(clean) if item.ValueType == "SCOORD"]
    assert list(regions[0].GraphicData) == [1.5, 2.5, 3.5, 4.5]
    measured = [i.MeasuredValueSequence[0] for i in walk(clean) if i.ValueType == "NUM" and i.MeasuredValueSequence]
    assert [float(m.NumericValue) for m in measured] == [12.5]
    assert measured[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"


def test_references_agree_with_each_other(bench: Reports) -> None:
    clean = bench.clean(document(planted()))
    used = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in walk(clean) if "ReferencedSOPSequence" in i}
    study = clean.CurrentRequestedProcedureEvidenceSequence[0]
    listed = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert used == {listed}
    assert study.StudyInstanceUID == clean.StudyInstanceUID == clean.ReferencedRequestSequence[0].StudyInstanceUID


def test_removed_items_leave_no_hole_and_no_empty_sequence(bench: Reports) -> None:
    inner = content("CONTAINER", code("121070", "DCM", "Findings"), [text(COMMENT, SENTENCE)])
    items = bench.items([text(COMMENT, SENTENCE), inner])
    assert [concept_of(item) for item in items] == ["121070"]
    assert "ContentSequence" not in items[0]


def test_with_by_reference_relationships_nothing_moves(bench: Reports) -> None:
    children = [text(COMMENT, SENTENCE), number(DISTANCE, "1"), number(DISTANCE, "2")]
    children[2].ContentSequence = Sequence([by_reference(1, 2)])
    items = bench.items(children)
    assert [item.ValueType for item in items] == ["TEXT", "NUM", "NUM"]
    assert items[0].TextValue == "ANONYMIZED"
    assert list(items[2].ContentSequence[0].ReferencedContentItemIdentifier) == [1, 2]
    assert items[2].ContentSequence[0].RelationshipType == "INFERRED FROM"
    assert "ValueType" not in items[2].ContentSequence[0]


def test_an_item_on_which_others_hang_is_not_removed(bench: Reports) -> None:
    (item,) = bench.items([text(COMMENT, SENTENCE, children=[number(DISTANCE, "7", relationship="HAS PROPERTIES")])])
    assert item.TextValue == "ANONYMIZED"
    assert float(item.ContentSequence[0].MeasuredValueSequence[0].NumericValue) == 7


def test_what_a_region_was_selected_from_stays(bench: Reports) -> None:
    illustration = code("121200", "DCM", "Illustration of ROI")
    region = content(
        "SCOORD",
        None,
        [picture(illustration, relationship="SELECTED FROM")],
        GraphicData=[1.0, 2.0],
        GraphicType="POINT",
    )
    items = bench.items([region, picture(illustration)])
    assert [item.ValueType for item in items] == ["SCOORD"]
    assert items[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID.startswith("2.25.")


def test_a_position_is_not_longer_than_a_tree_is_deep(bench: Reports) -> None:
    assert bench.refused(document([picture(), by_reference(*range(1, 80))])).reason is Reason.STRUCTURED_REPORT


def test_a_removed_container_takes_all_below_with_it(bench: Reports) -> None:
    device = content(
        "CONTAINER",
        code("121000", "DCM", "Unique Device Identifiers"),
        [text(FINDING, SENTENCE), number(DISTANCE, "7"), coded(FINDING, code("39607008", "SCT", "Lung"))],
    )
    assert bench.items([device, picture()])[0].ValueType == "IMAGE"
    kept = bench.items([device, picture(), by_reference(1, 2)], "113105", clean=lambda t: t)
    assert kept[0].ContentSequence[0].TextValue == "ANONYMIZED"
    assert len(kept[0].ContentSequence[1].MeasuredValueSequence) == 0
    assert kept[0].ContentSequence[2].ConceptCodeSequence[0].CodeValue == "261665006"


def test_texts_are_cleaned_when_the_option_says_so(bench: Reports) -> None:
    def cleaner(value: str) -> str:
        return "nodule in the lung" if "Josephine" in value else value

    children = [
        text(FINDING, SENTENCE),
        text(code("112039", "DCM", "Tracking Identifier"), "nodule"),
        text(code("121013", "DCM", "Device Observer Name"), "station of Josephine", children=[picture()]),
        text(PRIVATE, "nodule"),
    ]
    items = bench.items(children, "113105", clean=cleaner)
    assert [i.TextValue for i in items] == ["nodule in the lung", "nodule", "ANONYMIZED", "ANONYMIZED"]
    assert {i.TextValue for i in bench.items(children, clean=cleaner)} == {"ANONYMIZED"}


def test_a_retained_text_is_looked_through_for_people(bench: Reports) -> None:
    station = text(code("121013", "DCM", "Device Observer Name"), "CT 1 of Josephine")
    (kept,) = bench.items([station], "113109", retain=lambda t: t.replace(" of Josephine", ""))
    assert kept.TextValue == "CT 1"
    (unseen,) = bench.items([station], "113109")
    assert unseen.TextValue == "ANONYMIZED"
    assert bench.items([station, picture()])[0].ValueType == "IMAGE"


@pytest.mark.parametrize("cleaned", ["", "  ", "J\u00f6rg", "a\x1bb", "a\x00b"])
def test_what_a_cleaner_may_not_write_becomes_a_dummy(bench: Reports, cleaned: str) -> None:
    (item,) = bench.items([text(FINDING, "x")], "113105", clean=lambda _: cleaned)
    assert item.TextValue == "ANONYMIZED"


def test_names_of_the_patient_become_the_pseudonym(bench: Reports) -> None:
    names = [
        content("PNAME", code("121029", "DCM", "Subject Name"), PersonName=name)
        for name in ("Abernathy^Josephine^M", "ABERNATHY^JOSEPHINE^M^^", "Kowalczyk^Zdzislaw")
    ]
    clean = bench.clean(document(names))
    pseudonym = str(clean.PatientName)
    assert [str(item.PersonName) for item in clean.ContentSequence] == [pseudonym, pseudonym, "ANONYMIZED"]


def test_dates_move_with_the_dates_of_the_header(bench: Reports) -> None:
    started = code("111526", "DCM", "DateTime Started")
    children = [
        content("DATETIME", started, DateTime="20200317101500.5+0100"),
        content("DATE", code("111060", "DCM", "Study Date"), Date="20200317"),
        content("DATE", code("121031", "DCM", "Subject Birth Date"), Date="19510704", children=[picture()]),
        content("DATETIME", code("121031", "DCM", "Subject Birth Date"), DateTime="19510704", children=[picture()]),
        content("DATE", code("111060", "DCM", "Study Date"), Date="20200230"),
        content("TIME", code("111061", "DCM", "Study Time"), Time="1015"),
        content("TCOORD", COMMENT, TemporalRangeType="POINT", ReferencedDateTime=["20200317"]),
    ]
    clean = bench.clean(document(children), "113107")
    items = clean.ContentSequence
    assert items[0].DateTime == clean.StudyDate + "101500.5+0100"
    assert items[1].Date == clean.StudyDate != "20200317"
    assert (items[2].Date, items[3].DateTime) == ("19000101", "19000101000000")
    assert items[4].Date == "19000101"
    assert items[5].Time == "1015"
    assert items[6].ReferencedDateTime == clean.StudyDate
    basic = bench.clean(document(children), profile="basic")
    found = [item for item in basic.ContentSequence if "Date" in item or "DateTime" in item]
    assert {str(item.get("Date", item.get("DateTime"))) for item in found} == {"19000101", "19000101000000"}


@pytest.mark.parametrize(
    ("unit", "kept"),
    [
        ("mm", "mm"),
        ("{beats}/min", "1/min"),
        ("{Josephine}", "1"),
        ("mm{Josephine}", "mm"),
        ("[Josephine]", None),
        ("Abernathy", None),
    ],
)
def test_a_number_stays_with_a_published_unit_only(bench: Reports, unit: str, kept: str | None) -> None:
    (item,) = bench.items([number(DISTANCE, "12.5", code(unit, "UCUM", "Josephine"))])
    if kept is None:
        assert len(item.MeasuredValueSequence) == 0
        assert item.NumericValueQualifierCodeSequence[0].CodeValue == "114010"
    else:
        (measured,) = item.MeasuredValueSequence
        assert (float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue) == (12.5, kept)


def test_a_measurement_without_value_keeps_its_reason(bench: Reports) -> None:
    item = content("NUM", DISTANCE, MeasuredValueSequence=Sequence([]))
    item.NumericValueQualifierCodeSequence = Sequence([code("114006", "DCM", "Measurement failure")])
    (clean,) = bench.items([item])
    assert len(clean.MeasuredValueSequence) == 0
    assert clean.NumericValueQualifierCodeSequence[0].CodeValue == "114006"


@pytest.mark.parametrize(("age", "kept"), [("54", 54), ("89", 89), ("90", 90), ("97", 90), ("103.5", 90)])
def test_subject_characteristics_follow_their_option(bench: Reports, age: str, kept: float) -> None:
    year = code("a", "UCUM", "year")
    children = [
        number(code("121033", "DCM", "Subject Age"), age, year),
        coded(code("121032", "DCM", "Subject Sex"), code("F", "DCM", "Female")),
        number(code("27113001", "SCT", "Body weight"), "71", code("kg", "UCUM", "kg")),
        number(DISTANCE, "97", year),
    ]
    assert len(bench.items(children)) == 1
    items = bench.items(children, "113108")
    assert [float(i.MeasuredValueSequence[0].NumericValue) for i in items if i.ValueType == "NUM"] == [kept, 71, 97]
    assert items[1].ConceptCodeSequence[0].CodeValue == "F"


def test_an_identifier_in_another_value_type_is_still_one(bench: Reports) -> None:
    children = [
        number(code("121022", "DCM", "Accession Number"), "778812", code("1", "UCUM", "no units")),
        text(code("121031", "DCM", "Subject Birth Date"), "July fourth"),
        text(code("121029", "DCM", "Subject Name"), "Jo"),
        number(FINDING, "3"),
    ]
    items = bench.items(children, "113105", "113108", clean=lambda t: t)
    assert len(items[0].MeasuredValueSequence) == 0
    assert [items[1].TextValue, items[2].TextValue] == ["ANONYMIZED", "ANONYMIZED"]
    assert len(items[3].MeasuredValueSequence) == 1


def test_older_codes_of_a_concept_are_the_same_concept(bench: Reports) -> None:
    assert canonical("SRT", "G-C0E3") == ("SCT", "363698007")
    rules = StructuredRules.of(("113100",))
    assert rules.action("SRT", "R-42B89", "COMPOSITE") is rules.action("SCT", "371524004", "COMPOSITE")
    assert rules.action("SRT", "R-42B89", "COMPOSITE") is ContentAction.REMOVE
    site = coded(code("G-C0E3", "SRT", "Finding Site"), code("T-28000", "SRT", "Lung"))
    (item,) = bench.items([site])
    assert item.ConceptCodeSequence[0].CodeValue == "T-28000"


def test_private_concepts_are_replaced_or_withheld(bench: Reports) -> None:
    children = [coded(PRIVATE, code("39607008", "SCT", "Lung")), content("CONTAINER", PRIVATE, [picture()])]
    items = bench.items(children)
    assert [concept_of(item) for item in items] == ["261665006", "261665006"]
    assert items[1].ContentSequence[0].ValueType == "IMAGE"
    for ds in (document(children), document([coded(FINDING, PRIVATE)]), document([number(DISTANCE, "1", PRIVATE)])):
        (bench.folder / "out").exists() and shutil.rmtree(bench.folder / "out")
        outcome = bench.refused(ds, unknown="withhold")
        assert outcome.reason is Reason.STRUCTURED_REPORT
        assert leaks_in(outcome.detail) == []
    assert bench.run(
        document([coded(FINDING, code("39607008", "SCT", "Lung"))]), bench.engine(unknown="withhold")
    ).released
    with pytest.raises(ValueError, match="replaced or withheld"):
        StructuredRules.of(("113100",), "keep")  # type: ignore[arg-type]


def leaks_in(detail: str) -> list[str]:
    return [plant for plant in PLANTS if plant.lower() in detail.lower()]


def test_meanings_are_the_published_ones_when_the_file_says_something_else(bench: Reports) -> None:
    item = coded(code("121071", "DCM", "Abernathy"), code("39607008", "SCT", "lung of Josephine"))
    (clean,) = bench.items([item])
    assert clean.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert clean.ConceptCodeSequence[0].CodeMeaning == "Lung structure"


def _spoil(**attributes: object) -> Dataset:
    item = content("SCOORD", None, GraphicData=[1.0, 2.0], GraphicType="POINT")
    for keyword, value in attributes.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            setattr(item, keyword, value)
    return item


@pytest.mark.parametrize(
    "item",
    [
        _spoil(ValueType="ABERNATHY"),
        _spoil(ValueType="TABLE"),
        _spoil(ValueType=""),
        _spoil(RelationshipType="ABERNATHY"),
        _spoil(GraphicType="ABERNATHY"),
        _spoil(PixelOriginInterpretation="ABERNATHY"),
        content("TCOORD", None, TemporalRangeType="ABERNATHY", ReferencedTimeOffsets=["1"]),
        content("SCOORD", None, GraphicType="POINT", GraphicData=list(range(40000))),  # longer than what is read
    ],
)
def test_what_the_standard_does_not_know_is_withheld(bench: Reports, item: Dataset) -> None:
    outcome = bench.refused(document([item]))
    assert outcome.reason is Reason.STRUCTURED_REPORT
    assert leaks_in(outcome.detail) == []


def test_numbers_that_spell_a_name_are_no_coordinates(bench: Reports) -> None:
    item = _spoil()
    item.GraphicData = list(struct.unpack("<4f", b"Kowalczyk Zdzisl"))
    assert bench.refused(document([item])).reason is Reason.STRUCTURED_REPORT


def test_the_root_must_be_a_container(bench: Reports) -> None:
    assert bench.refused(document([], ValueType="TEXT")).reason is Reason.STRUCTURED_REPORT


@pytest.mark.parametrize("keyword", ["CompletionFlag", "VerificationFlag", "PreliminaryFlag"])
def test_flags_are_of_the_standard(bench: Reports, keyword: str) -> None:
    outcome = bench.refused(document([], **{keyword: "JOSEPHINE"}))
    assert (outcome.reason, leaks_in(outcome.detail)) == (Reason.STRUCTURED_REPORT, [])


def test_a_verified_document_keeps_one_observer_without_a_name(bench: Reports) -> None:
    clean = bench.clean(document([picture()]))
    assert clean.VerificationFlag == "VERIFIED"
    (observer,) = clean.VerifyingObserverSequence
    assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == ("ANONYMIZED", "ANONYMIZED")
    assert observer.VerificationDateTime[:8] == clean.StudyDate
    assert len(observer.VerifyingObserverIdentificationCodeSequence) == 0
    assert "AuthorObserverSequence" not in clean
    request = clean.ReferencedRequestSequence[0]
    assert (request.RequestedProcedureID, request.AccessionNumber) == ("", "")


def test_only_templates_of_the_standard_stay_named(bench: Reports) -> None:
    assert bench.clean(document([], template="1500")).ContentTemplateSequence[0].TemplateIdentifier == "1500"
    private = document([], template="1500")
    private.ContentTemplateSequence[0].MappingResource = "99SECRET"
    assert "ContentTemplateSequence" not in bench.clean(private)
    assert "ContentTemplateSequence" not in bench.clean(document([], template="ABERNATHY"))


@pytest.mark.parametrize(("version", "kept"), [("1.1", "1.1"), ("20200317", ""), ("5550123", ""), ("secret", "")])
def test_versions_of_schemes_are_short(bench: Reports, version: str, kept: str) -> None:
    finding = code("39607008", "SCT", "Lung")
    finding.CodingSchemeVersion = version
    (item,) = bench.items([coded(FINDING, finding)])
    assert item.ConceptCodeSequence[0].get("CodingSchemeVersion", "") == kept


def test_meanings_are_never_taken_from_the_file(bench: Reports) -> None:
    """Not even when they are made of known words and short numbers, which a number of a person may be, too."""
    (item,) = bench.items([coded(FINDING, code("39607008", "SCT", "Lung 5550 123"))])
    assert item.ConceptCodeSequence[0].CodeMeaning == "Lung structure"


def test_names_in_other_scripts_are_known_and_not_written(bench: Reports) -> None:
    name = "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"
    children = [
        content("PNAME", code("121029", "DCM", "Subject Name"), PersonName=name),
        text(FINDING, "\u5c71\u7530 \u592a\u90ce"),
    ]
    ds = document(children, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)
    for cleaner in (reports.nothing, lambda t: t):
        path = bench.path(ds, "113105", clean=cleaner)
        clean = builder.load(path)
        assert clean.ContentSequence[0].PersonName == clean.PatientName
        assert clean.ContentSequence[1].TextValue == "ANONYMIZED"
        assert leaks(path, ["Yamada", "Tarou", "\u5c71\u7530"]) == []


def test_only_published_coding_schemes_are_identified(bench: Reports) -> None:
    ours, theirs = Dataset(), Dataset()
    ours.CodingSchemeDesignator, ours.CodingSchemeUID = "SCT", "2.16.840.1.113883.6.96"
    theirs.CodingSchemeDesignator, theirs.CodingSchemeUID = "99SECRET", "1.2.999.3"
    theirs.CodingSchemeName = theirs.CodingSchemeResponsibleOrganization = "Marienhospital"
    ds = document([picture()], CodingSchemeIdentificationSequence=Sequence([theirs, ours]))
    path = bench.path(ds)
    assert leaks(path) == []
    (kept,) = builder.load(path).CodingSchemeIdentificationSequence
    assert kept.CodingSchemeDesignator == "SCT"
    ds.CodingSchemeIdentificationSequence = Sequence([theirs])
    assert "CodingSchemeIdentificationSequence" not in bench.clean(ds)


def test_an_item_with_several_names_or_values_is_reduced_to_the_first(bench: Reports) -> None:
    item = coded(FINDING, code("39607008", "SCT", "Lung"))
    item.ConceptCodeSequence.append(PRIVATE)
    item.ConceptNameCodeSequence.append(PRIVATE)
    path = bench.path(document([item]))
    assert leaks(path) == []
    assert len(builder.load(path).ContentSequence[0].ConceptCodeSequence) == 1


def test_content_items_outside_a_tree(bench: Reports) -> None:
    ds = document([])
    items = [
        content("", COMMENT, relationship="", TextValue=SENTENCE),
        content("", FINDING, relationship="", TextValue=SENTENCE),
        content("NUMERIC", DISTANCE, relationship="", NumericValue="3", MeasurementUnitsCodeSequence=Sequence([MM])),
        content("", PRIVATE, relationship="", NumericValue="3", MeasurementUnitsCodeSequence=Sequence([MM])),
    ]
    ds.AcquisitionContextSequence = Sequence(items)
    engine = bench.engine()
    source = read(builder.save(ds, bench.folder / "in.dcm"), max_inflated_bytes=1 << 20, max_depth=8)
    patient = Patient("P1", 1, lambda patient_id, issuer: "P1")
    work = engine._rewrite("", source, patient)
    context = RewriteContext.of(work, source.dataset)
    clean = structured.clean_items(source.dataset[0x00400555].items or [], engine.profile.content, context)
    assert clean[0][structured.TEXT].data == b"ANONYMIZED"
    assert [item[structured.NUMERIC].data.strip() for item in clean[1:]] == [b"3", b"0"]
    found = list(structured.identifying_texts(source.dataset, engine.profile.content, context.decode))
    assert found == []


def test_the_scan_learns_the_identifiers_of_the_content(bench: Reports) -> None:
    ds = document([content("CONTAINER", FINDING, [text(code("121013", "DCM", "Device Observer Name"), "CT-77X")]),
                   text(COMMENT, "a comment")])  # fmt: skip
    source = read(builder.save(ds, bench.folder / "in.dcm"), max_inflated_bytes=1 << 20, max_depth=8)
    rules = StructuredRules.of(reports.CLEAN)
    assert list(structured.identifying_texts(source.dataset, rules, bytes.decode)) == ["CT-77X"]


def test_every_row_of_the_table_is_executed(bench: Reports) -> None:
    """Each of the table's items with a planted value; options off, the value is gone, and X takes the item."""
    rules = StructuredRules.of(reports.CLEAN)
    for row in read_content_table():
        concept = code(row.value, row.scheme, row.meaning[:64])
        one = {
            "TEXT": lambda c: text(c, SENTENCE),
            "PNAME": lambda c: content("PNAME", c, PersonName="Kowalczyk^Zdzislaw"),
            "DATE": lambda c: content("DATE", c, Date="20200317"),
            "TIME": lambda c: content("TIME", c, Time="101500"),
            "DATETIME": lambda c: content("DATETIME", c, DateTime="20200317101500"),
            "UIDREF": lambda c: content("UIDREF", c, UID="1.2.999.4"),
            "NUM": lambda c: number(c, "5550123"),
            "CODE": lambda c: coded(c, code("F", "DCM", "Female")),
            "CONTAINER": lambda c: content("CONTAINER", c, [text(FINDING, SENTENCE)]),
        }.get(row.value_type, lambda c, kind=row.value_type: picture(c, kind))(concept)
        path = bench.path(document([one]), profile="basic")
        assert leaks(path) == []
        clean = builder.load(path)
        expected = rules.action(row.scheme, row.value, row.value_type)
        assert expected is (ContentAction.DUMMY if "D" in row.basic else ContentAction.REMOVE)
        assert len(clean.get("ContentSequence", [])) == (expected is ContentAction.DUMMY), row
        for item in clean.get("ContentSequence", []):
            assert item.ConceptNameCodeSequence[0].CodeValue == row.value, row
        path.unlink()


def test_options_choose_the_columns_of_the_table() -> None:
    def action(*options: str) -> ContentAction | None:
        return StructuredRules.of(options).action("DCM", "121122", "TEXT")  # Equipment Identification

    assert action("113100") is ContentAction.REMOVE
    assert action("113105") is ContentAction.CLEAN
    assert action("113109") is ContentAction.KEEP
    assert action("113105", "113109") is ContentAction.KEEP
    assert StructuredRules.of(("113107",)).action("DCM", "113809", "DATETIME") is ContentAction.CLEAN
    assert StructuredRules.of(("113106",)).action("DCM", "113809", "DATETIME") is ContentAction.KEEP
    assert StructuredRules.of(()).action("DCM", "113809", "DATETIME") is ContentAction.DUMMY
    assert StructuredRules.of(()).action("DCM", "121206", "NUM") is None


def test_families_and_what_stays_withheld() -> None:
    assert family_of(STORAGE + "88.67") is Family.REPORT
    assert family_of(STORAGE + "88.59") is Family.SELECTION
    assert family_of(STORAGE + "11.1") is Family.PRESENTATION
    for suffix in ("104.1", "104.2", "104.3", "88.1", "88.77", "11.6", "131", "2", "78.6"):
        assert family_of(STORAGE + suffix) is None
    assert {option_for(family) for family in Family} == {"113103", "113104"}


# Whole documents of the kinds that matter


def dose_report() -> FileDataset:
    """An X-ray dose report after TID 10001 and 10013."""
    accumulated = content(
        "CONTAINER",
        code("113811", "DCM", "CT Accumulated Dose Data"),
        [number(code("113813", "DCM", "CT Dose Length Product Total"), "415.82", code("mGy.cm", "UCUM", "mGy.cm"))],
    )
    parameters = content(
        "CONTAINER",
        code("113822", "DCM", "CT Acquisition Parameters"),
        [
            number(code("113824", "DCM", "Exposure Time"), "7.3", code("s", "UCUM", "s")),
            number(code("113733", "DCM", "KVP"), "120", code("kV", "UCUM", "kV")),
        ],
    )
    dose = content(
        "CONTAINER",
        code("113829", "DCM", "CT Dose"),
        [number(code("113830", "DCM", "Mean CTDIvol"), "9.87", code("mGy", "UCUM", "mGy"))],
    )
    event = content(
        "CONTAINER",
        code("113819", "DCM", "CT Acquisition"),
        [
            text(code("125203", "DCM", "Acquisition Protocol"), "Thorax Abernathy"),
            coded(code("123014", "DCM", "Target Region"), code("51185008", "SCT", "Chest")),
            content("UIDREF", code("113769", "DCM", "Irradiation Event UID"), UID="1.2.999.1.2.3.8"),
            parameters,
            dose,
            text(code("121106", "DCM", "Comment"), SENTENCE),
        ],
    )
    header = [
        coded(
            code("121058", "DCM", "Procedure reported"), code("77477000", "SCT", "CT"), relationship="HAS CONCEPT MOD"
        ),
        coded(code("121005", "DCM", "Observer Type"), code("121007", "DCM", "Device"), relationship="HAS OBS CONTEXT"),
        content(
            "UIDREF", code("121012", "DCM", "Device Observer UID"), relationship="HAS OBS CONTEXT", UID="1.2.999.66"
        ),
        text(code("121013", "DCM", "Device Observer Name"), "secret station", relationship="HAS OBS CONTEXT"),
        text(code("121016", "DCM", "Device Observer Serial Number"), "secret-9", relationship="HAS OBS CONTEXT"),
        content(
            "DATETIME",
            code("113809", "DCM", "Start of X-Ray Irradiation"),
            relationship="HAS OBS CONTEXT",
            DateTime="20200317101500",
        ),
        content("UIDREF", code("121018", "DCM", "Procedure Study Instance UID"), UID="1.2.999.1.2"),
        content("PNAME", code("113850", "DCM", "Irradiation Authorizing"), PersonName="Kowalczyk^Zdzislaw"),
    ]
    return document(
        [*header, accumulated, event],
        "88.67",
        code("113701", "DCM", "X-Ray Radiation Dose Report"),
        "10011",
    )


def test_a_dose_report_comes_through_useful(bench: Reports) -> None:
    path = bench.path(dose_report(), "113107")
    assert leaks(path) == []
    clean = builder.load(path)
    assert clean.ConceptNameCodeSequence[0].CodeValue == "113701"
    numbers = {
        concept_of(i): (float(m.NumericValue), m.MeasurementUnitsCodeSequence[0].CodeValue)
        for i in walk(clean)
        if i.ValueType == "NUM"
        for m in i.MeasuredValueSequence
    }
    assert numbers == {
        "113813": (415.82, "mGy.cm"),
        "113824": (7.3, "s"),
        "113733": (120, "kV"),
        "113830": (9.87, "mGy"),
    }
    found = {concept_of(i): i for i in walk(clean)}
    assert found["123014"].ConceptCodeSequence[0].CodeValue == "51185008"
    assert found["113809"].DateTime[:8] == clean.StudyDate
    assert found["113769"].UID.startswith("2.25.")
    assert clean.ContentTemplateSequence[0].TemplateIdentifier == "10011"


def test_a_key_object_selection_keeps_its_choice(bench: Reports) -> None:
    children = [
        text(code("113012", "DCM", "Key Object Description"), SENTENCE),
        content("PNAME", code("121008", "DCM", "Person Observer Name"), PersonName="Kowalczyk^Zdzislaw"),
        picture(),
        picture(value_type="COMPOSITE"),
    ]
    absent = dict.fromkeys(
        ["CompletionFlag", "VerificationFlag", "VerifyingObserverSequence", "AuthorObserverSequence",
         "PerformedProcedureCodeSequence"]
    )  # fmt: skip
    ds = document(children, "88.59", code("113000", "DCM", "Of Interest"), "2010", Modality="KO", **absent)
    path = bench.path(ds)
    assert leaks(path) == []
    clean = builder.load(path)
    assert clean.ConceptNameCodeSequence[0].CodeMeaning == "Of Interest"
    assert [i.ValueType for i in clean.ContentSequence] == ["PNAME", "IMAGE", "COMPOSITE"]
    cleaned = bench.clean(ds, "113105", clean=lambda _: "liver")
    assert cleaned.ContentSequence[0].TextValue == "liver"


@pytest.mark.parametrize("name", ["reportsi.dcm", "test-SR.dcm", "reportsi_with_empty_number_tags.dcm"])
def test_reports_of_another_maker(bench: Reports, name: str) -> None:
    source = get_testdata_file(name)
    assert isinstance(source, str)
    outcome = bench.engine().deidentify(Path(source), bench.folder / "out")
    assert outcome.released, (outcome.reason, outcome.detail)
    assert outcome.output is not None
    assert leaks(outcome.output, ["OFFIS", "Riesmeier", "Enter text", "Sample Text", "1.2.276.0", "2001021"]) == []
    before, after = dcmread(source), builder.load(outcome.output)
    assert sum(1 for _ in walk(after)) == sum(1 for _ in walk(before))
    if validator() is not None:
        assert problems(outcome.output) - problems(Path(source)) == set()


# Conformance


def validator() -> str | None:
    return shutil.which("dciodvfy") or shutil.which("dciodvfy", path=str(Path(sys.executable).parent))


def problems(path: Path, severity: str = "Error") -> set[str]:
    tool = validator()
    assert tool is not None
    done = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False, errors="replace")
    lines = {line for line in done.stderr.splitlines() if line.startswith(severity)}
    return {re.sub(r"UID\"? (0|[\d.]{5,})$|<[\d.]{5,}>", "UID", line) for line in lines}  # the same of another UID


@pytest.mark.skipif(validator() is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize("profile", ["basic", "basic-modified-dates"])
@pytest.mark.parametrize("kind", ["planted", "by-reference", "dose", "key", "basic text", "gsps"])
def test_no_new_error_of_conformance(bench: Reports, kind: str, profile: str) -> None:
    ds = {
        "planted": lambda: document(planted()[:15] + planted()[16:]),
        "by-reference": lambda: document([*planted()[:15], by_reference(1, 3, relationship="HAS PROPERTIES")]),
        "dose": dose_report,
        "key": lambda: document(
            [picture(), text(code("113012", "DCM", "Key Object Description"), SENTENCE)],
            "88.59",
            code("113000", "DCM", "Of Interest"),
            "2010",
            Modality="KO",
        ),
        "basic text": lambda: document([text(COMMENT, SENTENCE), text(FINDING, SENTENCE)], "88.11"),
        "gsps": reports.presentation,
    }[kind]()
    path = bench.path(ds, "113107", profile=profile)
    assert problems(path) - problems(bench.folder / "in.dcm") == set()


# A measurement report of another maker (TID 1500)


def measurement_report() -> FileDataset:
    """As highdicom writes it: observers, a region, measurements, a finding and its site."""
    sr = pytest.importorskip("highdicom.sr")
    from pydicom.sr.codedict import codes

    source = builder.image()
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(
            name="Kowalczyk^Zdzislaw", login_name="secret", organization_name="Marienhospital"
        ),
    )
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid="1.2.999.8", name="secret station", serial_number="secret-7"
        ),
    )
    region = sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.CIRCLE,
        graphic_data=np.array([[3.0, 3.0], [4.5, 4.5]]),
        source_image=sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
    )
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=region,
        tracking_identifier=sr.TrackingIdentifier(uid="1.2.999.9", identifier="Abernathy lesion 1"),
        finding_type=codes.SCT.Nodule,
        finding_sites=[sr.FindingSite(codes.SCT.Lung)],
        measurements=[sr.Measurement(name=codes.SCT.Diameter, value=12.75, unit=codes.UCUM.Millimeter)],
        qualitative_evaluations=[sr.QualitativeEvaluation(codes.DCM.LevelOfSignificance, codes.SCT.Yes)],
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_person_context=observer,
            observer_device_context=device,
        ),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    made = sr.Comprehensive3DSR(
        evidence=[source],
        content=report,
        series_number=7,
        series_instance_uid="1.2.999.7.7",
        sop_instance_uid="1.2.999.7.7.7",
        instance_number=1,
        manufacturer="SIEMENS",
        is_complete=True,
        is_verified=True,
        verifying_observer_name="Kowalczyk^Zdzislaw",
        verifying_organization="Marienhospital",
        institution_name="Marienhospital",
        series_description="Josephine",
    )
    return FileDataset("", made, file_meta=made.file_meta, preamble=bytes(128))


@pytest.mark.parametrize("options", [("113107",), ("113105", "113107")])
def test_a_measurement_report_comes_through_useful(bench: Reports, options: tuple[str, ...]) -> None:
    path = bench.path(measurement_report(), *options)
    assert leaks(path) == []
    clean = builder.load(path)
    found = {concept_of(item): item for item in walk(clean)}
    measured = found["81827009"].MeasuredValueSequence[0]
    assert float(measured.NumericValue) == 12.75
    assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert found["363698007"].ConceptCodeSequence[0].CodeValue == "39607008"
    assert found["121071"].ConceptCodeSequence[0].CodeMeaning == "Nodule"
    assert list(found["111030"].GraphicData) == [3, 3, 4.5, 4.5]
    evidence = clean.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    pictures = [item for item in walk(clean) if item.ValueType == "IMAGE"]
    assert pictures
    assert {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in pictures} == {
        evidence.ReferencedSOPInstanceUID
    }
    if validator() is not None:
        assert problems(path) - problems(bench.folder / "in.dcm") == set()


# Random trees


_words = st.sampled_from([SENTENCE, "Kowalczyk", "M\u00fcller^J\u00f6rg", "secret\\secret", "", "x" * 300])
_concepts = st.sampled_from(
    [FINDING, COMMENT, PRIVATE, DISTANCE, None]
    + [code(r.value, r.scheme, r.meaning[:64]) for r in read_content_table()[::9]]
)
_relations = st.sampled_from(["CONTAINS", "HAS PROPERTIES", "HAS OBS CONTEXT", "SELECTED FROM", ""])
_codes = st.sampled_from([PRIVATE, code("39607008", "SCT", "Kowalczyk"), code("secret", "DCM", "secret")])


@st.composite
def leaves(draw: st.DrawFn) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return leaf(draw)


def leaf(draw: st.DrawFn) -> Dataset:
    kind = draw(st.sampled_from(["TEXT", "NUM", "CODE", "PNAME", "DATE", "DATETIME", "TIME", "UIDREF", "IMAGE", "REF"]))
    concept, word, relation = draw(_concepts), draw(_words), draw(_relations)
    values: dict[str, object] = {
        "TEXT": {"TextValue": word},
        "CODE": {"ConceptCodeSequence": Sequence([draw(_codes)])},
        "PNAME": {"PersonName": word[:60].replace("\\", " ")},
        "DATE": {"Date": draw(st.sampled_from(["20200317", "", "secret"]))},
        "DATETIME": {"DateTime": draw(st.sampled_from(["20200317101500", "2020", "secret"]))},
        "TIME": {"Time": draw(st.sampled_from(["1015", "secret", ""]))},
        "UIDREF": {"UID": draw(st.sampled_from(["1.2.999.5", "1.2.840.10008.1.2", "secret"]))},
    }.get(kind, {})  # type: ignore[assignment]
    if kind == "REF":
        return by_reference(1, draw(st.integers(1, 5)), relationship=relation or "CONTAINS")
    if kind == "NUM":
        return number(concept or DISTANCE, draw(st.sampled_from(["1.5", "", "1e5", "-0.25"])), draw(_codes) or MM)
    if kind == "IMAGE":
        return picture(concept, relationship=relation)
    return content(kind, concept, relationship=relation, **values)  # type: ignore[arg-type]


@st.composite
def nodes(draw: st.DrawFn, children: st.SearchStrategy[Dataset]) -> Dataset:
    below = draw(st.lists(children, max_size=4))
    if draw(st.booleans()):
        return content("CONTAINER", draw(_concepts), below)
    return text(draw(_concepts) or FINDING, draw(_words), children=below)


trees = st.lists(st.recursive(leaves(), nodes, max_leaves=12), max_size=5)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, options=st.sets(st.sampled_from(["113105", "113107", "113108", "113112"])))
def test_random_trees_leak_nothing_and_stay_trees(keys: Keys, tmp_path_factory: pytest.TempPathFactory,
                                                  tree: list[Dataset], options: set[str]) -> None:  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bench = Reports(keys, tmp_path_factory.mktemp("tree"))
        path = bench.path(document(tree), *sorted(options), clean=lambda _: "lung")
        assert leaks(path) == []
        clean = dcmread(path)
        for item in walk(clean):
            if "ReferencedContentItemIdentifier" in item:
                continue
            assert item.ValueType
            assert "ContentSequence" not in item or len(item.ContentSequence)
        if structured.REFERENCED_ITEM in {e.tag for e in dcmread(bench.folder / "in.dcm").iterall()}:
            before = [item.get("ValueType") for item in walk(dcmread(bench.folder / "in.dcm"))]
            assert before == [item.get("ValueType") for item in walk(clean)]
        again = bench.path(document(tree), *sorted(options), clean=lambda _: "lung")
        assert again.read_bytes() == path.read_bytes()

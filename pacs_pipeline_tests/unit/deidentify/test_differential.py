"""Our executor and deid's own give the same result for the same recipe, on instances deid can process."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from deid.config import DeidRecipe
from deid.logger import bot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset

from pacs_pipeline.deidentify import Deidentifier, Keys
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.recipe import effective_text
from pacs_pipeline.deidentify.values import dummy_of, vrs_of

from . import builder
from .conftest import Bench

with warnings.catch_warnings():  # deid imports what pydicom has deprecated
    warnings.simplefilter("ignore")
    from deid.dicom import replace_identifiers

# what neither executor decides alone: the engine keeps the identity of the instance together
ENGINE = {0x00080018, 0x0020000D, 0x0020000E, 0x00100010, 0x00100020}

FLAT = [
    (int(row.tag, 16), vr)
    for row in read_table()
    if row.tag != "PRIVATE" and "x" not in row.tag and int(row.tag, 16) >> 16 >= 0x0008
    for vr in vrs_of(int(row.tag, 16))[:1]
    if vr in ("LO", "SH", "ST", "LT", "PN", "DA", "TM", "UI", "CS", "AE", "AS", "UT", "UC", "DS", "IS")
    and int(row.tag, 16) not in ENGINE | {0x00280301}
]
VALUES = {"DA": "20190821", "TM": "101112", "UI": "1.2.999.44", "AS": "044Y", "DS": "81.5", "IS": "3", "CS": "HFS"}


def value_of(tag: int, vr: str, text: str) -> str:
    return "+0100" if tag == 0x00080201 else VALUES.get(vr, text)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot, "level", 0)


def by_deid(path: Path, recipe: Path, engine: Deidentifier, days: int, pseudonym: str) -> Dataset:
    """deid's executor, with the same functions as ours."""
    keys: Keys = engine.keys

    def made(item: Any, value: Any, field: Any, dicom: Any) -> str:
        vr = vrs_of(int(field.element.tag))[0]
        if vr == "UI":
            return keys.uid(str(field.element.value))
        return dummy_of(vr).decode() if str(field.element.value) else ""

    functions = {
        "dummy": made,
        "uid": lambda item, value, field, dicom: keys.uid(str(field.element.value)),
        "pseudonym": lambda item, value, field, dicom: pseudonym,
        "date_shift": lambda item, value, field, dicom: -days,
    }
    (clean,) = replace_identifiers(
        [str(path)], ids={str(path): functions}, deid=DeidRecipe([str(recipe)]), remove_private=True, disable_skip=True
    )
    return clean  # type: ignore[no-any-return]


def compare(bench: Bench, ds: FileDataset, tags: list[int], *, some: bool) -> None:
    path = builder.save(ds, bench.folder / "both.dcm")
    recipe = bench.folder / "effective.deid"
    rules = bench.engine.profile.rules_for(str(ds.SOPClassUID))
    if some:  # deid takes seconds for the full table
        wanted = {f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in ENGINE.union(tags)}
        rules = tuple(rule for rule in rules if rule.field in wanted)
    recipe.write_text(effective_text(rules), encoding="ascii")
    outcome = bench.engine.deidentify(path, bench.out)
    assert outcome.output is not None, outcome.detail
    ours = builder.load(outcome.output)
    pseudonym = str(ours.PatientID)
    theirs = by_deid(path, recipe, bench.engine, bench.engine.keys.date_shift(pseudonym), pseudonym)
    for tag in tags:
        one, two = ours.get(tag), theirs.get(tag)
        assert (one is None) == (two is None), f"{tag:08X}"
        if one is not None and two is not None:
            assert str(one.value or "") == str(two.value or ""), f"{tag:08X}"
    assert ours.PatientID == theirs.PatientID
    assert str(ours.PatientName) == str(theirs.PatientName)
    assert ours.SOPInstanceUID == theirs.SOPInstanceUID
    assert ours.PixelData == theirs.PixelData


def test_every_flat_row_of_the_table(bench: Bench) -> None:
    ds = builder.image()
    for tag, vr in FLAT:
        builder.put(ds, tag, vr, value_of(tag, vr, "Some Text"))
    compare(bench, ds, [tag for tag, _ in FLAT], some=False)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FLAT), min_size=1, max_size=25, unique=True), st.integers(0, 3650))
def test_any_choice_of_rows(bench: Bench, chosen: list[tuple[int, str]], days: int) -> None:
    ds = builder.image()
    for tag, vr in chosen:
        builder.put(ds, tag, vr, value_of(tag, vr, f"Text {days}"))
    compare(bench, ds, [tag for tag, _ in chosen], some=True)

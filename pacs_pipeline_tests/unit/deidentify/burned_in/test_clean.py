"""What is blanked and what stays, in every way pixels are stored; with a detector that is told what to find."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacs_pipeline.deidentify.burned_in import DeviceRules, Redaction, available, clean, clean_pixels, detector
from pacs_pipeline.deidentify.burned_in.regions import fill
from pacs_pipeline.deidentify.codec import read
from pacs_pipeline.deidentify.pixel_data import only_pixels
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

from . import planted
from .conftest import Told, needs_extra
from .planted import Kind
from .test_regions import us_region

BOX = (11, 6, 40, 17)
RLE, JPEG, JPEG_LS, JPEG_LS_LOSSY = "1.2.840.10008.1.2.5", *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 80, 81))
J2K, J2K_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
NATIVE = [
    Kind(),
    Kind("MONOCHROME1"),
    Kind("MONOCHROME1", 16, 16),
    Kind("MONOCHROME2", 16, 12),
    Kind("MONOCHROME2", 16, 12, signed=True),
    Kind("MONOCHROME2", 16, 16, syntax=str(ImplicitVRLittleEndian)),
    Kind("PALETTE COLOR"),
    Kind("RGB"),
    Kind("RGB", planar=1),
    Kind("YBR_FULL"),
    Kind("YBR_FULL_422"),
]
LOSSLESS = [
    kind.with_syntax(syntax)
    for syntax in (RLE, JPEG_LS, J2K)
    for kind in (Kind(), Kind("MONOCHROME1", 16, 12), Kind("RGB"), Kind("PALETTE COLOR"))
] + [Kind("YBR_RCT", syntax=J2K), Kind("MONOCHROME2", 16, 12, signed=True, syntax=J2K)]
LOSSY = [
    (Kind(syntax=JPEG), "1.2.840.10008.1.2.1", "ISO_10918_1"),
    (Kind("YBR_FULL_422", syntax=JPEG), "1.2.840.10008.1.2.1", "ISO_10918_1"),
    (Kind(syntax=JPEG_LS_LOSSY), JPEG_LS, "ISO_14495_1"),
    (Kind(syntax=J2K_LOSSY), J2K, "ISO_15444_1"),
]


def pictures(count: int = 2, rows: int = 32, columns: int = 48) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [planted.ground("speckle", rows, columns, rng) for _ in range(count)]


def run(
    ds: FileDataset, folder: Path, rules: DeviceRules, told: Told, **limits: int
) -> tuple[FileDataset, FileDataset, Redaction]:
    src = planted.save(ds, folder / "in.dcm")
    redaction = clean_pixels(src, folder / "out.dcm", rules=rules, detector=told, **limits)
    return dcmread(src), dcmread(folder / "out.dcm"), redaction


def arrays(ds: FileDataset) -> np.ndarray:
    """All frames as stored, (frames, rows, columns[, 3])."""
    values = pixel_array(ds, raw=True)
    return values if int(ds.get("NumberOfFrames") or 1) > 1 else values[None]


def compare(before: FileDataset, after: FileDataset, box: tuple[int, int, int, int] = BOX) -> np.ndarray:
    """Asserts that nothing outside of ``box`` differs; returns what is inside."""
    old, new = arrays(before), arrays(after)
    assert old.shape == new.shape
    left, top, right, bottom = box
    inside = new[:, top:bottom, left:right].copy()
    old[:, top:bottom, left:right] = new[:, top:bottom, left:right] = 0
    assert np.array_equal(old, new)
    return inside


def black_of(kind: Kind) -> object:
    top = (1 << kind.stored) - 1
    if kind.photometric in ("MONOCHROME1", "PALETTE COLOR"):
        return top
    if kind.photometric.startswith("YBR_FULL"):
        return (0, 128, 128)
    return -(1 << kind.stored - 1) if kind.signed else 0


@pytest.mark.parametrize("kind", NATIVE, ids=lambda kind: kind.name)
def test_native_pixels_are_blanked_in_place(kind: Kind, tmp_path: Path, no_rules: DeviceRules) -> None:
    before, after, redaction = run(planted.instance(kind, pictures()), tmp_path, no_rules, Told(BOX))
    box = (10, 6, 40, 17) if kind.photometric == "YBR_FULL_422" else BOX
    assert (compare(before, after, box) == black_of(kind)).all()
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID == redaction.transfer_syntax
    assert after.PhotometricInterpretation == before.PhotometricInterpretation
    assert {region.source for region in redaction.regions} == {"text"}
    assert len(after.PixelData) == len(before.PixelData)
    assert "LossyImageCompression" not in after


@needs_extra
@pytest.mark.parametrize("kind", LOSSLESS, ids=lambda kind: kind.name)
def test_losslessly_compressed_pixels_stay_so(kind: Kind, tmp_path: Path, no_rules: DeviceRules) -> None:
    before, after, redaction = run(planted.instance(kind, pictures()), tmp_path, no_rules, Told(BOX))
    assert (compare(before, after) == black_of(kind)).all()
    assert after.file_meta.TransferSyntaxUID == kind.syntax == redaction.transfer_syntax
    assert after.PhotometricInterpretation == before.PhotometricInterpretation
    assert "LossyImageCompression" not in after


@needs_extra
@pytest.mark.parametrize(("kind", "syntax", "method"), LOSSY, ids=lambda value: getattr(value, "name", str(value)))
def test_lossy_pixels_are_stored_without_further_loss_and_it_is_said(
    kind: Kind, syntax: str, method: str, tmp_path: Path, no_rules: DeviceRules
) -> None:
    before, after, redaction = run(planted.instance(kind, pictures()), tmp_path, no_rules, Told(BOX))
    compare(before, after)
    assert after.file_meta.TransferSyntaxUID == syntax == redaction.transfer_syntax
    assert (after.LossyImageCompression, after.LossyImageCompressionMethod) == ("01", method)
    assert float(after.LossyImageCompressionRatio) > 1
    assert after.PhotometricInterpretation == kind.photometric.removesuffix("_422")


@needs_extra
def test_what_is_stated_of_an_earlier_compression_stays(tmp_path: Path, no_rules: DeviceRules) -> None:
    stated = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "17", "LossyImageCompressionMethod": "ISO_X"}
    for kind in (Kind(), Kind(syntax=JPEG)):
        _, after, _ = run(planted.instance(kind, pictures(), **stated), tmp_path, no_rules, Told(BOX))
        assert {keyword: after[keyword].value for keyword in stated} == stated


@needs_extra
@pytest.mark.parametrize(
    "name", ["JPEG-LL.dcm", "JPEGLSNearLossless_16.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "examples_ybr_color.dcm"]
)
def test_foreign_files(name: str, tmp_path: Path, no_rules: DeviceRules) -> None:
    from pydicom.data import get_testdata_file

    src = Path(str(get_testdata_file(name)))
    redaction = clean_pixels(src, tmp_path / "out.dcm", rules=no_rules, detector=Told((2, 3, 14, 15)))
    before, after = dcmread(src), dcmread(tmp_path / "out.dcm")
    mask = fill(np.zeros((after.Rows, after.Columns), np.bool_), [region.box for region in redaction.regions])
    assert np.array_equal(arrays(before)[:, ~mask], arrays(after)[:, ~mask])
    assert mask[3:15, 2:14].all()
    assert all((frame[mask] == frame[mask][0]).all() for frame in arrays(after))
    assert after.BurnedInAnnotation == "NO"


def test_a_big_endian_file(tmp_path: Path, no_rules: DeviceRules) -> None:
    ds = planted.instance(Kind("MONOCHROME2", 16, 12), pictures())
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "in.dcm"
    dcmwrite(path, ds, implicit_vr=False, little_endian=False, force_encoding=True)
    clean_pixels(path, tmp_path / "out.dcm", rules=no_rules, detector=Told(BOX))
    assert (compare(dcmread(path), dcmread(tmp_path / "out.dcm")) == 0).all()


def test_a_deflated_file_is_inflated(tmp_path: Path, no_rules: DeviceRules) -> None:
    ds = planted.instance(Kind(syntax=str(DeflatedExplicitVRLittleEndian)), pictures())
    for told in (Told(BOX), Told()):
        before, after, redaction = run(ds, tmp_path, no_rules, told)
        compare(before, after)
        assert redaction.transfer_syntax == "1.2.840.10008.1.2.1" == after.file_meta.TransferSyntaxUID
    with pytest.raises(Quarantine, match="too-large"):
        run(ds, tmp_path, no_rules, Told(BOX), max_pixel_bytes=100)


def test_three_sources_are_united(tmp_path: Path, rules: DeviceRules) -> None:
    ds = planted.instance(
        Kind(),
        [np.full((480, 640), 100.0)],
        Manufacturer="Philips",
        ManufacturerModelName="iU22",
        SequenceOfUltrasoundRegions=[us_region(0, 20, 499, 479)],
    )
    _, after, redaction = run(ds, tmp_path, rules, Told((30, 200, 60, 220)))
    mask = np.zeros((480, 640), np.bool_)
    mask[:47], mask[:, 500:], mask[200:220, 30:60] = True, True, True
    assert np.array_equal(after.pixel_array == 0, mask)
    assert {region.source for region in redaction.regions} == {"device", "ultrasound", "text"}


def test_the_header_says_what_was_done_and_is_otherwise_the_same(tmp_path: Path, no_rules: DeviceRules) -> None:
    icon = Dataset()
    icon.Rows = 1
    ds = planted.instance(Kind(), pictures(), IconImageSequence=[icon], BurnedInAnnotation="YES")
    ds.SmallestImagePixelValue, ds["SmallestImagePixelValue"].VR = 7, "US"
    ds.DataSetTrailingPadding = b"ABERNATHY "
    before, after, _ = run(ds, tmp_path, no_rules, Told(BOX))
    changed = {"BurnedInAnnotation", "ImageType", "DerivationDescription", "PixelData"}
    assert after.BurnedInAnnotation == "NO"
    assert after.ImageType == ["DERIVED", "PRIMARY", "ABDOMINAL"]
    assert after.DerivationDescription
    for keyword in ("IconImageSequence", "SmallestImagePixelValue", "DataSetTrailingPadding"):
        assert keyword not in after
    for element in after:
        assert element.keyword in changed or element == before[element.tag]
    assert stat.S_IMODE((tmp_path / "out.dcm").stat().st_mode) == 0o600


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", pytest.param(J2K_LOSSY, marks=needs_extra)])
def test_without_text_the_pixels_stay_as_they_are(syntax: str, tmp_path: Path, no_rules: DeviceRules) -> None:
    ds = planted.instance(Kind(syntax=syntax), pictures())
    before, after, redaction = run(ds, tmp_path, no_rules, Told())
    assert after.PixelData == before.PixelData
    assert redaction == Redaction((), transfer_syntax=syntax)
    assert after.BurnedInAnnotation == "NO"
    assert after.ImageType == before.ImageType


@pytest.mark.parametrize("kind", [Kind(), pytest.param(Kind("RGB", syntax=RLE), marks=needs_extra)], ids=str)
def test_the_output_is_the_same_each_time_and_passes_the_engine(
    kind: Kind, tmp_path: Path, no_rules: DeviceRules
) -> None:
    ds = planted.instance(kind, pictures(3))
    outputs = []
    for _ in range(2):
        run(ds, tmp_path, no_rules, Told(BOX))
        outputs.append((tmp_path / "out.dcm").read_bytes())
    assert outputs[0] == outputs[1]
    assert only_pixels(read(tmp_path / "out.dcm", max_inflated_bytes=1 << 26, max_depth=8)) is None


def test_text_that_is_found_again_and_again_sets_the_instance_aside(tmp_path: Path, no_rules: DeviceRules) -> None:
    class Growing(Told):
        def __call__(
            self, pictures: object, *, again: bool = False, fine: bool = False
        ) -> list[tuple[int, int, int, int]]:
            self.looks.append(())
            return [(0, 0, 4 * len(self.looks), 4)]

    told = Growing()
    with pytest.raises(Quarantine) as caught:
        run(planted.instance(Kind(), pictures(1)), tmp_path, no_rules, told)
    assert caught.value.reason is Reason.BURNED_IN_TEXT
    assert len(told.looks) == 4
    assert not (tmp_path / "out.dcm").exists()
    assert list(tmp_path.glob("*.dcm")) == [tmp_path / "in.dcm"]


def test_frames_are_looked_at_once(tmp_path: Path, no_rules: DeviceRules) -> None:
    still = np.full((200, 300), 60.0)
    moved = still.copy()
    moved[150:160, 200:220] = 200
    told = Told()
    run(planted.instance(Kind(), [still, still, moved, still]), tmp_path, no_rules, told)
    assert told.looks[0] == (200, 300, 3)
    assert len(told.looks) == 2  # the whole, then what changed and some 64 pixels around
    assert told.looks[1][0] * told.looks[1][1] < 200 * 300 / 2


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"NumberOfFrames": "3"}, Reason.TRUNCATED),
        ({"NumberOfFrames": "1"}, Reason.HIDDEN_CONTENT),
        ({"Rows": 0}, Reason.UNREADABLE),
        ({"BitsAllocated": 32}, Reason.UNSUPPORTED),
        ({"HighBit": 6}, Reason.UNSUPPORTED),
        ({"PhotometricInterpretation": "HSV"}, Reason.UNSUPPORTED),
        ({"PhotometricInterpretation": "RGB"}, Reason.UNSUPPORTED),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.UNSUPPORTED),
    ],
)
def test_what_is_not_understood_is_set_aside(
    values: dict[str, object], reason: Reason, tmp_path: Path, no_rules: DeviceRules
) -> None:
    with pytest.raises(Quarantine) as caught:
        run(planted.instance(Kind(), pictures(), **values), tmp_path, no_rules, Told(BOX))
    assert caught.value.reason is reason
    assert not (tmp_path / "out.dcm").exists()


@needs_extra
@pytest.mark.parametrize("syntax", [RLE, JPEG, JPEG_LS, J2K])
def test_damaged_frames_are_set_aside(syntax: str, tmp_path: Path, no_rules: DeviceRules) -> None:
    ds = planted.instance(Kind(syntax=syntax), pictures())
    ds.NumberOfFrames = "3"
    with pytest.raises(Quarantine, match="truncated"):
        run(ds, tmp_path, no_rules, Told(BOX))
    ds.NumberOfFrames = "2"
    path = planted.save(ds, tmp_path / "in.dcm")
    path.write_bytes(path.read_bytes()[: -(len(ds.PixelData) // 2) - 8])
    with pytest.raises(Quarantine):
        clean_pixels(path, tmp_path / "out.dcm", rules=no_rules, detector=Told(BOX))
    assert not (tmp_path / "out.dcm").exists()


@needs_extra
@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS, J2K])
def test_a_frame_of_another_size_is_not_decoded(syntax: str, tmp_path: Path, no_rules: DeviceRules) -> None:
    with pytest.raises(Quarantine, match="another size"):
        run(planted.instance(Kind(syntax=syntax), pictures(), Rows=31), tmp_path, no_rules, Told(BOX))


def test_no_dicom_file_and_no_pixels(tmp_path: Path, no_rules: DeviceRules) -> None:
    (tmp_path / "in.dcm").write_bytes(b"ABERNATHY" * 100)
    with pytest.raises(Quarantine, match="unreadable"):
        clean_pixels(tmp_path / "in.dcm", tmp_path / "out.dcm", rules=no_rules, detector=Told())
    ds = planted.instance(Kind(), pictures())
    del ds.PixelData
    with pytest.raises(Quarantine, match="truncated"):
        run(ds, tmp_path, no_rules, Told())
    ds = planted.instance(Kind(), pictures())
    path = planted.save(ds, tmp_path / "in.dcm")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Quarantine, match="truncated"):
        clean_pixels(path, tmp_path / "out.dcm", rules=no_rules, detector=Told())


def test_a_video_is_set_aside(tmp_path: Path, no_rules: DeviceRules) -> None:
    from pydicom.encaps import encapsulate

    ds = planted.instance(Kind(), pictures())
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")
    ds.PixelData = encapsulate([b"video"])
    ds["PixelData"].is_undefined_length = True
    with pytest.raises(Quarantine, match="unsupported"):
        run(ds, tmp_path, no_rules, Told())


def test_without_the_extra_the_instance_stays_in_quarantine(
    tmp_path: Path, no_rules: DeviceRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "find_spec", lambda name: None)
    assert not available()
    src = planted.save(planted.instance(Kind(), pictures()), tmp_path / "in.dcm")
    with pytest.raises(Quarantine) as caught:
        clean_pixels(src, tmp_path / "out.dcm", rules=no_rules)
    assert caught.value.reason is Reason.BURNED_IN_TEXT
    assert clean.ROUNDS == 3

"""Frames of every kind with text drawn on them, and where its strokes are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacs_pipeline_tests.unit.deidentify import builder

US_CLASS = "1.2.840.10008.5.1.4.1.1.6.1"
STRINGS = (
    "ABERNATHY^JOSEPHINE",
    "MRN-5550123",
    "1951-07-04",
    "Oyelaran, A.",
    "DOB 04.07.51",
    "Marienhospital",
    "14:32:07",
    "ID 88231",
    "F 068Y",
    "Dr. Weiss",
    "Abernathy J 5550123",
)
GROUNDS = ("black", "speckle", "bright", "gradient")


@dataclass(frozen=True)
class Text:
    """One string as drawn: ``strokes`` (rows, columns) are the pixels of its letters."""

    string: str
    size: int
    turned: int
    contrast: int
    strokes: NDArray[np.bool_]


def ground(kind: str, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A picture without text, 0 to 255."""
    if kind == "black":
        return np.zeros((rows, columns))
    if kind == "speckle":
        noise = rng.gamma(1.5, 1.0, (rows + 2, columns + 2))
        smooth = sum(noise[i : i + rows, j : j + columns] for i in range(3) for j in range(3)) / 9
        return np.clip(smooth / smooth.max() * 170, 0, 255)
    if kind == "bright":
        return 220 + rng.normal(0, 4, (rows, columns))
    return np.add.outer(np.linspace(0, 200, rows), np.linspace(0, 40, columns))


def plant(
    picture: NDArray[np.float64],
    rng: np.random.Generator,
    count: int,
    *,
    sizes: tuple[int, ...] = (10, 12, 14, 18, 24, 32),
    turns: tuple[int, ...] = (0, 0, 0, 90, 270),
    contrasts: tuple[int, ...] = (80, 120, 200),
) -> list[Text]:
    """Draw up to ``count`` strings on ``picture``, in place, apart from each other."""
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = picture.shape
    taken = np.zeros((rows, columns), np.bool_)
    texts: list[Text] = []
    for _ in range(count * 20):
        if len(texts) == count:
            break
        size, turned, contrast = int(rng.choice(sizes)), int(rng.choice(turns)), int(rng.choice(contrasts))
        string, font = str(rng.choice(STRINGS)), ImageFont.load_default(size)
        _, _, right, bottom = font.getbbox(string)
        image = Image.new("L", (int(right) + 2, int(bottom) + 2))
        ImageDraw.Draw(image).text((0, 0), string, 255, font=font)
        drawn = np.asarray(image.rotate(turned, expand=True)) / 255.0
        high, wide = drawn.shape
        if high >= rows - 4 or wide >= columns - 4:
            continue
        y, x = int(rng.integers(2, rows - high - 2)), int(rng.integers(2, columns - wide - 2))
        if taken[max(0, y - 8) : y + high + 8, max(0, x - 8) : x + wide + 8].any():
            continue
        taken[y : y + high, x : x + wide] = True
        part = picture[y : y + high, x : x + wide]
        mean = float(part.mean())
        colour = min(255.0, mean + contrast) if mean < 128 else max(0.0, mean - contrast)
        part[...] = part * (1 - drawn) + colour * drawn
        strokes = np.zeros((rows, columns), np.bool_)
        strokes[y : y + high, x : x + wide] = drawn > 0.3
        texts.append(Text(string, size, turned, contrast, strokes))
    return texts


@dataclass(frozen=True)
class Kind:
    """A way to store grey pictures of 0 to 255."""

    photometric: str = "MONOCHROME2"
    allocated: int = 8
    stored: int = 8
    signed: bool = False
    planar: int = 0
    syntax: str = str(ExplicitVRLittleEndian)

    @property
    def name(self) -> str:
        signed = "signed" if self.signed else ""
        return f"{self.photometric}-{self.stored}of{self.allocated}{signed}-{self.planar}-{UID(self.syntax).name}"

    def with_syntax(self, syntax: str) -> Kind:
        return replace(self, syntax=syntax)


def instance(kind: Kind, pictures: list[NDArray[np.float64]], **values: object) -> FileDataset:
    """An ultrasound instance of ``pictures`` (rows, columns), stored as ``kind`` says."""
    rows, columns = pictures[0].shape
    ds = builder.image(
        SOPClassUID=US_CLASS,
        Modality="US",
        Manufacturer="NOBODY",
        ImageType=["ORIGINAL", "PRIMARY", "ABDOMINAL"],
        PhotometricInterpretation=kind.photometric,
        Rows=rows,
        Columns=columns,
        BitsAllocated=kind.allocated,
        BitsStored=kind.stored,
        HighBit=kind.stored - 1,
        PixelRepresentation=int(kind.signed),
        NumberOfFrames=str(len(pictures)),
    )
    colour = kind.photometric in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT")
    if colour:
        ds.SamplesPerPixel, ds.PlanarConfiguration = 3, kind.planar
    if kind.photometric == "PALETTE COLOR":
        _palette(ds)
    frames = [_samples(kind, picture) for picture in pictures]
    ds.file_meta.TransferSyntaxUID = UID(kind.syntax)
    if UID(kind.syntax).is_encapsulated:
        ds.PixelData = encapsulate([_encoded(ds, kind, frame) for frame in frames])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    else:
        data = b"".join(_native(kind, frame).tobytes() for frame in frames)
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OW" if kind.allocated > 8 else "OB"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _samples(kind: Kind, picture: NDArray[np.float64]) -> NDArray[np.generic]:
    """(rows, columns) or (rows, columns, 3) in the values that are stored."""
    top = (1 << kind.stored) - 1
    grey = np.clip(np.rint(picture / 255 * top), 0, top).astype(np.int64)
    if kind.photometric == "MONOCHROME1":
        grey = top - grey
    if kind.photometric == "PALETTE COLOR":
        grey = top - grey  # the palette is a falling one
    if kind.signed:
        grey -= 1 << (kind.stored - 1)
    values = grey.astype(f"<{'i' if kind.signed else 'u'}{kind.allocated // 8}")
    if kind.photometric in ("RGB", "YBR_RCT"):
        return np.stack([values] * 3, axis=-1)
    if kind.photometric.startswith("YBR_FULL"):
        return np.stack([values, np.full_like(values, 128), np.full_like(values, 128)], axis=-1)
    return values


def _native(kind: Kind, frame: NDArray[np.generic]) -> NDArray[np.generic]:
    if kind.photometric == "YBR_FULL_422":
        y, cb, cr = frame[..., 0], frame[:, ::2, 1], frame[:, ::2, 2]
        return np.stack([y[:, ::2], y[:, 1::2], cb, cr], axis=-1)
    return np.moveaxis(frame, 2, 0) if kind.planar else frame


def _palette(ds: FileDataset) -> None:
    falling = np.arange(255, -1, -1, dtype="<u2") * 257
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", falling.tobytes())


def _encoded(ds: FileDataset, kind: Kind, frame: NDArray[np.generic]) -> bytes:
    if kind.syntax == "1.2.840.10008.1.2.4.50":
        import io

        from PIL import Image

        out = io.BytesIO()
        if frame.ndim == 2:
            Image.fromarray(np.asarray(frame)).save(out, "JPEG", quality=92)
        else:
            rgb = np.repeat(np.asarray(frame)[..., :1], 3, axis=2)
            Image.fromarray(rgb).save(out, "JPEG", quality=92, subsampling=1)
        return out.getvalue()
    options: dict[str, object] = {"planar_configuration": 0} if frame.ndim == 3 else {}
    if kind.syntax in ("1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"):
        options |= {"jls_error": 2} if kind.syntax.endswith("81") else {"j2k_cr": [5]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code: bytes = get_encoder(UID(kind.syntax)).encode(
            np.ascontiguousarray(frame),
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples_per_pixel=3 if frame.ndim == 3 else 1,
            number_of_frames=1,
            photometric_interpretation=kind.photometric,
            bits_allocated=kind.allocated,
            bits_stored=kind.stored,
            pixel_representation=int(kind.signed),
            **options,
        )
    return code


def save(ds: FileDataset, path: Path) -> Path:
    return builder.save(ds, path)

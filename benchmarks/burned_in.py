"""Burned-in text that is blanked, withheld or missed in silence, clean frames that are released, and what it costs.

    python -m benchmarks.burned_in [--frames 64] [--seed 2026] [--fonts FOLDER]

Frames are 640 x 480, with five strings of 9 to 80 pixels and 40 to 200 grey values each, on four grounds, stored in
six ways. A string is gone when all its strokes are blanked that differ by more than 8 grey values from what is
behind them. Seconds are those of the processor: one thread, a file in, a file out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from pacs_pipeline.deidentify.burned_in import TextDetector, available, clean_pixels, load_device_rules
from pacs_pipeline.errors import Quarantine

ROWS, COLUMNS = 480, 640
SIZES = (9, 10, 12, 14, 18, 24, 32, 48, 80)
CONTRASTS = (40, 80, 120, 200)
TURNS = (0, 0, 0, 1, 3)
VISIBLE = 8  # grey values
STRINGS = (
    "KOWALCZYK^EWA", "PatID: 90417733", "03/22/1968", "Nguyen, Thi", "Geb. 5.11.1939", "St. Luke's Hosp", "08:15 PM",
    "4471-B", "M 54Y", "Op: Garcia", "Lee, K.", "Acc 2219984", "MULLER HANS", "12.03.2024", "Room 12",
)  # fmt: skip
KINDS = ("MONOCHROME2 8", "MONOCHROME1 8", "MONOCHROME2 12", "RGB 8", "PALETTE COLOR 8", "MONOCHROME1 12")

Grey = NDArray[np.float64]
Ground = Callable[[np.random.Generator], Grey]


def grain(rng: np.random.Generator) -> Grey:
    noise = ndimage.uniform_filter(rng.gamma(1.5, 1.0, (ROWS, COLUMNS)), 3)
    return noise / noise.max() * 170


def echoes(rng: np.random.Generator, smooth: float) -> Grey:
    """Speckle as an ultrasound system shows it, the logarithm of an envelope; ``smooth`` as by compounding. 0 to 1."""
    parts = [ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), (1, 2)) for _ in range(2)]
    envelope = np.hypot(*parts)
    decibel = 20 * np.log10(envelope / envelope.mean() + 0.03)
    return ndimage.gaussian_filter(np.clip((decibel + 30) / 42, 0, 1), smooth)


def bodies(rng: np.random.Generator, noise: float) -> Grey:
    """Soft bodies one upon the other, as X-rays see them, with the noise of a detector."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    picture = 0.5 + ndimage.gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 50) * 12
    for _ in range(12):
        cx, cy, a, b = rng.uniform((0, 0, 30, 30), (COLUMNS, ROWS, 200, 160))
        picture += rng.uniform(-0.15, 0.2) * np.sqrt(np.clip(1 - ((x - cx) / a) ** 2 - ((y - cy) / b) ** 2, 0, 1))
    picture = ndimage.gaussian_filter(picture, 1.5)
    return (picture - picture.min()) / np.ptp(picture) * 204 + 25 + rng.normal(0, noise, picture.shape)


def sector(rng: np.random.Generator, smooth: float, depth: float) -> Grey:
    """An ultrasound sector on black, with speckle of a ``depth`` of 1 or less."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    angle, away = np.arctan2(x - COLUMNS / 2, y + 30), np.hypot(x - COLUMNS / 2, y + 30)
    inside = (np.abs(angle) < 0.6) & (away > 70) & (away < ROWS)
    tissue = bodies(rng, 0) / 255
    speckle = echoes(rng, smooth) - 0.5
    return np.where(inside, np.clip(0.2 + 0.35 * tissue + depth * speckle, 0, 1) * 255, 0)


GROUNDS: dict[str, Ground] = {
    "black": lambda _: np.zeros((ROWS, COLUMNS)),
    "speckle": grain,
    "bright": lambda rng: 220 + rng.normal(0, 4, (ROWS, COLUMNS)),
    "graded": lambda _: np.add.outer(np.linspace(0, 200, ROWS), np.linspace(0, 40, COLUMNS)),
}
CLEAN: dict[str, Ground] = {
    **GROUNDS,
    "radiograph, noise 1.5": lambda rng: bodies(rng, 1.5),
    "radiograph, noise 3": lambda rng: bodies(rng, 3),
    "radiograph, noise 6": lambda rng: bodies(rng, 6),
    "ultrasound, compounded": lambda rng: sector(rng, 1.2, 0.1),
    "ultrasound, smoothed": lambda rng: sector(rng, 1.2, 0.4),
    "ultrasound, raw speckle": lambda rng: sector(rng, 0, 0.7),
}


@dataclass(frozen=True)
class Text:
    """One string as drawn; ``strokes`` (rows, columns) are its pixels that differ visibly from what was there."""

    size: int
    contrast: int
    strokes: NDArray[np.bool_]


def planted(picture: Grey, rng: np.random.Generator, count: int, fonts: tuple[str, ...]) -> list[Text]:
    """Draws strings in place, apart from each other."""
    taken = np.zeros(picture.shape, np.bool_)
    drawn: list[Text] = []
    for _ in range(count * 20):
        if len(drawn) == count:
            break
        size, contrast, turned = int(rng.choice(SIZES)), int(rng.choice(CONTRASTS)), int(rng.choice(TURNS))
        name, string = fonts[rng.integers(len(fonts))], str(rng.choice(STRINGS))
        font = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox(string)
        image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(image).text((1 - left, 1 - top), string, 255, font=font)
        share = np.rot90(np.asarray(image) / 255.0, turned)
        high, wide = share.shape
        if high >= ROWS - 4 or wide >= COLUMNS - 4:
            continue
        y, x = int(rng.integers(2, ROWS - high - 2)), int(rng.integers(2, COLUMNS - wide - 2))
        if taken[max(0, y - 8) : y + high + 8, max(0, x - 8) : x + wide + 8].any():
            continue
        taken[y : y + high, x : x + wide] = True
        part = picture[y : y + high, x : x + wide]
        mean = float(part.mean())
        colour = min(255.0, mean + contrast) if mean < 128 else max(0.0, mean - contrast)
        seen = (share > 0.3) & (np.abs(colour - ndimage.uniform_filter(part, 5)) > VISIBLE)
        part[...] = part * (1 - share) + colour * share
        strokes = np.zeros(picture.shape, np.bool_)
        strokes[y : y + high, x : x + wide] = seen
        drawn.append(Text(size, contrast, strokes))
    return drawn


def stored(picture: Grey, kind: str, path: Path) -> Path:
    """An ultrasound instance of one frame."""
    photometric, _, bits = kind.rpartition(" ")
    ds = FileDataset("", {}, preamble=bytes(128), file_meta=FileMetaDataset())
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    ds.Modality, ds.Rows, ds.Columns = "US", *picture.shape
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, 0, photometric
    ds.BitsStored, ds.BitsAllocated = int(bits), 8 if bits == "8" else 16
    ds.HighBit = ds.BitsStored - 1
    top = (1 << ds.BitsStored) - 1
    values = np.rint(picture.clip(0, 255) / 255 * top).astype("<u2" if ds.BitsAllocated == 16 else "u1")
    if photometric in ("MONOCHROME1", "PALETTE COLOR"):
        values = (top - values).astype(values.dtype)
    if photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            ds[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
            setattr(ds, f"{colour}PaletteColorLookupTableData", (np.arange(255, -1, -1, "<u2") * 257).tobytes())
    if photometric == "RGB":
        ds.SamplesPerPixel, ds.PlanarConfiguration = 3, 0
        values = np.repeat(values[..., None], 3, axis=2)
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


class Cleaner:
    """The project's own way, in a folder of its own; everything is loaded before the clock starts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rules, self.detector = folder, load_device_rules(), TextDetector()
        self.seconds = 0.0
        self.blanked(np.zeros((96, 96)), KINDS[0])

    def blanked(self, picture: Grey, kind: str) -> NDArray[np.bool_] | None:
        """The blanked pixels; None when the instance was withheld."""
        source, target = stored(picture, kind, self.folder / "in.dcm"), self.folder / "out.dcm"
        began = time.process_time()
        try:
            regions = clean_pixels(source, target, rules=self.rules, detector=self.detector).regions
        except Quarantine:
            return None
        finally:
            self.seconds = time.process_time() - began
        mask = np.zeros(picture.shape, np.bool_)
        for region in regions:
            mask[region.top : region.bottom, region.left : region.right] = True
        return mask


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=64, help="with text, over all grounds")
    parser.add_argument("--clean", type=int, default=4, help="without text, of each ground; at least one")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--fonts", type=Path, help="a folder of .ttf files besides Pillow's own font")
    options = parser.parse_args()
    if not available():
        print("the extra 'pixels' is not installed")
        return 2
    fonts = ("", *sorted(map(str, options.fonts.glob("*.ttf")))) if options.fonts else ("",)
    with tempfile.TemporaryDirectory() as folder:
        return measured(Cleaner(Path(folder)), options.seed, options.frames, options.clean, fonts)


def measured(cleaner: Cleaner, seed: int, frames: int, clean: int, fonts: tuple[str, ...]) -> int:
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(frames):
        rng, ground = np.random.default_rng((seed, number)), tuple(GROUNDS)[number % len(GROUNDS)]
        picture = GROUNDS[ground](rng)
        texts = planted(picture, rng, 5, fonts)
        mask = cleaner.blanked(picture, KINDS[number % len(KINDS)])
        seconds[ground].append(cleaner.seconds)
        rows[ground]["strings"] += len(texts)
        if mask is None:
            rows[ground]["withheld"] += len(texts)
        else:
            left = [text for text in texts if not mask[text.strokes].all()]
            rows[ground] += Counter(silent=len(left), gone=len(texts) - len(left))
            for text in left:
                share = float(mask[text.strokes].mean())
                print(f"in silence: {ground}, {text.size} pixels, contrast {text.contrast}, {share:.0%} blanked")
    total = sum(rows.values(), Counter())
    print(f"{'with text':24s} strings   gone withheld silent  seconds a frame")
    for ground, row in (*rows.items(), ("all", total)):
        each = seconds[ground] if ground in seconds else [one for some in seconds.values() for one in some]
        figures = f"{row['strings']:8d} {row['gone']:6d} {row['withheld']:8d} {row['silent']:6d}"
        print(f"{ground:24s}{figures} {np.mean(each):16.2f}")
    print(f"\n{'without text':24s}  frames released    blanked  seconds a frame")
    released = Counter[str]()
    for ground, make in CLEAN.items():
        area, each = 0.0, []
        for index in range(clean):
            mask = cleaner.blanked(make(np.random.default_rng((seed, 1000, index))), KINDS[index % len(KINDS)])
            each.append(cleaner.seconds)
            released[ground] += mask is not None
            area += 0 if mask is None else float(mask.mean())
        share = area / max(1, released[ground])
        print(f"{ground:24s}{clean:8d} {released[ground]:8d} {share:10.2%} {np.mean(each):16.2f}")
    ultrasound = [name for name in CLEAN if name.startswith("ultrasound")]
    print(f"RATIO burned_in_silent {total['silent'] / total['strings']:.4f}")
    print(f"RATIO burned_in_withheld {total['withheld'] / total['strings']:.4f}")
    print(f"RATIO burned_in_clean_released {sum(released.values()) / (clean * len(CLEAN)):.2f}")
    print(
        f"RATIO burned_in_ultrasound_released {sum(released[one] for one in ultrasound) / clean / len(ultrasound):.2f}"
    )
    print(f"RATIO burned_in_seconds {np.mean([one for some in seconds.values() for one in some]):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

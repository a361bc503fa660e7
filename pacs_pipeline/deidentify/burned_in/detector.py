"""Finds text in pictures, with the models of PP-OCR as the package rapidocr-onnxruntime carries them.

Only the model files of that package are used; none of its code (nor OpenCV) is imported. The detection model
says where text may be. It takes large shapes of anatomy for letters, so a large spot that is no line of text
must also be readable; what is read is not kept. One thread: the same picture gives the same boxes everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in import plain
from pacs_pipeline.deidentify.burned_in.regions import Box, clipped
from pacs_pipeline.errors import Quarantine, SettingsError
from pacs_pipeline.records import Reason

LOOK_VERSION = 2  # raised when the same picture may give other boxes, or another verdict
FINDER = "models/ch_PP-OCRv4_det_infer.onnx"
READER = "models/ch_PP-OCRv4_rec_infer.onnx"
SHA256 = {
    FINDER: "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    READER: "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
}

# Measured on planted text (see the tests): recall over precision.
FIRST, AGAIN = (0.12, 0.2), (0.3, 0.6)  # a spot begins at the one; it counts when it reaches the other somewhere
LARGE, LARGEST = 16, 48  # pixels: the core of letters about 30 and 100 pixels high. Smaller spots always count
LINE, FILLED = 4, 0.8  # a large spot this many times as long as high, and this full, is a line of whatever script
READABLE = 0.75  # otherwise what is read in it must be this certain on average
LARGER, SMALLER = 2.0, 0.5  # letters of 9 pixels, and of 200. Their own size is quicker, and loses small letters
TILE, OVERLAP = 768, 128  # pixels of the frame looked at at once
_STEP = 32  # the network halves its input five times
_READER_HEIGHT, _READER_LONGEST = 48, 960


class Detector(Protocol):
    """Anything that finds text."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], *, again: bool = False) -> list[Box]:
        """The boxes around text in any of ``pictures``: views of one frame, each (rows, columns, 3), uint8.

        Boxes are generous: they hold every pixel of a letter and the margin around it. The first look takes the
        least suspicion for text. ``again`` is a look at frames whose text was blanked: what counts there is what
        can be read, for the edges of the blanked boxes raise suspicions too.
        """
        ...


def models() -> Path | None:
    """The folder of the package that carries the models, None when it is not installed. Imports nothing."""
    if any(find_spec(name) is None for name in ("onnxruntime", "PIL", "scipy")):
        return None
    spec = find_spec("rapidocr_onnxruntime")
    folders = spec.submodule_search_locations if spec is not None else None
    folder = Path(folders[0]) if folders else None
    return folder if folder is not None and all((folder / name).is_file() for name in SHA256) else None


def model_version() -> str:
    """The version of the models and of the way they are used, for a profile's fingerprint; nothing without them."""
    return "" if models() is None else f"{version('rapidocr-onnxruntime')} look {LOOK_VERSION}"


class TextDetector:
    """The detector; the model is loaded at the first picture. Picklable, a process loads its own."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], *, again: bool = False) -> list[Box]:
        """See :class:`Detector`. The first picture is also looked at turned by 90 degrees and in a smaller size."""
        rows, columns = pictures[0].shape[:2]
        limits = AGAIN if again else FIRST
        found: list[Box] = []
        for number, picture in enumerate(pictures):
            for left, top, right, bottom in _tiles(rows, columns, TILE):
                tile = picture[top:bottom, left:right]
                found += [_moved(box, left, top) for box in self._look(tile, LARGER, limits)]
                if number == 0:
                    turned = self._look(np.rot90(tile), LARGER, limits)
                    found += [_moved(_turned_back(box, right - left), left, top) for box in turned]
            if number == 0:
                for left, top, right, bottom in _tiles(rows, columns, 4 * TILE):
                    found += [
                        _moved(box, left, top) for box in self._look(picture[top:bottom, left:right], SMALLER, limits)
                    ]
        found += plain.marks(pictures[0][..., 0])
        return sorted({inside for box in found if (inside := clipped(box, rows, columns))})

    def __reduce__(self) -> tuple[type[TextDetector], tuple[()]]:
        return TextDetector, ()

    @cached_property
    def _finder(self) -> Any:
        return _session(FINDER)

    @cached_property
    def _reader(self) -> Any:
        return _session(READER)

    def _look(self, picture: NDArray[np.uint8], scale: float, limits: tuple[float, float]) -> list[Box]:
        """Boxes in one picture, enlarged by ``scale`` for the network, in the picture's own pixels."""
        rows, columns = picture.shape[:2]
        height, width = (max(_STEP, round(size * scale / _STEP) * _STEP) for size in (rows, columns))
        likely = _run(self._finder, picture, width, height)[0, 0]
        found = []
        for spot in _spots(likely, limits, rows / height, columns / width):
            suspicious = limits is FIRST and (spot.high < LARGE or spot.is_line)
            if suspicious or self._readable(picture, _padded(spot, 0.5, 0.5), 1 if limits is FIRST else 2):
                found.append(_padded(spot, 1.5, 0.75))
        return found

    def _readable(self, picture: NDArray[np.uint8], box: Box, characters: int) -> bool:
        """Whether that many characters are read in ``box``, whichever way it is turned."""
        inside = clipped(box, *picture.shape[:2])
        if inside is None:
            return False
        left, top, right, bottom = inside
        for turns in range(4):
            cut = np.rot90(picture[top:bottom, left:right], turns)
            width = round(cut.shape[1] * _READER_HEIGHT / cut.shape[0] / 8) * 8
            width = max(_READER_HEIGHT, min(_READER_LONGEST, width))
            scores = _run(self._reader, cut, width, _READER_HEIGHT)[0]  # by place, by character; 0 is none
            best = scores.max(axis=1)[scores.argmax(axis=1) > 0]
            if best.size >= characters and best.mean() >= READABLE:
                return True
        return False


def _session(name: str) -> Any:
    import onnxruntime

    folder = models()
    if folder is None:
        raise SettingsError("the text detector is not installed", fix="install the extra: pip install .[pixels]")
    model = (folder / name).read_bytes()
    if hashlib.sha256(model).hexdigest() != SHA256[name]:
        raise SettingsError("a text detection model is not the tested one", fix="pin rapidocr-onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # pictures differ in size: the arena would keep the largest for ever
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: Any, picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    """What a network says of ``picture`` in the given size."""
    from onnxruntime.capi import onnxruntime_pybind11_state as faults
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - np.float32(1)
    try:
        answer: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(values)})[0]
    except (faults.Fail, faults.InvalidArgument, faults.EngineError, faults.EPFail, faults.RuntimeException) as fault:
        # its own exceptions share no class; a frame nobody could look at must not be released
        raise Quarantine(Reason.BURNED_IN_TEXT, f"the detector failed ({type(fault).__name__})") from None
    return answer


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where the network sees the core of some text, in pixels of the picture; ``filled`` is the share of its box."""

    left: float
    top: float
    right: float
    bottom: float
    filled: float

    @property
    def high(self) -> float:
        """The shorter side: the height of the letters, whichever way the text runs."""
        return min(self.right - self.left, self.bottom - self.top)

    @property
    def is_line(self) -> bool:
        """Whether it has the form of a line of text."""
        return (
            self.high < LARGEST
            and self.filled >= FILLED
            and max(self.right - self.left, self.bottom - self.top) >= LINE * self.high
        )


def _spots(likely: NDArray[np.float32], limits: tuple[float, float], down: float, right: float) -> Iterator[_Spot]:
    """The spots of a map of likelihoods, whose pixels are ``down`` by ``right`` pixels of the picture."""
    from scipy import ndimage

    labels, count = ndimage.label(likely > limits[0], np.ones((3, 3)))
    if not count:
        return
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = place
        shape = labels[place] == number
        if likely[place][shape].max() < limits[1]:
            continue
        yield _Spot(
            columns.start * right,
            rows.start * down,
            columns.stop * right,
            rows.stop * down,
            float(shape.mean()),
        )


def _padded(spot: _Spot, along: float, across: float) -> Box:
    """A box around a spot, with a margin in proportion to its height.

    The network marks the core of a line, a shrunken form of the text; along the line, where the last letter
    fades, the margin is larger.
    """
    x, y = along * spot.high + 8, across * spot.high + 4
    if spot.right - spot.left < spot.bottom - spot.top:
        x, y = y, x
    return int(spot.left - x), int(spot.top - y), int(spot.right + x + 1), int(spot.bottom + y + 1)


def _tiles(rows: int, columns: int, size: int) -> Iterator[Box]:
    """Overlapping tiles that cover the frame."""
    for top, bottom in _spans(rows, size):
        for left, right in _spans(columns, size):
            yield left, top, right, bottom


def _spans(length: int, size: int) -> Iterator[tuple[int, int]]:
    count = max(1, -(-(length - OVERLAP) // (size - OVERLAP)))
    width = -(-(length + (count - 1) * OVERLAP) // count)
    for number in range(count):
        start = min(number * (width - OVERLAP), max(0, length - width))
        yield start, min(length, start + width)


def _moved(box: Box, left: int, top: int) -> Box:
    return box[0] + left, box[1] + top, box[2] + left, box[3] + top


def _turned_back(box: Box, columns: int) -> Box:
    """A box of a picture turned by ``np.rot90`` in the picture itself, which has ``columns``."""
    left, top, right, bottom = box
    return columns - bottom, left, columns - top, right

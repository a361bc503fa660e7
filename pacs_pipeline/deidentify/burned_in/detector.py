"""Finds text in pictures, with the detection model of PP-OCR as the package rapidocr-onnxruntime carries it.

Only the model file of that package is used; none of its code (nor OpenCV) is imported. It finds where text
is, it does not read it. One thread, so the same picture gives the same boxes on every machine of a kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in.regions import Box, clipped
from pacs_pipeline.errors import SettingsError

MODEL = "models/ch_PP-OCRv4_det_infer.onnx"
MODEL_SHA256 = "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"

# Measured on planted text (see the tests): recall over precision.
SEEN, CERTAIN = 0.12, 0.2  # a spot of text begins at SEEN; it counts when it reaches CERTAIN somewhere
LARGER, SMALLER = 2.0, 0.5  # looked at in both sizes: letters of 7 pixels, and of 200
TILE, OVERLAP = 768, 128  # pixels of the frame looked at at once
_STEP = 32  # the network halves its input five times


class Detector(Protocol):
    """Anything that finds text."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Box]:
        """The boxes around text in any of ``pictures``: views of one frame, each (rows, columns, 3), uint8.

        Boxes are generous: they hold every pixel of a letter and the margin around it.
        """
        ...


def model_path() -> Path | None:
    """Where the installed package keeps the model, None when it is not installed. Imports nothing."""
    if any(find_spec(name) is None for name in ("onnxruntime", "PIL", "scipy")):
        return None
    spec = find_spec("rapidocr_onnxruntime")
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0], MODEL) if folders else None
    return path if path is not None and path.is_file() else None


class TextDetector:
    """The detector; the model is loaded at the first picture. Picklable, a process loads its own."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Box]:
        """See :class:`Detector`. The first picture is also looked at turned by 90 degrees and in a smaller size."""
        rows, columns = pictures[0].shape[:2]
        found: list[Box] = []
        for number, picture in enumerate(pictures):
            for left, top, right, bottom in _tiles(rows, columns, TILE):
                tile = picture[top:bottom, left:right]
                found += [_moved(box, left, top) for box in self._look(tile, LARGER)]
                if number == 0:
                    turned = self._look(np.rot90(tile), LARGER)
                    found += [_moved(_turned_back(box, right - left), left, top) for box in turned]
            if number == 0:
                for left, top, right, bottom in _tiles(rows, columns, 4 * TILE):
                    found += [_moved(box, left, top) for box in self._look(picture[top:bottom, left:right], SMALLER)]
        return sorted({inside for box in found if (inside := clipped(box, rows, columns))})

    def __reduce__(self) -> tuple[type[TextDetector], tuple[()]]:
        return TextDetector, ()

    @cached_property
    def _session(self) -> Any:
        import onnxruntime  # type: ignore[import-not-found, import-untyped, unused-ignore]

        path = model_path()
        if path is None:
            raise SettingsError("the text detector is not installed", fix="install the extra: pip install .[pixels]")
        model = path.read_bytes()
        if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
            raise SettingsError(
                "the text detection model is another one than the tested", fix="pin rapidocr-onnxruntime"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # pictures differ in size: the arena would keep the largest for ever
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _look(self, picture: NDArray[np.uint8], scale: float) -> list[Box]:
        """Boxes in one picture, enlarged by ``scale`` for the network, in the picture's own pixels."""
        from PIL import Image

        rows, columns = picture.shape[:2]
        height, width = (max(_STEP, round(size * scale / _STEP) * _STEP) for size in (rows, columns))
        image = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - np.float32(1)
        name = self._session.get_inputs()[0].name
        likely = self._session.run(None, {name: np.ascontiguousarray(values)})[0][0, 0]
        return list(_boxes(likely, rows / height, columns / width))


def _boxes(likely: NDArray[np.float32], down: float, right: float) -> Iterator[Box]:
    """Padded boxes around the spots of a map of likelihoods.

    The network marks the core of a line, a shrunken form of the text, so the padding is in proportion to the
    height of the spot, and larger along the line, where the last letter fades.
    """
    from scipy import ndimage

    labels, count = ndimage.label(likely > SEEN, np.ones((3, 3)))
    if not count:
        return
    peaks = ndimage.maximum(likely, labels, range(1, count + 1))
    for peak, place in zip(peaks, ndimage.find_objects(labels), strict=True):
        if peak < CERTAIN:
            continue
        top, bottom = place[0].start * down, place[0].stop * down
        first, last = place[1].start * right, place[1].stop * right
        thickness = min(bottom - top, last - first)
        along, across = thickness + 4, 0.75 * thickness + 3
        x, y = (along, across) if last - first >= bottom - top else (across, along)
        yield int(first - x), int(top - y), int(last + x + 1), int(bottom + y + 1)


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

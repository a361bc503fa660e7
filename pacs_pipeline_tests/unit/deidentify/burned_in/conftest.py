from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in import DeviceRules, available, load_device_rules
from pacs_pipeline.deidentify.burned_in.regions import Box

needs_extra = pytest.mark.skipif(not available(), reason="the extra 'pixels' is not installed")


class Told:
    """A detector that finds what it was told, once, and counts its looks."""

    def __init__(self, *boxes: Box, times: int = 1) -> None:
        self.boxes = list(boxes)
        self.times = times
        self.looks: list[tuple[int, ...]] = []

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], *, again: bool = False) -> list[Box]:
        self.looks.append(pictures[0].shape)
        return self.boxes if len(self.looks) <= self.times else []


@pytest.fixture(scope="session")
def rules() -> DeviceRules:
    return load_device_rules()


@pytest.fixture
def no_rules(tmp_path: Path) -> DeviceRules:
    path = tmp_path / "none.deid"
    path.write_text(
        "FORMAT dicom\n%filter none\nLABEL nothing\nequals Modality NOSUCH\ncoordinates 0,0,1,1\n", encoding="ascii"
    )
    return load_device_rules(path)

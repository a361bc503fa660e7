"""Which SOP classes hold numbers about images, plans and signals instead of pictures, and what each may hold."""

from __future__ import annotations

from enum import StrEnum

_STORAGE = "1.2.840.10008.5.1.4.1.1."


class Content(StrEnum):
    """Where the numbers of an object are."""

    FRAMES = "frames"  # in PixelData, as those of an image
    MAP = "map"  # in one of PixelData, FloatPixelData and DoubleFloatPixelData
    GRID = "grid"  # in PixelData, which may be absent
    ATTRIBUTES = "attributes"  # in ordinary attributes; there are no pixels
    SIGNALS = "signals"  # in the items of WaveformSequence


_CLASSES = {
    Content.FRAMES: {"66.4": "Segmentation", "66.7": "Label Map Segmentation"},
    Content.MAP: {"30": "Parametric Map"},
    Content.GRID: {"481.2": "RT Dose"},
    Content.ATTRIBUTES: {
        "66.1": "Spatial Registration",
        "66.2": "Spatial Fiducials",
        "66.3": "Deformable Spatial Registration",
        "66.5": "Surface Segmentation",
        "66.6": "Tractography Results",
        "67": "Real World Value Mapping",
        "481.3": "RT Structure Set",
        "481.4": "RT Beams Treatment Record",
        "481.5": "RT Plan",
        "481.6": "RT Brachy Treatment Record",
        "481.7": "RT Treatment Summary Record",
        "481.8": "RT Ion Plan",
        "481.9": "RT Ion Beams Treatment Record",
    },
    Content.SIGNALS: {
        "9.1.1": "12-lead ECG",
        "9.1.2": "General ECG",
        "9.1.3": "Ambulatory ECG",
        "9.1.4": "General 32-bit ECG",
        "9.2.1": "Hemodynamic",
        "9.3.1": "Basic Cardiac Electrophysiology",
        "9.5.1": "Arterial Pulse",
        "9.6.1": "Respiratory",
        "9.6.2": "Multi-channel Respiratory",
        "9.7.1": "Routine Scalp EEG",
        "9.7.2": "EMG",
        "9.7.3": "EOG",
        "9.7.4": "Sleep EEG",
        "9.8.1": "Body Position",
    },
}
_CONTENT_OF = {_STORAGE + suffix: content for content, classes in _CLASSES.items() for suffix in classes}
RT_IMAGE = _STORAGE + "481.1"
VOICES = frozenset((_STORAGE + "9.4.1", _STORAGE + "9.4.2"))  # somebody speaks, and a voice is a person's


def content_of(sop_class: str) -> Content | None:
    """What a class of this kind holds, None for every other class.

    Not here and withheld are the second generation of radiotherapy (481.10 and up: prescriptions in prose,
    photographs of the set-up), height maps (66.8), raw data (66) and the presentation states of waveforms.
    """
    return _CONTENT_OF.get(sop_class)

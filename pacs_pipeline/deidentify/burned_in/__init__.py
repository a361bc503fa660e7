"""Burned-in text: found in every frame, blanked, and looked for again (PS3.15 E.3.1, Clean Pixel Data).

Needs the extra ``pixels``. Without it nothing here is available and such instances stay in quarantine.
"""

from pacs_pipeline.deidentify.burned_in.clean import Redaction, available, clean_pixels
from pacs_pipeline.deidentify.burned_in.detector import Detector, TextDetector, model_version
from pacs_pipeline.deidentify.burned_in.device_rules import DeviceRules, load_device_rules
from pacs_pipeline.deidentify.burned_in.regions import Region

__all__ = [
    "Detector",
    "DeviceRules",
    "Redaction",
    "Region",
    "TextDetector",
    "available",
    "clean_pixels",
    "load_device_rules",
    "model_version",
]

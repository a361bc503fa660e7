"""Pixel data that are pixels and nothing else: what is more than the header declares is taken out, or withheld."""

from pacs_pipeline.deidentify.pixel_data.strip import only_pixels, written_with

__all__ = ["only_pixels", "written_with"]

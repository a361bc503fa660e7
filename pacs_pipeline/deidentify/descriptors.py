"""stand-in"""

from __future__ import annotations


class TextCleaner:
    """Nothing stays."""

    def clean(self, text: str) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

    def without_identifiers(self, text: str) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

"""The ``pacs-pipeline`` command: commands, and what a terminal shows."""

from pacs_pipeline.cli.commands import app, main

__all__ = ["app", "main"]

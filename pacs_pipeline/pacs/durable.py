"""Folders that survive a power cut, as files do by ``fsync``."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

FOLDER_MODE = 0o700


def make_folder(folder: Path) -> Path:
    """Create ``folder`` and its missing parents, open to their owner only, durably; return it. Raises OSError."""
    missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    for path in reversed(missing):
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_folder(path.parent)
    return folder


def sync_folder(folder: Path) -> None:
    """Make a new name, or the removal of one, in ``folder`` survive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

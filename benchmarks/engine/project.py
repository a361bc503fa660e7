"""The project's side: the engine as a worker of the pipeline has it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile

_KEYS = Keys.derive(b"a secret of the benchmark, which protects nobody", "engine")


def engine(profile: str) -> Deidentifier:
    """One with the profile's rules and none but its own memory."""
    return Deidentifier(load_profile(profile), _KEYS)


def deidentify(tool: Deidentifier, files: Iterable[Path], out: Path) -> None:
    """Hash, rewrite, write, scan for residue; every file must be released."""
    for file in files:
        outcome = tool.deidentify(file, out)
        if not outcome.released:
            raise SystemExit(f"{file.name} was not released: {outcome.reason} {outcome.detail}")

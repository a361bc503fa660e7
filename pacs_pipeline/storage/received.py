"""The mark of a partition for which instances were received: what makes it stale, and when a census has answered it.

The mark is a token. It is replaced when something arrives that a census may have missed, which is when a census has
begun since the token was made. So an instance costs a look at two small files, and a write only once per census.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from pacs_pipeline.records import Partition
from pacs_pipeline.storage.atomic import write_json

_MARK = "received.json"
_SEEN = "received-seen.json"
_KEY = "mark"
_FORM = re.compile(r"[0-9a-f]{32}")
_DAMAGED = "damaged"
_FOLDER = "study_date="


def mark_received(folder: Path, arrived: int | None = None) -> None:
    """Note in the partition's ``folder`` that an instance has got its name; call it after that, before acknowledging.

    ``arrived`` is for an instance that had its name already: when it got it, in nanoseconds. It needs a new mark only
    if no census has begun since. Durable on return; raises Transient or Permanent as the disk says.
    """
    mark = read_mark(folder)
    if mark:
        try:
            answered = (folder / _SEEN).stat().st_mtime_ns
        except FileNotFoundError:
            return
        if _read(folder / _SEEN) != mark or (arrived is not None and answered > arrived):
            return
    _write(folder / _MARK, secrets.token_hex(16))


def take_mark(folder: Path) -> str:
    """The mark that a census which begins now answers; empty when nothing was received."""
    mark = read_mark(folder)
    if mark == _DAMAGED:
        mark = secrets.token_hex(16)  # any other one is right
        _write(folder / _MARK, mark)
    if mark:
        _write(folder / _SEEN, mark)
    return mark


def read_mark(folder: Path) -> str:
    """The mark of a partition, empty when it has none. A damaged one is a mark that no census has answered."""
    return _read(folder / _MARK)


def marks(root: Path, site: str) -> Iterator[tuple[Partition, str]]:
    """The partitions of ``site`` that have a mark, in order of date. Thousands of folders take milliseconds."""
    parent = f"{root}/site={site}"
    try:
        names = sorted(name for name in os.listdir(parent) if name.startswith(_FOLDER))  # noqa: PTH208 - a path for each would take longer than the rest
    except FileNotFoundError:
        return
    for name in names:
        path = f"{parent}/{name}/{_MARK}"
        # most have none, and an exception for each would take longer than all the rest
        if os.access(path, os.F_OK) and (mark := _read(path)):
            yield Partition(site, dt.date.fromisoformat(name.removeprefix(_FOLDER))), mark


def _read(path: str | Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError:
        return _DAMAGED
    with os.fdopen(descriptor, "rb") as file:
        try:
            mark = json.load(file)[_KEY]
        except (OSError, ValueError, KeyError, TypeError):
            return _DAMAGED
    return mark if isinstance(mark, str) and _FORM.fullmatch(mark) else _DAMAGED


def _write(path: Path, mark: str) -> None:
    write_json(path, {_KEY: mark})

"""The engine over a folder tree, with a mapping for the steward and a report of every file."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from pacs_pipeline.deidentify.engine import Deidentifier
from pacs_pipeline.deidentify.identity import EVERYWHERE, IdentityRule
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.outcome import Outcome
from pacs_pipeline.deidentify.profile import Profile
from pacs_pipeline.deidentify.released_documents import NO_DOCUMENTS, DocumentReleases
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Reason

MAPPING_COLUMNS = ("source_sop_instance_uid", "deidentified_sop_instance_uid")
REPORT_COLUMNS = ("source_file", "outcome", "reason", "detail", "deidentified_sop_instance_uid", "sha256")
RELEASED, SET_ASIDE = "released", "set_aside"
SCRATCH = ".part-"
DUPLICATE = "identical to another source file"

Progress = Callable[[int, int, Outcome], None]


class Writer(Protocol):
    """A ``csv`` writer."""

    def writerow(self, row: Iterable[object], /) -> object:
        """Write one row."""


class Finished(Protocol):
    """One item that a pool worked on; ``result`` is something else than an Outcome when its worker died."""

    @property
    def item(self) -> Path:
        """The source file."""

    @property
    def result(self) -> object:
        """Its Outcome."""


class Mapper(Protocol):
    """What is needed of a process pool; :class:`pacs_pipeline.compute.Pool` is one."""

    def imap(self, function: Callable[[Path], Outcome], items: Iterable[Path], /) -> Iterator[Finished]:
        """Apply ``function`` to ``items`` in order, bounded in flight, surviving the death of a worker."""


@dataclass(slots=True)
class Summary:
    """What a run over a folder came to."""

    files: int = 0
    released: int = 0
    duplicates: int = 0  # of the released files, those whose output was there already
    bytes: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)

    @property
    def set_aside(self) -> int:
        """Files that were not released."""
        return sum(self.reasons.values())

    @property
    def defects(self) -> int:
        """Files on which the engine failed, or the process that worked on them."""
        return self.reasons[Reason.INTERNAL]


def deidentify_folder(
    src: Path,
    out: Path,
    profile: Profile,
    keys: Keys,
    *,
    pool: Mapper,
    identity: IdentityRule = EVERYWHERE,
    documents: DocumentReleases = NO_DOCUMENTS,
    mapping: Path | None = None,
    report: Path | None = None,
    on_progress: Progress | None = None,
) -> Summary:
    """De-identify every file below ``src`` into ``out``; symbolic links are not followed.

    Only clean instances appear in ``out``, as ``<SeriesInstanceUID>/<SOPInstanceUID>.dcm`` with new UIDs. Of
    several files with one SOPInstanceUID the first (in path order) is released; an identical one counts as
    released too, a different one is set aside as a conflict. ``mapping`` and ``report`` are CSV files that
    hold original UIDs and names of files: they are readable by their owner only.

    Raises SettingsError when the folders do not make sense.
    """
    src, out = _folders(src, out)
    files = sorted(_files(src))
    summary = Summary(files=len(files))
    with ExitStack() as stack:
        mapped = _table(stack, mapping, MAPPING_COLUMNS)
        reported = _table(stack, report, REPORT_COLUMNS)
        _remove_abandoned(out)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", dir=out)))
        collector = _Collector(out, scratch)
        work = partial(_one, Deidentifier(profile, keys, identity=identity, documents=documents), scratch)
        for done, finished in enumerate(pool.imap(work, files), start=1):
            outcome = collector.collect(_outcome_of(finished))
            _count(summary, outcome)
            new_uid = str(outcome.row.get("SOPInstanceUID", "")) if outcome.released else ""
            if outcome.released and outcome.detail != DUPLICATE and mapped is not None:
                mapped.writerow((outcome.source_sop_instance_uid, new_uid))
            if reported is not None:
                what = RELEASED if outcome.released else SET_ASIDE
                name = outcome.source.relative_to(src)
                reported.writerow((name, what, outcome.reason or "", outcome.detail, new_uid, outcome.sha256))
            if on_progress is not None:
                on_progress(done, len(files), outcome)
        os.sync()  # the outputs are on the disk before the mapping that names them has its name
    return summary


def _one(engine: Deidentifier, scratch: Path, source: Path) -> Outcome:
    """One file, in a worker, into a folder of its own: two files may claim one name."""
    return engine.deidentify(source, Path(tempfile.mkdtemp(dir=scratch)))


def _outcome_of(finished: Finished) -> Outcome:
    if isinstance(finished.result, Outcome):
        return finished.result
    return Outcome(finished.item, reason=Reason.INTERNAL, detail="the process that worked on it died")


class _Collector:
    """Moves outputs from the scratch folder to their names, one source per SOPInstanceUID."""

    def __init__(self, out: Path, scratch: Path) -> None:
        self._out = out
        self._scratch = scratch
        self._seen: dict[str, str] = {}

    def collect(self, outcome: Outcome) -> Outcome:
        """The final outcome: released under its name, a duplicate, or a conflict."""
        if outcome.output is None:
            return outcome
        relative = Path(outcome.output.parent.name, outcome.output.name)
        folder = outcome.output.parent.parent
        known = self._seen.get(outcome.output.name)
        try:
            if known is None:
                self._seen[outcome.output.name] = outcome.sha256
                final = self._out / relative
                final.parent.mkdir(exist_ok=True)
                outcome.output.replace(final)
                return _changed(outcome, output=final)
            if known == outcome.sha256:
                return _changed(outcome, output=self._out / relative, detail=DUPLICATE)
            detail = "another file with this SOPInstanceUID and other content was released"
            return Outcome(
                outcome.source,
                outcome.source_sop_instance_uid,
                outcome.source_series_instance_uid,
                outcome.source_study_instance_uid,
                reason=Reason.CONFLICT,
                detail=detail,
                input_sha256=outcome.input_sha256,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _changed(outcome: Outcome, *, output: Path, detail: str = "") -> Outcome:
    return dataclasses.replace(outcome, output=output, detail=detail)


def _count(summary: Summary, outcome: Outcome) -> None:
    if outcome.reason is not None:
        summary.reasons[outcome.reason] += 1
    elif outcome.detail == DUPLICATE:
        summary.released += 1
        summary.duplicates += 1
    else:
        summary.released += 1
        summary.bytes += outcome.size


def _folders(src: Path, out: Path) -> tuple[Path, Path]:
    if not src.is_dir():
        raise SettingsError(f"the source {src} is no folder", fix="name a folder of DICOM files")
    out.mkdir(parents=True, exist_ok=True)
    src, out = src.resolve(), out.resolve()
    if out == src or src in out.parents or out in src.parents:
        raise SettingsError(
            f"the output {out} and the source {src} lie inside each other", fix="write into a folder beside the source"
        )
    return src, out


def _remove_abandoned(out: Path) -> None:
    """Delete the scratch folders of runs that were killed: what is in them may not have been verified."""
    for folder in out.glob(f"{SCRATCH}*"):
        owner = folder.name.removeprefix(SCRATCH).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder)


def _files(src: Path) -> Iterator[Path]:
    """Regular files below ``src``; links, devices and pipes are left alone."""
    with os.scandir(src) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _table(stack: ExitStack, path: Path | None, columns: tuple[str, ...]) -> Writer | None:
    """A CSV file under construction that gets its name when the run ends; owner-only from its first byte."""
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    file = stack.enter_context(_renamed(os.fdopen(descriptor, "w", encoding="utf-8", newline=""), temporary, path))
    writer = csv.writer(file)
    writer.writerow(columns)
    return writer


@contextmanager
def _renamed(file: TextIO, temporary: Path, path: Path) -> Iterator[TextIO]:
    with file:
        try:
            yield file
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

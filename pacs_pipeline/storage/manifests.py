"""Manifests, verdicts and books as JSON files: what a partition went through, and the quick look over all of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import (
    Books,
    Commit,
    ContractResult,
    Judgement,
    Manifest,
    Partition,
    RuleResult,
    Severity,
    Stage,
    TableRef,
    Verdict,
    VerdictStatus,
    fingerprint,
    overall,
)
from pacs_pipeline.storage.atomic import file_sha256, write_json

_VERDICT = "verdict.json"
_BOOKS = "books.json"
_DIGEST = "digest"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace ``<folder>/<stage>.json`` atomically: from here on the stage has happened."""
    _write(folder / _manifest_name(manifest.stage), manifest.to_json())


def read_manifest(folder: Path, stage: Stage) -> Manifest | None:
    """The manifest of ``stage`` in the partition's ``folder``, or None when the stage has not happened.

    Raises Permanent when there is a file that is not what was written: it is never taken for absent.
    """
    path = folder / _manifest_name(stage)
    content = _read(path, stage.value)
    if content is None:
        return None
    return _manifest(content, stage, path)


def read_commit(folder: Path, stage: Stage) -> Commit | None:
    """As :func:`read_manifest`, without the tables and in half the time."""
    path = folder / _manifest_name(stage)
    content = _read(path, stage.value)
    if content is None:
        return None
    manifest = _manifest(content, stage, path)
    # the record's own digest, just verified, is the manifest's, unless another version wrote it
    digest = content.digest if manifest.to_json() == content else manifest.digest
    return Commit(stage, manifest.partition, digest, manifest.inputs, manifest.counts)


def remove_manifest(folder: Path, stage: Stage) -> None:
    """Undo the commit of ``stage``; nothing happens when there is none."""
    (folder / _manifest_name(stage)).unlink(missing_ok=True)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Replace ``<folder>/verdict.json`` atomically."""
    _write(folder / _VERDICT, dataclasses.asdict(verdict))


def read_verdict(folder: Path) -> Verdict | None:
    """The stored verdict or None; raises Permanent when the file is not what was written.

    It says nothing of whether the verdict is about the present manifest: compare ``manifest_digest``.
    """
    path = folder / _VERDICT
    content = _read(path, "verdict")
    if content is None:
        return None
    try:
        return Verdict(
            manifest_digest=content["manifest_digest"],
            contracts_fingerprint=content["contracts_fingerprint"],
            results=tuple(_contract_result(result) for result in content["results"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "verdict") from error


def read_judgement(folder: Path) -> Judgement | None:
    """As :func:`read_verdict`, without the rules and in half the time."""
    path = folder / _VERDICT
    content = _read(path, "verdict")
    if content is None:
        return None
    try:
        status = overall(VerdictStatus(result["status"]) for result in content["results"])
        return Judgement(content["manifest_digest"], content["contracts_fingerprint"], status)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "verdict") from error


def write_books(folder: Path, books: Books) -> None:
    """Replace ``<folder>/books.json`` atomically."""
    plain = dataclasses.asdict(books)
    del plain["partition"]
    _write(folder / _BOOKS, {"site": books.partition.site, "study_date": books.partition.key, **plain})


def read_books(folder: Path) -> Books | None:
    """The stored books or None; raises Permanent when the file is not what was written."""
    path = folder / _BOOKS
    content = _read(path, "books")
    if content is None:
        return None
    try:
        partition = Partition(content.pop("site"), dt.date.fromisoformat(content.pop("study_date")))
        return Books(partition=partition, problems=tuple(content.pop("problems")), **content)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "books") from error


def verify_tables(folder: Path, manifest: Manifest) -> None:
    """Check that every table of ``manifest`` lies in ``folder`` byte for byte as it was committed.

    Raises Permanent naming the partition, the stage and the table.
    """
    for name, table in manifest.tables.items():
        what = f"table '{name}' of {manifest.partition} ({manifest.stage})"
        relative = Path(table.path)
        if relative.is_absolute() or ".." in relative.parts:
            raise Permanent(f"{what} lies outside its zone", fix=_run_again(manifest.stage))
        try:
            actual = file_sha256(folder / relative)
        except OSError as error:
            raise Permanent(f"{what} cannot be read ({error.strerror})", fix=_run_again(manifest.stage)) from error
        if actual != table.sha256:
            raise Permanent(f"{what} was changed after it was committed", fix=_run_again(manifest.stage))


def scan(
    root: Path,
    *,
    stage: Stage | None = None,
    site: str | None = None,
    on_damaged: Callable[[Permanent], None] | None = None,
) -> Iterator[Manifest]:
    """All manifests below the zone ``root`` in the order of site, date and stage; one small file each.

    A damaged one goes to ``on_damaged`` and its partition is left out as a whole, so that one bad file neither
    hides all other partitions from the staleness sensor nor looks like a stage that has not happened. Without
    ``on_damaged`` it is raised.
    """
    stages = (stage,) if stage else tuple(Stage)
    for site_folder in _folders(root, "site="):
        if site is not None and site_folder.name != f"site={site}":
            continue
        for folder in _folders(site_folder, "study_date="):
            try:
                found = [read_manifest(folder, each) for each in stages]
            except Permanent as error:
                if on_damaged is None:
                    raise
                on_damaged(error)
                continue
            yield from (manifest for manifest in found if manifest is not None)


def _folders(parent: Path, prefix: str) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [
                Path(entry.path) for entry in sorted(entries, key=lambda e: e.name) if entry.name.startswith(prefix)
            ]
    except FileNotFoundError:
        return []


def _manifest_name(stage: Stage) -> str:
    return f"{stage.value}.json"


def _write(path: Path, content: dict[str, Any]) -> None:
    write_json(path, {**content, _DIGEST: fingerprint(content)})


class _Content(dict[str, Any]):
    """The content of a record without its digest, which has been verified."""

    digest: str


def _read(path: Path, what: str) -> _Content | None:
    """The verified content of ``path``, None when there is no file."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Permanent(
            f"the {what} record {path} cannot be read ({error.strerror})", fix="let this user read it"
        ) from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(path, what) from error
    if not isinstance(content, dict):
        raise _damaged(path, what)
    digest = content.pop(_DIGEST, None)
    if digest != fingerprint(content):
        raise _damaged(path, what)
    verified = _Content(content)
    verified.digest = digest
    return verified


def _damaged(path: Path, what: str) -> Permanent:
    where = f"{path.parent.parent.name}/{path.parent.name}"
    return Permanent(
        f"the {what} record of {where} is damaged or was changed by hand",
        fix=f"restore {path} from a backup, or delete it and run the partition again from that stage",
    )


def _run_again(stage: Stage) -> str:
    return f"run the partition again from stage {stage}"


def _manifest(content: dict[str, Any], stage: Stage, path: Path) -> Manifest:
    try:
        manifest = Manifest(
            stage=Stage(content["stage"]),
            partition=Partition(content["site"], dt.date.fromisoformat(content["study_date"])),
            inputs=dict(content["inputs"]),
            tables={name: TableRef(**table) for name, table in content["tables"].items()},
            counts=dict(content["counts"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, stage.value) from error
    # a whole, valid file of another partition or stage, copied here, is as wrong as a broken one
    if manifest.stage is not stage or not str(path.parent).endswith(f"/{manifest.partition.folder}"):
        raise _damaged(path, stage.value)
    return manifest


def _contract_result(plain: dict[str, Any]) -> ContractResult:
    return ContractResult(
        contract=plain["contract"],
        version=plain["version"],
        status=VerdictStatus(plain["status"]),
        rules=tuple(
            RuleResult(**{**rule, "severity": Severity(rule["severity"]), "status": VerdictStatus(rule["status"])})
            for rule in plain["rules"]
        ),
    )

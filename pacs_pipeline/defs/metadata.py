"""What the UI shows of a materialisation: numbers it can plot over partitions, small tables, column schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from pacs_pipeline.records import Books, Manifest, Verdict

_QUARANTINED = "quarantined: "


def columns(schema: pa.Schema) -> dict[str, dg.TableSchemaMetadataValue]:
    """The column schema of a table, for the asset's page."""
    return {
        "dagster/column_schema": dg.MetadataValue.table_schema(
            dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in schema])
        )
    }


def counts(manifest: Manifest) -> dict[str, Any]:
    """The counts of a manifest as numbers, and its digest."""
    return {**manifest.counts, "digest": manifest.digest}


def deidentified(manifest: Manifest) -> dict[str, Any]:
    """Counts, with the reasons of the quarantine as a table."""
    reasons = {
        name.removeprefix(_QUARANTINED): count
        for name, count in manifest.counts.items()
        if name.startswith(_QUARANTINED)
    }
    numbers = {name: count for name, count in manifest.counts.items() if not name.startswith(_QUARANTINED)}
    return {**numbers, "digest": manifest.digest, "quarantine": _table("reason", reasons)}


def verdict(judged: Verdict) -> dict[str, Any]:
    """The verdict, and how many rules of each contract passed."""
    passed = {
        f"{r.contract} {r.version}": f"{r.status.value}, {len(r.rules) - len(r.failing)} of {len(r.rules)} rules"
        for r in judged.results
    }
    return {
        "verdict": judged.status.value,
        "rules": sum(len(r.rules) for r in judged.results),
        "failing_rules": sum(len(r.failing) for r in judged.results),
        "manifest_digest": judged.manifest_digest,
        "contracts": _table("contract", passed),
    }


def books(made_up: Books) -> dict[str, Any]:
    """The books as numbers."""
    return {
        "expected": made_up.expected,
        "published": made_up.published,
        "excluded": made_up.excluded,
        "quarantined": made_up.quarantined,
        "unavailable": made_up.unavailable,
        "problems": list(made_up.problems),
    }


def _table(name: str, rows: Mapping[str, object]) -> dg.MarkdownMetadataValue:
    lines = [f"| {name} | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    return dg.MetadataValue.md("\n".join(lines))

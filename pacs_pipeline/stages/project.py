"""What every stage of a project needs at hand: settings, zones, keys, profile and contracts, loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pacs_pipeline import contracts, deidentify, storage
from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import Manifest, Partition, Stage, TableRef
from pacs_pipeline.settings import Settings
from pacs_pipeline.stages.staleness import Fingerprints

Progress = Callable[[str, int, int], None]
"""Called with what is being counted, how many are done and how many there are."""


LOCK_WAIT_SECONDS = 60.0
"""How long a stage waits for another run of the same partition before it gives up for now."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Project:
    """One configured project.

    Built from settings alone; nothing is read until it is asked for. Errors in the profile, the contracts or
    the secret surface as SettingsError when first used.
    """

    settings: Settings

    @cached_property
    def zones(self) -> storage.Zones:
        """The local zones, created owner-only."""
        return storage.Zones(self.settings.zones.root)

    @cached_property
    def keys(self) -> deidentify.Keys:
        """One key per purpose, derived from the project secret."""
        return deidentify.Keys.derive(
            self.settings.project_secret(),
            self.settings.project,
            max_shift_days=self.settings.deidentify.max_date_shift_days,
        )

    @cached_property
    def profile(self) -> deidentify.Profile:
        """The de-identification profile in force."""
        chosen = self.settings.deidentify
        return deidentify.load_profile(
            chosen.profile,
            chosen.extra_recipe,
            options=chosen.options,
            safe_private=chosen.safe_private,
            unknown_concepts=chosen.unknown_concepts,
            descriptor_words=chosen.descriptor_words,
        )

    @cached_property
    def identity(self) -> deidentify.IdentityRule:
        """Who is the same person, before a site's own issuer is known."""
        return deidentify.load_identity(self.settings.deidentify.crosswalk)

    def identity_at(self, site: str) -> deidentify.IdentityRule:
        """Who is the same person in the archive of ``site``."""
        return self.identity.of_site(self.settings.site(site).issuer_of_patient_id)

    @cached_property
    def documents(self) -> deidentify.DocumentReleases:
        """The encapsulated documents that the steward releases."""
        return deidentify.load_releases(self.settings.deidentify.release_documents)

    @cached_property
    def contracts(self) -> tuple[contracts.Contract, ...]:
        """The data contracts in force."""
        return contracts.load_contracts(self.settings.contracts)

    @cached_property
    def bucket(self) -> storage.Bucket:
        """The research bucket."""
        return storage.Bucket(self.settings.bucket)

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """What a manifest must have been made with to be current."""
        return Fingerprints(
            profile=self.profile.fingerprint,
            contracts=contracts.fingerprint(self.contracts),
            code=deidentify.code_version(),
            keys=self.keys.hash(f"keys/{self.keys.max_shift_days}"),
            documents=self.documents.fingerprint,
            identities={site.name: self.identity_at(site.name).fingerprint for site in self.settings.sites},
        )

    def partition_id(self, partition: Partition) -> str:
        """The opaque name of a partition in the warehouse: the original study date never leaves."""
        return self.keys.hash(f"partition/{partition.site}/{partition.key}")

    @contextmanager
    def lock(self, partition: Partition) -> Iterator[None]:
        """Hold the partition for one stage; raises Busy when another run keeps it for too long."""
        with storage.partition_lock(self.zones.state.root, partition, wait_seconds=LOCK_WAIT_SECONDS):
            for zone in self.zones:  # what a killed run was writing; nobody else writes here now
                storage.remove_stale(zone.partition(partition))
            yield

    def write_table(self, path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> TableRef:
        """Write one table of a manifest; its reference is relative to the root of the zones."""
        return storage.write_table(path, rows, schema, below=self.zones.root)

    def verify_tables(self, manifest: Manifest) -> None:
        """Check that the tables of a manifest are as they were committed; raises Permanent."""
        storage.verify_tables(self.zones.root, manifest)

    def intact(self, manifest: Manifest) -> bool:
        """Whether the tables are as they were committed: a run killed before its own commit leaves newer ones."""
        try:
            self.verify_tables(manifest)
        except Permanent:
            return False
        return True

    def commit(self, manifest: Manifest) -> Manifest:
        """Store the manifest: from here on its stage has happened."""
        storage.write_manifest(self.zones.state.make_partition(manifest.partition), manifest)
        return manifest

    def manifest(self, partition: Partition, stage: Stage) -> Manifest | None:
        """The stored manifest of a stage, or None when the stage has not been done."""
        return storage.read_manifest(self.zones.state.partition(partition), stage)

    def require(self, partition: Partition, stage: Stage) -> Manifest:
        """The stored manifest of a stage; raises Permanent when the stage has not been done."""
        manifest = self.manifest(partition, stage)
        if manifest is None:
            raise Permanent(
                f"{partition}: there is no {stage.value} manifest",
                fix=f"materialise {partition.site}/{stage.value} for {partition.key} first",
            )
        return manifest

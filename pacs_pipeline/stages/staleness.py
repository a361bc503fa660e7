"""Which partitions are out of date, and from which stage on. Pure: manifests in, decisions out.

Staleness is derived, never remembered: every manifest carries the fingerprints of what made it, and a stage is
stale when one of them is not what is in force now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pacs_pipeline.records import Commit, Judgement, Manifest, Partition, Stage, Verdict, VerdictStatus

STAGE_ASSETS = {
    Stage.CENSUS: "census",
    Stage.HARVEST: "landed",
    Stage.DEIDENTIFY: "staged",
    Stage.VALIDATE: "verdict",
    Stage.PUBLISH: "published",
    Stage.RECONCILE: "books",
}
"""What each stage leaves behind, in order; the names people see in the UI and in messages."""


DOCUMENTS = "documents"
"""The count of a de-identification's encapsulated documents, released or not."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What is in force now: profile, contracts, code version, keys, who is the same person, released documents."""

    profile: str
    contracts: str
    code: str
    keys: str
    identities: Mapping[str, str] = field(default_factory=dict)  # by site
    documents: str = ""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What is stored of one partition. Of manifests and verdict, what is compared is enough."""

    partition: Partition
    manifests: Mapping[Stage, Manifest | Commit]
    verdict: Verdict | Judgement | None = None
    received: str = ""  # the mark of what was pushed; another one when more came


@dataclass(frozen=True, slots=True)
class Stale:
    """A partition that has to be worked on, from ``stage`` to the end.

    ``key`` is the same for the same state, so that one state is asked for once however often it is looked at.
    """

    partition: Partition
    stage: Stage
    why: str
    key: str


def deidentify_inputs(harvest: Manifest | Commit, now: Fingerprints) -> dict[str, str]:
    """What a current de-identification of ``harvest`` was made with."""
    identity = now.identities.get(harvest.partition.site, "")
    return {
        "harvest": harvest.digest,
        "profile": now.profile,
        "code": now.code,
        "keys": now.keys,
        "identity": identity,
        "documents": now.documents,
    }


def changed_inputs(deidentified: Manifest | Commit, wanted: Mapping[str, str]) -> list[str]:
    """By which inputs a de-identification is out of date.

    The list of released documents matters only to a partition that has documents.
    """
    changed = sorted(name for name, value in wanted.items() if deidentified.inputs.get(name, "") != value)
    return [name for name in changed if name != "documents" or deidentified.counts.get(DOCUMENTS, 0)]


def stale_from(state: PartitionState, now: Fingerprints) -> tuple[Stage, str] | None:
    """The first stage that is out of date and why, or None.

    A partition whose census found nothing and which never had anything is not stale: an empty day costs no run.
    A partition held by a failed verdict is not stale either; running it again would not change the verdict.
    """
    census = state.manifests.get(Stage.CENSUS)
    if state.received and (census is None or census.inputs.get("received") != state.received):
        return Stage.CENSUS, "instances were received"
    if census is None:
        return None  # nobody has asked the PACS about this day yet
    harvest = state.manifests.get(Stage.HARVEST)
    if harvest is None:
        return (Stage.HARVEST, "new studies") if census.counts.get("series", 0) else None
    if harvest.inputs.get("census") != census.digest:
        return Stage.HARVEST, "the PACS has new or changed series"
    if harvest.counts.get("unavailable", 0) > harvest.counts.get("set_aside", 0):
        return Stage.HARVEST, "instances were unavailable"
    deidentified = state.manifests.get(Stage.DEIDENTIFY)
    if deidentified is None:
        return Stage.DEIDENTIFY, "not de-identified yet"
    wanted = deidentify_inputs(harvest, now)
    changed = changed_inputs(deidentified, wanted)
    if changed:
        return Stage.DEIDENTIFY, f"changed: {', '.join(changed)}"
    return _stale_after_deidentify(state, deidentified, now)


def _stale_after_deidentify(
    state: PartitionState, deidentified: Manifest | Commit, now: Fingerprints
) -> tuple[Stage, str] | None:
    verdict = state.verdict
    if verdict is None or verdict.manifest_digest != deidentified.digest:
        return Stage.VALIDATE, "no verdict on this data"
    if verdict.contracts_fingerprint != now.contracts:
        return Stage.VALIDATE, "the contracts changed"
    if verdict.status is VerdictStatus.COULD_NOT_RUN:
        return Stage.VALIDATE, "the contracts could not run"
    if verdict.status is VerdictStatus.FAILED:
        published = None
    else:
        published = state.manifests.get(Stage.PUBLISH)
        if published is None or published.inputs.get("deidentify") != deidentified.digest:
            return Stage.PUBLISH, "passed, not published"
    books = state.manifests.get(Stage.RECONCILE)
    current = reconcile_inputs(deidentified, published, verdict)
    if books is None or dict(books.inputs) != current:
        return Stage.RECONCILE, "the books are not made up"
    return None


def reconcile_inputs(
    deidentified: Manifest | Commit, published: Manifest | Commit | None, verdict: Verdict | Judgement
) -> dict[str, str]:
    """What current books were made from."""
    return {
        "deidentify": deidentified.digest,
        "publish": published.digest if published else "",
        "verdict": verdict.status.value,
    }


def stale_partitions(states: Iterable[PartitionState], now: Fingerprints) -> Iterator[Stale]:
    """Every stale partition with the stage to start from."""
    for state in states:
        found = stale_from(state, now)
        if found is not None:
            stage, why = found
            yield Stale(state.partition, stage, why, _state_key(state, stage, now))


def _state_key(state: PartitionState, stage: Stage, now: Fingerprints) -> str:
    identity = now.identities.get(state.partition.site, "")
    made = [f"{each}={manifest.digest}" for each, manifest in state.manifests.items()]
    text = "\n".join(
        [stage, *made, state.received, now.profile, now.contracts, now.code, now.keys, identity, now.documents]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]

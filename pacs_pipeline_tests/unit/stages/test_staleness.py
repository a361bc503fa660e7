"""Staleness is derived from fingerprints: exactly what changed is stale, from exactly the first stage it touches."""

import datetime as dt
from dataclasses import replace

import pytest

from pacs_pipeline.records import ContractResult, Manifest, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.stages.staleness import (
    Fingerprints,
    PartitionState,
    deidentify_inputs,
    reconcile_inputs,
    stale_from,
    stale_partitions,
)

NOW = Fingerprints(profile="p1", contracts="k1", code="c1", keys="s1")
DAY = Partition("north", dt.date(2024, 3, 4))


def manifest(stage: Stage, inputs: dict[str, str], **counts: int) -> Manifest:
    return Manifest(stage, DAY, inputs, counts=counts)


def verdict_on(digest: str, status: VerdictStatus = VerdictStatus.PASSED) -> Verdict:
    return Verdict(digest, "k1", (ContractResult("instances", "1.0.0", status, ()),))


def current(status: VerdictStatus = VerdictStatus.PASSED, **harvested: int) -> PartitionState:
    """A partition on which everything has been done with what is in force."""
    census = manifest(Stage.CENSUS, {}, series=2)
    harvest = manifest(Stage.HARVEST, {"census": census.digest}, **harvested)
    deidentified = manifest(Stage.DEIDENTIFY, deidentify_inputs(harvest, NOW))
    verdict = verdict_on(deidentified.digest, status)
    published = manifest(Stage.PUBLISH, {"deidentify": deidentified.digest, "contracts": "k1"})
    passed = status is VerdictStatus.PASSED
    books = manifest(Stage.RECONCILE, reconcile_inputs(deidentified, published if passed else None, verdict))
    manifests = {m.stage: m for m in (census, harvest, deidentified, books)}
    if passed:
        manifests[Stage.PUBLISH] = published
    return PartitionState(DAY, manifests, verdict)


def without(state: PartitionState, *stages: Stage) -> PartitionState:
    return PartitionState(DAY, {s: m for s, m in state.manifests.items() if s not in stages}, state.verdict)


def replaced(state: PartitionState, new: Manifest) -> PartitionState:
    return PartitionState(DAY, {**state.manifests, new.stage: new}, state.verdict)


def test_a_current_partition_is_not_stale() -> None:
    assert stale_from(current(), NOW) is None


def test_a_day_nobody_asked_about_is_not_stale() -> None:
    assert stale_from(PartitionState(DAY, {}), NOW) is None


def test_an_empty_day_costs_no_run() -> None:
    assert stale_from(PartitionState(DAY, {Stage.CENSUS: manifest(Stage.CENSUS, {}, series=0)}), NOW) is None


def test_new_studies_start_at_the_harvest() -> None:
    state = PartitionState(DAY, {Stage.CENSUS: manifest(Stage.CENSUS, {}, series=1)})
    assert stale_from(state, NOW) == (Stage.HARVEST, "new studies")


def test_a_late_study_starts_at_the_harvest() -> None:
    state = replaced(current(), manifest(Stage.CENSUS, {}, series=3))
    stage, why = stale_from(state, NOW) or (None, "")
    assert stage is Stage.HARVEST
    assert "new or changed" in why


def test_a_day_that_became_empty_is_worked_on() -> None:
    state = replaced(current(), manifest(Stage.CENSUS, {}, series=0))
    assert (stale_from(state, NOW) or [None])[0] is Stage.HARVEST


def test_unavailable_instances_are_asked_for_again() -> None:
    assert (stale_from(current(unavailable=1), NOW) or [None])[0] is Stage.HARVEST


@pytest.mark.parametrize(
    ("now", "stage"),
    [
        (Fingerprints("p2", "k1", "c1", "s1"), Stage.DEIDENTIFY),
        (Fingerprints("p1", "k1", "c2", "s1"), Stage.DEIDENTIFY),
        (Fingerprints("p1", "k1", "c1", "s2"), Stage.DEIDENTIFY),
        (Fingerprints("p1", "k2", "c1", "s1"), Stage.VALIDATE),
    ],
)
def test_a_new_profile_never_asks_the_pacs_and_a_new_contract_never_runs_the_engine(
    now: Fingerprints, stage: Stage
) -> None:
    assert (stale_from(current(), now) or [None])[0] is stage


def with_documents(number: int) -> PartitionState:
    """A current partition in which the engine met so many encapsulated documents."""
    harvest = current().manifests[Stage.HARVEST]
    return replaced(current(), manifest(Stage.DEIDENTIFY, deidentify_inputs(harvest, NOW), documents=number))


def test_a_list_of_released_documents_concerns_partitions_that_have_documents() -> None:
    listed = replace(NOW, documents="d2")
    assert stale_from(with_documents(2), listed) == (Stage.DEIDENTIFY, "changed: documents")
    assert (stale_from(with_documents(2), NOW) or [None])[0] is not Stage.DEIDENTIFY
    assert stale_from(current(), listed) is None
    assert stale_from(current(), replace(listed, keys="s2")) == (Stage.DEIDENTIFY, "changed: keys")


def test_a_list_that_is_gone_is_a_change() -> None:
    harvest = current().manifests[Stage.HARVEST]
    made = manifest(Stage.DEIDENTIFY, deidentify_inputs(harvest, replace(NOW, documents="d2")), documents=1)
    assert stale_from(replaced(current(), made), NOW) == (Stage.DEIDENTIFY, "changed: documents")


def test_a_verdict_on_other_data_does_not_count() -> None:
    state = current()
    state = PartitionState(DAY, state.manifests, verdict_on("another digest"))
    assert (stale_from(state, NOW) or [None])[0] is Stage.VALIDATE


def test_a_verdict_that_could_not_run_is_tried_again() -> None:
    assert (stale_from(current(VerdictStatus.COULD_NOT_RUN), NOW) or [None])[0] is Stage.VALIDATE


def test_a_failed_verdict_holds_the_partition_without_running_it_again() -> None:
    assert stale_from(current(VerdictStatus.FAILED), NOW) is None


def test_a_failed_verdict_still_wants_its_books() -> None:
    state = without(current(VerdictStatus.FAILED), Stage.RECONCILE)
    assert (stale_from(state, NOW) or [None])[0] is Stage.RECONCILE


@pytest.mark.parametrize("stage", [Stage.HARVEST, Stage.DEIDENTIFY, Stage.PUBLISH, Stage.RECONCILE])
def test_a_partition_that_was_cut_off_goes_on_where_it_stopped(stage: Stage) -> None:
    later = list(Stage)[list(Stage).index(stage) :]
    assert (stale_from(without(current(), *later), NOW) or [None])[0] is stage


def test_the_same_state_has_the_same_key_and_another_state_another() -> None:
    first = PartitionState(DAY, {Stage.CENSUS: manifest(Stage.CENSUS, {}, series=1)})
    second = PartitionState(DAY, {Stage.CENSUS: manifest(Stage.CENSUS, {}, series=2)})
    keys = [stale.key for stale in stale_partitions([first, first, second], NOW)]
    assert keys[0] == keys[1] != keys[2]


def test_what_was_received_starts_at_the_census() -> None:
    received = (Stage.CENSUS, "instances were received")
    assert stale_from(PartitionState(DAY, {}, received="m1"), NOW) == received
    assert stale_from(replace(current(), received="m1"), NOW) == received
    answered = replaced(current(), manifest(Stage.CENSUS, {"received": "m1"}, series=2))
    assert (stale_from(replace(answered, received="m1"), NOW) or (None, ""))[0] is Stage.HARVEST
    assert stale_from(replace(answered, received="m2"), NOW) == received


def test_each_mark_is_asked_for_on_its_own() -> None:
    states = [PartitionState(DAY, {}, received=mark) for mark in ("m1", "m2", "m2")]
    keys = [stale.key for stale in stale_partitions(states, NOW)]
    assert keys[0] != keys[1] == keys[2]

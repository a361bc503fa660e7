from collections import Counter

import pytest

from pacs_pipeline.pacs.contexts import MAXIMUM_CONTEXTS, TRANSFER_SYNTAXES, is_storage, proposals, storage_classes
from pacs_pipeline_tests.unit.pacs.samples import CT, DEFLATED, JPEG_2000, MR, PRIVATE_CLASS, SYNTAXES


@pytest.mark.parametrize("told", [{CT}, {CT, MR}, set(storage_classes()[:7]), {CT, ""}, {""}])
def test_no_proposal_exceeds_an_association(told: set[str]) -> None:
    for proposal in proposals(told, "CT"):
        assert len(proposal.contexts) < MAXIMUM_CONTEXTS  # C-GET itself is one
        assert {role.sop_class_uid for role in proposal.roles} == proposal.sop_classes


def test_each_syntax_of_a_known_class_has_its_own_context() -> None:
    first = next(iter(proposals({CT, PRIVATE_CLASS}, "CT")))
    pairs = Counter((str(c.abstract_syntax), *map(str, c.transfer_syntax)) for c in first.contexts)
    assert pairs == Counter((uid, syntax) for uid in (CT, PRIVATE_CLASS) for syntax in TRANSFER_SYNTAXES)


def test_every_syntax_an_archive_may_hold_is_taken_and_nothing_lossy_comes_early() -> None:
    assert set(SYNTAXES) <= set(TRANSFER_SYNTAXES)
    lossy = TRANSFER_SYNTAXES.index("1.2.840.10008.1.2.4.50")
    assert TRANSFER_SYNTAXES.index(JPEG_2000) < lossy > TRANSFER_SYNTAXES.index(DEFLATED)


def test_a_class_that_is_not_told_is_looked_for_in_all() -> None:
    offered: set[str] = set()
    for proposal in proposals({""}, "CT"):
        if not offered:
            assert CT in proposal.sop_classes
        offered |= proposal.sop_classes
    assert offered >= set(storage_classes())


def test_what_counts_as_storage() -> None:
    assert is_storage(CT)
    assert is_storage(PRIVATE_CLASS)
    assert not is_storage("1.2.840.10008.1.1")
    assert not is_storage("1.2.840.10008.5.1.4.1.2.2.1")

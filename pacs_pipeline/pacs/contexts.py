"""What is negotiated: SOP classes and transfer syntaxes, so that instances travel as they are stored (PS3.7 D.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, build_role
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import uid_to_service_class

MAXIMUM_CONTEXTS = 128  # the context ID is an odd number of one byte, PS3.8 9.3.2.2

UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
_LOSSLESS = ("5", "4.70", "4.57", "4.80", "4.90", "4.201", "4.202", "4.110", "1.99")
_JPIP = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (94, 95, 204, 205))  # the pixels stay on a server
_FIRST = (*UNCOMPRESSED, *(f"1.2.840.10008.1.2.{tail}" for tail in _LOSSLESS))
TRANSFER_SYNTAXES: tuple[str, ...] = (
    *_FIRST,
    *(str(uid) for uid in ALL_TRANSFER_SYNTAXES if uid not in _FIRST and uid not in _JPIP),
)
"""What is taken, in the order in which a PACS that does not send as stored may choose: nothing lossy early."""
COMPRESSED = TRANSFER_SYNTAXES[len(UNCOMPRESSED) :]

_IMAGE = "1.2.840.10008.5.1.4.1.1."
_LIKELY = {
    "CR": ("1",),
    "CT": ("2", "2.1", "2.2"),
    "DX": ("1.1", "1.1.1", "1"),
    "ES": ("77.1.1", "77.1.1.1"),
    "MG": ("1.2", "1.2.1", "13.1.3"),
    "MR": ("4", "4.1", "4.4"),
    "NM": ("20", "7"),
    "OT": ("7", "7.2", "7.4"),
    "PR": ("11.1", "11.2"),
    "PT": ("128", "130", "128.1"),
    "RF": ("12.2", "12.2.1"),
    "RTDOSE": ("481.2",),
    "RTPLAN": ("481.5", "481.8"),
    "RTSTRUCT": ("481.3",),
    "SEG": ("66.4", "66.5"),
    "SR": ("88.11", "88.22", "88.33"),
    "US": ("6.1", "3.1", "6.2"),
    "XA": ("12.1", "12.1.1", "13.1.1"),
}
"""The classes (below the standard's image root) to try first where an archive does not tell an instance's class."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The storage contexts of one C-GET association, and the roles that let the PACS send over it."""

    sop_classes: frozenset[str]
    syntaxes: tuple[tuple[str, ...], ...]  # each class has one context for each of these
    contexts: tuple[PresentationContext, ...]
    roles: tuple[SCP_SCU_RoleSelectionNegotiation, ...]
    alternative: bool  # for instances that failed with the proposal before

    def covers(self, other: Proposal) -> bool:
        """Whether an association that was opened with this serves for ``other`` as well."""
        return self.syntaxes == other.syntaxes and self.sop_classes >= other.sop_classes


def proposals(sop_classes: Collection[str], modality: str) -> Iterator[Proposal]:
    """What to propose, association after association, to get instances of these classes as stored.

    An acceptor picks one transfer syntax per context, so each syntax gets a context of its own; three
    classes fit into one association. Some archives send by the first context of a class they accepted and
    then cannot decompress: for what fails, only compressed syntaxes are proposed. An empty class stands for
    instances whose class the PACS does not tell: the likely classes of the modality are proposed, then all
    others with two contexts each.
    """
    told = sorted(uid for uid in sop_classes if uid)
    yield from _each_syntax(told)
    if "" in sop_classes:
        likely = [uid for uid in (_IMAGE + tail for tail in _LIKELY.get(modality, ())) if uid not in told]
        yield from _each_syntax(likely)
        others = [uid for uid in storage_classes() if uid not in told and uid not in likely]
        yield from _some(others, (UNCOMPRESSED, COMPRESSED))


def storage_classes() -> tuple[str, ...]:
    """The SOP classes of the Storage service that pynetdicom lists."""
    return tuple(str(context.abstract_syntax) for context in AllStoragePresentationContexts)


def is_storage(sop_class: str) -> bool:
    """Whether to take a class for one that is stored: listed as such, or private, retired or too new to be listed."""
    return sop_class in _STORAGE or uid_to_service_class(sop_class) is ServiceClass


_STORAGE = frozenset(storage_classes())


def _each_syntax(sop_classes: Sequence[str]) -> Iterator[Proposal]:
    yield from _some(sop_classes, [(uid,) for uid in TRANSFER_SYNTAXES])
    yield from _some(sop_classes, [(uid,) for uid in COMPRESSED], alternative=True)


def _some(
    sop_classes: Sequence[str], syntaxes: Collection[tuple[str, ...]], *, alternative: bool = False
) -> Iterator[Proposal]:
    per_association = (MAXIMUM_CONTEXTS - 1) // len(syntaxes)  # one context is C-GET itself
    for start in range(0, len(sop_classes), per_association):
        batch = sop_classes[start : start + per_association]
        yield Proposal(
            sop_classes=frozenset(batch),
            syntaxes=tuple(syntaxes),
            contexts=tuple(build_context(uid, list(some)) for uid in batch for some in syntaxes),
            roles=tuple(build_role(uid, scp_role=True) for uid in batch),
            alternative=alternative,
        )

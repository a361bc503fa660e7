"""How long a site's archive usually takes, by kind of request. Pure: times come from the caller.

The measure is the median of batches. A first batch is believed as it is; after that what is usual moves slowly
with the time in which the archive was asked: it takes a day of slowness to count as usual twice what was, so
that a slow night stays a slow night, and two hours to learn that the archive became twice as fast.
What it takes under a load of ours is never learned as usual.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

FIRST_BATCH = 9
BATCH = 15
SECONDS_TO_DOUBLE = 86400.0
SECONDS_TO_HALVE = 7200.0
LONGEST_GAP = 60.0  # seconds without an observation that count as time in which the archive was asked
SHORTEST = 1e-4  # seconds


@dataclass
class Usual:
    """One kind of request."""

    usual: float | None = None  # seconds; None while too little was seen
    present: float | None = None  # seconds, the median of the last batch
    _batch: list[float] = field(default_factory=list)
    _alone: bool = True
    _active: float = 0.0
    _last: float | None = None

    def observe(self, seconds: float, *, now: float, alone: bool) -> None:
        """One request took ``seconds``; ``alone`` when we had no other under way."""
        if self._last is not None:
            self._active += min(max(now - self._last, 0.0), LONGEST_GAP)
        self._last = now
        self._batch.append(max(seconds, SHORTEST))
        self._alone &= alone
        if len(self._batch) >= (FIRST_BATCH if self.usual is None else BATCH):
            self._learn()

    def _learn(self) -> None:
        self.present = median(self._batch)
        if self.usual is None:
            self.usual = self.present
        elif self.present < self.usual:
            self.usual = max(self.present, self.usual * 2 ** (-self._active / SECONDS_TO_HALVE))
        elif self._alone:
            self.usual = min(self.present, self.usual * 2 ** (self._active / SECONDS_TO_DOUBLE))
        self._batch, self._alone, self._active = [], True, 0.0


class Baseline:
    """All kinds of requests of a site."""

    def __init__(self, kinds: Mapping[str, Usual] | None = None) -> None:
        self._kinds = dict(kinds or {})

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Baseline:
        """What :meth:`to_json` wrote; what is not that is left out and learned again."""
        kinds = {}
        for kind, value in content.items():
            known = value if isinstance(value, dict) else {}
            usual, present = _seconds(known.get("usual")), _seconds(known.get("present"))
            if usual is not None:
                kinds[kind] = Usual(usual, present)
        return cls(kinds)

    def to_json(self) -> dict[str, dict[str, float | None]]:
        """The kinds of which something is known."""
        return {
            kind: {"usual": usual.usual, "present": usual.present}
            for kind, usual in self.kinds
            if usual.usual is not None
        }

    @property
    def kinds(self) -> Iterable[tuple[str, Usual]]:
        """Every kind with what is known of it, by name."""
        return sorted(self._kinds.items())

    def usual(self, kind: str) -> float | None:
        """How many seconds ``kind`` usually takes, None while too little was seen."""
        known = self._kinds.get(kind)
        return known.usual if known is not None else None

    def observe(self, kind: str, seconds: float, *, now: float, alone: bool) -> None:
        """Take one request into account."""
        if kind not in self._kinds:
            self._kinds[kind] = Usual()
        self._kinds[kind].observe(seconds, now=now, alone=alone)


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) and value > 0 else None

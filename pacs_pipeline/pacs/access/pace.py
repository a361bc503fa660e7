"""Adaptive concurrency: how many associations a site bears at the moment. Pure; the clock is passed in.

Additive increase, multiplicative decrease: one association more while answers take what they usually take, half
as many when most take ``slow_factor`` times that or a request fails, one less when they come close to it or when the
last one made the archive slower. Below one association the requests get pauses between them that double. The number
at which it became too much is approached again only slowly.
"""

from __future__ import annotations

from collections.abc import Callable

from pacs_pipeline.pacs.access.baseline import Baseline

SAMPLES = 5
"""How many answers decide; more than half of them have to agree."""

REFERENCE_BYTES = 512 * 1024
"""An instance larger than this may take proportionally longer."""

SHORTEST_USUAL = 0.002  # seconds; below, what is measured is more of us than of the archive
SECONDS_PER_STEP = 2.0
SECONDS_PER_STEP_BEYOND = 60.0  # from the number on at which it was too much
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds


class Pace:
    """The controller of one process. Begins with one association; not thread-safe."""

    def __init__(
        self, *, budget: int, slow_factor: float, clock: Callable[[], float], baseline: Baseline | None = None
    ) -> None:
        self.budget = budget
        self.baseline = baseline or Baseline()
        self.pause = 0.0  # seconds to wait between two requests
        self._slow = slow_factor
        self._calm = 1 + (slow_factor - 1) / 8  # up to so many times the usual one more is tried
        self._strained = 1 + (slow_factor - 1) / 2  # from so many times the usual on one less
        self._clock = clock
        self._level = 1
        self._ceiling: int | None = None
        self._changed = clock()
        self._on_trial = False  # the last association was added and nothing is known of its effect yet
        self._under_way = 0  # answers to come that say nothing of the present level
        self._forget()

    @property
    def allowed(self) -> int:
        """How many associations may be in use, at least one."""
        return min(self._level, self.budget)

    def observe(self, kind: str, seconds: float, *, size: int = 0, in_use: int | None = None) -> None:
        """A request of ``kind`` took the archive ``seconds``; ``size`` in bytes for an instance.

        ``in_use`` is how many associations were in use, where that may be fewer than allowed.
        """
        in_use = max(1, self.allowed if in_use is None else in_use)
        seconds /= max(1.0, size / REFERENCE_BYTES)
        usual = self.baseline.usual(kind)
        self.baseline.observe(kind, seconds, now=self._clock(), alone=in_use == 1)
        if self._under_way:
            self._under_way -= 1
            return
        if usual is None:
            return
        ratio = seconds / max(usual, SHORTEST_USUAL)
        self._seen += 1
        self._slow_ones += ratio > self._slow
        self._calm_ones += ratio <= self._calm
        self._strained_ones += ratio > self._strained
        if 2 * self._slow_ones > SAMPLES:
            self._back_off(in_use)
        elif self._seen >= SAMPLES:
            tried = self._on_trial and in_use >= self.allowed
            self._on_trial &= not tried
            if 2 * self._calm_ones > SAMPLES:
                self._recover(in_use)
            elif self.allowed > 1 and (tried or 2 * self._strained_ones > SAMPLES):
                self._lower_to(self.allowed - 1)
            self._forget()

    def failed(self, *, in_use: int | None = None) -> None:
        """A request failed."""
        self._back_off(max(1, self.allowed if in_use is None else in_use))

    def _back_off(self, in_use: int) -> None:
        level = min(self.allowed, in_use)
        if level == 1:
            self.pause = min(max(FIRST_PAUSE, 2 * self.pause), LONGEST_PAUSE)
        self._lower_to(max(1, level // 2), level)
        self._forget()

    def _lower_to(self, level: int, before: int | None = None) -> None:
        before = before or self.allowed
        if before > 1:
            self._ceiling = before - 1
        self._level = level
        self._on_trial = False
        self._under_way = before - 1
        self._changed = self._clock()

    def _recover(self, in_use: int) -> None:
        if self.pause:
            self.pause = self.pause / 2 if self.pause > FIRST_PAUSE else 0.0
        elif self.allowed < self.budget and in_use >= self.allowed:  # an allowance nobody uses says nothing
            beyond = self._ceiling is not None and self.allowed >= self._ceiling
            if self._clock() - self._changed < (SECONDS_PER_STEP_BEYOND if beyond else SECONDS_PER_STEP):
                return
            self._level = self.allowed + 1
            self._on_trial = True
            self._under_way = in_use - 1
            if beyond:
                self._ceiling = self._level
        self._changed = self._clock()

    def _forget(self) -> None:
        self._seen = self._slow_ones = self._strained_ones = self._calm_ones = 0

"""The association budget of a site over all its processes: one locked file per association in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pacs_pipeline.errors import Busy
from pacs_pipeline.pacs.access import shared

POLL_SECONDS = 0.1


class Slots:
    """The associations that the processes of a site have in use.

    A slot is given back by the kernel when its process ends, however it ends. ``folder`` is the same for all.
    """

    def __init__(
        self,
        site: str,
        folder: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._site = site
        self._folder = folder / "associations"
        self._monotonic = monotonic
        self._sleep = sleep

    def try_take(self, limit: int) -> shared.Lock | None:
        """A slot, unless ``limit`` or more are in use. Released slots are used again."""
        with shared.locked(self._folder / "gate.lock"):
            free, in_use = self._look()
            if in_use >= limit:
                return None
            slot = shared.Lock.try_take(free)
            if slot is not None:
                slot.sign()
            return slot

    def take(self, limit: Callable[[], int], *, wait_seconds: float) -> shared.Lock:
        """A slot as soon as fewer than ``limit()`` are in use.

        ``limit`` is asked again and again, and may raise to end the waiting. Raises Busy after ``wait_seconds``.
        """
        deadline = self._monotonic() + wait_seconds
        turn: shared.Lock | None = None  # who has it is next: else who gives a slot back would take it again at once
        try:
            while True:
                most = limit()
                turn = turn or shared.Lock.try_take(self._folder / "turn.lock")
                slot = None if turn is None else self.try_take(most)
                if slot is not None:
                    return slot
                left = deadline - self._monotonic()
                if left <= 0:
                    raise Busy(
                        f"{self._site}: {self._in_words(most)} in use, by {', '.join(self.holders())}; "
                        f"none became free in {wait_seconds:.0f} s",
                        fix="wait until those runs have ended, or let the site's access settings allow more",
                    )
                self._sleep(min(POLL_SECONDS, left))
        finally:
            if turn is not None:
                turn.release()

    @property
    def in_use(self) -> int:
        """How many associations the site's processes have in use."""
        return len(self.holders())

    def holders(self) -> tuple[str, ...]:
        """Who has associations in use, one entry per association; creates nothing."""
        if not self._folder.is_dir():
            return ()
        with shared.locked(self._folder / "gate.lock"):
            return tuple(shared.holder(path) for path in self._slots() if self._is_held(path))

    def _look(self) -> tuple[Path, int]:
        """A file that is free, and how many are held; inside the gate, where nobody else looks."""
        slots = self._slots()
        free = [path for path in slots if not self._is_held(path)]
        new = self._folder / f"{len(slots):02}.lock"
        return next(iter(free), new), len(slots) - len(free)

    def _slots(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.lock") if path.stem.isdigit())

    @staticmethod
    def _is_held(path: Path) -> bool:
        lock = shared.Lock.try_take(path)
        if lock is not None:
            lock.release()
        return lock is None

    @staticmethod
    def _in_words(limit: int) -> str:
        return "the only association it bears now is" if limit == 1 else f"all {limit} associations it bears now are"

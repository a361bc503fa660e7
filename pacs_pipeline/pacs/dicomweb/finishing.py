"""Ends arrivals beside the reading of the next ones: most of it is waiting for the disk."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pacs_pipeline.pacs.landing import OUT_OF_RESOURCES, Arrival

_THREADS = 4
_MOST = 8  # that are not at their end yet, each with an open file


class Finishing:
    """A context manager; at its end, as after :meth:`wait`, every arrival is kept or refused, and closed."""

    def __init__(self) -> None:
        self.is_full = False  # the disk had no room for one of them
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="landing")
        self._pending: deque[Future[int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def finish(self, arrival: Arrival) -> None:
        """Have an arrival, whose data set is complete, judged and made durable; waits when many are on their way."""
        while len(self._pending) >= _MOST:
            self._settle()
        self._pending.append(self._pool.submit(arrival.finish))

    def wait(self) -> None:
        """Until all are at their end."""
        while self._pending:
            self._settle()

    def _settle(self) -> None:
        if self._pending.popleft().result() == OUT_OF_RESOURCES:
            self.is_full = True

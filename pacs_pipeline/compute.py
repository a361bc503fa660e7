"""Where the work of a stage runs: a process pool over the cores of this machine.

Stages hand over a function and items and read results as they come; how many workers there are, and that a
worker may die, is this module's business.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import forkserver
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker that had this item died (killed by the kernel, a crash in a C library)."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T, R]):
    """One item with its result."""

    item: T
    result: R | WorkerLost


class Pool:
    """A process pool with bounded work in flight that survives the death of its workers.

    Workers start with the first item, so work that turns out to be empty costs nothing. ``preload`` names
    modules that workers inherit instead of importing them again.
    """

    def __init__(self, workers: int = 0, *, preload: Sequence[str] = ()) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def warm_up(self) -> None:
        """Start importing what the workers need; returns at once.

        To be called when work for the workers is on its way, so that both happen side by side.
        """
        forkserver.ensure_running()

    def imap(self, function: Callable[[T], R], items: Iterable[T], *, chunk: int = 16) -> Iterator[Done[T, R]]:
        """Yield every item with its result, in the order of ``items``, ``chunk`` items per task.

        At most two chunks per worker are in flight. When a worker dies, the items it may have had are tried
        again one by one; an item that kills its worker again comes back as WorkerLost. Exceptions of
        ``function`` are raised here.
        """
        source = iter(items)
        running: deque[tuple[Future[list[R]], list[T]]] = deque()
        while True:
            while len(running) < 2 * self.workers and (batch := list(islice(source, chunk))):
                running.append((self._submit(function, batch), batch))
            if not running:
                return
            future, batch = running.popleft()
            try:
                results = future.result()
            except BrokenProcessPool:  # all that was in flight is lost with it
                lost = deque(batch)
                lost.extend(item for _, other in running for item in other)
                running.clear()
                self._stop()
                yield from self._one_by_one(function, lost)
            else:
                yield from (Done(item, result) for item, result in zip(batch, results, strict=True))

    def _submit(self, function: Callable[[T], R], batch: list[T]) -> Future[list[R]]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self.workers, mp_context=self._context, initializer=_end_with_parent)
        try:
            return self._executor.submit(_apply, function, batch)
        except BrokenProcessPool as error:  # it broke while nobody was looking
            future: Future[list[R]] = Future()
            future.set_exception(error)
            return future

    def _one_by_one(self, function: Callable[[T], R], items: deque[T]) -> Iterator[Done[T, R]]:
        """Empty ``items`` through one worker at a time, so that a death names its item."""
        while items:
            with ProcessPoolExecutor(1, mp_context=self._context, initializer=_end_with_parent) as executor:
                while items:
                    item = items.popleft()
                    try:
                        yield Done(item, executor.submit(function, item).result())
                    except BrokenProcessPool:
                        yield Done(item, WorkerLost())
                        break

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def _apply(function: Callable[[T], R], items: list[T]) -> list[R]:
    """Run one chunk in a worker."""
    return [function(item) for item in items]


def _end_with_parent() -> None:
    """End this worker when the process that made the pool is gone: killed, it cannot tell its workers."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()

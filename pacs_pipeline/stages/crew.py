"""Works through the series of a harvest over as many associations as the site allows at the moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Generic, TypeVar

from pacs_pipeline.errors import Busy
from pacs_pipeline.pacs import Retriever
from pacs_pipeline.stages.sources import Source

T = TypeVar("T")
SECONDS_BETWEEN_LOOKS = 0.5
WAIT_SECONDS = 60.0


class Crew(Generic[T]):
    """One thread per association, each with a retriever of its own.

    The first goes on whatever the pace is; the others take the next job only while the site bears so many, and
    give their association back when it does not.
    """

    def __init__(self, source: Source, work: Callable[[Retriever, T], None]) -> None:
        self._source = source
        self._work = work
        self._jobs: deque[T] = deque()
        self._stop = threading.Event()
        self._associated: set[int] = set()
        self._events: SimpleQueue[T | BaseException | None] = SimpleQueue()

    @property
    def stopping(self) -> bool:
        """Whether nobody should begin anything any more."""
        return self._stop.is_set()

    def run(self, jobs: Iterable[T]) -> Iterator[T]:
        """Do the work for every job, and yield each when it is done.

        The first exception ends the others after what they are at, and is raised.
        """
        self._jobs.extend(jobs)
        most = max(1, min(self._source.most, len(self._jobs)))
        threads = [
            threading.Thread(target=self._member, args=(number,), name=f"harvest-{number}", daemon=True)
            for number in range(most)
        ]
        for thread in threads:
            thread.start()
        problem: BaseException | None = None
        left = len(threads)
        try:
            while left:
                event = self._events.get()
                if event is None:
                    left -= 1
                elif isinstance(event, BaseException):
                    problem = problem or event
                    self._stop.set()
                else:
                    yield event
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if problem is not None:
            raise problem

    def _member(self, number: int) -> None:
        try:
            while self._jobs and not self._stop.is_set():
                if number and number >= self._source.access.allowed:
                    self._stop.wait(SECONDS_BETWEEN_LOOKS)
                    continue
                try:
                    self._associate(number)
                except Busy:  # others have the associations; enough that one of us has
                    if not number and not self._associated:
                        raise
                    self._stop.wait(SECONDS_BETWEEN_LOOKS)
        except BaseException as problem:  # noqa: BLE001 - raised again in the thread that waits for it
            self._events.put(problem)
        finally:
            self._events.put(None)

    def _associate(self, number: int) -> None:
        """Work over one association until there is nothing left, or it is one too many."""
        with ExitStack() as held:
            # who is not the first does not wait for an association: the others have the work
            held.enter_context(self._source.access.association(wait_seconds=0 if number else WAIT_SECONDS))
            self._associated.add(number)
            held.callback(self._associated.discard, number)
            retriever = held.enter_context(self._source.open_retriever())
            while not self._stop.is_set() and (not number or number < self._source.access.allowed):
                try:
                    job = self._jobs.popleft()
                except IndexError:
                    return
                self._work(retriever, job)
                self._events.put(job)

"""Keeps the reactor thread of an association the embedded PACS opens from taking the answers to its own requests.

pynetdicom 3.0 pauses that thread before a request, but looks for a sign that it has stopped which the thread
also shows just before it goes on. On a busy machine it then takes the first response off the queue and drops it:
a match is missing from a complete-looking answer, or a request waits for a response that has come already.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association

_LOOK_SECONDS = 0.05  # how often to see whether the thread has ended instead of coming to rest


class Checkpoint(threading.Event):
    """The event an association's reactor waits for; ``clear`` returns when the reactor stands still."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._reactor = association
        self._state = threading.Condition()
        self._open = True
        self._at_rest = False

    def is_set(self) -> bool:
        """Whether the reactor may run."""
        return self._open

    def set(self) -> None:
        """Let the reactor run."""
        with self._state:
            self._open = True
            self._state.notify_all()

    def clear(self) -> None:
        """Stop the reactor, and return when it has stopped or ended."""
        with self._state:
            self._open = False
            while not self._at_rest and self._reactor.is_alive() and threading.current_thread() is not self._reactor:
                self._state.wait(_LOOK_SECONDS)

    def wait(self, timeout: float | None = None) -> bool:
        """Rest until ``set``; whoever has seen us at rest knows that we cannot go on without it."""
        with self._state:
            self._at_rest = True
            self._state.notify_all()
            try:
                return self._state.wait_for(lambda: self._open, timeout)
            finally:
                self._at_rest = False


def pause_reliably(association: Association) -> None:
    """Give an association that is being opened a checkpoint that holds; to be called before its reactor runs."""
    association._reactor_checkpoint = Checkpoint(association)

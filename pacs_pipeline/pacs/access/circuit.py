"""The circuit breaker of a site, shared by its processes: after failures in a row nobody asks for a while.

Closed: everybody may ask. Open: nobody until an instant. Half-open, after that instant: one process tries; a
success closes the circuit, a failure opens it again for twice as long, up to eight times the first pause.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline.pacs.access import shared

LONGEST_PAUSE = 8  # times the first


@dataclass(frozen=True, slots=True)
class CircuitState:
    """What the processes of the site know together."""

    failures: int = 0  # in a row
    until: dt.datetime | None = None  # open until then, half-open after it; None: closed
    pauses: int = 0  # one after another without a success
    ended: dt.datetime | None = None  # when the last pause of a circuit that is closed now was over

    def is_open(self, now: dt.datetime) -> bool:
        """Whether nobody may ask."""
        return self.until is not None and now < self.until

    def is_half_open(self, now: dt.datetime) -> bool:
        """Whether one may try."""
        return self.until is not None and now >= self.until


class Circuit:
    """One process's view of the circuit in ``folder``. Thread-safe.

    A look costs one ``stat()``; the file is written only by failures and by the success that ends them.
    """

    def __init__(self, folder: Path, *, failures_before_pause: int, pause: dt.timedelta) -> None:
        self._file = folder / "circuit.json"
        self._gate = folder / "circuit.lock"
        self._probing = folder / "probe.lock"
        self._most_failures = failures_before_pause
        self._pause = pause
        self._seen: tuple[tuple[int, int, int] | None, CircuitState] = (None, CircuitState())
        self._probe: shared.Lock | None = None
        self._lock = threading.Lock()

    def state(self, now: dt.datetime) -> CircuitState:
        """What is known now. A pause beyond the longest possible, as after the clock was set back, is cut short."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return CircuitState()
        except OSError as error:
            raise shared.disk_error(error, self._file) from error
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        known, state = self._seen
        if version != known:
            state = _state(shared.read(self._file))
            self._seen = (version, state)
        if state.until is not None and state.until - now > LONGEST_PAUSE * self._pause:
            return CircuitState(state.failures, now + LONGEST_PAUSE * self._pause, state.pauses)
        return state

    @property
    def probing(self) -> bool:
        """Whether this process is the one that tries."""
        return self._probe is not None

    def try_to_probe(self) -> bool:
        """Become the one that tries while the circuit is half-open; False while another process is."""
        with self._lock:
            if self._probe is None:
                self._probe = shared.Lock.try_take(self._probing)
            return self._probe is not None

    def failed(self, now: dt.datetime) -> CircuitState:
        """A request failed; what that makes of the circuit."""
        with shared.locked(self._gate):
            before = self.state(now)
            if before.is_open(now):  # of requests that were under way when it opened
                after = before
            elif before.is_half_open(now) or before.failures + 1 >= self._most_failures:
                length = self._pause * min(2**before.pauses, LONGEST_PAUSE)
                after = CircuitState(before.failures + 1, now + length, min(before.pauses + 1, LONGEST_PAUSE))
            else:
                after = CircuitState(before.failures + 1, ended=before.ended)
            self._write(after)
        self.give_up()
        return after

    def succeeded(self, now: dt.datetime) -> None:
        """A request succeeded; costs nothing while none fails."""
        state = self.state(now)
        if (state.failures or state.until is not None) and not state.is_open(now):
            with shared.locked(self._gate):
                state = self.state(now)
                if not state.is_open(now):
                    self._write(CircuitState(ended=state.until or state.ended))
        if self._probe is not None:
            self.give_up()

    def close(self, now: dt.datetime) -> bool:
        """Somebody knows that the archive is well again; whether the circuit had been open."""
        with shared.locked(self._gate):
            before = self.state(now)
            if before.failures or before.until is not None:
                self._write(CircuitState(ended=now if before.until is not None else before.ended))
        return before.until is not None

    def give_up(self) -> None:
        """Let another process try."""
        with self._lock:
            probe, self._probe = self._probe, None
        if probe is not None:
            probe.release()

    def _write(self, state: CircuitState) -> None:
        shared.replace(
            self._file,
            {
                "failures": state.failures,
                "until": state.until.isoformat() if state.until else None,
                "pauses": state.pauses,
                "ended": state.ended.isoformat() if state.ended else None,
            },
        )


def _state(content: dict[str, object]) -> CircuitState:
    failures, pauses = content.get("failures"), content.get("pauses")
    return CircuitState(
        failures=failures if isinstance(failures, int) else 0,
        until=shared.instant(content.get("until")),
        pauses=pauses if isinstance(pauses, int) else 0,
        ended=shared.instant(content.get("ended")),
    )

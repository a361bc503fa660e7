"""Runs one command for another process and ends it when that process is gone, however it went.

``python supervise.py PARENT_PID COMMAND …``. A process of its own, because Linux ties
"signal me when my parent dies" to the parent's thread, and whoever starts a server may do so from any thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.2
GRACE_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def command(arguments: list[str]) -> list[str]:
    """``arguments`` wrapped so that they end with the calling process."""
    return [sys.executable, "-I", str(Path(__file__).resolve()), str(os.getpid()), *arguments]


def wait_for_end(parent: int, is_over: Callable[[], bool]) -> None:
    """Return when SIGTERM or SIGINT arrives, ``parent`` is no longer the parent, or ``is_over`` says so."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.set())
    while not asked.wait(POLL_SECONDS) and os.getppid() == parent and not is_over():
        pass


def _die_with_supervisor() -> None:
    """In the child: be terminated even if the supervisor itself is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit status, or 0 when it was ended on purpose."""
    parent = int(arguments[0])
    # open file descriptors pass through: a lock among them then lives exactly as long as the command
    child = subprocess.Popen(
        arguments[1:],
        stdin=subprocess.DEVNULL,
        close_fds=False,
        start_new_session=True,
        preexec_fn=_die_with_supervisor,
    )
    wait_for_end(parent, lambda: child.poll() is not None)
    if child.poll() is not None:
        return child.returncode
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))

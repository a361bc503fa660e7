"""Two runs of one partition: the second waits, then says who holds it; a killed run holds nothing."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pacs_pipeline.errors import Busy
from pacs_pipeline.records import Partition
from pacs_pipeline.storage import partition_lock

DAY = Partition("north", dt.date(2024, 3, 31))

HOLDER = """
import datetime as dt, sys, time
from pathlib import Path
from pacs_pipeline.records import Partition
from pacs_pipeline.storage.locks import partition_lock
with partition_lock(Path(sys.argv[1]), Partition("north", dt.date(2024, 3, 31))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_run_is_told_who_holds_the_partition(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    started = time.monotonic()
    with (
        pytest.raises(Busy, match=rf"north 2024-03-31 is being worked on by process {holder.pid} on .*wait until"),
        partition_lock(tmp_path, DAY, wait_seconds=0.3),
    ):
        pass
    assert 0.25 <= time.monotonic() - started < 5
    with partition_lock(tmp_path, Partition("north", dt.date(2024, 4, 1))):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with partition_lock(tmp_path, DAY):
        pass


def test_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with partition_lock(tmp_path, DAY):
            held.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    with pytest.raises(Busy), partition_lock(tmp_path, DAY):
        pass
    with partition_lock(tmp_path, DAY, wait_seconds=5):
        pass
    thread.join()


def test_a_run_that_failed_gives_the_partition_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), partition_lock(tmp_path, DAY):
        raise ValueError("boom")
    with partition_lock(tmp_path, DAY):
        pass
    assert {p.stat().st_mode & 0o777 for p in tmp_path.rglob("*")} == {0o600, 0o700}


def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    """As after SIGKILL of a run whose pool survives: the lock is the run's."""
    fork = multiprocessing.get_context("fork")
    ready, done = fork.Event(), fork.Event()

    def child() -> None:
        ready.set()
        done.wait(20)

    with partition_lock(tmp_path, DAY):
        worker = fork.Process(target=child)
        worker.start()
        ready.wait(5)
        with pytest.raises(Busy), partition_lock(tmp_path, DAY):
            pass
    with partition_lock(tmp_path, DAY):
        pass
    done.set()
    worker.join()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(20):
        with partition_lock(tmp_path, DAY):
            pass
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before

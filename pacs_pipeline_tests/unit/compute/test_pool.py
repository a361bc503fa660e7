"""The pool: everything comes back exactly once, whatever happens to the workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pacs_pipeline.compute import Pool, WorkerLost


def double(item: int) -> int:
    return 2 * item


def die_on_seven(item: int) -> int:
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def fail_on_three(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


def test_every_item_comes_back_once_and_in_order() -> None:
    with Pool(2) as pool:
        done = list(pool.imap(double, range(50), chunk=4))
    assert [d.item for d in done] == list(range(50))
    assert all(d.result == 2 * d.item for d in done)


def test_nothing_to_do_starts_no_worker() -> None:
    with Pool(2) as pool:
        assert list(pool.imap(double, [])) == []
        assert pool._executor is None


def test_an_item_that_kills_its_worker_is_the_only_one_lost() -> None:
    with Pool(2) as pool:
        done = {d.item: d.result for d in pool.imap(die_on_seven, range(40), chunk=4)}
    assert list(done) == list(range(40))
    assert [item for item, result in done.items() if isinstance(result, WorkerLost)] == [7]
    assert all(result == item for item, result in done.items() if item != 7)


def test_the_pool_goes_on_after_a_loss() -> None:
    with Pool(1) as pool:
        assert [d.result for d in pool.imap(die_on_seven, [7])] == [WorkerLost()]
        assert [d.result for d in pool.imap(double, [4])] == [8]


def test_an_exception_of_the_function_is_raised() -> None:
    with Pool(1) as pool, pytest.raises(ValueError, match="three"):
        list(pool.imap(fail_on_three, range(5), chunk=2))


def test_work_in_flight_is_bounded() -> None:
    taken = 0

    def source():
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    with Pool(2) as pool:
        results = pool.imap(double, source(), chunk=5)
        next(results)
        assert taken <= 2 * 2 * 5 + 5
        results.close()


POOL_THAT_TELLS_ITS_WORKER = """
import os, time
from pacs_pipeline.compute import Pool

def pid(_):
    return os.getpid()

if __name__ == "__main__":
    with Pool(1) as pool:
        print(next(iter(pool.imap(pid, [0]))).result, flush=True)
        time.sleep(60)
"""


POOL_THAT_WARMS_UP = """
import sys

from pacs_pipeline.compute import Pool

if __name__ == "__main__":
    with Pool(1, preload=["slow_engine"]) as pool:
        pool.warm_up()
        sys.stdin.read()
"""


def test_workers_end_when_their_run_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(POOL_THAT_TELLS_ITS_WORKER)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        run.kill()
        deadline = time.monotonic() + 20
        while _alive(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive(worker)


def test_what_workers_need_is_imported_before_there_is_work(tmp_path: Path) -> None:
    (tmp_path / "slow_engine.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    script = tmp_path / "run.py"
    script.write_text(POOL_THAT_WARMS_UP)
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdin=subprocess.PIPE) as run:
        deadline = time.monotonic() + 20
        while not (tmp_path / "imported").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / "imported").exists()
        run.communicate(timeout=20)
    assert run.returncode == 0


def _alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False

"""The pool: everything comes back exactly once, whatever happens to the workers."""

import os
import signal

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

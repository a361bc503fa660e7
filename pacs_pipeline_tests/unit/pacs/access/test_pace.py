"""What the controller makes of latencies and failures, and what it takes for usual."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.pacs.access.baseline import Baseline, Usual
from pacs_pipeline.pacs.access.pace import LONGEST_PAUSE, REFERENCE_BYTES, Pace
from pacs_pipeline_tests.unit.pacs.access.clocks import Clock

USUAL = 0.05


def pace(clock: Clock, budget: int = 8) -> Pace:
    known = {kind: Usual(USUAL, USUAL) for kind in ("find", "store")}
    return Pace(budget=budget, slow_factor=3, clock=clock.monotonic, baseline=Baseline(known))


def answers(subject: Pace, clock: Clock, seconds: float, count: int, kind: str = "store", size: int = 0) -> None:
    for _ in range(count):
        clock.pass_by(seconds=max(seconds, 0.5))
        subject.observe(kind, seconds, size=size)


def grown(clock: Clock, to: int = 8) -> Pace:
    subject = pace(clock)
    while subject.allowed < to:
        answers(subject, clock, USUAL, 1)
    answers(subject, clock, USUAL, to - 2)  # those that were under way
    return subject


def test_it_begins_with_one_and_adds_one_at_a_time_up_to_the_budget() -> None:
    clock = Clock()
    subject = pace(clock)
    seen = []
    for _ in range(200):
        seen.append(subject.allowed)
        answers(subject, clock, USUAL, 1)
    assert seen[0] == 1
    assert max(seen) == 8
    assert all(after - before in (0, 1) for before, after in pairwise(seen))


def test_slower_than_the_factor_halves_down_to_one_and_then_pauses_grow() -> None:
    clock = Clock()
    subject = grown(clock)
    levels, pauses = [subject.allowed], [subject.pause]
    for _ in range(100):
        answers(subject, clock, 4 * USUAL, 1)
        levels.append(subject.allowed)
        pauses.append(subject.pause)
    assert sorted(set(levels), reverse=True) == [8, 4, 2, 1]
    assert pauses == sorted(pauses)
    assert 0 < pauses[-1] <= LONGEST_PAUSE


def test_it_recovers_pauses_first_then_one_by_one() -> None:
    clock = Clock()
    subject = grown(clock)
    answers(subject, clock, 10 * USUAL, 60)
    assert subject.allowed == 1
    assert subject.pause
    while subject.pause:
        assert subject.allowed == 1
        answers(subject, clock, USUAL, 1)
    answers(subject, clock, USUAL, 2000)
    assert subject.allowed == 8


def test_a_failure_halves() -> None:
    clock = Clock()
    subject = grown(clock)
    subject.failed()
    assert subject.allowed == 4
    subject.failed()
    subject.failed()
    assert (subject.allowed, subject.pause) == (1, 0)
    subject.failed()
    assert subject.pause > 0


def test_one_slow_answer_is_no_slow_archive() -> None:
    clock = Clock()
    subject = grown(clock)
    for _ in range(20):
        answers(subject, clock, 40 * USUAL, 1)
        answers(subject, clock, USUAL, 4)
    assert subject.allowed == 8


def test_answers_that_were_under_way_do_not_halve_again() -> None:
    clock = Clock()
    subject = grown(clock)
    answers(subject, clock, 4 * USUAL, 3)
    assert subject.allowed == 4
    answers(subject, clock, 4 * USUAL, 7)  # the other seven of the eight
    assert subject.allowed == 4


def test_one_that_makes_the_archive_slower_is_taken_back() -> None:
    clock = Clock()
    subject = grown(clock, to=6)
    answers(subject, clock, 1.5 * USUAL, 5)
    assert subject.allowed == 5
    answers(subject, clock, USUAL, 40)
    assert subject.allowed == 5  # and is not tried again soon


def test_close_to_slow_takes_one_back_and_a_little_slower_adds_none() -> None:
    clock = Clock()
    subject = grown(clock, to=6)
    subject.budget = 6
    answers(subject, clock, USUAL, 10)
    answers(subject, clock, 1.7 * USUAL, 100)
    assert subject.allowed == subject.budget
    answers(subject, clock, 2.5 * USUAL, 5)
    assert subject.allowed == subject.budget - 1


def test_where_it_became_too_much_it_goes_again_only_slowly() -> None:
    clock = Clock()
    subject = grown(clock, to=6)
    answers(subject, clock, 4 * USUAL, 3)
    assert subject.allowed == 3
    begin = clock.seconds
    while subject.allowed < 5:
        answers(subject, clock, USUAL, 1)
    near = clock.seconds - begin
    while subject.allowed < 6:
        answers(subject, clock, USUAL, 1)
    assert clock.seconds - begin - near > 2 * near


def test_a_large_instance_may_take_long() -> None:
    clock = Clock()
    subject = grown(clock)
    answers(subject, clock, 40 * USUAL, 100, size=40 * REFERENCE_BYTES)
    assert subject.allowed == 8
    answers(subject, clock, 40 * USUAL, 3, size=REFERENCE_BYTES)
    assert subject.allowed == 4


def test_kinds_are_each_compared_with_themselves() -> None:
    clock = Clock()
    subject = Pace(
        budget=4,
        slow_factor=3,
        clock=clock.monotonic,
        baseline=Baseline({"find": Usual(2.0), "store": Usual(0.05)}),
    )
    for _ in range(100):
        answers(subject, clock, 2.0, 1, "find")
        answers(subject, clock, 0.05, 1, "store")
    assert subject.allowed == 4


def test_an_allowance_that_nobody_uses_does_not_grow() -> None:
    clock = Clock()
    subject = pace(clock)
    for _ in range(500):
        clock.pass_by(seconds=1)
        subject.observe("store", USUAL, in_use=1)
    assert subject.allowed == 2


def test_a_smaller_budget_holds_at_once() -> None:
    clock = Clock()
    subject = grown(clock)
    subject.budget = 2
    assert subject.allowed == 2
    answers(subject, clock, 4 * USUAL, 3)
    assert subject.allowed == 1


@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.floats(0, 1e4), st.integers(0, 1 << 32), st.integers(0, 20))), max_size=200
    ),
    st.integers(1, 64),
)
def test_whatever_happens_it_stays_within_one_and_the_budget(
    events: list[tuple[float, int, int] | None], budget: int
) -> None:
    clock = Clock()
    subject = pace(clock, budget)
    for event in events:
        before = subject.allowed
        if event is None:
            subject.failed()
            assert subject.allowed <= before
        else:
            seconds, size, in_use = event
            clock.pass_by(seconds=seconds)
            subject.observe("store", seconds, size=size, in_use=in_use)
        assert 1 <= subject.allowed <= budget
        assert subject.allowed - before <= 1
        assert 0 <= subject.pause <= LONGEST_PAUSE


# what is usual


def learn(usual: Usual, clock: Clock, seconds: float, *, hours: float, alone: bool = True) -> float:
    end = clock.seconds + hours * 3600
    while clock.seconds < end:
        clock.pass_by(seconds=5)
        usual.observe(seconds, now=clock.monotonic(), alone=alone)
    assert usual.usual is not None
    return usual.usual


def test_the_first_answers_are_believed_but_for_outliers() -> None:
    usual = Usual()
    for seconds in (0.1, 9.0, 0.1, 0.1, 7.0, 0.1, 0.1, 8.0, 0.1):
        usual.observe(seconds, now=0, alone=True)
    assert usual.usual == 0.1


def test_a_slow_night_does_not_become_usual() -> None:
    usual = Usual(0.1)
    assert learn(usual, Clock(), 1.0, hours=8) < 0.15


def test_a_thousand_slow_answers_within_minutes_teach_nothing() -> None:
    usual = Usual(0.1)
    for n in range(10_000):
        usual.observe(1.0, now=n * 0.06, alone=True)
    assert usual.usual is not None
    assert usual.usual < 0.101


def test_an_archive_that_stays_slower_is_believed_after_days() -> None:
    assert learn(Usual(0.1), Clock(), 0.2, hours=30) == 0.2


def test_what_it_takes_under_our_own_load_is_never_usual() -> None:
    assert learn(Usual(0.1), Clock(), 0.2, hours=100, alone=False) == 0.1


def test_a_faster_archive_is_believed_within_hours() -> None:
    assert learn(Usual(0.4), Clock(), 0.1, hours=5) == 0.1


def test_time_in_which_nobody_asks_teaches_nothing() -> None:
    usual, clock = Usual(0.1), Clock()
    learn(usual, clock, 1.0, hours=0.1)
    clock.pass_by(days=300)
    assert learn(usual, clock, 1.0, hours=0.1) < 0.102


def test_what_is_stored_comes_back_and_what_is_damaged_is_learned_again() -> None:
    known = Baseline({"find": Usual(0.1, 0.2), "new": Usual()})
    again = Baseline.from_json(known.to_json())
    assert again.to_json() == {"find": {"usual": 0.1, "present": 0.2}}
    damaged = {"find": {"usual": "soon"}, "store": 7, "move": {"usual": -1}, "get": {"usual": float("nan")}}
    assert Baseline.from_json(damaged).to_json() == {}

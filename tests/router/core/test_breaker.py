"""When an endpoint is left alone, and how it comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tiergarten_router.core import breaker
from tiergarten_router.core.breaker import Breaker, Phase

jitters = st.floats(0.5, 1.5)


def failing(now, times, broken=breaker.NEW):
    for _ in range(times):
        broken = broken.failed(now, began=now)
    return broken


def probed(broken, at):
    """Return a breaker whose probe is out, and check that it asked for one."""
    assert broken.admits(at)
    return broken.admitted(at)


def test_a_new_breaker_admits_and_gives_a_whole_share():
    assert breaker.NEW.phase is Phase.CLOSED
    assert breaker.NEW.admits(0)
    assert breaker.NEW.admitted(0) is breaker.NEW
    assert breaker.NEW.share(0) == 1


def test_opens_at_the_fifth_failure_in_a_row():
    assert failing(100, 4).phase is Phase.CLOSED
    assert failing(100, 5).phase is Phase.OPEN


def test_a_success_ends_a_row_of_failures():
    broken = failing(100, 4).succeeded(100, began=99)

    assert failing(100, 4, broken).phase is Phase.CLOSED


def test_opens_when_half_of_ten_outcomes_in_the_window_are_failures():
    broken = breaker.NEW
    for second in range(9):
        broken = broken.failed(second, second) if second % 2 else broken.succeeded(second, second)
    assert broken.phase is Phase.CLOSED

    assert broken.failed(9, 9).phase is Phase.OPEN


def test_outcomes_older_than_the_window_do_not_count():
    broken = breaker.NEW
    for second in range(0, 60, 2):
        broken = broken.succeeded(second, second).failed(second, second)
        broken = broken.succeeded(second, second)

    assert broken.phase is Phase.CLOSED
    assert sum(good + bad for _, good, bad in broken.counts) <= 15


def test_many_successes_outweigh_scattered_failures():
    broken = breaker.NEW
    for step in range(1000):
        now = step / 100
        broken = broken.succeeded(now, now) if step % 3 else broken.failed(now, now)

    assert broken.phase is Phase.CLOSED
    assert len(broken.counts) <= 10


def test_admits_nothing_while_open_and_exactly_one_query_after():
    broken = failing(100, 5)

    assert not broken.admits(100.9)
    assert broken.admitted(100.9) is broken
    out = probed(broken, 101)
    assert out.phase is Phase.HALF_OPEN
    assert not out.admits(101)
    assert not out.admits(10_000)


def test_a_probe_that_succeeds_closes():
    closed = probed(failing(100, 5), 101).succeeded(102, began=101)

    assert closed.phase is Phase.CLOSED
    assert closed.admits(102)
    assert (closed.failures, closed.counts) == (0, ((102, 1, 0),))


def test_a_probe_that_fails_opens_for_twice_as_long_up_to_a_minute():
    broken, now, waits = failing(100, 5), 100.0, []
    for _ in range(8):
        waits.append(broken.until - now)
        now = broken.until
        broken = probed(broken, now).failed(now, began=now)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


@given(jitters, st.integers(0, 40))
def test_the_open_time_is_within_its_bounds_whatever_the_jitter(jitter, rounds):
    broken, now = failing(0, 4).failed(0, 0, jitter), 0.0
    for _ in range(rounds):
        now = broken.until
        broken = probed(broken, now).failed(now, now, jitter)

    assert 0.5 - 1e-6 <= broken.until - now <= 60 + 1e-6


def test_an_endpoint_that_fails_soon_after_it_closed_waits_longer_than_before():
    closed = probed(failing(100, 5), 101).succeeded(101, began=101)

    assert failing(102, 5, closed).until == 104


def test_an_endpoint_that_worked_for_a_minute_starts_anew():
    closed = probed(failing(100, 5), 101).succeeded(101, began=101)

    assert failing(161, 5, closed).until == 162


def test_an_answer_that_began_before_the_failures_does_not_close():
    broken = failing(100, 5)

    assert broken.succeeded(100.5, began=99) is broken
    assert probed(broken, 101).succeeded(101.5, began=99).phase is Phase.HALF_OPEN


def test_failures_that_began_before_it_opened_do_not_make_it_stay_open():
    broken = failing(100, 5)

    assert broken.failed(100.5, began=99) is broken
    out = probed(broken, 101)
    assert out.failed(101.5, began=99) is out
    closed = out.succeeded(102, began=101)
    assert closed.failed(102.5, began=99) is closed


def test_an_answer_in_a_panic_closes():
    closed = failing(100, 5).succeeded(100.6, began=100.5)

    assert closed.phase is Phase.CLOSED


def test_a_failure_in_a_panic_does_not_put_the_probe_off():
    broken = failing(100, 5)

    assert broken.failed(100.9, began=100.5) is broken


def test_a_probe_whose_client_left_is_followed_by_another_at_once():
    broken = probed(failing(100, 5), 101).abandoned(101.5, began=101)

    assert broken.phase is Phase.OPEN
    assert broken.admits(101.5)


def test_a_probe_that_is_told_to_wait_waits_without_counting_as_a_failure():
    broken = probed(failing(100, 5), 101).abandoned(101.5, began=101, busy=True)

    assert not broken.admits(102.4)
    again = probed(broken, 102.5).failed(102.5, began=102.5)
    assert again.until == 104.5


def test_an_attempt_that_says_nothing_changes_nothing_else():
    assert breaker.NEW.abandoned(100, began=99) is breaker.NEW
    out = probed(failing(100, 5), 101)
    assert out.abandoned(101, began=99, busy=True) is out


def test_an_endpoint_that_comes_back_gets_its_share_step_by_step():
    closed = probed(failing(100, 5), 101).succeeded(101, began=101)

    assert [closed.share(now) for now in (101, 101.5, 106, 111, 500)] == [0.1, 0.1, 0.5, 1, 1]
    assert failing(100, 5).share(100) == 1


@pytest.mark.parametrize(
    ("closed", "total", "expected"),
    [
        pytest.param(0, 1, True, id="the-only-one-is-never-left-out"),
        pytest.param(1, 1, False, id="all-well"),
        pytest.param(1, 2, False, id="half"),
        pytest.param(0, 2, True, id="none-of-two"),
        pytest.param(1, 3, True, id="fewer-than-half"),
        pytest.param(2, 3, False, id="more-than-half"),
        pytest.param(0, 0, False, id="none-to-choose-from"),
    ],
)
def test_breakers_are_ignored_when_fewer_than_half_are_closed(closed, total, expected):
    assert breaker.panics(closed, total) is expected


class Life(RuleBasedStateMachine):
    """Any life of an endpoint, in which at most one query is out while it is half-open."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.broken = Breaker()
        self.out = []

    @rule(seconds=st.floats(0, 70))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def ask(self):
        if self.broken.admits(self.now):
            before = self.broken
            self.broken = before.admitted(self.now)
            self.out.append(self.now)
            assert before.phase is Phase.CLOSED or not self.broken.admits(self.now)

    @rule(which=st.integers(0, 9), jitter=jitters, busy=st.booleans(), end=st.sampled_from("sfa"))
    def end(self, which, jitter, busy, end):
        if not self.out:
            return
        began = self.out.pop(which % len(self.out))
        before, now = self.broken, self.now
        if end == "s":
            self.broken = before.succeeded(now, began)
        elif end == "f":
            self.broken = before.failed(now, began, jitter)
        else:
            self.broken = before.abandoned(now, began, busy=busy)
        closes = before.phase is not Phase.CLOSED and self.broken.phase is Phase.CLOSED
        assert not closes or (end == "s" and began >= before.since)

    @invariant()
    def admits_nothing_while_open(self):
        if self.broken.phase is Phase.OPEN:
            assert self.broken.admits(self.now) == (self.now >= self.broken.until)
            assert self.broken.openings

    @invariant()
    def counts_no_more_than_the_window(self):
        assert len(self.broken.counts) <= 10


test_whatever_happens_only_a_success_closes_and_nothing_passes_while_open = Life.TestCase


def test_an_endpoint_answers_well_once_it_has_and_while_a_fifth_at_most_fails():
    good = breaker.NEW.succeeded(100, began=100)
    for _ in range(3):
        good = good.succeeded(100, began=100)
    shaky = good.failed(100, began=100)

    assert not breaker.NEW.answers(100)
    assert good.answers(109)
    assert not good.answers(111)  # that was too long ago
    assert shaky.answers(100)
    assert not shaky.failed(100, began=100).answers(100)
    assert not failing(100, 5).answers(100)

"""How many retries there may be."""

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core.budget import FLOOR, SHARE, WINDOW_SECONDS, Budget


def test_three_retries_are_always_allowed_and_no_fourth_without_queries():
    budget = Budget()

    assert [budget.spend(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_fifth_of_the_queries_that_begin_in_the_window_may_be_retried():
    budget = Budget()
    for _ in range(200):
        budget.begin(100.0)
        budget.end()

    assert sum(budget.spend(100.5) for _ in range(200)) == 40


def test_queries_that_have_waited_for_long_count_as_well():
    budget = Budget()
    for _ in range(50):
        budget.begin(100.0)

    assert budget.allowed(500.0) == 10
    for _ in range(50):
        budget.end()
    assert budget.allowed(500.0) == FLOOR


def test_retries_are_forgotten_when_their_second_leaves_the_window():
    budget = Budget()
    for _ in range(FLOOR):
        budget.spend(100.0)

    assert not budget.spend(100.0 + WINDOW_SECONDS - 1)
    assert budget.spend(100.0 + WINDOW_SECONDS)


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["query", "retry"])), max_size=200))
def test_retries_never_pass_their_share_of_the_queries_in_any_window(steps):
    budget, now, begun, spent = Budget(), 0.0, [], []
    for pause, kind in steps:
        now += pause
        if kind == "query":
            budget.begin(now)
            budget.end()
            begun.append(int(now))
        elif budget.spend(now):
            spent.append(int(now))
        oldest = int(now) - WINDOW_SECONDS + 1
        queries = sum(second > int(now) - 2 * WINDOW_SECONDS for second in begun)
        retries = sum(second >= oldest for second in spent)
        assert retries <= max(FLOOR, SHARE * queries)

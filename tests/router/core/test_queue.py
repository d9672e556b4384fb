"""Who is next, and who goes when there is no room."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core.queue import Priority, Queue


def put(queue, item, caller=0, priority=Priority.INTERACTIVE):
    place = queue.place(item, caller, priority)
    queue.put(place)
    return place


def served(queue):
    """Return the items in the order in which they are served."""
    order = []
    while len(queue):
        place = next(iter(queue))
        queue.take(place, served=True)
        order.append(place.item)
    return order


def test_one_caller_is_served_in_order_of_arrival():
    queue: Queue[Any] = Queue()
    for item in "abcd":
        put(queue, item)

    assert served(queue) == list("abcd")


def test_people_go_before_the_calls_that_chat_uis_make_themselves():
    queue: Queue[Any] = Queue()
    put(queue, "title", priority=Priority.BACKGROUND)
    put(queue, "question")

    assert served(queue) == ["question", "title"]


def test_a_caller_with_many_queries_has_one_served_for_each_of_everybody_else_s():
    queue: Queue[Any] = Queue()
    for number in range(4):
        put(queue, f"a{number}", caller=1)
    first = next(iter(queue))
    queue.take(first, served=True)
    for number in range(2):
        put(queue, f"b{number}", caller=2)

    assert served(queue) == ["a1", "b0", "a2", "b1", "a3"]


def test_the_last_is_the_one_that_a_flood_has_at_its_end():
    queue: Queue[Any] = Queue()
    for number in range(3):
        put(queue, f"a{number}", caller=1)
    other = queue.place("b", 2)

    assert queue.last.item == "a2"
    assert other < queue.last
    assert queue.place("a3", 1) > queue.last


def test_who_leaves_is_not_served_and_holds_nobody_up():
    queue: Queue[Any] = Queue()
    first, second = put(queue, "a"), put(queue, "b")
    queue.take(first, served=False)
    queue.take(first, served=False)  # the second time does nothing

    assert served(queue) == ["b"]
    queue.take(second, served=False)
    assert len(queue) == 0


def test_places_may_be_taken_while_they_are_looked_through():
    queue: Queue[Any] = Queue()
    for item in "abcde":
        put(queue, item)
    seen = []
    for place in queue:
        seen.append(place.item)
        if place.item in "bd":
            queue.take(place, served=True)

    assert seen == list("abcde")
    assert served(queue) == list("ace")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "serve", "leave"]),
            st.integers(0, 3),
            st.sampled_from(list(Priority)),
        ),
        max_size=60,
    )
)
def test_nobody_is_lost_and_nothing_is_kept_of_those_who_are_gone(steps):
    queue: Queue[Any] = Queue()
    waiting: list[Any] = []
    for kind, caller, priority in steps:
        if kind == "put":
            waiting.append(put(queue, object(), caller, priority))
        elif waiting and kind == "serve":
            place = next(iter(queue))
            queue.take(place, served=True)
            waiting.remove(place)
        elif waiting:
            queue.take(waiting.pop(caller % len(waiting)), served=False)
        assert list(queue) == sorted(waiting)
    for place in waiting:
        queue.take(place, served=False)
    assert not queue._last


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_no_caller_who_waits_is_served_twice_while_another_is_not_served_once(callers):
    queue: Queue[Any] = Queue()
    for number, caller in enumerate(callers):
        put(queue, (caller, number), caller)
    order = [caller for caller, _ in served(queue)]

    for caller in set(callers):
        first = order.index(caller)
        before = order[:first]
        assert all(before.count(other) <= 1 for other in set(before))

"""Where the beginning of a conversation is held."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router import wire
from tiergarten_router.core import affinity, query
from tiergarten_router.core.affinity import LEAST_CHARACTERS, Homes, Ring


def said(*messages):
    return query.chat(
        "id",
        wire.ChatBody(
            model="auto",
            messages=[wire.Message(role=role, content=content) for role, content in messages],
        ),
    )


OPENING = (("system", "Be brief."), ("user", "hi"))


def test_all_turns_of_a_conversation_have_one_prefix_and_others_another():
    first = affinity.claim(said(*OPENING))
    later = affinity.claim(said(*OPENING, ("assistant", "hello"), ("user", "and then?")))
    other = affinity.claim(said(OPENING[0], ("user", "hi there")))

    assert first.prefix == later.prefix != other.prefix
    assert (first.sticky, later.sticky) == (False, True)
    assert (first.begun, later.begun) == (False, True)


def test_a_long_prompt_is_worth_finding_again_at_its_first_turn():
    assert affinity.claim(said(("user", "x" * LEAST_CHARACTERS))).sticky
    assert not affinity.claim(said(("user", "x" * (LEAST_CHARACTERS - 1)))).sticky


def test_the_client_s_own_name_of_a_conversation_goes_first():
    one = affinity.claim(said(*OPENING), b"chat-1")
    edited = affinity.claim(said(("user", "something else")), b"chat-1")

    assert one.prefix == edited.prefix != affinity.claim(said(*OPENING)).prefix
    assert one.sticky
    assert not one.begun


def test_text_is_found_in_parts_and_prompts_too_and_vectors_have_none():
    parts: list[wire.TextPart | wire.ImagePart] = [
        wire.TextPart("hi"),
        wire.ImagePart(wire.ImageURL("data:x")),
    ]
    image = query.chat(
        "id", wire.ChatBody(model="m", messages=[wire.Message(role="user", content=parts)])
    )
    legacy = query.completion("id", wire.CompletionBody(model="m", prompt="Once upon a time"))
    vectors = query.embeddings("id", wire.EmbeddingsBody(model="m", input="x"))

    assert affinity.claim(image).prefix == affinity.claim(said(("user", "hi"))).prefix
    assert affinity.claim(legacy).prefix
    assert not affinity.claim(vectors, b"chat-1").prefix
    assert affinity.claim(said(("system", None), ("tool", "x"))).prefix


def test_the_claim_knows_the_caller_and_whether_a_chat_ui_asks_for_itself():
    title = affinity.claim(said(("user", "### Task:\nname this chat")), caller=7)

    assert (title.caller, title.background) == (7, True)


@pytest.mark.parametrize(("cached", "fresh", "held"), [(90, 10, True), (10, 90, False)])
def test_an_endpoint_s_own_measurements_say_whether_it_held_a_prompt(cached, fresh, held):
    assert affinity.held(wire.Timings(cache_n=cached, prompt_n=fresh)) is held


@given(st.sets(st.text("abc123-", min_size=1, max_size=8), min_size=1, max_size=20), st.integers(0))
def test_a_ring_names_different_endpoints_and_its_own_first(ids, key):
    key %= 1 << 64
    near = list(Ring(ids).near(key))

    assert len(near) == len(set(near))
    assert 1 <= len(near) <= affinity.NEIGHBOURS
    assert set(near) <= ids
    assert near == list(Ring(sorted(ids, reverse=True)).near(key))


def test_an_empty_ring_names_nobody():
    assert list(Ring(()).near(1)) == []


def test_few_conversations_move_when_an_endpoint_comes():
    ids = [f"q2-{number}" for number in range(10)]
    keys = [affinity._digest(b"%d" % number) for number in range(2000)]
    before, after = Ring(ids), Ring([*ids, "q2-10"])
    moved = [key for key in keys if next(before.near(key)) != next(after.near(key))]

    assert {next(after.near(key)) for key in moved} == {"q2-10"}
    assert len(moved) < 2000 * 0.15
    shares = Counter(next(before.near(key)) for key in keys)
    assert max(shares.values()) < 2 * min(shares.values())


def test_homes_are_remembered_and_the_oldest_forgotten():
    homes = Homes(2)
    homes.put("q2", 1, "q2-0")
    homes.put("q2", 2, "q2-1")
    homes.put("q2", 1, "q2-2")
    homes.put("q3", 1, "q3-0")

    assert homes.find("q2", 1) == "q2-2"
    assert homes.find("q2", 2) is None
    assert homes.find("q3", 1) == "q3-0"
    assert len(homes) == 2


def test_one_that_holds_a_conversation_gets_it_as_long_as_it_has_a_slot():
    assert affinity.bound(slots=8, share=1.0, average=0.5, known=True) == 8
    assert (
        affinity.bound(slots=4, share=0.1, average=1, known=True) < 1
    )  # healed: its cache is cold


def test_one_that_shall_hold_it_has_little_more_than_the_average():
    assert affinity.bound(slots=8, share=1.0, average=0.1, known=False) == 1
    assert affinity.bound(slots=8, share=1.0, average=4, known=False) == 5

"""A kept answer is given again as it was, whole or in pieces."""

from tiergarten_router import replay
from tiergarten_router.cache.entry import Entry
from tiergarten_router.cache.memory import Kept
from tiergarten_router.upstream import sse

WORDS = [f'{{"id":"x","model":"m","choices":[{{"delta":{{"content":"{n} "}}}}]}}' for n in range(5)]
EVENTS = [sse.comment(b"alive"), *(sse.frame(word.encode()) for word in WORDS)]
EVENTS += [sse.frame(b"[DONE]")]


def kept(events=EVENTS):
    return Kept(Entry(events, "q2", "m", 0, (), 60.0), 0.0, 60.0)


async def drained(answer):
    """Return what each turn gave."""
    turns = []
    while events := await answer.next():
        turns.append(events)
    answer.close()
    return turns


async def test_a_short_stream_is_given_again_at_once_and_event_by_event():
    (events,) = await drained(replay.Stream(kept()))

    assert b"".join(event.raw for event in events) == b"".join(EVENTS)
    said = [event.chunk.choices[0].delta.content for event in events[1:-1] if event.chunk]
    assert "".join(said) == "0 1 2 3 4 "
    assert events[0].chunk is events[-1].chunk is None


async def test_a_stream_of_which_several_events_came_at_once_is_given_again():
    parts = [*EVENTS[:2], b"".join(EVENTS[2:-2]), *EVENTS[-2:]]

    (events,) = await drained(replay.Stream(kept(parts)))

    assert b"".join(event.raw for event in events) == b"".join(EVENTS)
    assert replay.Whole(kept(parts)).text == "0 1 2 3 4 "


async def test_a_long_stream_comes_in_pieces():
    large = EVENTS[:-1] * 400 + EVENTS[-1:]

    turns = await drained(replay.Stream(kept(large)))

    assert b"".join(event.raw for events in turns for event in events) == b"".join(large)
    sizes = [sum(len(event.raw) for event in events) for events in turns]
    assert len(sizes) > 1
    assert max(sizes) < replay.PIECE_BYTES + max(map(len, large))


def test_what_is_made_for_clients_is_made_once():
    found = kept()

    assert replay.Whole(found).text == "0 1 2 3 4 "
    assert b'"content":"0 1 2 3 4 "' in replay.Whole(found).chat()
    assert b"text_completion" in replay.Whole(found).completion()
    assert set(found.made) == {"text", "chat", "completion"}
    for form in (replay.Whole.chat, replay.Whole.completion):
        assert form(replay.Whole(found)) is form(replay.Whole(found))
    assert replay.Whole(found).text == "0 1 2 3 4 "


async def test_an_answer_of_no_events_is_empty():
    assert await drained(replay.Stream(kept([]))) == []
    assert replay.Whole(kept([])).text == ""

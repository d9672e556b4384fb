"""A reflector against an API server that misbehaves: it keeps what it knows, and catches up."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from scripted_api import (
    ScriptedApi,
    Step,
    added,
    answer,
    bookmark,
    error,
    item,
    page,
    refusal,
    silent,
    versions,
    watch,
)
from tiergarten_router.sources.kube.api import Api
from tiergarten_router.sources.kube.login import Access
from tiergarten_router.sources.kube.reading import Unreadable
from tiergarten_router.sources.kube.reflector import Bounds, Kind, Reflector
from tiergarten_router.sources.kube.table import Table

SECONDS = 20
QUICK = Bounds(silence_seconds=5, list_seconds=5, least_seconds=0.01, most_seconds=0.05)


class Anyone:
    """A login that needs nothing."""

    namespace = "ns"
    trust_env = False

    def __init__(self, server: str) -> None:
        self._server = server

    async def access(self, *, refused: bool = False) -> Access:  # noqa: ARG002 -- as the protocol
        return Access(self._server, None)


def value(raw: bytes | msgspec.Raw) -> int:
    found = json.loads(bytes(raw)).get("value", 0)
    if found == "bad":
        raise Unreadable("value: is bad")
    if found == "crash":
        raise ZeroDivisionError
    return int(found)


KIND = Kind("example.dev/v1", "things", value, "a=b", page=2)


class World:
    """A reflector, its table, and the server that it follows."""

    def __init__(self, server: ScriptedApi, bounds: Bounds, namespace: str | None) -> None:
        clock = asyncio.get_running_loop().time
        self.server = server
        self.table: Table[int] = Table("Thing", lambda: None)
        self.reflector = Reflector(KIND, namespace, self.table, bounds, clock, lambda: 0.5)

    @property
    def known(self) -> dict[str, int]:
        return {name: found for (_, name), found in self.table.good.items()}

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not check():  # noqa: ASYNC110 -- it is a look at another task's state
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def following(
    *steps: Step, bounds: Bounds = QUICK, namespace: str | None = "ns"
) -> AsyncIterator[World]:
    async with ScriptedApi(steps) as server, aiohttp.ClientSession() as session:
        world = World(server, bounds, namespace)
        task = asyncio.create_task(world.reflector.run(Api(Anyone(server.url), session)))
        try:
            yield world
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def settled(*steps: Step, **options: Any) -> World:
    """Return the world when all steps are used up and a last watch is open."""
    async with following(*steps, **options) as world:
        await world.until(lambda: len(world.server.asked) > len(steps))
        await world.until(lambda: not world.reflector.trouble)
        return world


async def test_a_list_comes_in_pages_and_a_watch_goes_on_from_it() -> None:
    first = page(item("a", value=1), item("b", value=2), more="next", version="5")
    world = await settled(first, page(item("c", value=3), version="6"))

    assert world.known == {"a": 1, "b": 2, "c": 3}
    assert world.reflector.synced
    one, two, last = world.server.asked
    assert one.path == "/apis/example.dev/v1/namespaces/ns/things"
    assert one.query == {"limit": "2", "labelSelector": "a=b"}
    assert two.query == one.query | {"continue": "next"}
    assert last.query["resourceVersion"] == "6"
    assert last.query["allowWatchBookmarks"] == "true"
    assert last.query["labelSelector"] == "a=b"
    assert 300 <= int(last.query["timeoutSeconds"]) <= 450


async def test_everywhere_has_no_namespace_in_its_path() -> None:
    world = await settled(page(), namespace=None)

    assert world.server.asked[0].path == "/apis/example.dev/v1/things"


async def test_changes_are_taken_over_and_a_watch_that_ends_goes_on_where_it_was() -> None:
    changes = watch(
        added(item("a", "2", value=1)),
        added(item("b", "3", value=2)),
        added(item("a", "4", value=9), "MODIFIED"),
        added(item("b", "5"), "DELETED"),
        bookmark("8"),
        end=True,
    )
    world = await settled(page(), changes)

    assert world.known == {"a": 9}
    assert versions(world.server.asked) == ["list", "1", "8"]


async def test_a_line_may_come_in_pieces() -> None:
    line = json.dumps(added(item("a", "2", value=1))).encode() + b"\n\n"
    world = await settled(
        page(), watch(*(line[i : i + 7] for i in range(0, len(line), 7)), end=True)
    )

    assert world.known == {"a": 1}


@pytest.mark.parametrize("refused", [refusal(410, "too old"), watch(error(410))])
async def test_a_version_that_is_too_old_leads_to_a_new_list(refused: Step) -> None:
    world = await settled(page(item("a"), item("b")), refused, page(item("b"), version="9"))

    assert world.known == {"b": 0}
    assert versions(world.server.asked) == ["list", "1", "list", "9"]


async def test_a_list_that_expires_between_two_pages_begins_again() -> None:
    world = await settled(page(item("a"), more="next"), refusal(410), page(item("b"), version="9"))

    assert world.known == {"b": 0}


@pytest.mark.parametrize(
    "bad",
    [
        watch(error(500, "etcd is ill")),
        watch(b"{ no JSON\n", end=True),
        watch(b"[]\n"),
        watch(added({"metadata": 5})),
    ],
)
async def test_an_error_or_garbage_in_a_watch_leads_to_a_new_list(bad: Step) -> None:
    with capture_logs() as lines:
        world = await settled(page(item("a")), bad, page(item("a", value=2), version="9"))

    assert world.known == {"a": 2}
    assert versions(world.server.asked) == ["list", "1", "list", "9"]
    assert {"api_not_followed", "api_followed"} <= {line["event"] for line in lines}


@pytest.mark.parametrize(
    "bad",
    [refusal(500), refusal(403), refusal(429, Retry_After="0"), watch(cut=True), answer(502, b"")],
)
async def test_a_watch_that_fails_otherwise_goes_on_where_it_was(bad: Step) -> None:
    seen = watch(added(item("a", "7", value=1)), end=True)
    world = await settled(page(), seen, bad, bad)

    assert world.known == {"a": 1}
    assert versions(world.server.asked) == ["list", "1", "7", "7", "7"]


@pytest.mark.parametrize(
    "bad", [refusal(500), refusal(404), answer(200, b"{"), answer(200, b"[]"), refusal(401)]
)
async def test_nothing_is_synced_before_a_list_is_whole(bad: Step) -> None:
    async with following(bad, bad, silent()) as world:
        await world.until(lambda: not world.server.left)

        assert not world.reflector.synced
        assert world.reflector.trouble


async def test_silence_ends_a_watch_and_what_is_known_stays() -> None:
    bounds = Bounds(silence_seconds=0.2, list_seconds=5, least_seconds=0.01, most_seconds=0.05)
    async with following(page(item("a")), watch(), silent(), bounds=bounds) as world:
        await world.until(lambda: len(world.server.asked) > 3)

        assert world.known == {"a": 0}
        assert versions(world.server.asked)[:4] == ["list", "1", "1", "1"]


async def test_a_list_that_takes_too_long_is_given_up() -> None:
    bounds = Bounds(list_seconds=0.1, least_seconds=0.01, most_seconds=0.05)
    world = await settled(silent(), page(item("a")), bounds=bounds)

    assert world.known == {"a": 0}


SMALL = Bounds(least_seconds=0.01, most_seconds=0.05, page_bytes=300, line_bytes=300)


async def test_a_list_without_an_end_is_given_up() -> None:
    world = await settled(page(*(item(f"n{i}") for i in range(9))), page(), bounds=SMALL)

    assert world.known == {}


async def test_a_line_without_an_end_is_given_up() -> None:
    endless = watch(b"x" * 400)
    world = await settled(page(), endless, page(item("a"), version="9"), bounds=SMALL)

    assert world.known == {"a": 0}


async def test_one_bad_object_stops_no_other() -> None:
    listed = page(item("a", value="bad"), item("b", value=1), version="1")
    changed = watch(added(item("b", "2", value="bad")), added(item("c", "3", value=5)), end=True)
    world = await settled(listed, changed)

    assert world.known == {"b": 1, "c": 5}
    assert set(world.table.problems) == {("ns", "a"), ("ns", "b")}


async def test_an_error_of_our_own_is_logged_and_followed_by_a_new_list() -> None:
    with capture_logs() as lines:
        world = await settled(page(item("a", value="crash")), page(item("a", value=1)))

    assert world.known == {"a": 1}
    assert "reflector_crashed" in {line["event"] for line in lines}


async def test_a_trouble_is_logged_once_and_its_end_too() -> None:
    with capture_logs() as lines:
        await settled(page(), *(refusal(403, "x cannot list y") for _ in range(4)))

    events = [line["event"] for line in lines]
    assert events == ["api_followed", "api_not_followed", "api_followed"]


@pytest.mark.parametrize("failures", range(1, 40))
def test_pauses_grow_with_jitter_up_to_a_bound(failures: int) -> None:
    def pause(draw: float) -> float:
        table: Table[int] = Table("Thing", lambda: None)
        own = Reflector(KIND, None, table, Bounds(), lambda: 0.0, lambda: draw)
        return own._pause(failures, 0.0)

    longest = min(10.0, 0.5 * 2 ** (failures - 1))
    assert pause(0.0) == longest / 2
    assert pause(1.0) == longest


def test_the_server_may_ask_for_a_longer_pause_but_not_for_any() -> None:
    table: Table[int] = Table("Thing", lambda: None)
    own = Reflector(KIND, None, table, Bounds(), lambda: 0.0, lambda: 0.0)

    assert (own._pause(0, 0.0), own._pause(1, 7.0), own._pause(1, 9999.0)) == (0.0, 7.0, 30.0)

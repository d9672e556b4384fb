"""Local mode runs what its files say, follows edits, and leaves nothing behind."""

import asyncio
import os
import signal

import pytest

from ggufs import gguf_file
from hub import REPO, Hub, hold
from local_tiers import pids_of, resource, running, tier, write
from tiergarten_router.core.snapshot import ReplicaState
from tiergarten_router.sources.local import LocalSource
from tiergarten_router.sources.models import Models

READY, DRAINING = ReplicaState.READY, ReplicaState.DRAINING
ALL_MEMORY_MIB = 1 << 20
LONG = gguf_file(blocks=100_000)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tiers.yaml"


@pytest.fixture
def local(file, folder, server, tmp_path):
    """Return a source of the file, with the scripted server."""

    def make(*options, environ=None):
        models = Models({"models": folder}, tmp_path / "cache", environ or {})
        return LocalSource([file], models, (*server, *options))

    return make


async def test_runs_the_tiers_and_routes_of_the_files_and_ends_them(local, file, watched, deaths):
    auto = resource("TierRoute", "auto", {"model": "auto", "tiers": [{"name": "q2"}]})
    write(file, tier("q4", "b.gguf"), tier("q2", replicas=2), auto)
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0", "q2-1")
        await seen.until_ready("q4", "q4-0")

        assert [tier.name for tier in seen.all[-1].tiers] == ["q4", "q2"]
        assert [route.metadata.name for route in seen.all[-1].routes] == ["auto"]
        assert seen.tier("q2").status.reason == "Serving"
        assert seen.tier("q2").status.memory_bytes
        assert all(one != other for one, other in zip(seen.all, seen.all[1:], strict=False))
        pids = pids_of(seen, "q2") | pids_of(seen, "q4")
        assert len(pids) == 3
        for pid in pids:
            deaths.watch(pid)

    for pid in pids:
        assert await deaths.of(pid)


async def test_a_killed_server_comes_back(local, file, watched):
    write(file, tier("q2"), tier("q4"))
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0")
        await seen.until_ready("q4", "q4-0")

        (pid,) = pids_of(seen, "q2")
        os.kill(pid, signal.SIGKILL)

        await seen.until(lambda: seen.tier("q2").status.reason == "CrashLoop")
        assert "signal 9" in seen.tier("q2").status.message
        await seen.until_ready("q2", "q2-0")
        assert [e.restarts for e in seen.tier("q2").endpoints] == [1]
        assert [e.restarts for e in seen.tier("q4").endpoints] == [0]


async def test_scaling_touches_nothing_that_stays(local, file, watched):
    write(file, tier("q2"))
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0")
        first = pids_of(seen, "q2")

        write(file, tier("q2", replicas=2, routing={"rank": 7}))
        await seen.until_ready("q2", "q2-0", "q2-1")
        assert first < pids_of(seen, "q2")
        assert seen.tier("q2").rank == 7

        write(file, tier("q2"))
        await seen.until_ready("q2", "q2-0")
        assert pids_of(seen, "q2") == first

        write(file, tier("q2", suspend=True))
        await seen.until(lambda: not seen.tier("q2").endpoints)
        assert seen.tier("q2").status.reason == "Suspended"


async def test_a_change_of_what_runs_is_rolled_without_a_gap(local, file, watched):
    write(file, tier("q2", replicas=2), tier("q4"))
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0", "q2-1")
        await seen.until_ready("q4", "q4-0")
        before, other = pids_of(seen, "q2"), pids_of(seen, "q4")
        start = len(seen.all)

        write(file, tier("q2", replicas=2, runtime={"contextLength": 2048}), tier("q4"))
        await seen.until(lambda: seen.tier("q2").slot_tokens == 512)
        await seen.until(lambda: not before & pids_of(seen, "q2")
                         and list(seen.states("q2").values()) == [READY, READY])  # fmt: skip

        for snapshot in seen.all[start:]:
            endpoints = next(tier for tier in snapshot.tiers if tier.name == "q2").endpoints
            assert sum(e.state is READY for e in endpoints) >= 2
            assert len(endpoints) <= 3
        assert pids_of(seen, "q4") == other


async def test_a_replica_is_told_to_drain_before_it_ends(local, file, watched):
    write(file, tier("q2"), tier("q4", rollout={"drainTimeoutSeconds": 60}))
    async with running(local("--busy"), watched) as seen:
        await seen.until_ready("q2", "q2-0")
        await seen.until_ready("q4", "q4-0")

        write(file, tier("q2", suspend=True), tier("q4", suspend=True, rollout={
            "drainTimeoutSeconds": 60}))  # fmt: skip
        await seen.until(lambda: DRAINING in seen.states("q2").values())
        await seen.until(lambda: not seen.states("q2"))  # after its bound

        assert seen.states("q4") == {"q4-0": DRAINING}


async def test_an_edit_with_mistakes_changes_nothing_but_the_notice(local, file, watched):
    write(file, tier("q2"))
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0")
        before = pids_of(seen, "q2")

        write(file, tier("q2", replicas=-1), tier("q4", replicas=-2))
        await seen.until(lambda: seen.tier("q2").status.message)

        said = seen.tier("q2").status
        assert said.reason == "Serving"
        assert "the last edit is not applied: " in said.message
        assert "spec.replicas" in said.message
        assert said.message.endswith(" and 1 more")
        assert pids_of(seen, "q2") == before

        write(file, tier("q2", source={"volume": {"claimName": "other"}}))
        await seen.until(lambda: "add --volume other=DIR" in seen.tier("q2").status.message)

        write(file, tier("q2"))
        await seen.until(lambda: not seen.tier("q2").status.message)
        assert pids_of(seen, "q2") == before


async def test_a_tier_that_is_taken_out_ends_and_one_that_is_added_starts(
    local, file, watched, deaths
):
    write(file, tier("q2"))
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0")
        (pid,) = pids_of(seen, "q2")
        deaths.watch(pid)

        lost = resource("TierRoute", "auto", {"model": "auto", "tiers": [{"name": "q9"}]})
        write(file, tier("q4", "b.gguf"), lost)  # the route is doubtful and is taken all the same
        await seen.until_ready("q4", "q4-0")

        assert not seen.has("q2")
        assert len(seen.all[-1].routes) == 1
        assert await deaths.of(pid)


async def test_what_cannot_run_says_why_and_the_others_serve(local, file, folder, watched):
    (folder / "cut.gguf").write_bytes(gguf_file()[:-1])
    image = {"image": {"reference": f"registry.example/m@sha256:{'0' * 64}"}}
    write(
        file,
        tier("q2"),
        tier("q3", "cut.gguf"),
        tier("q4", None, source=image, cache={"mode": "Image"}),
        tier("q5", runtime={"promptCacheMiB": ALL_MEMORY_MIB}),
        tier("q6", "none.gguf"),
        tier("q7", replicas=0),
    )
    async with running(local(), watched) as seen:
        await seen.until_ready("q2", "q2-0")

        reasons = {tier.name: tier.status.reason for tier in seen.all[-1].tiers}
        assert reasons == {
            "q2": "Serving", "q3": "NotGGUF", "q4": "ImageVolumesUnsupported", "q5": "NoMemory",
            "q6": "NotFound", "q7": "NoReplicas",
        }  # fmt: skip
        assert all(tier.status.message for tier in seen.all[-1].tiers if tier.name != "q2")


async def test_a_tier_whose_model_is_fetched_starts_when_it_is_there(local, file, watched):
    gate = asyncio.Event()
    async with Hub({"a.gguf": LONG}) as hub:
        hub.gets += [hold(len(LONG) - 100_000, gate)]
        write(file, tier("q2"), tier("q4", source={"huggingFace": {"repo": REPO}}))
        source = local(environ={"HF_ENDPOINT": hub.url})
        contents = source.read()
        await source.prepare(contents)  # does not wait for what is fetched
        assert source.hopeless() == ()
        async with running(source, watched) as seen:
            await seen.until_ready("q2", "q2-0")
            await seen.until(lambda: seen.tier("q4").status.fetched_bytes)
            assert seen.tier("q4").status.reason == "Fetching"

            gate.set()

            await seen.until_ready("q4", "q4-0")


async def test_before_the_start_all_that_is_wrong_is_known(local, file):
    write(file, tier("q2", source={"volume": {"claimName": "other"}}), tier("q4", replicas=-1))

    errors = local().read().errors

    assert "spec.replicas" in errors[0]
    assert errors[1] == "claim other of q2: error: no folder stands for it; add --volume other=DIR"


async def test_before_the_start_it_is_known_that_nothing_can_start(local, file):
    write(file, tier("q2", "none.gguf"), tier("q4", runtime={"promptCacheMiB": ALL_MEMORY_MIB}))
    source = local()

    await source.prepare(source.read())

    one, other = source.hopeless()
    assert "none.gguf" in one
    assert one.startswith("tier q2: ")
    assert other.startswith("tier q4: one replica needs 1,0")
    await source.close()


async def test_before_the_start_it_is_known_that_not_all_fits(local, file):
    write(file, tier("q2", replicas=1000, runtime={"promptCacheMiB": 2000}))
    source = local()

    fit = await source.prepare(source.read())

    assert fit.warning.startswith("the tiers need ")
    assert source.hopeless() == ()
    await source.close()


async def test_an_edit_between_reading_and_watching_is_not_missed(local, file, watched):
    write(file, tier("q2"))
    source = local()
    await source.prepare(source.read())
    write(file, tier("q2"), tier("q4"))
    async with running(source, watched) as seen:
        await seen.until_ready("q4", "q4-0")

"""A local tier looks for its model, keeps what it ran with, and knows what it needs."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from ggufs import gguf_file
from hub import REPO, Hub, hold, refuse
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_router.sources.models import Models
from tiergarten_router.sources.tiers import LocalTier, Parts

VOLUME = {"volume": {"claimName": "models"}}
LONG = gguf_file(blocks=100_000)
PART = len(LONG) - 100_000  # more than the fetcher takes at once
HUB = {"huggingFace": {"repo": REPO}}


def resource(file="a.gguf", *, source=VOLUME, sha256=None, **spec):
    files = [{"name": file, "sha256": sha256}]
    model = {"name": "demo", "source": source, "files": files}
    return ModelTier.model_validate({"metadata": {"name": "q2"}, "spec": {"model": model, **spec}})


def parts(folder=None, cache=None, environ=None):
    found = Models({"models": folder}, cache, environ or {})
    return Parts(found, ("llama-server",), environ or {})


@contextlib.asynccontextmanager
async def searching(wanted, its_parts, watched):
    tier = LocalTier(wanted, its_parts, watched.changed)
    tier.search()
    try:
        yield tier
    finally:
        tier.close()


async def test_a_model_that_is_there_makes_a_plan(folder, watched):
    wanted = resource(replicas=3, rollout={"startupTimeoutSeconds": 11, "drainTimeoutSeconds": 7})
    async with searching(wanted, parts(folder), watched) as tier:
        assert (tier.wanted(), tier.demand(0)) == (None, None)

        await tier.settled()

        assert tier.wanted().replicas == 3
        assert tier.wanted().surge
        assert tier.wanted().template.files[0].path == folder / "a.gguf"
        demand = tier.demand(1)
        assert (demand.replicas, demand.running) == (3, 1)
        assert demand.replica_bytes == tier.status((), "").memory_bytes > 0
        assert (tier.bounds.startup_seconds, tier.bounds.drain_seconds) == (11, 7)
        assert tier.hopeless == ""


async def test_recreate_never_runs_one_more(folder, watched):
    wanted = resource(rollout={"strategy": "Recreate"})
    async with searching(wanted, parts(folder), watched) as tier:
        await tier.settled()

        assert not tier.wanted().surge


async def test_a_tier_that_is_too_large_runs_nothing_and_says_so(folder, watched):
    async with searching(resource(), parts(folder), watched) as tier:
        await tier.settled()
        tier.too_large = "one replica needs more"

        assert tier.wanted().replicas == 0
        said = tier.status((), "")
        assert (said.reason, said.message) == ("NoMemory", "one replica needs more")
        assert tier.hopeless == "one replica needs more"


async def test_a_model_that_is_none_is_said(folder, watched):
    (folder / "a.gguf").write_bytes(b"hello")
    async with searching(resource(), parts(folder), watched) as tier:
        await tier.settled()

        assert tier.wanted() is None
        said = tier.status((), "the last edit is not applied")
        assert said.reason == "NotGGUF"
        assert said.message.endswith("; the last edit is not applied")
        assert "a.gguf" in tier.hopeless


async def test_a_broken_edit_leaves_the_plan_in_force(folder, watched):
    async with searching(resource(), parts(folder), watched) as tier:
        await tier.settled()
        before = tier.wanted()

        tier.apply(resource("none.gguf"))
        await tier.settled()

        assert tier.wanted() == before
        assert "none.gguf" in tier.hopeless


async def test_an_edit_of_the_runtime_changes_the_template(folder, watched):
    async with searching(resource(), parts(folder), watched) as tier:
        await tier.settled()
        before = tier.wanted()

        tier.apply(resource(runtime={"contextLength": 2048, "parallel": 2}))
        assert tier.wanted() == before  # until it is known whether the model is still there
        await tier.settled()

        assert tier.wanted().template != before.template


async def test_a_model_that_was_written_anew_changes_the_template(folder, watched):
    async with searching(resource(), parts(folder), watched) as tier:
        await tier.settled()
        before = tier.wanted()

        (folder / "a.gguf").write_bytes(gguf_file(blocks=80))
        tier.apply(resource())
        await tier.settled()

        assert tier.wanted().template != before.template


async def test_a_suspended_tier_looks_for_nothing_until_it_is_needed(folder, watched):
    async with searching(resource(suspend=True), parts(folder), watched) as tier:
        await tier.settled()
        assert (tier.wanted(), tier.status((), "").reason) == (None, "Suspended")

        tier.apply(resource())
        await tier.settled()
        assert tier.wanted().replicas == 1

        tier.apply(resource(suspend=True))
        assert tier.wanted().replicas == 0
        assert tier.hopeless == ""


async def test_a_missing_secret_is_said(folder, watched):
    key = {"secretKeyRef": {"name": "llama", "key": "api"}}
    env = {"extraEnv": [{"name": "LLAMA_API_KEY", "valueFrom": key}]}
    async with searching(resource(runtime=env), parts(folder), watched) as tier:
        await tier.settled()

        assert tier.status((), "").reason == "SecretMissing"


async def test_an_error_that_nobody_foresaw_is_said_too(folder, watched):
    wanted = resource(source={"volume": {"claimName": "other"}})
    async with searching(wanted, parts(folder), watched) as tier:
        await tier.settled()

        assert tier.status((), "").message == "KeyError: 'other'"


async def test_a_fetch_tells_how_far_it_is(tmp_path, watched):
    gate = asyncio.Event()
    async with Hub({"a.gguf": LONG}) as hub:
        hub.gets += [hold(PART, gate)]
        its_parts = parts(cache=tmp_path, environ={"HF_ENDPOINT": hub.url})
        async with searching(resource(source=HUB), its_parts, watched) as tier:
            await watched.until(lambda: tier.status((), "").fetched_bytes)

            said = tier.status((), "")
            assert said.reason == "Fetching"
            assert said.total_bytes == len(LONG)
            assert said.fetched_bytes < said.total_bytes

            gate.set()
            await tier.settled()
            await watched.until(lambda: tier.status((), "").fetched_bytes is None)
            assert tier.wanted().template.files[0].path.is_relative_to(tmp_path)


async def test_an_edit_of_something_else_leaves_a_fetch_alone(tmp_path, watched):
    gate = asyncio.Event()
    async with Hub({"a.gguf": LONG}) as hub:
        hub.gets += [hold(PART, gate)]
        its_parts = parts(cache=tmp_path, environ={"HF_ENDPOINT": hub.url})
        async with searching(resource(source=HUB), its_parts, watched) as tier:
            await watched.until(lambda: tier.status((), "").fetched_bytes)

            tier.apply(resource(source=HUB, replicas=2, runtime={"contextLength": 2048}))
            gate.set()
            await tier.settled()

            assert len(hub.downloads) == 1
            assert tier.wanted().replicas == 2
            assert "2048" in tier.wanted().template.argv


async def test_what_may_pass_is_tried_again_and_is_not_hopeless(tmp_path, watched):
    cache = tmp_path / "cache"
    cache.touch()  # a file where the folder should be
    async with Hub({"a.gguf": gguf_file()}) as hub:
        its_parts = replace(
            parts(cache=cache, environ={"HF_ENDPOINT": hub.url}), retry_seconds=0.05
        )
        async with searching(resource(source=HUB), its_parts, watched) as tier:
            await tier.settled()
            assert tier.trouble.reason == "FetchFailed"
            assert tier.hopeless == ""

            cache.unlink()

            await watched.until(tier.wanted)


async def test_what_will_not_pass_is_not_tried_again(tmp_path, watched):
    async with Hub({"a.gguf": gguf_file()}) as hub:
        hub.apis += [refuse(404)]
        its_parts = parts(cache=tmp_path, environ={"HF_ENDPOINT": hub.url})
        async with searching(resource(source=HUB), its_parts, watched) as tier:
            await tier.settled()

            assert tier.status((), "").reason == "NotFound"
            assert tier.hopeless


@pytest.mark.parametrize(
    ("wanted", "quick"),
    [
        (resource(), True),
        (resource(sha256="0" * 64), False),
        (resource(source=HUB), False),
    ],
    ids=["a folder", "to be hashed", "to be fetched"],
)
def test_quick_is_what_needs_no_bytes(wanted, quick, watched):
    assert LocalTier(wanted, parts(), watched.changed).is_quick is quick

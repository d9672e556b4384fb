"""The source on a real API server, whose EndpointSlices the test writes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from following import Place, administrator, following
from kit import api, crds, namespaces
from kit.cluster import Cluster
from kit.processes import wait_for
from slices import DRAINING, ENDED, LOADING, READY, ROUTE, Manifest, piece, pod, tier
from tiergarten_router.core import routes
from tiergarten_router.sources.kube import login
from tiergarten_router.sources.kube.login import ServiceAccount
from tiergarten_router.sources.kube.reflector import Bounds

QUICK = Bounds(least_seconds=0.05, most_seconds=0.2)


def pods(count: int, first: int = 1, said: Manifest = READY) -> list[Manifest]:
    numbers = range(first, first + count)
    return [pod(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", f"q4-{n}", said) for n in numbers]


async def test_a_tier_has_what_its_user_wrote_and_what_its_slices_say(
    cluster: Cluster, place: Place
) -> None:
    place.put(tier())
    place.put(ROUTE)
    place.put(piece("one", pod("10.0.0.1", "q4-a", READY), pod("10.0.0.2", "q4-b", LOADING)))
    foreign = piece("foreign", pod("10.0.0.9", "q4-x", READY))
    foreign["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    place.put(foreign)

    async with following(administrator(cluster), place.namespace, api_key="k" * 16) as followed:
        await followed.until(followed.endpoints)

        found = followed.tiers["q4"]
        assert (found.model, found.slots, found.slot_tokens) == ("model-q4", 2, 2048)
        assert found.api_key == "k" * 16
        assert followed.states() == {"q4-a": "ready", "q4-b": "loading"}
        assert [route.spec.model for route in followed.snapshot.routes] == ["auto"]
        assert len(followed.snapshots) == 1


async def test_scaling_from_one_to_five_to_two_is_followed(cluster: Cluster, place: Place) -> None:
    place.put(tier())
    place.put(piece("one", *pods(1)))
    async with following(administrator(cluster), place.namespace) as followed:
        await followed.until(lambda: len(followed.endpoints()) == 1)

        place.put(piece("one", *pods(1), *pods(4, 2, LOADING)))
        await followed.until(lambda: len(followed.endpoints()) == 5)
        assert list(followed.states().values()).count("ready") == 1
        place.put(piece("one", *pods(5)))
        await followed.until(lambda: list(followed.states().values()).count("ready") == 5)

        place.put(piece("one", *pods(2), *pods(3, 3, DRAINING)))
        await followed.until(lambda: "draining" in followed.states().values())
        assert list(followed.states().values()).count("ready") == 2
        place.put(piece("one", *pods(2), *pods(3, 3, ENDED)))
        await followed.until(lambda: len(followed.endpoints()) == 2)
        place.put(piece("one", *pods(2)))

        place.delete("EndpointSlice", "one")
        await followed.until(lambda: not followed.endpoints())
        place.delete("ModelTier", "q4")
        await followed.until(lambda: not followed.tiers)


async def test_250_endpoints_in_three_slices_with_duplicates_and_two_families_are_one_set(
    cluster: Cluster, place: Place
) -> None:
    place.put(tier())
    place.put(piece("one", *pods(100)))
    place.put(piece("two", *pods(100, 96)))  # five stand in both for a moment
    place.put(piece("three", *pods(55, 196)))
    six = [pod(f"fd00::{n:x}", f"q4-{n}", READY) for n in range(1, 101)]
    place.put(piece("six", *six, family="IPv6"))

    async with following(administrator(cluster), place.namespace) as followed:
        await followed.until(followed.endpoints)

        found = followed.endpoints()
        assert len(found) == 250
        assert not any("[" in endpoint.url for endpoint in found.values())
        ended = [pod(f"fd00::{n:x}", f"q4-{n}", ENDED) for n in range(1, 11)]
        place.put(piece("six", *ended, family="IPv6"))
        await followed.until(lambda: len(followed.endpoints()) == 240)


async def test_many_changes_make_few_snapshots(cluster: Cluster, place: Place) -> None:
    place.put(tier())
    async with following(administrator(cluster), place.namespace) as followed:
        await followed.until(lambda: followed.tiers)
        before = len(followed.snapshots)

        for count in range(1, 51):  # in one go, without a turn for the source
            place.put(piece("one", *pods(count)))
        await followed.until(lambda: len(followed.endpoints()) == 50)

        assert len(followed.snapshots) - before < 10


async def test_what_does_not_change_a_snapshot_is_not_published(
    cluster: Cluster, place: Place
) -> None:
    place.put(tier())
    place.put(piece("one", *pods(1)))
    async with following(administrator(cluster), place.namespace) as followed:
        await followed.until(followed.endpoints)
        count = len(followed.snapshots)

        body = piece("one", *pods(1))
        body["metadata"]["annotations"] = {"seen": "by somebody"}
        place.put(body)
        place.put(tier("q2"))
        await followed.until(lambda: "q2" in followed.tiers)

        assert len(followed.snapshots) <= count + 1


@pytest.fixture
def any_tier(cluster: Cluster, place: Place) -> Iterator[None]:
    """The API server takes any tier, as one with another version of the definition may."""
    file = crds.FOLDER / "modeltiers.tiergarten.dev.yaml"
    definition = yaml.safe_load(file.read_text())
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = definition["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"] = {
        "type": "object",
        "properties": {"spec": anything, "status": anything},
    }
    version.pop("selectableFields", None)
    path = f"{crds.PATH}/{definition['metadata']['name']}"
    answer = api.apply(cluster.api, path, definition, manager=crds.MANAGER, force=True)
    assert answer.is_success, answer.text
    bad, there = tier("probe", suspend="many"), place.path("ModelTier")

    def taken() -> bool:
        return cluster.api.post(there, params={"dryRun": "All"}, json=bad).is_success

    try:
        wait_for("any tier to be taken", taken, 30)
        yield
    finally:
        crds.install(cluster.api)
        wait_for("the schema to be back", lambda: not taken(), 30)


@pytest.mark.level(1, alone=True)
@pytest.mark.usefixtures("any_tier")
async def test_an_object_that_does_not_parse_is_named_and_its_last_version_stays(
    cluster: Cluster, place: Place
) -> None:
    place.put(tier("q2"))
    place.put(tier("q4"))
    async with following(administrator(cluster), place.namespace) as followed:
        await followed.until(lambda: len(followed.tiers) == 2)

        with capture_logs() as lines:
            place.put(tier("q4", runtime={"parallel": "many"}))
            place.put(tier("q5", suspend="many"))
            place.put(tier("q2", routing={"rank": 7}))
            await followed.until(lambda: len(followed.snapshot.problems) == 2)
            await followed.until(lambda: followed.tiers["q2"].rank == 7)

        assert set(followed.tiers) == {"q2", "q4"}
        assert followed.tiers["q4"].slots == 2
        assert "spec.runtime.parallel" in followed.tiers["q4"].status.message
        first, second = routes.compile_routes(followed.snapshot).problems
        assert "q4: spec.runtime.parallel" in first
        assert "last good version" in first
        assert "q5: spec.suspend" in second
        assert {line["name"] for line in lines if line["event"] == "object_refused"} == {"q4", "q5"}
        refused = followed.source.standing().refused
        assert [it[2] for it in refused] == ["q4", "q5"]
        place.put(tier("q4", runtime={"parallel": 3}))
        await followed.until(lambda: followed.tiers["q4"].slots == 3)


async def test_tiers_of_several_namespaces_neither_collide_nor_leak(
    cluster: Cluster, place: Place
) -> None:
    other = Place(cluster.api, namespaces.make(cluster))
    third = Place(cluster.api, namespaces.make(cluster))
    try:
        for number, at in enumerate((place, other, third), 1):
            at.put(tier("q4", model=tier()["spec"]["model"] | {"name": "small"}))
            at.put(piece("one", pod(f"10.0.0.{number}", f"q4-{number}", READY)))
        other.put(ROUTE)
        served = (place.namespace, other.namespace)
        async with following(administrator(cluster), *served) as followed:
            await followed.until(lambda: all(tier.endpoints for tier in followed.snapshot.tiers))

            found = routes.compile_routes(followed.snapshot)
            theirs = other.namespace
            assert set(found.names) == {
                *("q4", "small", "auto"),
                *(f"{theirs}/q4", f"{theirs}/small", f"{theirs}/auto"),
            }
            for name in found.names:
                number = 2 if "/" in name else 1
                tiers = [routed.tier for routed in found.by_model[name].tiers]
                assert [e.id for t in tiers for e in t.endpoints] == [f"q4-{number}"]
        async with following(administrator(cluster)) as followed:
            await followed.until(lambda: followed.tiers)
            assert f"{third.namespace}/q4" in followed.tiers
            assert "q4" not in followed.tiers  # the kubeconfig is at home in `default`
    finally:
        namespaces.remove(cluster, other.namespace)
        namespaces.remove(cluster, third.namespace)


async def test_the_chart_s_rules_are_enough_and_nothing_else_is_asked(
    cluster: Cluster, place: Place
) -> None:
    place.account()
    place.put(tier())
    place.put(piece("one", *pods(1)))
    account = login.find(str(cluster.kubeconfig_of(place.namespace, "router")), {})

    async with following(account, place.namespace) as followed:
        await followed.until(followed.endpoints)
        place.put(piece("one", *pods(2)))
        await followed.until(lambda: len(followed.endpoints()) == 2)
        assert followed.source.standing().reachable

    user = f"system:serviceaccount:{place.namespace}:router"
    asked = [event for event in cluster.audit() if event["user"]["username"] == user]
    assert {(it["verb"], it["objectRef"]["resource"]) for it in asked} == {
        (verb, resource)
        for verb in ("list", "watch")
        for resource in ("modeltiers", "tierroutes", "endpointslices")
    }
    assert {it["responseStatus"]["code"] for it in asked} == {200}


@pytest.mark.parametrize("resource", ["modeltiers", "tierroutes", "endpointslices"])
async def test_a_right_that_is_missing_is_named_and_nothing_is_published(
    cluster: Cluster, place: Place, resource: str
) -> None:
    every = {"modeltiers": "tiergarten.dev", "tierroutes": "tiergarten.dev",
             "endpointslices": "discovery.k8s.io"}  # fmt: skip
    rules = [
        {"apiGroups": [group], "resources": [name], "verbs": ["get", "list", "watch"]}
        for name, group in every.items()
        if name != resource
    ]
    place.account(rules=rules)
    account = login.find(str(cluster.kubeconfig_of(place.namespace, "router")), {})

    async with following(account, place.namespace, bounds=QUICK) as followed:
        standing = followed.source.standing
        words = f'cannot list resource "{resource}"'
        await followed.until_standing(lambda: words in standing().message)
        assert "get, list and watch" in standing().message
        assert not standing().reachable
        assert not followed.snapshots
        place.account()
        await followed.until(lambda: followed.snapshots)
        assert standing().reachable


async def test_a_token_that_rotates_is_read_again(
    cluster: Cluster, place: Place, tmp_path: Path
) -> None:
    place.account()
    place.put(tier())
    write(tmp_path / "ca.crt", (cluster.plan.pki / "ca.crt").read_text())
    write(tmp_path / "namespace", place.namespace)
    write(tmp_path / "token", "a token that is not valid")
    at = cluster.plan.addresses
    account = ServiceAccount(f"https://{at.api}:{at.port}", tmp_path)
    short = Bounds(watch_seconds=1, least_seconds=0.05, most_seconds=0.2)

    async with following(account, place.namespace, bounds=short) as followed:
        standing = followed.source.standing
        await followed.until_standing(lambda: "login is valid" in standing().message)

        write(tmp_path / "token", api.token(cluster.api, place.namespace, "router"))
        await followed.until(lambda: "q4" in followed.tiers)
        write(tmp_path / "token", "not valid again")
        await followed.until_standing(lambda: not standing().reachable)
        assert "q4" in followed.tiers

        write(tmp_path / "token", api.token(cluster.api, place.namespace, "router"))
        place.put(tier("q2"))
        await followed.until(lambda: "q2" in followed.tiers)


def write(file: Path, text: str) -> None:
    file.write_text(text)

"""Where a model may come from, on a real node: volumes, images, and caches of each kind."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hub
import nodes
from hub import Hub
from hubs import Hubs
from kit import oci
from kit.cluster import Cluster
from kit.fixtures import Clusters
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import CLAIM, DEPLOYMENT, JOB, TIER

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(180),
]
FILE = "small.gguf"
NOWHERE = f"docker.io/local/none@sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def source(hubs: Hubs, scripted_model: Callable[[str], Path]) -> Hub:
    return hubs.open({FILE: scripted_model("small").read_bytes()})


@pytest.fixture(scope="module")
def world(  # noqa: PLR0913 -- all that its tiers need
    node: NodeWorld,
    source: Hub,
    hubs: Hubs,
    clusters: Clusters,
    *,
    scripted_model: Callable[[str], Path],
    random_model: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> NodeWorld:
    """All tiers of this module, started side by side."""
    cluster, other = clusters.at(3), hubs.open(source.files)
    files = {
        "one/readme.txt": Path(__file__),
        f"one/{FILE}": scripted_model("small"),
        f"two/{FILE}": scripted_model("small"),
        "two/tiny.gguf": random_model("tiny"),
    }
    cluster.claim(node.namespace, "models", files)
    node.put(nodes.tier("found", nodes.volume("models", sub_path="one")))
    node.put(nodes.tier("unclear", nodes.volume("models", sub_path="two")))
    node.put(nodes.tier("own", web(hubs.open(source.files)), cache={"mode": "Ephemeral"}))
    node.put(nodes.tier("bad", web(other, "b" * 64), cache={"mode": "Ephemeral"}))
    node.put(nodes.tier("kept", web(source), cache={"deletionPolicy": "Retain"}))
    node.put(nodes.tier("gone", web(source)))
    pinned = pack(cluster, scripted_model("small"), tmp_path_factory.mktemp("image"))
    node.put(nodes.tier("image", image(pinned), cache={"mode": "Image"}))
    node.put(nodes.tier("absent", image(NOWHERE), cache={"mode": "Image"}))
    node.put(nodes.tier("node", web(source), cache={"mode": "Node"}))
    return node


def test_the_one_model_of_a_volume_is_found_and_its_memory_known(world: NodeWorld) -> None:
    world.wait_for_reason("found", "Ready", "Serving")

    assert nodes.content(nodes.ask(world.address("found"), "What is a pod?"))
    status = world.there(TIER, "found")["status"]
    assert [it["name"] for it in status["model"]["files"]] == [FILE]
    assert status["memory"]["weightsBytes"] > 4_000_000
    assert "PersistentVolumeClaim/found-model" not in world.children("found")


def test_a_volume_with_two_models_is_not_served_until_one_is_named(world: NodeWorld) -> None:
    world.wait_for_reason("unclear", "Ready", "NotFound")
    message = world.conditions("unclear")["ModelAvailable"]["message"]
    assert "small.gguf, tiny.gguf" in message
    assert "model.files" in message
    assert world.get(DEPLOYMENT, "unclear") is None

    world.change(TIER, "unclear", {"spec": {"model": {"files": [{"name": FILE}]}}})

    world.wait_for_reason("unclear", "Ready", "Serving")


def test_each_pod_fetches_for_itself_in_mode_ephemeral(world: NodeWorld) -> None:
    world.wait_for_reason("own", "Ready", "Serving")
    world.wait_for_reason("bad", "Ready", "ChecksumMismatch")

    assert world.there(TIER, "own")["status"]["model"]["files"][0]["name"] == FILE
    assert world.reasons("bad")["Available"] != "MinimumReplicas"
    assert {"own", "bad"}.isdisjoint(it["metadata"]["name"] for it in world.all(CLAIM))


def test_an_image_that_holds_a_model_is_mounted_as_it_is(world: NodeWorld) -> None:
    world.wait_for_reason("image", "Ready", "Serving")
    world.wait_for_reason("absent", "Ready", "ImagePull")

    assert nodes.content(nodes.ask(world.address("image"), "What is a pod?"))
    assert "image-model" not in {it["metadata"]["name"] for it in world.all(CLAIM)}
    (pod,) = world.pods("image")
    (model,) = (it for it in pod["spec"]["volumes"] if "image" in it)
    (mount,) = (
        it for it in pod["spec"]["containers"][0]["volumeMounts"] if it["name"] == model["name"]
    )
    assert mount["readOnly"]


def test_mode_node_is_refused_where_no_administrator_allows_it(world: NodeWorld) -> None:
    world.wait_for_reason("node", "Accepted", "NotAllowed")

    assert set(world.children("node")) == set()


def test_a_suspended_tier_keeps_its_files_and_serves_again_without_a_fetch(
    world: NodeWorld, source: Hub
) -> None:
    for name in ("gone", "kept"):  # both fetch from there
        world.wait_for_reason(name, "Ready", "Serving")
    asked = len(source.requests)

    world.change(TIER, "gone", {"spec": {"suspend": True}})
    world.wait("its pod to stop", lambda: not world.pods("gone"))
    world.wait_for_reason("gone", "Ready", "Suspended")
    world.change(TIER, "gone", {"spec": {"suspend": False}})
    world.wait_for_reason("gone", "Ready", "Serving")

    assert len(source.requests) == asked


def test_a_deleted_tier_takes_its_claim_along_unless_it_is_to_stay(
    world: NodeWorld, source: Hub
) -> None:
    world.wait_for_reason("kept", "Ready", "Serving")
    volume = world.there(CLAIM, "kept-model")["spec"]["volumeName"]
    assert "finalizers" not in world.there(TIER, "gone")["metadata"]
    asked = len(source.downloads)

    for name in ("kept", "gone"):
        world.delete(TIER, name)
    world.wait("their pods to go", lambda: not world.pods("kept") + world.pods("gone"))
    world.wait("its children to go", lambda: world.children("gone") == {})

    assert "labels" not in world.there(CLAIM, "kept-model")["metadata"]
    world.put(nodes.tier("kept", web(source), cache={"deletionPolicy": "Retain"}))
    world.wait_for_reason("kept", "Ready", "Serving")
    assert world.there(CLAIM, "kept-model")["spec"]["volumeName"] == volume
    assert len(source.downloads) == asked


def test_mode_node_keeps_files_on_the_node_where_an_administrator_allows_it(
    cluster: Cluster,
    namespace: str,
    node_image: Callable[[str], str],
    operator: Callable[..., Any],
    source: Hub,
) -> None:
    folder = cluster.plan.folder / "models"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)  # mkdir's is held to the umask
    world = NodeWorld(cluster, namespace, restricted=False)
    settings = nodes.settings(node_image, node_cache_path=str(folder))

    with operator(settings=settings):
        world.put(nodes.tier("first", web(source), cache={"mode": "Node"}))
        world.wait_for_reason("first", "Ready", "Serving")
        asked = len(source.downloads)
        world.put(nodes.tier("second", web(source), cache={"mode": "Node"}))
        world.wait_for_reason("second", "Ready", "Serving")
        world.remove()

    assert len(source.downloads) == asked
    assert list(folder.glob("models/*/small.gguf"))


class TestShared:
    """One claim for two tiers."""

    @pytest.fixture
    def claim(self, world: NodeWorld) -> str:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
        world.make(made | {"metadata": {"name": "shared"}})
        return "shared"

    def test_tiers_share_what_was_fetched_and_the_last_one_takes_it_along(
        self, world: NodeWorld, cluster: Cluster, source: Hub, claim: str
    ) -> None:
        cache = {"mode": "Shared", "claimName": claim}
        asked = len(source.downloads)
        world.put(nodes.tier("first", web(source), cache=cache))
        world.wait_for_reason("first", "Ready", "Serving")
        world.put(nodes.tier("second", web(source), cache=cache))
        world.wait_for_reason("second", "Ready", "Serving")
        assert len(source.downloads) == asked + 1
        folder = on_disk(cluster, world, claim)
        assert list(folder.glob("models/*/small.gguf"))

        world.delete(TIER, "first")
        world.wait("the first to go", lambda: world.get(TIER, "first") is None)
        assert list(folder.glob("models/*/small.gguf"))
        world.delete(TIER, "second")
        world.wait("the second to go", lambda: world.get(TIER, "second") is None)

        assert list(folder.glob("models/*")) == []
        assert [it for it in folder.glob("blobs/*") if it.suffix != ".lock"] == []
        assert any("-clean-" in it["metadata"]["name"] for it in world.all(JOB))


def on_disk(cluster: Cluster, world: NodeWorld, claim: str) -> Path:
    """Return the folder behind a claim."""
    volume = world.there(CLAIM, claim)["spec"]["volumeName"]
    return cluster.plan.folder / "volumes" / str(volume)


def web(server: Hub, sha256: str = "") -> Manifest:
    """Return a source: a file of a plain web server."""
    found = sha256 or hub.sha256(server.files[FILE])
    url = f"{server.url}/files/{FILE}"
    return {"http": {"url": url}, "files": [{"name": FILE, "sha256": found}]}


def pack(cluster: Cluster, model: Path, folder: Path) -> str:
    """Put an image that holds a model into the node, and return its name by digest."""
    (folder / "root").mkdir()
    shutil.copy(model, folder / "root" / FILE)
    layer = oci.pack(folder / "root", folder / "layer.tar")
    name = "docker.io/local/model:test"
    cluster.containerd.load([oci.Image(name, (layer,), ("none",), ())])
    return cluster.containerd.pin(name)


def image(reference: str) -> Manifest:
    return {"image": {"reference": reference, "pullPolicy": "Never"}, "files": [{"name": FILE}]}

"""What somebody else changes: ours is restored, theirs stays as it is."""

from collections.abc import Callable
from typing import Any

from operating import World
from tiergarten_operator.facts import ACCOUNT, DEPLOYMENT, SERVICE, TIER

Run = Callable[..., Any]


def test_what_is_edited_by_hand_is_restored_and_a_foreign_annotation_stays(
    world: World, operator: Run
) -> None:
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Deployment/q4")
        world.wait_for_child("Service/q4")
        image = image_of(world)
        container = {"name": "llama-server", "image": "somebody/else:1"}
        edited = {"spec": {"template": {"spec": {"containers": [container]}}}}
        strategic(world, edited | {"metadata": {"annotations": {"example.com/note": "mine"}}})
        port = {"name": "http", "port": 9999, "targetPort": "http"}
        world.change(SERVICE, "q4", {"spec": {"ports": [port]}})
        labels = {"app.kubernetes.io/instance": "other"}
        world.change(ACCOUNT, "q4", {"metadata": {"labels": labels}})

        world.wait("the image", lambda: image_of(world) == image)
        world.wait("the port", lambda: port_of(world) == 8080)
        world.wait("the label", lambda: instance_of(world) == "q4")

    notes = world.there(DEPLOYMENT, "q4")["metadata"]["annotations"]
    assert notes["example.com/note"] == "mine"


def test_a_label_by_which_the_watch_sees_a_child_is_restored(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Service/q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
        labels = {"app.kubernetes.io/managed-by": "me", "tiergarten.dev/tier": None}
        world.change(SERVICE, "q4", {"metadata": {"labels": labels}})
        world.wait_for_child("Service/q4")

    assert managed_by(world) == "tiergarten-operator"


def test_a_child_that_is_deleted_comes_back(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4")
    with operator():
        for kind in (SERVICE, DEPLOYMENT, ACCOUNT):
            before = world.wait_for_child(f"{kind.name}/q4")["metadata"]["uid"]
            world.delete(kind, "q4")

            def back(kind: Any = kind, before: str = before) -> bool:
                return str(world.there(kind, "q4")["metadata"]["uid"]) != before

            world.wait(f"the {kind.name}", back)


def test_a_foreign_object_of_a_childs_name_is_not_adopted(world: World, operator: Run) -> None:
    world.models()
    port = {"name": "web", "port": 80}
    spec = {"selector": {"app": "mine"}, "ports": [port]}
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "q4"}, "spec": spec}
    before = world.make(foreign)
    world.tier("q4")

    with operator():
        world.wait_for_reason("q4", "Accepted", "NameConflict")
        message = world.conditions("q4")["Accepted"]["message"]
        assert world.there(SERVICE, "q4") == before
        assert message.startswith("Service q4: is there already")
        world.delete(SERVICE, "q4")
        world.change(TIER, "q4", {"metadata": {"annotations": {"example.com/look": "again"}}})
        world.wait_for_reason("q4", "Accepted", "Valid")


def strategic(world: World, change: dict[str, Any]) -> None:
    """Change the Deployment as `kubectl edit` would."""
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    path = world.path(DEPLOYMENT, "q4")
    answer = world.server.patch(path, json=change, headers=headers)
    assert answer.is_success, answer.text


def image_of(world: World) -> str:
    template = world.there(DEPLOYMENT, "q4")["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])


def port_of(world: World) -> int:
    return int(world.there(SERVICE, "q4")["spec"]["ports"][0]["port"])


def instance_of(world: World) -> str:
    return str(world.there(ACCOUNT, "q4")["metadata"]["labels"]["app.kubernetes.io/instance"])


def managed_by(world: World) -> str:
    return str(world.there(SERVICE, "q4")["metadata"]["labels"]["app.kubernetes.io/managed-by"])

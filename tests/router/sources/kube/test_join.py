"""From slices to endpoints: one a pod, the most cautious word counts, no address twice."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slices import DRAINING, ENDED, LOADING, PORT, READY, Manifest, piece, pod, read
from tiergarten_router.core.snapshot import Endpoint, ReplicaState
from tiergarten_router.sources.kube import join

STATES = {"ready": READY, "loading": LOADING, "draining": DRAINING, "ended": ENDED}


def joined(*slices: Manifest) -> dict[str, Endpoint]:
    return {endpoint.id: endpoint for endpoint in join.endpoints(map(read, slices))}


def states(*slices: Manifest) -> dict[str, str]:
    return {name: endpoint.state.value for name, endpoint in joined(*slices).items()}


def test_a_slice_belongs_to_the_service_of_its_label() -> None:
    assert read(piece("a", tier="q2"), "ns").service == ("ns", "q2")


def test_pods_of_all_slices_are_joined_and_named_without_addresses() -> None:
    found = joined(
        piece("a", pod("10.0.0.1", "q4-a", READY)), piece("b", pod("10.0.0.2", "q4-b", READY))
    )

    assert found == {
        "q4-a": Endpoint("q4-a", "http://10.0.0.1:8080"),
        "q4-b": Endpoint("q4-b", "http://10.0.0.2:8080"),
    }


def test_each_condition_has_its_state() -> None:
    pods = [pod(f"10.0.0.{n}", name, said) for n, (name, said) in enumerate(STATES.items(), 1)]

    found = joined(piece("a", *pods))

    assert {name: endpoint.state.value for name, endpoint in found.items()} == {
        "ready": "ready",
        "loading": "loading",
        "draining": "draining",
    }
    assert found["draining"].message
    assert found["loading"].message
    assert not found["ready"].message


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (None, "ready"),
        ({}, "ready"),
        ({"ready": None}, "ready"),
        ({"ready": False}, "loading"),
        ({"ready": True, "terminating": True}, "draining"),
        ({"ready": False, "terminating": True}, None),
    ],
)
def test_what_nobody_has_said_counts_as_kubernetes_says(
    said: dict[str, Any] | None, state: str | None
) -> None:
    assert states(piece("a", pod("10.0.0.1", "p", said))).get("p") == state


def test_two_families_of_a_pod_are_one_endpoint_at_ipv4() -> None:
    four = piece("four", pod("10.0.0.1", "p", READY))
    six = piece("six", pod("fd00::1", "p", READY), family="IPv6")

    assert joined(four, six) == joined(six, four) == {"p": Endpoint("p", "http://10.0.0.1:8080")}
    assert joined(six) == {"p": Endpoint("p", "http://[fd00::1]:8080")}


def test_a_pod_that_ends_in_one_slice_is_not_asked_because_of_another() -> None:
    moved = piece("old", pod("10.0.0.1", "p", READY)), piece("new", pod("10.0.0.1", "p", DRAINING))
    gone = piece("old", pod("10.0.0.1", "p", READY)), piece("new", pod("10.0.0.1", "p", ENDED))

    assert states(*moved) == states(*reversed(moved)) == {"p": "draining"}
    assert states(*gone) == {}


def test_an_address_that_was_given_on_is_its_new_pod_s() -> None:
    slices = piece("a", pod("10.0.0.1", "p", LOADING)), piece("b", pod("10.0.0.1", "q", READY))

    assert states(*slices) == states(*reversed(slices)) == {"q": "ready"}


def test_of_two_pods_with_one_name_the_ready_one_is_taken() -> None:
    new = pod("10.0.0.2", "p", READY)
    new["targetRef"]["uid"] = "another"

    assert joined(piece("a", pod("10.0.0.1", "p", DRAINING), new)) == {
        "p": Endpoint("p", "http://10.0.0.2:8080")
    }


def test_the_port_is_found_by_its_name() -> None:
    metrics = {"name": "metrics", "port": 9}
    udp = {"name": "http", "port": 53, "protocol": "UDP"}
    named = {"name": "http", "port": 8081}

    found = joined(piece("a", pod("10.0.0.1", "p"), ports=[metrics, udp, named]))

    assert found["p"].url == "http://10.0.0.1:8081"
    assert joined(piece("a", pod("10.0.0.1", "p"), ports=[metrics, udp])) == {}
    assert joined(piece("a", pod("10.0.0.1", "p"), ports=[{"name": "http"}])) == {}


def test_slices_of_one_tier_may_have_different_ports() -> None:
    old = piece("old", pod("10.0.0.1", "p"))
    new = piece("new", pod("10.0.0.2", "q"), ports=[PORT | {"port": 8090}])

    assert [endpoint.url for endpoint in joined(old, new).values()] == [
        "http://10.0.0.1:8080",
        "http://10.0.0.2:8090",
    ]


@pytest.mark.parametrize(
    ("family", "address"),
    [("FQDN", "q4.example"), ("IPv4", "q4.example"), ("IPv4", "fd00::1"), ("IPv6", "10.0.0.1")],
)
def test_what_is_no_address_of_its_family_is_left_out(family: str, address: str) -> None:
    assert joined(piece("a", pod(address, "p"), family=family)) == {}


def test_an_entry_without_addresses_is_left_out() -> None:
    assert joined(piece("a", {"addresses": None}, {"addresses": []})) == {}


def test_an_entry_without_a_pod_has_a_stable_name_without_an_address() -> None:
    bare = joined(piece("a", {"addresses": ["10.0.0.1"]}))

    assert list(bare) == list(joined(piece("b", {"addresses": ["10.0.0.1"]})))
    assert "10.0.0.1" not in next(iter(bare))
    hosts = joined(piece("a", {"addresses": ["10.0.0.1"], "hostname": "llama-0"}))
    assert list(hosts) == ["llama-0"]


pods = st.builds(
    lambda number, address, said: pod(f"10.0.0.{address}", f"p{number}", said),
    st.integers(0, 5),
    st.integers(1, 6),
    st.sampled_from([*STATES.values(), None]),
)
many = st.lists(
    st.builds(lambda entries: piece("a", *entries), st.lists(pods, max_size=6)), max_size=5
)


@given(many, st.randoms(use_true_random=False))
def test_the_order_of_slices_and_entries_does_not_matter(
    slices: list[Manifest], random: Any
) -> None:
    shuffled = [one | {"endpoints": _shuffled(one["endpoints"], random)} for one in slices]

    assert joined(*_shuffled(shuffled, random)) == joined(*slices)


@given(many)
def test_no_two_endpoints_share_an_id_or_an_address_and_nobody_is_asked_in_spite_of_a_word(
    slices: list[Manifest],
) -> None:
    found = join.endpoints(map(read, slices))

    assert len({endpoint.id for endpoint in found}) == len(found)
    assert len({endpoint.url for endpoint in found}) == len(found)
    assert list(found) == sorted(found, key=lambda endpoint: endpoint.id)
    entries = [entry for one in slices for entry in one["endpoints"]]
    for endpoint in found:
        said = [e.get("conditions") for e in entries if e["targetRef"]["name"] == endpoint.id]
        if endpoint.state is ReplicaState.READY:
            assert {READY["ready"]} == {(it or READY)["ready"] for it in said}
        assert ENDED not in said


@given(many)
def test_every_address_that_is_ready_everywhere_is_served(slices: list[Manifest]) -> None:
    found = {endpoint.url for endpoint in join.endpoints(map(read, slices))}

    entries = [entry for one in slices for entry in one["endpoints"]]
    for entry in entries:
        name = entry["targetRef"]["name"]
        own = [e for e in entries if e["targetRef"]["name"] == name]
        if all(e.get("conditions") in (None, READY) for e in own):
            first = min(e["addresses"][0] for e in own)
            assert f"http://{first}:8080" in found


def _shuffled(items: Sequence[Manifest], random: Any) -> list[Manifest]:
    found = list(items)
    random.shuffle(found)
    return found

"""What a status says of things that only a real node has."""

import tiers
from tiergarten_fetch.results import Progress
from tiergarten_operator import status
from tiergarten_operator.facts import Fetch, Serving
from tiergarten_operator.status import Seen

NOW = "2026-01-01T00:00:00Z"


def conditions(seen: Seen) -> dict[str, tuple[str, str]]:
    found = status.of_tier(seen, NOW).conditions or ()
    return {it.type: (it.reason, it.message) for it in found}


def test_files_that_come_are_told_with_their_bytes() -> None:
    fetch = Fetch("Fetching", "half", None, (Progress("small.gguf", 5, 10),))

    model = status.of_tier(Seen(tiers.tier(), None, fetch), NOW).model

    assert model is not None
    assert model.files is not None
    (file,) = model.files
    assert (file.name, file.fetched_bytes, file.size_bytes) == ("small.gguf", 5, 10)


def test_a_node_that_cannot_mount_images_is_no_fault_of_the_server() -> None:
    serving = Serving(exists=True, unmounted='failed to mkdir ""')

    found = conditions(Seen(tiers.tier(source=tiers.IMAGE), None, tiers.FETCHED, serving))

    assert found["Accepted"][0] == found["Ready"][0] == "ImageVolumesUnsupported"
    assert "containerd 2.1" in found["Accepted"][1]


def test_new_pods_wait_for_the_answers_of_the_old_ones() -> None:
    serving = Serving(exists=True, stopping=1)

    found = conditions(Seen(tiers.tier(), None, tiers.FETCHED, serving))

    assert found["Available"][0] == "NoReplicas"
    assert "finish their answers" in found["Available"][1]

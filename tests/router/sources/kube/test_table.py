"""The last good version of each object stays in force, whatever becomes of a newer one."""

from structlog.testing import capture_logs

from tiergarten_router.sources.kube.reading import Unreadable
from tiergarten_router.sources.kube.table import Table

A, B = ("ns", "a"), ("ns", "b")


def table() -> tuple[Table[int], list[None]]:
    told: list[None] = []
    return Table("ModelTier", lambda: told.append(None)), told


def test_a_bad_version_leaves_the_last_good_one_in_force_and_is_told() -> None:
    known, _ = table()
    known.put(A, 1)

    known.put(A, Unreadable("spec.x: is bad; mend it"))

    assert known.good == {A: 1}
    assert known.told(A) == (
        "ModelTier ns/a: spec.x: is bad; mend it (its last good version stays in force)"
    )
    known.put(A, 2)
    assert (known.good, known.problems) == ({A: 2}, {})


def test_an_object_that_never_was_good_is_not_served() -> None:
    known, _ = table()

    known.put(A, Unreadable("is bad"))

    assert known.good == {}
    assert known.told(A).endswith("(it is not served)")


def test_a_problem_is_logged_once() -> None:
    known, _ = table()

    with capture_logs() as lines:
        for _ in range(3):
            known.put(A, Unreadable("is bad"))
        known.put(A, Unreadable("is worse"))

    assert [line["problem"] for line in lines] == ["is bad", "is worse"]
    assert lines[0]["name"] == "a"


def test_what_is_gone_is_forgotten_with_its_problem() -> None:
    known, told = table()
    known.put(A, 1)
    known.put(A, Unreadable("is bad"))

    known.drop(A)
    known.drop(A)

    assert (known.good, known.problems) == ({}, {})
    assert len(told) == 4


def test_a_list_replaces_what_was_known_of_its_namespace_only() -> None:
    known, told = table()
    other = ("other", "a")
    known.put(A, 1)
    known.put(other, 2)

    known.replace("ns", {B: 3})
    assert known.good == {other: 2, B: 3}

    known.replace(None, {B: Unreadable("is bad")})
    assert known.good == {B: 3}
    told.clear()
    known.replace(None, {})
    assert (known.good, known.problems, bool(told)) == ({}, {}, True)

"""What a call can end in says why, and nothing that was asked."""

from tiergarten_router.store.failures import Refused, StoreError, Unavailable


def test_both_ends_are_of_one_kind_and_a_refusal_keeps_its_own():
    assert issubclass(Unavailable, StoreError)
    assert issubclass(Refused, StoreError)
    assert Refused("OutOfMemoryError").kind == "OutOfMemoryError"
    assert str(Refused("OutOfMemoryError")) == "Redis refused the command: OutOfMemoryError"

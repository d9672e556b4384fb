"""Ports are free or taken, and it is said why."""

import socket

import pytest

from tiergarten_router.sources import ports


def test_a_free_port_can_be_listened_on():
    port = ports.free()

    assert ports.refusal("127.0.0.1", port) == ""


def test_a_port_that_was_given_out_is_not_given_out_again():
    class AllButTheThird:
        def __init__(self):
            self.asked = []

        def __contains__(self, port):
            self.asked.append(port)
            return len(self.asked) < 3

    taken = AllButTheThird()

    assert ports.free(taken) == taken.asked[-1]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        pytest.param("127.0.0.1", "Address already in use", id="taken"),
        pytest.param("192.0.2.1", "Cannot assign requested address", id="not ours"),
        pytest.param("no such host", "not known", id="no address"),
    ],
)
def test_a_refusal_has_the_systems_words(host, said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert said in ports.refusal(host, server.getsockname()[1])

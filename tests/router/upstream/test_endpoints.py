"""Pools by address, and the bytes of a request."""

from tiergarten_router.upstream import endpoints
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.endpoints import Endpoints


async def test_pools_are_kept_for_endpoints_that_stay() -> None:
    pools = Endpoints(Deadlines(), 1.0)
    first, second = pools.pool("http://127.0.0.1:1"), pools.pool("http://127.0.0.1:2")

    pools.keep({"http://127.0.0.1:1"})

    assert pools.pool("http://127.0.0.1:1") is first
    assert pools.pool("http://127.0.0.1:2") is not second
    pools.close()
    assert pools.pool("http://127.0.0.1:1") is not first


async def test_a_pool_knows_its_address_and_the_default_port() -> None:
    pools = Endpoints(Deadlines(), 1.0)

    assert (pools.pool("http://h:8").host, pools.pool("http://h:8").port) == ("h", 8)
    assert pools.pool("http://h").port == 80
    assert pools.pool("http://[::1]:8").host == "::1"


def test_a_request_carries_the_key_only_where_there_is_one() -> None:
    bare = endpoints.request("h:1", "/v1/x", b"{}", "r1", "")
    keyed = endpoints.request("h:1", "/v1/x", b"{}", "r1", "secret")

    assert bare.startswith(b"POST /v1/x HTTP/1.1\r\nHost: h:1\r\n")
    assert bare.endswith(b"Content-Length: 2\r\n\r\n{}")
    assert b"Authorization" not in bare
    assert b"Authorization: Bearer secret\r\n" in keyed

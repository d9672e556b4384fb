"""The pools of all endpoints, and the bytes of a request to one of them.

Only what stands in `request` ever goes upstream: none of a client's headers does.
"""

from collections.abc import Collection

from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.pool import Pool


class Endpoints:
    """The connection pools by base URL.

    Args:
        deadlines: The sweep.
        connect_seconds: Longest time to connect to an endpoint.
    """

    def __init__(self, deadlines: Deadlines, connect_seconds: float) -> None:
        self._deadlines = deadlines
        self._connect_seconds = connect_seconds
        self._pools: dict[str, Pool] = {}

    def pool(self, url: str) -> Pool:
        """Return the pool of an endpoint."""
        pool = self._pools.get(url)
        if pool is None:
            pool = self._pools[url] = Pool(url, self._deadlines, self._connect_seconds)
        return pool

    def keep(self, urls: Collection[str]) -> None:
        """Close the pools of all other endpoints."""
        for url in self._pools.keys() - set(urls):
            self._pools.pop(url).close()

    def close(self) -> None:
        """Close all pools."""
        self.keep(())


def request(authority: str, path: str, payload: bytes, ident: str, api_key: str) -> bytes:
    """Return a request's bytes.

    Args:
        authority: Host and port.
        path: The endpoint's path.
        payload: The JSON body.
        ident: The request id.
        api_key: The endpoint's key, empty when it wants none.
    """
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream, application/json\r\nX-Request-Id: {ident}\r\n{_key(api_key)}"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode("latin-1") + payload


def page(authority: str, path: str, api_key: str) -> bytes:
    """Return the bytes of a request for a page; arguments as `request` has them."""
    return f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n{_key(api_key)}\r\n".encode("latin-1")


def _key(api_key: str) -> str:
    return f"Authorization: Bearer {api_key}\r\n" if api_key else ""

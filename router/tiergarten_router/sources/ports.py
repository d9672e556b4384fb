"""Ports on this machine: free ones for llama-servers, and whether the router's own is free."""

import socket
from collections.abc import Container


def free(taken: Container[int] = ()) -> int:
    """Return a loopback port that nobody listens on.

    Another program may take it first; the server then ends and is started again on another one.

    Args:
        taken: Ports that were given out and may not be listened on yet.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def refusal(host: str, port: int) -> str:
    """Return why a server cannot listen on an address, in the system's words; empty if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As uvicorn does: a port whose last connections are in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""

"""Other routers that the bench measures as well, where their programs are in PATH.

They come as wheels, `pip install vllm-router sglang-router`, and are run with their defaults, two
workers that take turns, and a log of errors only.
"""

import shutil
from collections.abc import Sequence

COMMANDS = {
    "vllm-router": ["vllm-router"],
    "sglang-router": ["sglang-router", "launch"],
}


def there() -> list[str]:
    """Return the names of those that are here."""
    return [name for name, command in COMMANDS.items() if shutil.which(command[0])]


def command(name: str, port: int, metrics_port: int, upstreams: Sequence[int]) -> list[str]:
    """Return the command line of one of them.

    Args:
        name: Its name.
        port: Where it is to listen.
        metrics_port: Where it is to show its metrics.
        upstreams: Ports of its workers.
    """
    urls = [f"http://127.0.0.1:{upstream}" for upstream in upstreams]
    ports = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics_port)]
    rest = ["--log-level", "error", "--policy", "round_robin", "--worker-urls", *urls]
    return [*COMMANDS[name], *ports, *rest]

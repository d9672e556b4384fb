"""`tiergarten serve`: the router in front of the tiers of a cluster, in a pod or with a kubeconfig.

What can be known to be wrong is said in a line, with exit code 2. A cluster that does not answer is
not: the router waits for it, and `/readyz` says why it is not ready.
"""

import asyncio
import os
import re
from dataclasses import dataclass
from typing import Final

import structlog
from rich.console import Console

from tiergarten_router import app, logs
from tiergarten_router.cli import starting
from tiergarten_router.cli.starting import NotStarted
from tiergarten_router.sources.kube import login, source

log = structlog.get_logger()
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for.

    Attributes:
        namespaces: The namespaces to serve, home first; empty for all.
        host: Address to listen on.
        port: Port to listen on.
        kubeconfig: How to log in, None for the pod's account or kubectl's own file.
    """

    namespaces: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    kubeconfig: str | None = None


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        NotStarted: If it cannot start.
    """
    me = asyncio.current_task()
    if me is not None:  # uvicorn passes the signal on once it has ended; then all is put away
        starting.end_by_signal(me)
    told = starting.settings()
    for namespace in options.namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise NotStarted(f"--namespace {namespace}: is no name of a namespace; correct it")
    starting.check_port(options.host, options.port)
    if told.ops_port:
        starting.check_port(options.host, told.ops_port, "TIERGARTEN_OPS_PORT")
    try:
        account = login.find(options.kubeconfig, os.environ)
        await account.access()
    except login.NoLogin as error:
        raise NotStarted(str(error)) from error
    logs.configure(told)
    starting.tell_unknown()
    key = told.llama_api_key.get_secret_value() if told.llama_api_key else ""
    served = source.scope(options.namespaces, account, key)
    cluster = source.KubeSource(account, served, asyncio.get_running_loop().time)

    def announce() -> None:
        log.info("listening", host=options.host, port=options.port,
                 namespaces=list(served.namespaces) or "all", home=served.home)  # fmt: skip

    await app.serve(
        told,
        cluster,
        host=options.host,
        port=options.port,
        announce=announce,
        standing=cluster.standing,
    )


def main(options: Options, console: Console) -> int:
    """Serve, and return the exit code: 0, or 2 when it could not start."""
    return starting.main(run(options), console)

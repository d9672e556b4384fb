"""The program `tiergarten-operator`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from tiergarten_operator import logs
from tiergarten_operator.app import Options, run
from tiergarten_operator.settings import Settings

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for it in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part).upper() for part in it["loc"])
            sys.stderr.write(f"TIERGARTEN_{name}: {it['msg']}\n")
        return 2
    logs.configure(settings)
    namespaces = tuple(dict.fromkeys(asked.namespace or ()))
    lease = (asked.lease_namespace or _own_namespace()) if asked.leader_elect else None
    return asyncio.run(run(Options(namespaces, lease, asked.dry_run, asked.kubeconfig), settings))


def _own_namespace() -> str:
    try:
        return ACCOUNT.read_text().strip()
    except OSError:
        return "default"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiergarten-operator",
        description="Make llama.cpp Deployments of ModelTier resources.",
        epilog="Further settings come from TIERGARTEN_* variables.",
    )
    parser.add_argument(
        "--namespace", action="append", metavar="NAME", help="serve it; may be repeated; else all"
    )
    parser.add_argument(
        "--leader-elect", action="store_true", help="let one of several operators work, by a Lease"
    )
    parser.add_argument(
        "--lease-namespace", metavar="NAME", help="where the Lease is; else the pod's own namespace"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="let the API server check all writes and keep none"
    )
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="how to log in, in a shell")
    return parser


if __name__ == "__main__":
    sys.exit(main())

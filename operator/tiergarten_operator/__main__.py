"""The program `tiergarten-operator`."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from tiergarten_api import environment
from tiergarten_operator import logs
from tiergarten_operator.app import Options, run
from tiergarten_operator.errors import NotUsable
from tiergarten_operator.settings import Settings

log = structlog.get_logger()
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.writelines(f"{line}\n" for line in environment.refused(Settings, error))
        return 2
    logs.configure(settings)
    for name, cure in environment.unknown(Settings, os.environ).items():
        log.warning("setting_unknown", variable=name, cure=cure)
    try:
        return asyncio.run(run(_options(asked), settings))
    except NotUsable as error:
        sys.stderr.write(f"tiergarten-operator: {error}\n")
        return 2


def _options(asked: argparse.Namespace) -> Options:
    elects = asked.leader_elect and not asked.dry_run  # a dry run takes nobody's lease
    lease = asked.lease_namespace or _own_namespace()
    namespaces = tuple(dict.fromkeys(asked.namespace))
    return Options(namespaces, lease if elects else None, asked.dry_run, asked.kubeconfig)


def _own_namespace() -> str:
    try:
        return ACCOUNT.read_text().strip()
    except OSError:
        return "default"


def _namespace(text: str) -> str:
    if NAMESPACE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no namespace: 1 to 63 of a-z, 0-9 and -, no - at its ends"
        )
    return text


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text}: the file does not exist")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiergarten-operator",
        description="Make llama.cpp Deployments of ModelTier resources.",
        epilog="Further settings come from TIERGARTEN_* variables.",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        type=_namespace,
        metavar="NAME",
        help="serve it; may be repeated; else all",
    )
    parser.add_argument(
        "--leader-elect", action="store_true", help="let one of several operators work, by a Lease"
    )
    parser.add_argument(
        "--lease-namespace",
        type=_namespace,
        metavar="NAME",
        help="where the Lease is; else the pod's own namespace",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be written, as the API server sees it, write nothing, and end",
    )
    parser.add_argument(
        "--kubeconfig", type=_file, metavar="FILE", help="how to log in outside a cluster"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

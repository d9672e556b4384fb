"""A test cluster by hand: `python tests/cluster up`, then kubectl or anything else; then `down`.

The node has a network of its own, which this machine reaches: the API server, Services and pods
answer at their addresses. What `up` starts stays until `down`, and tests do not use it unless
KUBECONFIG_TEST says so.
"""

import argparse
import os
import sys
from pathlib import Path

from kit import build, images, lifecycle, machine
from kit.cluster import Cluster
from kit.errors import Failed, Missing
from kit.plan import LEVELS
from kit.processes import Stuck


def main(words: list[str]) -> int:
    """Do what the command line says, and return the exit status."""
    asked = _parser().parse_args(words)
    try:
        return int(asked.action(asked))
    except (Missing, Failed, Stuck) as error:
        sys.stderr.write(f"{type(error).__name__.lower()}: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/cluster", description=__doc__)
    parser.add_argument("--name", default="by-hand", help="which one, if there are several")
    verbs = parser.add_subparsers(required=True)
    up = verbs.add_parser("up", help="start it, and print how to use it")
    up.add_argument("--level", type=int, choices=sorted(LEVELS), default=max(LEVELS))
    up.set_defaults(action=_up)
    verbs.add_parser("down", help="end it").set_defaults(action=_down)
    verbs.add_parser("status", help="say which parts run").set_defaults(action=_status)
    load = verbs.add_parser("load", help="put an image into its node")
    load.add_argument("image", help=f"an OCI archive, or one of {', '.join(images.RECIPES)}")
    load.set_defaults(action=_load)
    inside = verbs.add_parser("exec", help="run a program in the node's network")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD…")
    inside.set_defaults(action=_exec)
    pack = verbs.add_parser("pack", help="write one of the project's images as an OCI archive")
    pack.add_argument("image", choices=images.RECIPES)
    pack.add_argument("file", type=Path)
    pack.set_defaults(action=_pack)
    demo = verbs.add_parser("demo", help="start it, install the chart, and ask the tour's queries")
    demo.set_defaults(action=_demo)
    prepare = verbs.add_parser("prepare", help="install, build and pack all that tests need")
    prepare.set_defaults(action=_prepare)
    return parser


def _up(asked: argparse.Namespace) -> int:
    cluster = lifecycle.up(_folder(asked), asked.level, kept=True)
    sys.stdout.write(f"export KUBECONFIG={cluster.kubeconfig}\n")
    return 0


def _down(asked: argparse.Namespace) -> int:
    lifecycle.down(_folder(asked))
    return 0


def _status(asked: argparse.Namespace) -> int:
    cluster = lifecycle.find(_folder(asked))
    if not cluster:
        sys.stdout.write("no cluster runs\n")
        return 1
    for part in cluster.plan.parts:
        sys.stdout.write(f"{part:26}{'running' if cluster.runs(part) else 'ended'}\n")
    sys.stdout.write(f"export KUBECONFIG={cluster.kubeconfig}\n")
    return 0


def _load(asked: argparse.Namespace) -> int:
    if asked.image in images.RECIPES:
        sys.stdout.write(f"{images.load(_running(asked), asked.image)}\n")
    else:
        _running(asked).containerd.load_archive(Path(asked.image))
    return 0


def _exec(asked: argparse.Namespace) -> int:
    cluster = _running(asked)
    words = cluster.inside(asked.words)
    env = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    os.execvpe(words[0], words, env)  # noqa: S606 - it takes this process's place and terminal


def _pack(asked: argparse.Namespace) -> int:
    images.write(asked.image, asked.file)
    return 0


def _demo(asked: argparse.Namespace) -> int:
    import chart_demo  # noqa: PLC0415 -- the router's own demo, for this verb alone

    return chart_demo.main(lifecycle.up(_folder(asked), max(LEVELS), kept=True))


def _prepare(_asked: argparse.Namespace) -> int:
    machine.prepare(max(LEVELS))
    sys.stdout.write(f"{build.kt()}\n{build.pause()}\n{build.containerd()}\n{build.helm()}\n")
    for name in images.RECIPES:
        images.make(name)
    return 0


def _folder(asked: argparse.Namespace) -> Path:
    return lifecycle.CLUSTERS / str(asked.name)


def _running(asked: argparse.Namespace) -> Cluster:
    cluster = lifecycle.find(_folder(asked))
    if not cluster:
        raise Missing("a running cluster, which `python tests/cluster up` starts,")
    return cluster


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

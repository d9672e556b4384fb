"""The processes of a port are found among this process's own children only."""

import subprocess
import sys
from contextlib import ExitStack

from tiergarten_router.cli import children

WAITS = (sys.executable, "-c", "import sys; sys.stdin.read()", "--port")


def test_children_are_found_by_the_port_that_they_were_started_with() -> None:
    with ExitStack() as started:
        pids = []
        for port in ("65001", "65002"):
            child = subprocess.Popen([*WAITS, port], stdin=subprocess.PIPE)
            started.enter_context(child)  # closes its input, so that it ends, and waits for it
            pids.append(child.pid)

        assert children.on_ports({"65001"}) == pids[:1]
        assert sorted(children.on_ports({"65001", "65002"})) == sorted(pids)
        assert children.on_ports(set()) == []
    assert children.on_ports({"65001", "65002"}) == []

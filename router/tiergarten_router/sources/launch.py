"""Starts a program that must not outlive its parent, not even when the parent is killed.

`process` runs this file in place of the program itself: it asks the kernel to kill the process when
its parent dies, and becomes the program. That is done here rather than between fork and exec of the
parent, where Python code may deadlock on a lock that another thread holds.

The kernel means the *thread* that started the process, so processes are started from the event
loop's own thread, which lives as long as the program. SIGKILL, because an orphan is of no use to
anyone, and llama-server can take for ever over SIGTERM. Nothing but the standard library is
imported: it runs without site-packages, which takes 20 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NOT_STARTED = 127  # what a shell says of a program that cannot be started


def tie(parent: int) -> bool:
    """Have this process killed when its parent dies; return whether the parent is still there.

    Args:
        parent: The parent's process id, as the parent itself knows it.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent  # it may have died before the kernel knew


def main(argv: list[str]) -> int:
    """Become the program; return only if that fails.

    Args:
        argv: The parent's process id, the program and its arguments.
    """
    program = argv[1:]
    if not tie(int(argv[0])):
        return NOT_STARTED
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{program[0]} cannot be started: {error.strerror}\n".encode())
    return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

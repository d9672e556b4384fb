"""What can go wrong with a test cluster.

Missing    this machine lacks a part: the test is skipped, or fails where CI=true
Failed     a part or a program ended that should not have
Stuck      a state that was waited for did not come (`processes`)
"""


class Missing(RuntimeError):
    """This machine lacks something that a test needs; the message says what."""


class Failed(RuntimeError):
    """A part ended, or a program that ran inside failed; the message holds its last words."""

"""What the operator's bench has measured, beside the goals."""

from dataclasses import dataclass

import measuring


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        tiers: How many there were.
        children_seconds: From the operator's start until every child is there.
        status_seconds: And until every tier says that it is accepted.
        writes_per_tier: Writes for each tier until then.
        restart_seconds: From the start of a second operator until it is ready.
        second_pass_writes: Writes of that second operator.
        edit_seconds: From an edit of one tier to its apply, the median of some.
        mib: The operator's resident memory in the end.
        edits: How many random edits were made after that.
        behind: How many tiers' Deployments were not as the last edit says, when all was quiet.
        mib_after: The operator's resident memory after the edits.
        operator_cpu_seconds: Processor time of the operator until all was accepted.
        server_cpu_seconds: Of the API server, meanwhile.
    """

    tiers: int
    children_seconds: float
    status_seconds: float
    writes_per_tier: float
    restart_seconds: float
    second_pass_writes: int
    edit_seconds: float
    mib: float
    edits: int
    behind: int
    mib_after: float
    operator_cpu_seconds: float
    server_cpu_seconds: float


def show(found: Figures) -> None:
    """Print the figures beside what the project has set itself for 2,000 tiers."""
    rows = (
        ("from cold to all children", f"{found.children_seconds:.1f} s", "<= 60 s"),
        ("and all tiers accepted", f"{found.status_seconds:.1f} s", ""),
        ("processor time: operator", f"{found.operator_cpu_seconds:.1f} s", ""),
        ("processor time: API server", f"{found.server_cpu_seconds:.1f} s", ""),
        ("writes for each tier", f"{found.writes_per_tier:.1f}", ""),
        ("second operator until ready", f"{found.restart_seconds:.1f} s", "<= 60 s"),
        ("writes of its whole pass", f"{found.second_pass_writes}", "0"),
        ("one edit to its apply", f"{found.edit_seconds:.2f} s", "<= 1 s"),
        ("resident memory", f"{found.mib:.0f} MiB", "<= 200 MiB"),
        (f"and after {found.edits:,} edits", f"{found.mib_after:.0f} MiB", ""),
        ("tiers behind after them", f"{found.behind}", "0"),
    )
    measuring.show(f"The operator with {found.tiers:,} tiers", rows)

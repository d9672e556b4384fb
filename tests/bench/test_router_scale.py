"""Many tiers and endpoints: the router knows them all, and each change."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.timeout(200)
def test_a_router_follows_hundreds_of_endpoints(run_bench: Callable[..., Any]) -> None:
    arguments = ("--tiers", "100", "--endpoints", "3", "--churn", "2")

    found, told = run_bench("router_scale", *arguments, seconds=180)

    assert found["endpoints"] == 300
    assert found["changes"] > 10
    assert "one endpoint not ready" in told

"""Many tiers: all is applied once, and neither a second pass nor a new operator writes anything."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.timeout(400)
def test_a_second_operator_writes_nothing_to_hundreds_of_tiers(
    run_bench: Callable[..., Any],
) -> None:
    found, told = run_bench("operator_scale", "--tiers", "200", "--churn", "2", seconds=380)

    assert found["second_pass_writes"] == 0
    assert found["writes_per_tier"] == pytest.approx(5, abs=0.5)
    assert found["edits"] > 10
    assert found["behind"] == 0
    assert max(found["mib"], found["mib_after"]) < 200
    assert "from cold to all children" in told

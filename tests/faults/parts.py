"""What a test says when the machine lacks a real part that it needs."""

import os
from typing import NoReturn

import pytest


def missing(part: str) -> NoReturn:
    """Skip on a laptop; fail where CI=true promises that every part is there."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{part} is not here")

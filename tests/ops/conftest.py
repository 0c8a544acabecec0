from __future__ import annotations

import pytest


@pytest.fixture(params=["eager", "cpu"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend that runs on a CPU."""
    if request.param == "cpu":
        pytest.importorskip("numba")
    return str(request.param)

import pytest

from repflow_pl.data.parallel import parallel_map


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    numbers = list(range(-20, 20))
    assert list(parallel_map(abs, numbers, "Working", workers)) == [abs(n) for n in numbers]


def test_nothing_to_do() -> None:
    assert list(parallel_map(abs, [], "Working")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_through(workers: int) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(parallel_map(int, ["1", "x", "3"], "Working", workers))

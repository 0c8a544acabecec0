"""Pictures at another size, against torch's and by what must be so."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from repflow_pl.audit.resample import matrix, resample


@pytest.mark.parametrize("size", [(9, 11), (14, 31), (60, 47)])
def test_agrees_with_torchs_filter_away_from_the_edges(size: tuple[int, int]) -> None:
    """At an edge torch leaves out what lies outside; here the edge is repeated."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 28, 33), dtype=np.uint8)
    images = torch.from_numpy(pictures)[:, None].double()
    wanted = F.interpolate(images, size, mode="bilinear", antialias=True)[:, 0].numpy()
    edge = [int(np.ceil(max(1, new / old))) for new, old in zip(size, (28, 33), strict=True)]
    inner = (slice(None), slice(edge[0], -edge[0]), slice(edge[1], -edge[1]))
    np.testing.assert_allclose(resample(pictures, size)[inner], wanted[inner], atol=1e-3)


def test_parts_and_mirrors() -> None:
    assert np.array_equal(matrix(7, 7), np.eye(7, dtype=np.float32))
    np.testing.assert_allclose(matrix(5, 12, 1.0, 0.0), matrix(5, 12)[::-1], atol=1e-6)
    np.testing.assert_allclose(matrix(3, 12, 0.25, 0.5), np.eye(12, dtype=np.float32)[3:6])

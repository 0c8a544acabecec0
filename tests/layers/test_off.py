"""OFF: gradients in space against SciPy's, differences in time by hand."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch

from repflow_pl.layers.off import OFFLayer, sobel


def test_gradients_are_scipys_sobel(ndimage: ModuleType) -> None:
    clip = torch.randn(2, 3, 2, 7, 9, dtype=torch.float64)
    g_x, g_y = sobel(clip)
    for n, c, t in np.ndindex(2, 3, 2):
        plane = clip[n, c, t].numpy()
        for found, axis in ((g_x, 1), (g_y, 0)):
            expected = ndimage.sobel(plane, axis=axis, mode="nearest") / 8
            np.testing.assert_allclose(found[n, c, t].numpy(), expected, atol=1e-12)


def test_gradients_of_a_ramp_are_its_slopes() -> None:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    ramp = 3 * x - 2 * y
    g_x, g_y = sobel(ramp.expand(1, 1, 1, 6, 8))
    d_y, d_x = torch.gradient(ramp)
    torch.testing.assert_close(g_x[0, 0, 0, 1:-1, 1:-1], d_x[1:-1, 1:-1])
    torch.testing.assert_close(g_y[0, 0, 0, 1:-1, 1:-1], d_y[1:-1, 1:-1])


def test_the_layer_is_gradients_of_the_first_frame_and_the_change_to_the_second() -> None:
    torch.manual_seed(0)
    layer, clip = OFFLayer(5, temporal=4, spatial=3), torch.randn(2, 5, 4, 6, 7)
    out = layer(clip)
    assert out.shape == (2, 3 + 3 + 4, 3, 6, 7)

    def reduced(conv: torch.nn.Conv3d, frame: torch.Tensor) -> torch.Tensor:
        assert conv.bias is not None
        weighed = torch.einsum("dc,nchw->ndhw", conv.weight[:, :, 0, 0, 0], frame)
        return weighed + conv.bias[:, None, None]

    for t in range(3):
        g_x, g_y = sobel(reduced(layer.spatial, clip[:, :, t])[:, :, None])
        now, following = (reduced(layer.temporal, clip[:, :, k]).relu() for k in (t, t + 1))
        expected = torch.cat([g_x[:, :, 0], g_y[:, :, 0], following - now], 1)
        torch.testing.assert_close(out[:, :, t], expected, rtol=1e-4, atol=1e-5)


def test_nothing_changes_in_a_still_clip() -> None:
    still = torch.randn(2, 5, 1, 6, 7).expand(-1, -1, 3, -1, -1)
    out = OFFLayer(5, temporal=4, spatial=3)(still)
    assert (out[:, 6:] == 0).all() and (out[:, :6] != 0).any()

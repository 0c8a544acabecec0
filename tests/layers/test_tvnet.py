"""TVNet: motions it must find, an implementation in NumPy, what learns."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.layers.scaling import to_255
from repflow_pl.layers.tvnet import TVNet, grey, smooth, warp

Plane = npt.NDArray[np.float64]

pytestmark = pytest.mark.usefixtures("seeded")


def moving_texture(motion: tuple[float, float], frames: int = 2, size: int = 64) -> torch.Tensor:
    """[2, 3, frames, size, size]: two smooth textures that move by (right, down) each frame."""
    ndimage = pytest.importorskip("scipy.ndimage")
    y, x = np.mgrid[:size, :size] + 16.0
    clips = []
    for seed in range(2):
        noise = np.random.default_rng(seed).standard_normal((size + 32, size + 32))
        texture = ndimage.gaussian_filter(noise, 2.0, mode="wrap")
        moved = [
            ndimage.map_coordinates(
                texture, [y - t * motion[1], x - t * motion[0]], order=3, mode="wrap"
            )
            for t in range(frames)
        ]
        clips.append(np.stack(moved) / np.abs(texture).max())
    return torch.from_numpy(np.stack(clips)).float()[:, None].expand(-1, 3, -1, -1, -1)


@pytest.mark.parametrize(
    ("net", "motion", "pixels"),
    [
        # Bounds a little above what was measured: 0.03, 0.06; 0.07, 0.09, 0.08, 0.15; 0.03, 0.03.
        (TVNet(1, 1, 50), (0.5, 0.0), 0.05),
        (TVNet(1, 1, 50), (1.0, -0.5), 0.1),
        (TVNet(3, 1, 5), (0.5, 0.0), 0.1),
        (TVNet(3, 1, 5), (1.0, -0.5), 0.12),
        (TVNet(3, 1, 5), (0.0, 2.0), 0.12),
        (TVNet(3, 1, 5), (-3.0, 0.0), 0.2),
        (TVNet(3, 2, 10), (0.5, 0.0), 0.05),
        (TVNet(3, 2, 10), (-3.0, 0.0), 0.05),
    ],
)
@torch.no_grad()
def test_it_finds_a_motion_before_any_training(
    net: TVNet, motion: tuple[float, float], pixels: float
) -> None:
    fields = net(moving_texture(motion, frames=3))
    assert fields.shape == (2, 2, 2, 64, 64)
    error = (fields - torch.tensor(motion).reshape(1, 2, 1, 1, 1)).norm(dim=1)
    assert error[..., 8:-8, 8:-8].mean() < pixels


def test_warping_is_scipys_linear_interpolation_with_held_borders(ndimage: ModuleType) -> None:
    image = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    flow = 4 * torch.randn(2, 2, 7, 9, dtype=torch.float64)
    warped = warp(image, flow)
    y, x = np.mgrid[:7, :9]
    for n in range(2):
        where = [y + flow[n, 1].numpy(), x + flow[n, 0].numpy()]
        for c in range(3):
            plane = image[n, c].numpy()
            expected = ndimage.map_coordinates(plane, where, order=1, mode="nearest")
            np.testing.assert_allclose(warped[n, c].numpy(), expected, rtol=0, atol=1e-12)


def tvl1_in_numpy(first: Plane, second: Plane, warps: int, n_iter: int) -> Plane:
    """TV-L1 at one scale, pixel by pixel, as Zach et al. (2007) have it: [2, h, w]."""
    ndimage = pytest.importorskip("scipy.ndimage")
    theta, lam, tau = 0.3, 0.15, 0.25
    height, width = first.shape
    edge = np.pad(second, 1, mode="edge")
    gradient = (edge[1:-1, 2:] - edge[1:-1, :-2]) / 2, (edge[2:, 1:-1] - edge[:-2, 1:-1]) / 2
    u, p = np.zeros((2, height, width)), np.zeros((2, 2, height, width))
    y, x = np.mgrid[:height, :width]
    for _ in range(warps):
        where = [y + u[1], x + u[0]]
        image, g_x, g_y = (
            ndimage.map_coordinates(plane, where, order=1, mode="nearest")
            for plane in (second, *gradient)
        )
        base = u.copy()
        for _ in range(n_iter):
            v = u.copy()
            for i, j in np.ndindex(height, width):
                g = np.array([g_x[i, j], g_y[i, j]])
                rho = image[i, j] - first[i, j] + g @ (u[:, i, j] - base[:, i, j])
                if rho < -lam * theta * (g @ g):
                    v[:, i, j] += lam * theta * g
                elif rho > lam * theta * (g @ g):
                    v[:, i, j] -= lam * theta * g
                elif g @ g > 0:
                    v[:, i, j] -= rho * g / (g @ g)
            for c in range(2):
                divergence = np.diff(p[c, 0], axis=1, prepend=0) + np.diff(
                    p[c, 1], axis=0, prepend=0
                )
                u[c] = v[c] + theta * divergence
                d_x = np.diff(u[c], axis=1, append=u[c][:, -1:])
                d_y = np.diff(u[c], axis=0, append=u[c][-1:])
                shrink = 1 + tau / theta * np.hypot(d_x, d_y)
                p[c] = (p[c] + tau / theta * np.stack([d_x, d_y])) / shrink
    return u


@pytest.mark.parametrize(("warps", "n_iter"), [(1, 6), (3, 2)])
@torch.no_grad()
def test_untrained_it_is_tvl1(warps: int, n_iter: int) -> None:
    clip = torch.rand(1, 3, 2, 8, 9, dtype=torch.float64)
    first, second = smooth(to_255(grey(clip)))[0].numpy()
    expected = tvl1_in_numpy(first, second, warps, n_iter)
    found = TVNet(1, warps, n_iter).double()(clip)[0, :, 0].numpy()
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # 1e-12 under the roots


def test_smoothing_is_a_gaussian(ndimage: ModuleType) -> None:
    frames = torch.rand(1, 2, 9, 11, dtype=torch.float64)
    expected = ndimage.gaussian_filter(frames[0, 1].numpy(), 0.85, mode="nearest", radius=2)
    np.testing.assert_allclose(smooth(frames)[0, 1].numpy(), expected, rtol=1e-12)


def test_everything_that_is_trained_gets_a_gradient() -> None:
    net = TVNet(2, 2, 3)
    net(moving_texture((1.0, 0.5), size=16)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # Every scale, iteration, component and tap.
        assert (parameter.grad != 0).all(), name


def test_gradients_are_those_of_finite_differences() -> None:
    net = TVNet(1, 2, 1).double()
    with torch.no_grad():
        net.start.copy_(torch.tensor([0.3, -0.2]))  # off the pixels, where bilinear has no kink
    clip = torch.rand(1, 3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    parameters = tuple(p.detach().clone().requires_grad_() for p in net.parameters())
    names = [name for name, _ in net.named_parameters()]

    def run(clip: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        named = dict(zip(names, values, strict=True))
        found: torch.Tensor = torch.func.functional_call(net, named, (clip,))
        return found

    assert torch.autograd.gradcheck(run, (clip, *parameters), eps=1e-7, atol=1e-4)


def test_a_still_clip_has_no_flow() -> None:
    still = torch.rand(2, 3, 1, 16, 16).expand(-1, -1, 4, -1, -1)
    assert TVNet(2, 2, 3)(still).abs().max() < 1e-6  # pixels; sampling rounds


def test_a_clips_flow_does_not_depend_on_its_neighbours() -> None:
    net, clips = TVNet(2, 1, 3), torch.rand(2, 3, 3, 16, 16)
    clips[1] *= 100
    torch.testing.assert_close(net(clips)[:1], net(clips[:1]), rtol=1e-4, atol=1e-5)


def test_a_constant_clip_has_finite_gradients() -> None:
    net, clip = TVNet(1, 1, 3), torch.ones(1, 3, 3, 8, 8, requires_grad=True)
    net(clip).sum().backward()
    assert clip.grad is not None and clip.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@torch.no_grad()
def test_it_is_computed_in_float32_under_autocast() -> None:
    net, clip = TVNet(2, 2, 5), moving_texture((1.0, 0.5), frames=3)
    expected = net(clip)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(clip)
    assert torch.equal(found, expected)
    half = clip.bfloat16()
    assert torch.equal(net(half), net(half.float()).bfloat16())


def test_still_pairs_have_no_gradient_and_leave_the_others_theirs() -> None:
    """Over five warps a still picture's was 1e4 times that of a moving one."""
    net = TVNet(1, 5, 5)
    texture = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), size=64, mode="bilinear")
    clips = torch.stack([texture.roll(t, 3) for t in range(4)], 2)
    clips[0, :, 2:] = clips[0, :, 1:2]  # the last frame held
    weights = torch.randn(2, 2, 3, 64, 64)

    def gradients(clips: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        given = clips.clone().requires_grad_()
        found = torch.autograd.grad((net(given) * weights).sum(), [given, *net.parameters()])
        return list(found)

    for start in (0.0, 0.01):
        with torch.no_grad():
            net.start.fill_(start)
        still = torch.stack([texture[0]] * 4, 1)[None]
        assert not any(gradient.any() for gradient in gradients(still, weights[:1]))
        assert not gradients(torch.zeros_like(still), weights[:1])[-1].any()
        held = weights.clone()
        held[0, :, 1:] = 0
        for a, b in zip(gradients(clips, weights), gradients(clips, held), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


@pytest.mark.long
def test_a_still_background_does_not_rule_the_gradient() -> None:
    """Nothing but a square moves: over five warps the start's was up to 1e6 times the others'."""
    background = torch.nn.functional.interpolate(torch.rand(12, 3, 8, 8), size=64, mode="bilinear")
    square, net = torch.rand(12, 3, 12, 12), TVNet(1, 5, 5)
    moving = torch.stack([background.roll(t, 3) for t in range(3)], 2)
    still = torch.stack([background] * 3, 2)
    for t in range(3):
        still[:, :, t, 20:32, 10 + 3 * t : 22 + 3 * t] = square
    weights = torch.nn.functional.interpolate(torch.randn(1, 4, 8, 8), scale_factor=8)
    weights = weights.reshape(2, 2, 64, 64)  # component, pair

    def norm(clip: torch.Tensor) -> float:
        summed = (net(clip[None])[0] * weights).sum()
        return torch.autograd.grad(summed, net.start)[0].norm().item()

    upstream = weights.abs().sum().item()  # what it is where the flow is the start
    for clip in (*still, *moving):
        assert norm(clip) < upstream


@pytest.mark.parametrize("sizes", [(0, 1, 2), (1, 0, 2), (1, 1, -1)])
def test_sizes_that_there_are_not_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(
        UserError, match=r"(scales|warps|n_iter) must be [01] or more; it is (0|-1)"
    ):
        TVNet(*sizes)


def test_frames_too_small_for_its_scales_are_refused() -> None:
    with pytest.raises(UserError, match=r"3 scales needs frames of 16 pixels or more.*15 x 20"):
        TVNet(3, 1, 2)(torch.rand(1, 3, 2, 15, 20))


def test_operations_grow_with_iterations_and_scales() -> None:
    clip = torch.rand(1, 3, 3, 16, 16)
    few, more, scaled = (
        net.flops(clip) for net in (TVNet(1, 1, 2), TVNet(1, 1, 3), TVNet(2, 1, 2))
    )
    assert few < scaled == few + few // 4 < more
    assert TVNet(1, 1, 2).flops(torch.cat([clip, clip])) == 2 * few

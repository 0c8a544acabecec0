"""RAFT: torchvision's network on our frames; its weights where they are, said where not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_small
from torchvision.transforms.v2.functional import to_image

from repflow_pl.data.fields import raft
from repflow_pl.data.fields.eight_bit import ZERO, to_bytes
from repflow_pl.data.fields.raft import WEIGHTS, flow, time_raft
from repflow_pl.data.frames import reader
from repflow_pl.data.index import VideoSet
from repflow_pl.errors import Lacking
from repflow_pl.specs import ClipSpec
from tests.data.conftest import one_sentence, reader_of


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """torch.hub's folder, empty, on a machine that has no network; two updates, for speed."""

    def no_network(url: str, *_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(raft, "UPDATES", 2)
    raft.trained.cache_clear()
    torch.manual_seed(0)
    yield tmp_path / "torch" / "hub" / "checkpoints"
    raft.trained.cache_clear()


def save(checkpoints: Path) -> nn.Module:
    """A fresh network in the place of torchvision's weights."""
    network: nn.Module = raft_small().eval()
    checkpoints.mkdir(parents=True)
    torch.save(network.state_dict(), checkpoints / Path(urlparse(WEIGHTS.url).path).name)
    return network


def frames(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    return first, second


@torch.no_grad()
def test_it_is_torchvisions_network_on_frames_as_its_weights_expect_them() -> None:
    network = raft_small().eval()
    first, second = frames(128, 136)
    pair = WEIGHTS.transforms()(to_image(first)[None], to_image(second)[None])
    expected = network(*pair, num_flow_updates=2)[-1][0].permute(1, 2, 0)
    np.testing.assert_allclose(flow(network, first, second), expected, rtol=1e-3, atol=1e-3)


class Known(nn.Module):
    """Finds the same motion everywhere, in pixels of what it is given, and keeps its shape."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.motion = nn.Parameter(torch.tensor([x, y], dtype=torch.float32))
        self.shape: tuple[int, ...] = ()

    def forward(self, first: Tensor, second: Tensor, num_flow_updates: int) -> list[Tensor]:
        self.shape = tuple(first.shape)
        assert first.shape == second.shape
        return [self.motion.detach()[None, :, None, None].expand(-1, -1, *first.shape[2:])]


@pytest.mark.parametrize(
    ("size", "large"),
    [
        ((64, 64), (128, 128)),
        ((72, 96), (128, 176)),
        ((128, 170), (128, 176)),
        ((96, 64), (192, 128)),
    ],
)
def test_small_frames_are_enlarged_and_their_motion_made_smaller(
    size: tuple[int, int], large: tuple[int, int]
) -> None:
    network = Known(8, -4)
    field = flow(network, *frames(*size))
    assert network.shape == (1, 3, *large)
    assert field.shape == (*size, 2) and field.dtype == np.float32
    expected = 8 * size[1] / large[1], -4 * size[0] / large[0]
    np.testing.assert_allclose(field.reshape(-1, 2).mean(0), expected, rtol=1e-5)
    assert np.ptp(field, axis=(0, 1)).max() < 1e-4


@pytest.mark.long
def test_kept_fields_are_those_between_the_frames(
    shapes: VideoSet, cache: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = save(checkpoints)
    videos = VideoSet(**{**vars(shapes), "videos": shapes.videos[:1]})
    clip = ClipSpec(stride=3, size=32)
    fields = reader_of(videos, clip, "raft")
    (video,) = videos.videos
    last = video.frames - 1
    for i in (0, last - 1):
        pair = reader_of(videos, clip).frames(video, [i, min(i + 3, last)])
        expected = to_bytes(flow(network, pair[0], pair[1]))
        found = fields.frames(video, [i])[0]
        assert np.abs(found.astype(int) - expected).max() <= 1  # rounded
        assert (found != ZERO).any()
    assert (fields.frames(video, [last]) == ZERO).all()
    (file,) = (cache / "raft").iterdir()
    written = file.stat().st_mtime_ns
    shutil.rmtree(checkpoints)  # as on another machine: what is kept needs no network
    raft.trained.cache_clear()
    kept = reader_of(videos, clip, "raft")
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(kept.frames(video, [0])[0], fields.frames(video, [0])[0])


def test_without_weights_one_sentence_says_where_to_put_them(
    shapes: VideoSet, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this process, before any that would make a field is started."""
    monkeypatch.setattr(reader, "isolated_map", pytest.fail)
    with pytest.raises(Lacking, match=r"cannot be downloaded .*no route to host") as error:
        reader_of(shapes, ClipSpec(), "raft")
    sentence = one_sentence(error)
    assert WEIGHTS.url in sentence and str(checkpoints) in sentence and "--rows" not in sentence


def test_it_is_timed_without_weights(shapes: VideoSet) -> None:
    first, second = frames(32, 32)
    times = time_raft(np.stack([first, second, first]), 2)
    assert len(times) == 2 and all(ms > 0 for ms in times)

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, Subset

from repflow_pl.data.clips import ClipDataset, Sample, collate
from repflow_pl.data.fields.eight_bit import ZERO, to_pixels
from repflow_pl.data.index import VideoSet
from repflow_pl.data.sampler import EpochSampler
from repflow_pl.data.views import check_clip, frame_indices, one_clip, view_starts, window_size
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

from .conftest import folder_of, one_sentence, refused

pytestmark = pytest.mark.usefixtures("kept_cache")

CLIP = ClipSpec(frames=4, stride=2, size=32, crop=(24, 28), views=3)


@pytest.fixture(scope="module", name="shapes")
def some_shapes(shapes: VideoSet) -> VideoSet:
    """8 training, 4 validation and 4 test videos."""
    parts = (shapes.part("train")[:8], shapes.part("val")[:4], shapes.part("test")[:4])
    return dataclasses.replace(shapes, videos=tuple(itertools.chain(*parts)))


def same(first: Sample, second: Sample) -> bool:
    pairs = zip(first.inputs, second.inputs, strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and first[1:] == second[1:]


def test_shapes_and_types(shapes: VideoSet) -> None:
    for training, views in ((True, 1), (False, 3)):
        dataset = ClipDataset(shapes, "train", CLIP, ("rgb", "tvl1"), training)
        rgb, flow = dataset[5].inputs
        assert rgb.shape == (views, 3, 4, 24, 28) and rgb.dtype == torch.uint8
        assert flow.shape == (views, 2, 3, 24, 28) and flow.dtype == torch.uint8
        assert dataset[5].index == 5
        assert dataset[5].label == shapes.part("train")[5].label
        assert torch.equal(ClipDataset(shapes, "train", CLIP, ("rgb",), training)[5].inputs[0], rgb)
        assert torch.equal(
            ClipDataset(shapes, "train", CLIP, ("tvl1",), training)[5].inputs[0], flow
        )


def test_evaluation_takes_the_centre_and_the_whole_length(shapes: VideoSet) -> None:
    dataset = ClipDataset(shapes, "test", CLIP)
    video = dataset.videos[3]
    (rgb,) = dataset[3].inputs
    starts = view_starts(video.frames, CLIP)
    assert starts[0] == 0 and starts[-1] == video.frames - CLIP.span
    frames = dataset.readers["rgb"].frames(video, range(video.frames))
    for view, start in enumerate(starts):
        expected = frames[start : start + 7 : 2, 4:28, 2:30].transpose(3, 0, 1, 2)
        np.testing.assert_array_equal(rgb[view].numpy(), expected)
    assert view_starts(20, dataclasses.replace(CLIP, views=1)) == [(20 - 7) // 2]
    assert same(dataset[3], dataset[3, 7])


def test_one_clip_is_the_first_view_and_prepares_nothing_else(
    shapes: VideoSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rgb,) = ClipDataset(shapes, "test", CLIP)[0].inputs
    monkeypatch.setenv("REPFLOW_CACHE", str(cache))
    clip = one_clip(shapes, CLIP)
    np.testing.assert_array_equal(clip.transpose(3, 0, 1, 2), rgb[0].numpy())
    assert not cache.exists()
    with pytest.raises(UserError, match="motion needs clips of 2 frames"):
        one_clip(shapes, dataclasses.replace(CLIP, frames=1))


def test_draws_depend_on_seed_epoch_and_index_alone(shapes: VideoSet) -> None:
    dataset = ClipDataset(shapes, "train", CLIP, ("rgb", "tvl1"), training=True, seed=1)
    again = ClipDataset(shapes, "train", CLIP, ("rgb", "tvl1"), training=True, seed=1)
    other = ClipDataset(shapes, "train", CLIP, ("rgb", "tvl1"), training=True, seed=2)
    first = [dataset[i, 3] for i in range(8)]
    assert all(same(again[i, 3], first[i]) for i in reversed(range(8)))
    assert not any(same(again[i, 4], first[i]) for i in range(8))
    assert not any(same(other[i, 3], first[i]) for i in range(8))


def test_every_place_is_drawn(shapes: VideoSet) -> None:
    clip = ClipSpec(frames=1, crop=(63, 63))
    dataset = ClipDataset(shapes, "train", clip, training=True)
    frames = dataset.readers["rgb"].frames(dataset.videos[0], range(dataset.videos[0].frames))
    seen = set()
    for epoch in range(400):
        pixels = dataset[0, epoch].inputs[0][0, :, 0].numpy().transpose(1, 2, 0)
        for t, frame in enumerate(frames):
            for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
                if np.array_equal(pixels, frame[corner[0] :, corner[1] :][:63, :63]):
                    seen.add((t, corner))
    assert len(seen) >= 0.9 * 4 * len(frames)


def test_shuffled_clips_have_the_same_frames_in_another_order(shapes: VideoSet) -> None:
    clip = ClipSpec(frames=8)
    shuffled = dataclasses.replace(clip, order="shuffled")
    for training in (True, False):
        plain = ClipDataset(shapes, "train", clip, training=training)
        mixed = ClipDataset(shapes, "train", shuffled, training=training)
        orders = set()
        for index in range(6):
            (forward,), (other,) = plain[index, 2].inputs, mixed[index, 2].inputs
            for view in range(len(forward)):
                ahead, mix = forward[view].unbind(1), other[view].unbind(1)
                order = tuple(
                    next(k for k, frame in enumerate(ahead) if torch.equal(frame, m)) for m in mix
                )
                assert sorted(order) == list(range(8))
                orders.add(order)
        assert len(orders) >= 6
        assert same(mixed[0, 2], mixed[0, 2])
    assert same(ClipDataset(shapes, "test", shuffled)[0], ClipDataset(shapes, "test", shuffled)[0])


def test_mirrored_clips_negate_the_horizontal_flow(shapes: VideoSet) -> None:
    safe = dataclasses.replace(shapes, mirror_safe=True)
    # The crop is the whole frame, so that only the flip differs.
    clip = ClipSpec(frames=4, stride=2, size=32, crop=(32, 32))
    flips = ClipDataset(safe, "train", dataclasses.replace(clip, flip=True), ("rgb", "tvl1"), True)
    plain = ClipDataset(safe, "train", clip, ("rgb", "tvl1"), True)
    mirrored = 0
    for epoch in range(20):
        rgb, flow = flips[0, epoch].inputs
        straight, straight_flow = plain[0, epoch].inputs
        if torch.equal(rgb, straight):
            assert torch.equal(flow, straight_flow)
            continue
        mirrored += 1
        assert torch.equal(rgb, straight.flip(-1))
        expected = (
            to_pixels(straight_flow.numpy())[..., ::-1] * np.array([-1, 1])[:, None, None, None]
        )
        np.testing.assert_array_equal(to_pixels(flow.numpy()), expected)
    assert 4 <= mirrored <= 16


def test_a_short_video_is_refused_or_held(tmp_path: Path) -> None:
    opened = folder_of(tmp_path / "set", 2, frames=6)
    clip = ClipSpec(frames=4, stride=3, size=32, crop=(32, 32), views=2)
    with pytest.raises(UserError, match=r"run/\d\.mp4 has 6 frames, fewer than the 10") as error:
        ClipDataset(opened, "train", clip)
    assert "3 others" in one_sentence(error)
    held = dataclasses.replace(clip, short="hold")
    assert frame_indices(0, 6, held).tolist() == [0, 3, 5, 5]
    rgb, flow = ClipDataset(opened, "train", held, ("rgb", "tvl1"))[0].inputs
    assert torch.equal(rgb[:, :, 2], rgb[:, :, 3]) and not torch.equal(rgb[:, :, 1], rgb[:, :, 2])
    assert (flow[:, :, 2] == ZERO).all() and not (flow[:, :, 1] == ZERO).all()


@pytest.mark.parametrize(
    ("change", "streams", "says"),
    [
        ({"flip": True}, ("rgb",), "set flip to false"),
        ({"order": "shuffled"}, ("tvl1",), "shuffled"),
        ({"frames": 1}, ("rgb", "tvl1"), "2 frames or more"),
        ({"frames": 2}, ("tvl1_twice",), "3 frames or more"),
        ({"crop": (65, 64)}, ("rgb",), "smaller than the crop"),
        ({"frames": 99}, ("rgb",), "99 that a clip of 99 frames at stride 1 spans"),
    ],
)
def test_impossible_clips_are_refused(shapes: VideoSet, change, streams, says) -> None:
    with refused(says):
        check_clip(shapes, dataclasses.replace(ClipSpec(), **change), streams)


@pytest.mark.parametrize("videos", [48, 53])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_global_batches_do_not_depend_on_the_number_of_ranks(videos: int, ranks: int) -> None:
    batch = 12

    def batches(ranks: int) -> list[set[tuple[int, int]]]:
        steps: list[list[tuple[int, int]]] = []
        for rank in range(ranks):
            sampler = EpochSampler(videos, shuffle=True, seed=5, ranks=ranks, rank=rank)
            sampler.set_epoch(3)
            draws = list(sampler)
            assert len(draws) == len(sampler)
            share = batch // ranks
            for k in range(len(draws) // share):  # as a loader with drop_last does
                if k == len(steps):
                    steps.append([])
                steps[k] += draws[k * share : (k + 1) * share]
        return [set(step) for step in steps]

    found = batches(ranks)
    assert found == batches(1)
    assert all(len(step) == batch for step in found)
    assert len(found) == videos // batch
    assert {epoch for step in found for _, epoch in step} == {3}


def test_orders_differ_by_epoch_and_seed() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return [index for index, _ in sampler]

    assert sorted(order(0, 0)) == list(range(50))
    assert order(0, 0) == order(0, 0)
    # Seed 1 is no shifted seed 0.
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_evaluation_visits_every_video_on_some_rank(ranks: int) -> None:
    samplers = [EpochSampler(10, shuffle=False, ranks=ranks, rank=rank) for rank in range(ranks)]
    assert {index for sampler in samplers for index, _ in sampler} == set(range(10))
    assert len({len(list(sampler)) for sampler in samplers}) == 1
    assert all(isinstance(sampler, DistributedSampler) for sampler in samplers)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_is_its_samples(shapes: VideoSet, workers: int) -> None:
    dataset = ClipDataset(shapes, "val", CLIP, ("rgb", "tvl1"))
    (batch,) = DataLoader(Subset(dataset, [0, 3]), 2, num_workers=workers, collate_fn=collate)
    assert [tuple(stream.shape[:3]) for stream in batch.inputs] == [(2, 3, 3), (2, 3, 2)]
    for place, index in enumerate((0, 3)):
        sample = dataset[index]
        for stream, views in zip(batch.inputs, sample.inputs, strict=True):
            assert torch.equal(stream[place], views)
            assert stream.movedim(2, -1).is_contiguous(), "the channels come last"
            assert stream.is_shared() == (workers > 0)
        assert (batch.label[place], batch.index[place]) == (sample.label, index)
        assert batch.unread[place] == sample.unread


def test_views_times_crops(shapes: VideoSet) -> None:
    clip = dataclasses.replace(CLIP, views=2, crops=3, crop=(32, 20))
    dataset = ClipDataset(shapes, "test", clip, ("rgb", "tvl1"))
    rgb, flow = dataset[3].inputs
    assert rgb.shape == (6, 3, 4, 32, 20) and flow.shape == (6, 2, 3, 32, 20)
    video = dataset.videos[3]
    frames = dataset.readers["rgb"].frames(video, range(video.frames))
    for view, start in enumerate(view_starts(video.frames, clip)):
        for crop, left in enumerate((0, 6, 12)):
            expected = frames[start : start + 7 : 2, :, left : left + 20].transpose(3, 0, 1, 2)
            np.testing.assert_array_equal(rgb[3 * view + crop].numpy(), expected)


def test_jitter_changes_what_is_seen_and_not_its_size(shapes: VideoSet) -> None:
    clip = ClipSpec(frames=2, size=64, crop=(48, 48), jitter=(1.0, 2.0))
    dataset = ClipDataset(shapes, "train", clip, training=True)
    plain = ClipDataset(
        shapes, "train", dataclasses.replace(clip, jitter=(1.0, 1.0)), training=True
    )
    seen = [dataset[0, epoch].inputs[0] for epoch in range(6)]
    assert all(pixels.shape == (1, 3, 2, 48, 48) for pixels in seen)
    assert all(pixels.dtype == torch.uint8 for pixels in seen)
    assert not any(torch.equal(pixels, plain[0, e].inputs[0]) for e, pixels in enumerate(seen))
    assert same(dataset[0, 3], dataset[0, 3])
    # It is training's alone.
    test = ClipDataset(shapes, "test", clip)
    assert same(test[0], ClipDataset(shapes, "test", dataclasses.replace(clip, jitter=(1, 1)))[0])


def test_what_fills_the_crop() -> None:
    assert window_size(120, 160, (112, 112), 1.0) == (112, 112)
    assert window_size(120, 160, (112, 112), 1.4) == (80, 80)
    # Made smaller, the whole height fills the crop, and no more.
    assert window_size(120, 160, (112, 112), 0.5) == (120, 120)
    assert window_size(128, 64, (96, 56), 0.8) == (110, 64)
    assert window_size(60, 200, (96, 56), 1.0) == (60, 35)


def test_a_stride_in_seconds(tmp_path: Path) -> None:
    opened = folder_of(tmp_path / "set", 1, frames=30)  # at 10 per second
    clip = ClipSpec(frames=4, size=48, crop=(48, 64), seconds=0.3, views=2)
    by_time = ClipDataset(opened, "train", clip)
    by_frame = ClipDataset(opened, "train", dataclasses.replace(clip, seconds=None, stride=3))
    assert same(by_time[0], by_frame[0])
    for wrong, streams, says in (
        (
            dataclasses.replace(clip, seconds=1.1),
            ("rgb",),
            r"fewer than the 34 .* 1\.1 seconds each",
        ),
        (clip, ("tvl1",), "by --rows the rows with such fields"),
    ):
        with refused(says):
            check_clip(opened, wrong, streams)
    still = dataclasses.replace(opened.videos[0], fps=0.0)
    with refused("does not say its frame rate"):
        check_clip(dataclasses.replace(opened, videos=(still,)), clip)
    # Containers say no rate of one picture, and it needs none.
    check_clip(
        dataclasses.replace(opened, videos=(dataclasses.replace(still, frames=1),)),
        dataclasses.replace(clip, short="hold"),
    )


def test_the_draws_are_in_the_order_of_earlier_runs(shapes: VideoSet) -> None:
    """Start, top, left, mirrored: another order would change every result."""
    safe = dataclasses.replace(shapes, mirror_safe=True)
    clip = ClipSpec(frames=4, stride=2, size=64, crop=(40, 48), flip=True)
    dataset = ClipDataset(safe, "train", clip, training=True, seed=3)
    for index in range(6):
        video = dataset.videos[index]
        rng = np.random.default_rng([3, 2, index])
        start = rng.integers(video.frames - 7 + 1)
        top, left = rng.integers(64 - 40 + 1), rng.integers(64 - 48 + 1)
        frames = dataset.readers["rgb"].frames(video, range(start, start + 7, 2))
        expected = frames[:, top : top + 40, left : left + 48]
        if rng.integers(2):
            expected = expected[:, :, ::-1]
        found = dataset[index, 2].inputs[0][0].numpy()
        np.testing.assert_array_equal(found, expected.transpose(3, 0, 1, 2))

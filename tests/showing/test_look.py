"""`repflow look`: what is seen in a video whose motion is known, and the film that shows it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torchvision.utils import flow_to_image

from repflow_pl.__main__ import main
from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.decoding.decode_pyav import Frame
from repflow_pl.data.floats import to_float
from repflow_pl.errors import UserError
from repflow_pl.showing.fields import TVL1, FlowSource, LearnedLayer, PixelLayer
from repflow_pl.showing.film import FORMATS, film
from repflow_pl.showing.panels import FOOT, HEAD, Layout, Panel
from repflow_pl.showing.stream import frames_of
from repflow_pl.showing.watch import lengths_of, shown_size, watched
from repflow_pl.showing.weights import Weights, load_weights
from repflow_pl.showing.wheel import colour_wheel, flow_pictures
from repflow_pl.specs import ModelSpec
from repflow_pl.training.following.pictures import flow_fields
from tests.conftest import write_clip
from tests.showing.conftest import Trained


def moving(step: tuple[int, int], frames: int, size: tuple[int, int] = (48, 64)) -> list[Frame]:
    """A smooth texture without end that moves by `step` (right, down) pixels per frame."""
    rng = np.random.default_rng(3)
    y, x = (2 * np.pi * place / side for place, side in zip(np.indices(size), size, strict=True))
    waves = [
        np.cos(rng.integers(-4, 5) * x + rng.integers(-4, 5) * y + rng.uniform(0, 6))
        for _ in range(8)
    ]
    grey = 127 + 100 * np.sum(waves, 0) / np.abs(np.sum(waves, 0)).max()
    picture = np.repeat(grey[..., None], 3, 2).astype(np.uint8)
    return [np.roll(picture, (step[1] * t, step[0] * t), axis=(0, 1)) for t in range(frames)]


@pytest.mark.parametrize("source", [PixelLayer(), TVL1()], ids=lambda each: each.name)
@pytest.mark.parametrize("step", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_motion_points_where_things_move(source: FlowSource, step: tuple[int, int]) -> None:
    seen = list(watched(moving(step, 4), [source], (48, 64)))
    assert len(seen) == 3
    for each in seen:
        mean = each.fields[0][:, 8:-8, 8:-8].mean((1, 2))
        along = float(mean @ torch.tensor(step, dtype=torch.float))
        across = float(mean @ torch.tensor(step[::-1], dtype=torch.float))
        assert along > 0.1 and abs(across) < along / 4


def test_tvl1_finds_a_longer_motion_to_a_tenth_of_a_pixel() -> None:
    (seen,) = watched(moving((3, 0), 2), [TVL1()], (48, 64))
    assert float(seen.fields[0][0, 8:-8, 8:-8].median()) == pytest.approx(3, abs=0.1)


@pytest.mark.long
def test_the_learned_layer_sees_what_it_sees_in_training(trained: Trained) -> None:
    """The same field as W&B's pictures, of frames that the network takes whole."""
    weights = load_weights(trained.flow)
    clip = ClipDataset(trained.videos, "test", weights.described.clip, kept=False)
    window = clip[0].inputs[0][:1]  # [1, 3, T, 48, 48]
    (expected,) = flow_fields(weights.network, to_float(window))
    source = LearnedLayer(weights, rate=12.0)
    frames = list(window[0].permute(1, 2, 3, 0).numpy())
    assert source.window == len(frames) == 4
    found = source.fields(frames, tuple(expected.shape[1:]))  # no enlarging
    torch.testing.assert_close(found[0], expected)
    large = source.fields(frames, (48, 48))
    factor = 48 / expected.shape[1]
    assert large.shape == (3, 2, 48, 48)
    assert float(large[0].mean() / expected.mean()) == pytest.approx(factor, rel=0.2)


def test_whole_frames_are_seen_at_the_size_of_training(trained: Trained) -> None:
    weights = load_weights(trained.flow)
    source = LearnedLayer(weights, rate=12.0)
    wide = np.zeros((128, 256, 3), np.uint8)
    assert source.prepared(wide, wide).shape == (64, 128, 3)  # short side 64


def test_weights_without_a_flow_layer_are_refused() -> None:
    from tests.showing.test_weights import small

    described = small().described
    plain = Weights(torch.nn.Linear(1, 1), described)
    with pytest.raises(UserError, match="without a flow layer"):
        LearnedLayer(plain, 25.0)
    assert isinstance(described.model, ModelSpec)


class Windows(FlowSource):
    """A source that notes what it is given: each field is the number of its frame."""

    name = "numbers"

    def __init__(self, window: int) -> None:
        self.window = window

    def prepared(self, frame: Frame, shown: Frame) -> Frame:
        return frame

    def fields(self, frames: Sequence[Frame], size: tuple[int, int]) -> torch.Tensor:
        numbers = torch.tensor([float(frame[0, 0, 0]) for frame in frames])
        assert (numbers.diff() == 1).all() and len(frames) <= 9
        return numbers[:-1, None, None, None].expand(-1, 2, *size)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 17, 18, 40])
def test_every_pair_of_frames_is_seen_once_and_in_order(count: int) -> None:
    frames = [np.full((4, 4, 3), k, np.uint8) for k in range(count)]
    seen = list(watched(frames, [Windows(9), Windows(2)], (4, 4)))
    assert [int(each.frame[0, 0, 0]) for each in seen] == list(range(count - 1))
    for each in seen:
        assert all(float(field[0, 0, 0]) == each.frame[0, 0, 0] for field in each.fields)


def test_no_more_frames_are_held_than_are_seen_together() -> None:
    alive: set[int] = set()
    most = 0

    def frames() -> Iterator[Frame]:
        nonlocal most
        for k in range(120):
            frame = np.full((8, 8, 3), k, np.uint8)
            alive.add(k)
            weakref.finalize(frame, alive.discard, k)
            yield frame
            del frame
            most = max(most, len(alive))

    for _ in watched(frames(), [Windows(9)], (8, 8)):
        pass
    assert most <= 9 + 1


def test_colours_are_torchvisions_at_a_scale_that_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(2, 2, 12, 10, generator=generator)
    longest = float(fields[0].norm(dim=0).max())
    own = flow_to_image(fields[0]).permute(1, 2, 0).numpy()
    apart = np.abs(flow_pictures(fields[:1], longest)[0].astype(int) - own)
    assert apart.max() <= 1  # the last bit of a division
    together = flow_pictures(torch.stack([fields[0], 0.1 * fields[1]]), longest)
    assert (together[0] == flow_pictures(fields[:1], longest)[0]).all()
    assert together[1].min() > 150  # a tenth as long: pale
    assert (flow_pictures(torch.zeros(1, 2, 3, 3), 1.0) == 255).all()
    twice = flow_pictures(2 * fields[:1], float(fields[0].norm(dim=0).min()))
    assert (twice == flow_pictures(4 * fields[:1], float(fields[0].norm(dim=0).min()))).all()


def test_the_wheel_is_the_legend_of_the_colours() -> None:
    wheel = colour_wheel(101)
    for (right, down), (row, column) in {
        (0.8, 0.0): (50, 90), (-0.8, 0.0): (50, 10), (0.0, 0.8): (90, 50), (0.4, -0.4): (30, 70),
    }.items():  # fmt: skip
        vector = torch.tensor([right, down])[None, :, None, None]
        colour = flow_pictures(vector, 1.0)[0, 0, 0]
        assert np.abs(wheel[row, column].astype(int) - colour).max() <= 3
    assert (wheel[0, 0] == 255).all() and wheel[50, 50].min() >= 254


@pytest.mark.parametrize("ending", FORMATS)
def test_a_film_holds_the_pictures_that_were_shown(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{ending}"
    pictures = [np.full((32, 48, 3), 16 * k, np.uint8) for k in range(12)]
    with film(path, Fraction(10), (32, 48)) as show:
        for picture in pictures:
            show(picture)
        assert not path.exists()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 10
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(found) == 12
    for picture, shown in zip(pictures, found, strict=True):
        assert np.abs(shown.astype(int) - picture).max() <= 6
    assert [place.name for place in tmp_path.iterdir()] == [path.name]


def test_a_film_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), film(path, Fraction(10), (32, 48)) as show:
        show(np.zeros((32, 48, 3), np.uint8))
        raise ZeroDivisionError
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_panels_have_their_places_and_are_enlarged_for_their_names() -> None:
    panels = [Panel("video"), Panel("a", 1.5), Panel("b", 0.25)]
    layout = Layout(panels, (48, 64))
    assert layout.zoom == 3 and layout.shape[0] == HEAD + 144 + FOOT
    colours = [np.full((48, 64, 3), 40 * k, np.uint8) for k in range(3)]
    whole = layout.picture(colours)
    assert whole.shape == (*layout.shape, 3)
    for k, (top, left) in enumerate(layout.places()):
        assert (whole[top : top + 144, left : left + 192] == 40 * k).all()
    wide = Layout([*panels, Panel("c", 1.0)], (240, 426))
    assert wide.columns == 2 and len(set(wide.places())) == 4


def test_sizes_are_even_and_nothing_is_enlarged() -> None:
    assert shown_size((1080, 1920), 240) == (240, 426)
    assert shown_size((121, 65), 240) == (120, 64)


@pytest.mark.long
@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_a_film_of_a_video_shows_its_motion(
    ending: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, out = tmp_path / "right.mp4", tmp_path / f"out{ending}"
    write_clip(video, 2, (1, 0), frames=12)
    arguments = ["look", str(video), "--weights", str(trained.flow), "--out", str(out)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(f"wrote {out}: 11 frames")
    with av.open(str(out)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    panels = [Panel("video"), *(Panel(name, 1.0) for name in "abc")]
    layout = Layout(panels, (64, 64))
    assert len(pictures) == 11 and pictures[0].shape == (*layout.shape, 3)
    (first, _, _, tvl1) = layout.places()
    with frames_of(video) as stream:
        frame = next(stream.frames)
    size = layout.size[0]
    shown = pictures[0][first[0] : first[0] + size : layout.zoom, : size : layout.zoom]
    assert np.abs(shown.astype(int) - frame).mean() < 12
    colour = pictures[5][tvl1[0] + 30 : tvl1[0] + size - 30, tvl1[1] + 30 : tvl1[1] + size - 30]
    right = flow_pictures(torch.tensor([1.0, 0.0])[None, :, None, None], 1.0)[0, 0, 0]
    left = flow_pictures(torch.tensor([-1.0, 0.0])[None, :, None, None], 1.0)[0, 0, 0]
    mean = np.median(colour, axis=(0, 1))
    assert np.abs(mean - right).sum() < np.abs(mean - left).sum() / 2


def test_lengths_are_measured_over_the_whole_video(tmp_path: Path) -> None:
    """The second half moves four times as fast, and is what the colours must reach."""
    path = tmp_path / "faster.mp4"
    slow, fast = moving((1, 0), 20), moving((4, 0), 20)
    with film(path, Fraction(10), (48, 64)) as show:
        for frame in [*slow, *fast]:
            show(np.ascontiguousarray(frame))
    (longest,) = lengths_of(path, [TVL1()], (48, 64))
    assert 3 < longest < 8


def test_only_the_first_seconds_are_looked_at(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    write_clip(video, 2, (1, 0), frames=24)
    with frames_of(video, seconds=1.0) as stream:
        assert stream.expected == 12 == len(list(stream.frames))
    with frames_of(video) as stream:
        assert stream.expected == 24 and stream.rate == 12


def test_mistakes_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, single, broken = (tmp_path / f"{name}.mp4" for name in ("v", "single", "broken"))
    write_clip(video, 2, (1, 0))
    write_clip(single, 2, (1, 0), frames=1)
    broken.write_bytes(b"no video at all")
    out = tmp_path / "o.mp4"
    for arguments, said in (
        ([tmp_path / "none.mp4"], "there is no video"),
        ([broken], "cannot be read"),
        ([single, "--no-tvl1"], "has one frame"),
        ([video, "--out", tmp_path / "o.png"], "ends in one of .mp4, .gif, .webm"),
        ([video, "--iterations", "9"], "--iterations is of --weights"),
        ([video, "--device", "cuda"], "--device is of --weights"),
        ([video, "--out", video], "would be lost"),
        ([video, "--size", "3"], "16 pixels or more"),
        ([video, "--scale", "0"], "above 0"),
        ([video, "--weights", tmp_path / "none.safetensors"], "there are no weights"),
    ):
        given = ["look", *map(str, arguments)]
        if "--out" not in given:
            given += ["--out", str(out)]
        assert main(given) == 2
        errors = capsys.readouterr().err
        (sentence,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert said in sentence and sentence.endswith("."), sentence
        assert not out.exists()


def test_a_place_that_cannot_be_written_is_said_before_anything_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repflow_pl.showing.look.watching", None)
    video = tmp_path / "v.mp4"
    video.touch()
    assert main(["look", str(video), "--out", str(video / "o.mp4")]) == 2
    assert "cannot write" in capsys.readouterr().err

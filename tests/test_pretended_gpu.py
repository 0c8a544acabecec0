"""Each branch that only a GPU reaches, reached without one.

torch.cuda is replaced by a card that counts what it is asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parents[1] / "experiments")]

import table_runtime  # noqa: E402
from bench import cells, memory, page  # noqa: E402
from bench.command import chosen_device  # noqa: E402

from repflow_pl.data.fields import flow_files, raft, tvl1  # noqa: E402
from repflow_pl.data.index import open_set  # noqa: E402
from repflow_pl.data.module import ClipModule  # noqa: E402
from repflow_pl.errors import UserError  # noqa: E402
from repflow_pl.models.build import build_model  # noqa: E402
from repflow_pl.report import runtime  # noqa: E402
from repflow_pl.showing.loading import asked_weights  # noqa: E402
from repflow_pl.specs import ClipSpec, ModelSpec  # noqa: E402
from repflow_pl.training.batch_norm import WholeBatchNorm  # noqa: E402
from repflow_pl.training.costs import clip_times  # noqa: E402
from repflow_pl.training.costs.measure import forward_ms  # noqa: E402
from repflow_pl.training.module import VideoClassifier  # noqa: E402
from repflow_pl.training.run import _device_name  # noqa: E402
from tests.conftest import write_clip  # noqa: E402

GPU = torch.device("cuda")
NAME = "Pretended Card 9"


class Card:
    """What torch.cuda stands for here."""

    def __init__(self) -> None:
        self.waited = 0
        self.held, self.most = 100, 0

    def synchronize(self, device: object = None) -> None:
        self.waited += 1

    def reset_peak_memory_stats(self, device: object = None) -> None:
        self.most = self.held

    def take(self, count: int) -> None:
        """Memory that is taken and given back."""
        self.most = max(self.most, self.held + count)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    for name, value in (
        ("is_available", lambda: True),
        ("device_count", lambda: 1),
        ("get_device_name", lambda device=None: NAME),
        ("synchronize", card.synchronize),
        ("reset_peak_memory_stats", card.reset_peak_memory_stats),
        ("memory_allocated", lambda device=None: card.held),
        ("max_memory_allocated", lambda device=None: card.most),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    return card


def test_the_device_is_named(card: Card) -> None:
    assert _device_name(GPU) == NAME and page.device_name(GPU) == NAME
    assert _device_name(torch.device("cpu")) == "CPU"
    assert [chosen_device(name).type for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]


def test_a_forward_pass_is_timed_to_its_end(card: Card) -> None:
    """The clock starts when earlier work is done and stops when this one's is."""
    seen: list[int] = []
    model = nn.Linear(2, 2)
    model.forward = lambda clip: seen.append(card.waited)  # type: ignore[assignment]
    clip: Any = SimpleNamespace(is_cuda=True)
    assert forward_ms(model, [clip]) >= 0
    assert seen == [1] and card.waited == 2
    forward_ms(nn.Linear(2, 2), [torch.empty(1, 2)])
    assert card.waited == 2, "on a CPU there is nothing to wait for"


@pytest.mark.parametrize(("device", "norm"), [("cuda", nn.SyncBatchNorm), ("cpu", WholeBatchNorm)])
@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_share_statistics_in_the_devices_way(
    device: str, norm: type[nn.Module], ranks: int
) -> None:
    model = build_model(ModelSpec("narrow"), 3)
    strategy = SimpleNamespace(root_device=torch.device(device))
    pretended: Any = SimpleNamespace(
        model=model, trainer=SimpleNamespace(world_size=ranks, strategy=strategy)
    )
    VideoClassifier.setup(pretended, "fit")
    norms = {type(m) for m in model.modules() if "BatchNorm" in type(m).__name__}
    assert norms == ({norm} if ranks > 1 else {nn.BatchNorm2d})


@pytest.mark.long
def test_batches_are_pinned(
    card: Card, video_folder: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    clip = ClipSpec(frames=2, size=32, crop=(32, 32), short="hold")

    def pinned() -> bool:
        module = ClipModule(open_set("folder", video_folder), clip, ("rgb",), batch=2, seed=0)
        module.setup("fit")
        return module.train_dataloader().pin_memory

    assert pinned()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not pinned()


def test_memory_is_the_cards(card: Card) -> None:
    assert memory.untrusted(GPU) == ""
    assert memory.extra_bytes(lambda: card.take(640), GPU) == 640
    assert card.waited == 2, "before the count begins and before it ends"
    assert memory.extra_bytes(lambda: card.take(64), GPU) == 64, "each call for itself"


def test_benchmarks_wait_for_the_card(card: Card) -> None:
    cells.synchronise(torch.device("cpu"))
    assert card.waited == 0
    cells.synchronise(GPU)
    assert card.waited == 1


def test_run_times_on_a_card_have_a_page_of_its_own(
    card: Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video_folder: Path,
    shared_cache: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    asked: list[torch.device] = []

    def timed(
        models: Any, classes: int, frames: Any, device: torch.device, *_: Any, **__: Any
    ) -> Any:
        asked.append(device)
        time = clip_times.ClipTime(2.0, 0.0)
        return [clip_times.ModelTimes(1000, (time, time))] * len(models)

    monkeypatch.setattr(clip_times, "time_models", timed)
    options = ["--data", "folder", "--data-root", str(video_folder), "--out", str(tmp_path)]
    assert table_runtime.main(options) == 0
    assert asked == [GPU]
    (written,) = tmp_path.glob("tables/yours/folder-*/runtime*.md")
    assert written.stem == "runtime_pretended_card_9"
    text = written.read_text(encoding="utf-8")
    assert f"on {NAME}" in text.splitlines()[0] and runtime.NAME in written.name
    assert "only ratios" not in text.lower()


def test_what_is_shown_and_raft_take_the_card(card: Card) -> None:
    assert raft._device() == GPU
    with pytest.raises(UserError, match="the device 'cuda' cannot be used"):  # it was chosen
        asked_weights(Path("motion_shapes"), "auto", None, None)


def test_fields_are_computed_by_opencvs_cuda_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames go up, the field comes down, with the same options as on the CPU; a file says so."""
    cv2 = pytest.importorskip("cv2")
    given: dict[str, float] = {}

    class Matrix:
        def upload(self, array: Any) -> None:
            self.array = array

        def download(self) -> Any:
            return self.array

    class Solver:
        @staticmethod
        def create(**options: float) -> Solver:
            given.update(options)
            return Solver()

        def calc(self, first: Matrix, second: Matrix, flow: None) -> Matrix:
            field = Matrix()
            field.upload(tvl1._solver(tvl1.TVL1Options()).calc(first.array, second.array, flow))
            return field

    count = [1]
    cuda = SimpleNamespace(
        OpticalFlowDual_TVL1=Solver, GpuMat=Matrix, getCudaEnabledDeviceCount=lambda: count[0]
    )
    video = tmp_path / "clip.mp4"
    write_clip(video, 0, (1, 2), frames=5)
    on_the_cpu = list(flow_files._fields(video, stride=2))
    monkeypatch.setattr(cv2, "cuda", cuda)
    assert tvl1.cuda_device() and flow_files.settings_here(2).startswith("cuda, ")
    assert not given
    np.testing.assert_array_equal(list(flow_files._fields(video, stride=2)), on_the_cpu)
    frames = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    options = tvl1.TVL1Options()
    found = tvl1.tvl1(frames[0], frames[1], solver=tvl1.CudaSolver(options))
    np.testing.assert_array_equal(found, tvl1.tvl1(frames[0], frames[1]))
    assert given == {"nscales": 3, "scaleStep": 0.5, "warps": 1, "iterations": 20}
    count[0] = 0
    assert not tvl1.cuda_device(), "a CUDA build without a card"

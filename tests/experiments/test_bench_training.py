"""The training benchmark writes its page, and its shares and verdicts are what they say."""

from __future__ import annotations

from pathlib import Path

import bench_training
import pytest
import torch
from bench.networks import FCF, FLOW, RGB
from bench.training import Results
from bench.training_page import added

from repflow_pl.data.index import open_set
from tests.experiments.conftest import quick_page


def results_of(rgb: list[float], flow: list[float]) -> Results:
    """Steps of so many seconds, a flow layer of 0.1 forward and 0.3 with its backward."""
    seconds = {
        (RGB, "train"): rgb,
        (FLOW, "train"): flow,
        (FLOW, "layer_forward"): [0.1] * len(flow),
        (FLOW, "layer_both"): [0.3] * len(flow),
    }
    return Results(seconds, {}, "", [0.1], 0, 1.0)  # type: ignore[arg-type]


def test_shares_are_of_the_networks_own_step_and_ratios_of_the_same_turn() -> None:
    results = results_of([1.0, 2.0, 1.0], [1.25, 2.5, 1.25])
    assert results.ratio(FLOW, "train").median == pytest.approx(1.25)
    assert results.added.high == pytest.approx(0.25)
    shares = results.shares(FLOW)
    assert shares is not None and results.shares(RGB) is None
    assert [share.median for share in shares] == pytest.approx([0.08, 0.16])
    assert results.clips_per_second(RGB, "train", 8).median == pytest.approx(8.0)


@pytest.mark.parametrize(("step", "verdict"), [(1.05, "reached"), (1.2, "missed")])
def test_on_a_gpu_it_says_whether_the_layer_is_cheap_enough(step: float, verdict: str) -> None:
    results = results_of([1.0] * 3, [step] * 3)
    assert added(results, torch.device("cuda")).endswith(f"10.0 % or less: {verdict}.")
    assert "or less" not in added(results, torch.device("cpu"))


def test_the_settings_are_the_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    paper = bench_training.setting_of(bench_training.Options())
    assert (paper.profile.backbone, paper.batch) == ("resnet34", 24)
    assert (paper.clip.frames, paper.clip.crop) == (16, (112, 112))
    demo = bench_training.setting_of(bench_training.Options(device="cpu"))
    assert (demo.profile.backbone, demo.clip.frames) == ("narrow", 8)


@pytest.mark.slow
@pytest.mark.usefixtures("threads_kept")
def test_quick_run(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    options = bench_training.Options("cpu", threads=1, minutes=0.2, out=tmp_path, quick=True)
    results = bench_training.bench(options, open_set("folder", video_folder))
    page, lines = quick_page(tmp_path, "training_cpu")
    assert "`python experiments/bench_training.py --device cpu --threads 1 --minutes 0.2" in page
    assert "Data wait: " in page and "The flow layer after block 3 adds " in page
    assert len(lines) == 2 + 4 + 4 + 1
    assert all(float(line["seconds_median"]) > 0 and int(line["n"]) > 1 for line in lines)
    assert {line["network"] for line in lines} == {RGB, FLOW, FCF, ""}
    for network in (FLOW, FCF):
        shares = results.shares(network)
        assert shares is not None and 0 < sum(share.median for share in shares) < 1
    assert results.no_peaks or all(peak > 0 for peak in results.peak_bytes.values())

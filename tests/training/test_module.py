"""The LightningModule's parts: pixels, learning rates, what a resumed run must know."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from repflow_pl.data.clips import Batch
from repflow_pl.data.fields.eight_bit import to_bytes, to_pixels
from repflow_pl.data.floats import to_float
from repflow_pl.models.build import build_model
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec
from repflow_pl.training.module import (
    VideoClassifier,
    flow_scalars,
    parameter_groups,
)

FLOW = FlowSpec(3, n_iter=2, bottleneck=4, learn=("divergence", "theta"))


def module(seed: int = 0) -> VideoClassifier:
    recipe = RecipeSpec(epochs=1, batch=2, lr=0.1)
    spec = RunSpec(ModelSpec("narrow", flow=FLOW), DataSpec("folder", ClipSpec()), recipe)
    return VideoClassifier(spec, seed, classes=3, videos_val=0, videos_test=4)


def test_pixels_span_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 1, 2).expand(1, 3, 1, 1, 2)
    torch.testing.assert_close(to_float(pixels)[0, 0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_fields_become_pixels_per_frame() -> None:
    fields = torch.linspace(-20, 20, 2 * 12).reshape(1, 2, 1, 3, 4)
    stored = to_bytes(fields.numpy())
    torch.testing.assert_close(
        to_float(torch.from_numpy(stored)), torch.from_numpy(to_pixels(stored))
    )


def test_flow_parameters_learn_at_their_own_rate() -> None:
    model = build_model(ModelSpec("narrow", flow=FLOW), classes=3)
    network, flow = parameter_groups(model, lr=0.1, flow_lr=0.001)
    assert (network["lr"], flow["lr"]) == (0.1, 0.001)
    layer = model.flow.iteration
    chosen = [layer.flow_x, layer.flow_y, layer.div_x, layer.div_y, layer.theta]
    assert {id(p) for p in flow["params"]} == {id(p) for p in chosen}
    every = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in network["params"]} == every - {id(p) for p in chosen}


def test_a_plain_network_has_one_group() -> None:
    groups = parameter_groups(build_model(ModelSpec("narrow"), 3), 0.1, 0.001)
    assert [group["name"] for group in groups] == ["network"]


def test_curves_of_the_flow_scalars() -> None:
    scalars = dict(flow_scalars(module().model))
    assert {name: round(value.item(), 3) for name, value in scalars.items()} == {
        "theta": 0.3,
        "lambda": 0.15,
        "tau": 0.25,
    }


def test_a_curve_shows_the_scalar_that_the_flow_uses() -> None:
    model = build_model(ModelSpec("narrow", flow=FLOW), classes=3)
    model.flow.iteration.theta.data.fill_(-0.3)  # a step that went too far
    assert 0 < dict(flow_scalars(model))["theta"].item() < 1e-3


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([p.flatten() for p in module(seed).parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_a_checkpoint_carries_the_last_epochs_numbers() -> None:
    before, after = module(), module()
    before.last_train_loss, before.last_val_top1 = 0.25, 0.5
    checkpoint: dict[str, object] = {}
    before.on_save_checkpoint(checkpoint)
    after.on_load_checkpoint(checkpoint)
    assert (after.last_train_loss, after.last_val_top1) == (0.25, 0.5)


def test_scores_keep_videos_and_views_apart() -> None:
    net = module().eval()
    clips = torch.randint(0, 256, (2, 3, 3, 3, 32, 32), dtype=torch.uint8)
    batch = Batch((clips,), torch.tensor([[0, 0, 0], [1, 1, 0]]))
    with torch.no_grad():
        scores = net.scores(batch)
        assert scores.shape == (2, 3, 3)
        torch.testing.assert_close(scores[1, 2], net(clips[1:2, 2])[0], rtol=1e-4, atol=1e-5)


def test_one_cycle_leaves_sgd_the_momentum_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was 0.95 to 0.85 and back, whatever the recipe said."""
    monkeypatch.setattr(VideoClassifier, "trainer", SimpleNamespace(estimated_stepping_batches=9))
    net = module()
    recipe = RecipeSpec(epochs=1, batch=2, lr=0.1, momentum=0.5, schedule="one_cycle")
    net.spec = RunSpec(net.spec.model, net.spec.data, recipe)
    configured = net.configure_optimizers()
    assert isinstance(configured, dict)
    (group, _) = configured["optimizer"].param_groups
    assert group["momentum"] == 0.5


@pytest.mark.parametrize(
    ("name", "kind"),
    [("one_cycle", OneCycleLR), ("step", StepLR), ("plateau", ReduceLROnPlateau)],
)
def test_every_schedule_is_what_its_name_says(
    name: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = SimpleNamespace(estimated_stepping_batches=4)
    monkeypatch.setattr(VideoClassifier, "trainer", trainer)
    net = module()
    recipe = RecipeSpec(epochs=1, batch=2, lr=0.1, schedule=name)  # type: ignore[arg-type]
    net.spec = RunSpec(net.spec.model, net.spec.data, recipe)
    configured = net.configure_optimizers()
    assert isinstance(configured, dict)
    schedule = configured["lr_scheduler"]
    assert isinstance(schedule, dict) and isinstance(schedule["scheduler"], kind)
    # a set without a validation part is watched by its training loss
    assert schedule.get("monitor", "train/loss") == "train/loss"

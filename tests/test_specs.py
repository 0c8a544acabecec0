"""Specs: what differs has another name, what is the same has the same name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.specs import (
    ActionFlowNetSpec,
    ClipSpec,
    DataSpec,
    FlowSpec,
    ModelSpec,
    MotionFilterSpec,
    OFFSpec,
    RecipeSpec,
    RunSpec,
    TVNetSpec,
    late,
    low_res,
    spec_hash,
    with_fields,
)
from repflow_pl.strict import parse
from repflow_pl.tables import Setting

SPEC = RunSpec(
    ModelSpec("narrow", flow=FlowSpec(3, layers=2)),
    DataSpec("motion_shapes", ClipSpec()),
    RecipeSpec(epochs=1, batch=2, lr=0.1),
)

OTHER = {"seconds": 0.5}


def changed(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return (value[0], value[1] + 1) if isinstance(value[0], float) else value[:-1]
    if value is None:
        return (1, 1)
    return f"{value}x"


def variants() -> list[RunSpec]:
    """The spec with one field changed, for every field there is."""
    found = []
    for name in ("model", "data", "recipe"):
        part = getattr(SPEC, name)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if dataclasses.is_dataclass(value):
                news = [
                    dataclasses.replace(
                        value, **{f.name: OTHER.get(f.name) or changed(getattr(value, f.name))}
                    )
                    for f in dataclasses.fields(value)
                    if f.name != "fuse"  # not beside several layers
                ]
            elif field.name in ("stream", "motion"):
                continue  # not beside a flow layer
            else:
                news = [changed(value)]
            found += [
                dataclasses.replace(SPEC, **{name: dataclasses.replace(part, **{field.name: new})})
                for new in news
            ]
    return found


def test_every_field_counts_in_the_hash() -> None:
    hashes = {spec_hash(spec) for spec in [SPEC, *variants()]}
    assert len(hashes) == len(variants()) + 1 > 20


@pytest.mark.long
def test_the_hash_is_the_same_in_another_process() -> None:
    code = (
        "from tests.test_specs import SPEC; from repflow_pl.specs import spec_hash; "
        "print(spec_hash(SPEC))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == spec_hash(SPEC)


def test_fields_at_their_default_do_not_count() -> None:
    """So that a later option whose default means "as before" leaves finished runs their names."""

    @dataclasses.dataclass(frozen=True)
    class Later(FlowSpec):
        option: bool = False

    def hash_of(flow: FlowSpec) -> str:
        return spec_hash(dataclasses.replace(SPEC, model=ModelSpec("narrow", flow=flow)))

    assert hash_of(Later(3)) == hash_of(FlowSpec(3))
    assert hash_of(Later(3, option=True)) != hash_of(FlowSpec(3))


def test_late_fusion_is_named_by_its_members() -> None:
    rgb = dataclasses.replace(SPEC, model=ModelSpec("narrow"))
    hashes = {spec_hash(s) for s in (SPEC, rgb, late(SPEC, rgb), late(SPEC, SPEC))}
    assert len(hashes) == 4
    with pytest.raises(ValueError, match="two trained runs"):
        late(SPEC)
    with pytest.raises(ValueError, match="two trained runs"):
        late(SPEC, late(SPEC, rgb))


@pytest.mark.parametrize(
    "fields",
    [{"layers": 0}, {"residual": True}, {"convolve": True}, {"layers": 2, "fuse": "add"}],
    ids=str,
)
def test_impossible_flow_layers_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="flow layer"):
        FlowSpec(3, **fields)


def test_a_flow_layer_belongs_to_the_rgb_stream() -> None:
    with pytest.raises(ValueError, match="rgb stream"):
        ModelSpec("narrow", stream="tvl1", flow=FlowSpec(3))


def test_span_counts_both_ends() -> None:
    assert ClipSpec(frames=8, stride=4).span == 29


def test_the_kind_of_motion_counts_where_nothing_else_differs() -> None:
    motions = (TVNetSpec(), OFFSpec(), MotionFilterSpec(), ActionFlowNetSpec(), None)
    models = [ModelSpec("narrow", motion=motion) for motion in motions]
    assert len({spec_hash(dataclasses.replace(SPEC, model=model)) for model in models}) == 5


def test_the_low_resolution_clips() -> None:
    clip = low_res(ClipSpec(frames=16, size=128, crop=(96, 96)))
    assert (clip.size, clip.crop, clip.frames) == ("half", (112, 112), 16)


@pytest.mark.parametrize(
    "wrong", [{"jitter": (1.2, 1.0)}, {"jitter": (0.0, 1.0)}, {"seconds": 0.0}, {"crops": 0}]
)
def test_impossible_clips(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ClipSpec(**wrong)


def test_a_stride_in_seconds_is_the_same_at_every_rate() -> None:
    clip = ClipSpec(frames=4, seconds=0.2)
    assert clip.offsets(10.0) == (0, 2, 4, 6)
    assert clip.offsets(25.0) == (0, 5, 10, 15)
    assert clip.offsets(30.0) == (0, 6, 12, 18)
    assert clip.offsets(7.0) == (0, 1, 3, 4)
    assert ClipSpec(frames=4, stride=3).offsets(99.0) == (0, 3, 6, 9)


PUBLISHED = sorted((Path(__file__).parents[1] / "tables" / "runs").glob("*/seed0/spec.json"))


def test_finished_runs_keep_their_names() -> None:
    """Options that came later leave the published runs the hashes that they are stored under."""
    assert len(PUBLISHED) > 5
    for path in PUBLISHED:
        spec = parse(RunSpec, json.loads(path.read_text()))
        assert spec_hash(spec) == path.parts[-3]
        compiled = not spec.recipe.compile
        other = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, compile=compiled))
        assert spec_hash(other) != path.parts[-3]


def test_the_way_of_computing_names_other_runs() -> None:
    data = DataSpec("motion_shapes")

    def name(**options: Any) -> str:
        return spec_hash(Setting(**options).profile_of().flow_after(data, 3))

    assert name() == name(precision="32", compile=False)
    assert len({name(), name(precision="bf16"), name(compile=True)}) == 3


def test_fields_beside_the_videos_name_the_runs_that_take_them() -> None:
    recipe = RecipeSpec(epochs=1, batch=8, lr=0.1)
    data = DataSpec("folder", ClipSpec(stride=2))
    rgb, flow, twice = (
        RunSpec(ModelSpec("narrow", stream=stream), data, recipe)
        for stream in ("rgb", "tvl1", "tvl1_twice")
    )
    made = {"stride1": "cpu", "stride2": "cuda"}
    for spec in (rgb, twice):
        assert with_fields(spec, made) == spec
    named = with_fields(flow, made)
    assert named.data.clip.fields == "cuda" and spec_hash(named) != spec_hash(flow)
    assert spec_hash(with_fields(flow, {"stride2": "cpu"})) != spec_hash(named)
    assert with_fields(flow, {"stride1": "cpu"}) == with_fields(flow, {}) == flow
    both = with_fields(late(rgb, flow), made)
    assert both.model.members == (rgb, named) and both.data == named.data

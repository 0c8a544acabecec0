"""Plain JSON values back to specs and results: the same value or an error that names the place."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repflow_pl.specs import (
    ActionFlowNetSpec,
    ClipSpec,
    FlowSpec,
    LateSpec,
    ModelSpec,
    Motion,
    MotionFilterSpec,
    OFFSpec,
    RunSpec,
    TVNetSpec,
    spec_hash,
    to_dict,
)
from repflow_pl.strict import parse
from repflow_pl.tables import Setting, split_tables
from repflow_pl.training.recording.result import RunResult

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SCRIPTS = sorted(set(EXPERIMENTS.glob("table_*.py")) - {EXPERIMENTS / "table_runtime.py"})
RESULT = Path(__file__).parent / "report" / "sweep" / "rgb" / "seed0" / "result.json"


def rows(script: Path, setting: Setting) -> list[RunSpec]:
    """The specs of a script's table."""
    found = importlib.util.spec_from_file_location(script.stem, script)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    builder = getattr(module, script.stem.removeprefix("table_"))
    (table,) = split_tables([builder], setting, fingerprint="0123456789ab")
    return [row.spec for row in table.rows]


SPECS = [
    spec
    for script in SCRIPTS
    for profile in ("demo", "paper")
    for data in ("motion_shapes", "ut_interaction")
    for spec in rows(script, Setting(data, profile))  # type: ignore[arg-type]
]


def test_every_row_of_every_table_comes_back() -> None:
    assert len(SPECS) > 100
    for spec in SPECS:
        back = parse(RunSpec, json.loads(json.dumps(to_dict(spec))))
        assert back == spec and spec_hash(back) == spec_hash(spec)


def test_rows_cover_every_kind_of_model() -> None:
    models = [spec.model for spec in SPECS]
    single = [model for model in models if isinstance(model, ModelSpec)]
    assert any(isinstance(model, LateSpec) for model in models)
    assert any(model.flow for model in single)
    assert {type(model.motion) for model in single} >= set(get_args(Motion))


def places(plain: Any) -> list[tuple[Any, ...]]:
    """The way to every object inside a JSON value."""
    found: list[tuple[Any, ...]] = [()] if isinstance(plain, dict) else []
    if isinstance(plain, dict | list):
        inside = plain.items() if isinstance(plain, dict) else enumerate(plain)
        found += [(key, *rest) for key, value in inside for rest in places(value)]
    return found


@given(st.sampled_from(SPECS), st.data())
def test_an_unknown_field_is_refused_wherever_it_is(spec: RunSpec, data: st.DataObject) -> None:
    plain = to_dict(spec)
    inner = plain
    for key in data.draw(st.sampled_from(places(plain))):
        inner = inner[key]
    inner["colour"] = 1
    with pytest.raises(ValueError, match=r"unknown field .*colour"):
        parse(RunSpec, plain)


def leaves(plain: Any) -> list[tuple[Any, ...]]:
    """The way to every value inside that is neither list nor object."""
    if not isinstance(plain, dict | list):
        return [()]
    inside = plain.items() if isinstance(plain, dict) else enumerate(plain)
    return [(key, *rest) for key, value in inside for rest in leaves(value)]


@given(st.sampled_from(SPECS), st.data())
def test_a_value_of_another_type_is_refused_wherever_it_is(
    spec: RunSpec, data: st.DataObject
) -> None:
    plain = to_dict(spec)
    *way, last = data.draw(st.sampled_from(leaves(plain)))
    inner: Any = plain
    for key in way:
        inner = inner[key]
    inner[last] = [[inner[last]]]
    with pytest.raises(ValueError, match="is not"):
        parse(RunSpec, plain)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (FlowSpec, {}),
        (FlowSpec, {"after_block": True}),
        (FlowSpec, {"after_block": 3.0}),
        (FlowSpec, {"after_block": "3"}),
        (FlowSpec, {"after_block": 3, "fuse": "sum"}),
        (FlowSpec, {"after_block": -1}),
        (FlowSpec, []),
        (ClipSpec, {"crop": [1]}),
        (ClipSpec, {"crop": [1, 2, 3]}),
        (ClipSpec, {"size": None}),
        (RunSpec, None),
        (ModelSpec, {"backbone": "narrow", "motion": {"reduction": 4}}),
        (ModelSpec, {"backbone": "narrow", "motion": {"kind": "lucas_kanade"}}),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(kind: type, plain: Any) -> None:
    with pytest.raises(ValueError):
        parse(kind, plain)


@pytest.mark.parametrize(
    "motion", [TVNetSpec(), OFFSpec(), MotionFilterSpec(), ActionFlowNetSpec()], ids=repr
)
def test_motions_are_told_apart_by_kind(motion: Motion) -> None:
    model = ModelSpec("narrow", motion=motion)
    assert parse(ModelSpec, to_dict(model)) == model


def test_a_file_may_be_older_than_an_option() -> None:
    assert parse(FlowSpec, {"after_block": 3, "layers": 2}) == FlowSpec(3, layers=2)


def test_an_integer_that_stands_for_a_float_stays_one() -> None:
    @dataclass(frozen=True)
    class Rate:
        value: float
        unit: Literal["a", 1]

    back = parse(Rate, {"value": 1, "unit": 1})
    assert type(back.value) is int
    with pytest.raises(ValueError, match=r"unit: True is not one of"):
        parse(Rate, {"value": 1, "unit": True})


def test_a_result_comes_back() -> None:
    plain = json.loads(RESULT.read_text())
    assert dataclasses.asdict(parse(RunResult, plain)).items() >= plain.items()  # younger fields
    with pytest.raises(ValueError, match=r"unknown field latency\.colour"):
        parse(RunResult, {**plain, "latency": {**plain["latency"], "colour": 1}})
    with pytest.raises(ValueError, match="there is no field top1"):
        parse(RunResult, {k: v for k, v in plain.items() if k != "top1"})

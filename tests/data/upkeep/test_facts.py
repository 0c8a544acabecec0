"""What a table says of its data set is kept, and found again without the videos."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from repflow_pl.data.index import VideoSet
from repflow_pl.data.upkeep import metadata
from repflow_pl.data.upkeep.facts import facts_of, facts_path, kept_facts, read_facts
from repflow_pl.data.upkeep.metadata import metadata_baseline
from repflow_pl.errors import UserError

from ..conftest import one_sentence


@pytest.fixture(autouse=True)
def small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier is asked for what is kept, not for how good it is."""
    monkeypatch.setattr(metadata, "TREES", 10)


def test_facts_are_those_of_the_videos_and_are_found_again(
    shapes: VideoSet, tmp_path: Path
) -> None:
    facts = facts_of(shapes, tmp_path)
    baseline = metadata_baseline(shapes)
    assert (facts.name, facts.fingerprint) == ("motion_shapes", shapes.fingerprint)
    assert (facts.chance, facts.metadata_accuracy) == (baseline.chance, baseline.accuracy_mean)
    assert facts.metadata_half_width == pytest.approx(baseline.half_width)
    path = facts_path(tmp_path, shapes.name, shapes.fingerprint)
    assert read_facts(path) == facts
    assert kept_facts(tmp_path, "motion_shapes") == (facts,)
    assert str(tmp_path) not in path.read_text() and str(shapes.root) not in path.read_text()


def test_kept_facts_are_not_found_out_again(
    shapes: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of(shapes, tmp_path)
    monkeypatch.setattr("repflow_pl.data.upkeep.facts.metadata_baseline", None)
    assert facts_of(shapes, tmp_path) == facts
    fewer = dataclasses.replace(shapes, videos=shapes.videos[1:])
    with pytest.raises(TypeError):
        facts_of(fewer, tmp_path)


def test_names_of_classes_are_kept_and_added_to_older_facts(
    shapes: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of(shapes, tmp_path)
    assert facts.classes == shapes.classes and len(set(facts.classes)) > 1
    path = facts_path(tmp_path, shapes.name, shapes.fingerprint)
    old = json.loads(path.read_text())
    del old["classes"]
    path.write_text(json.dumps(old))
    assert read_facts(path) == dataclasses.replace(facts, classes=())
    monkeypatch.setattr("repflow_pl.data.upkeep.facts.metadata_baseline", None)
    assert facts_of(shapes, tmp_path) == facts == read_facts(path)


def test_no_facts_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        kept_facts(tmp_path, "ut_interaction")
    assert "no results on ut_interaction" in one_sentence(error)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"new": 1}'])
def test_damaged_facts_are_named(text: str, tmp_path: Path) -> None:
    path = facts_path(tmp_path, "folder", "0123")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError) as error:
        kept_facts(tmp_path, "folder")
    assert path.name in one_sentence(error)

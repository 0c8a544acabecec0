"""Sets of videos with planted leaks, and one without."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.audit.planting import CHANGES, original, plant

FIRST_SEED = 5000
"""Thresholds were chosen on the scenes of seeds below 200, and on videos of UCF101."""


@dataclass(frozen=True)
class Planted:
    """ROOT/{train,test}/<class>/<name>.mp4, and the pairs that show the same."""

    root: Path
    leaks: dict[frozenset[str], str]
    """How the copy was made, by the two paths, one in each part."""
    inside: frozenset[str]
    """Paths of a pair within the training part."""


def hasten(patched: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest, which has tests of its own."""
    # A process takes longer to start than these few small files take to read.
    patched.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    patched.setattr("repflow_pl.audit.decoders.others", lambda: {})
    patched.setattr("repflow_pl.data.upkeep.metadata.TREES", 20)
    patched.setattr("repflow_pl.audit.probes.FEATURES", ())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each test."""
    hasten(monkeypatch)


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all of these tests: each video is looked at once."""
    place = tmp_path_factory.mktemp("audit_cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REPFLOW_CACHE", str(place))
        yield place


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    """Two classes, 24 training and 12 test videos, all of other scenes."""
    root = tmp_path_factory.mktemp("clean")
    places = itertools.product((("train", 12), ("test", 6)), ("left", "right"))
    seed = FIRST_SEED
    for (part, count), label in places:
        for k in range(count):
            original(root / part / label / f"{label}{k:02d}.mp4", seed)
            seed += 1
    return root


@pytest.fixture(scope="session")
def planted(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """The same and copies of 20 training videos in the test part, and of one beside it."""
    root = tmp_path_factory.mktemp("planted")
    for path in clean.rglob("*.mp4"):
        place = root / path.relative_to(clean)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    sources = sorted((root / "train").rglob("*.mp4"))
    leaks = {}
    for source, change in zip(sources[:20], itertools.cycle(CHANGES)):
        copy = plant(source, root / "test" / source.parent.name / f"{source.stem}x.mp4", change)
        pair = (source.relative_to(root).as_posix(), copy.relative_to(root).as_posix())
        leaks[frozenset(pair)] = change
    beside = plant(sources[-1], sources[-1].with_name("beside.mp4"), "encoded")
    names = (sources[-1].relative_to(root).as_posix(), beside.relative_to(root).as_posix())
    return Planted(root, leaks, frozenset(names))

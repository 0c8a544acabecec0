"""Whether a data set is whole: what its lists name, what is there, and what can be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from repflow_pl.data.index import SPLITS, Broken, Listed, Split, VideoSet, first_of, list_set
from repflow_pl.files import write_json


@dataclass(frozen=True)
class PartReport:
    """One part of one official split."""

    fold: int
    split: Split
    expected: int
    """Clips that the lists name."""
    found: int
    """Files that are there, sound or not."""
    corrupted: int
    """Of them, those that cannot be decoded."""


@dataclass(frozen=True)
class Report:
    """What `verify` found out."""

    listed: Listed
    parts: tuple[PartReport, ...]
    missing: tuple[str, ...]
    corrupted: tuple[Broken, ...]
    fingerprints: tuple[str, ...]
    """Of the videos that a training takes, for each official split."""
    manifests: tuple[str, ...]
    """Of everything found, for each official split; both stand beside every result."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing is corrupted."""
        return not self.missing and not self.corrupted


def verify(name: str, root: Path | None, workers: int | None = None) -> Report:
    """Decode every file that was not decoded yet, or could not be, and compare with the lists.

    Errors: UserError as `list_set` says.
    """
    listed = list_set(name, root, workers, again=True)
    folds = [listed.fold(k) for k in range(1, listed.folds + 1)]
    parts = [part for fold in folds for part in _parts(listed, fold)]
    missing = sorted({path for fold in folds for path in fold.missing})
    corrupted = {file.path: file for fold in folds for file in fold.broken}
    report = Report(
        listed,
        tuple(parts),
        tuple(missing),
        tuple(corrupted[path] for path in sorted(corrupted)),
        tuple(fold.fingerprint for fold in folds),
        tuple(fold.manifest for fold in folds),
    )
    _write_summary(summary_path(listed), report)
    return report


def summary_path(listed: Listed) -> Path:
    """The manifest's summary, beside it: checksums, and the counts of every part."""
    return listed.manifest.with_suffix(".json")


def lines(report: Report) -> Iterator[str]:
    """The report for a person at a terminal."""
    listed = report.listed
    classes = len({candidate.label for candidate in listed.candidates})
    yield f"{listed.name} in {listed.root}: {classes} classes"
    for part in report.parts:
        fold = f"split {part.fold}, " if listed.folds > 1 else ""
        yield (
            f"  {fold}{part.split}: found {part.found} of {part.expected} expected, "
            f"{part.corrupted} corrupted"
        )
    corrupted = [f"{file.path}: {file.reason}" for file in report.corrupted]
    for what, entries in (("missing", report.missing), ("corrupted", corrupted)):
        if entries:
            yield f"{what} ({len(entries)}):"
            yield from first_of(entries)  # the manifest has them all
    # In the words and the form of the pages, to be compared with them.
    fingerprints, manifests = map("+".join, (report.fingerprints, report.manifests))
    yield f"fingerprint of the list of videos: {fingerprints}; of the manifest: {manifests}"
    yield f"every file: {listed.manifest}, counts and checksums: {summary_path(listed).name}"


def _write_summary(path: Path, report: Report) -> None:
    summary = {
        "set": report.listed.name,
        "fingerprints": report.fingerprints,
        "manifests": report.manifests,
        "parts": [asdict(part) for part in report.parts],
        "missing": len(report.missing),
        "corrupted": len(report.corrupted),
    }
    write_json(path, summary)


def _parts(listed: Listed, fold: VideoSet) -> Iterator[PartReport]:
    absent, broken = set(fold.missing), {file.path for file in fold.broken}
    for split in SPLITS:
        named = [c.path for c in listed.candidates if (c.fold, c.split) == (fold.fold, split)]
        if named:
            there = [path for path in named if path not in absent]
            corrupted = sum(path in broken for path in there)
            yield PartReport(fold.fold, split, len(named), len(there), corrupted)

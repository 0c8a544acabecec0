"""The sentences that say how a table's figures came about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from repflow_pl.report.collect import Collected
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.wording import duration, percent
from repflow_pl.training.recording.result import RunResult, Versions


def measured(table: Table, context: Context, collected: Sequence[Collected]) -> list[str]:
    """One sentence each: command, selection, data, bounds, device, versions, notes."""
    results = [result for entry in collected for result in entry.results]
    runs = sum(len(entry.results) * (1 + len(entry.row.other_splits)) for entry in collected)
    return [
        f"Made by `{context.command}`.",
        f"Checkpoint: {context.selection}.",
        *_videos(results),
        _bounds(context),
        *_machine(results, runs),
        *context.notes,
        *table.notes,
    ]


def _videos(results: Sequence[RunResult]) -> list[str]:
    if not results:
        return []
    sentences = [
        f"Videos: {_each(results, lambda r: r.videos_train)} to train, "
        f"{_each(results, lambda r: r.videos_val)} to validate, "
        f"{_each(results, lambda r: r.videos_test)} to test.",
        "Files that could not be decoded and were left out: "
        f"{max(result.videos_broken for result in results)}.",
    ]
    if missing := max(result.videos_missing for result in results):
        sentences.append(f"Files that the list names and that were not there: {missing}.")
    if unread := max(result.videos_unread for result in results):
        sentences.append(
            f"Test videos that could not be read any more, which count as errors: {unread}."
        )
    manifests = _each([result for result in results if result.manifest], lambda r: r.manifest)
    of_manifest = f"; of the manifest: {manifests}" if manifests else ""
    fingerprints = _each(results, lambda result: result.fingerprint)
    sentences.append(f"Fingerprint of the list of videos: {fingerprints}{of_manifest}.")
    if len({result.videos_test for result in results}) > 1:
        sentences.append("The rows were not tested on the same number of videos: do not compare.")
    return sentences


def _bounds(context: Context) -> str:
    chance = f"Guessing reaches {percent(context.chance)} %"
    if context.ceiling is None:
        return f"{chance}."
    return (
        f"{chance}; a model that knows every appearance and no motion reaches at most "
        f"{percent(context.ceiling)} %."
    )


def _machine(results: Sequence[RunResult], runs: int) -> list[str]:
    if not results:
        return []
    train = sum(result.train_seconds for result in results)
    test = sum(result.test_seconds for result in results)
    shared = any(result.ranks > 1 for result in results)
    ranks = f"; ranks that shared a run: {_each(results, lambda r: r.ranks)}" if shared else ""
    device = f"{_each(results, lambda r: r.device)}{ranks}"
    return [
        f"Device: {device}. Times compare within one machine at most.",
        f"The {runs} runs took {duration(train)} of training and {duration(test)} of test.",
        f"Versions: {_versions(results)}.",
    ]


def _versions(results: Sequence[RunResult]) -> str:
    """What the runs were made with; commits of the program between the same others as one list."""
    commits: dict[Versions, list[str]] = {}
    for versions in dict.fromkeys(result.versions for result in results):
        others = dataclasses.replace(versions, commit="")
        commits.setdefault(others, []).append(versions.commit)
    return " or ".join(
        f"repflow_pl {v.repflow_pl} (commit{'s' * (len(made) > 1)} {', '.join(made)}), "
        f"Python {v.python}, torch {v.torch}, lightning {v.lightning}"
        for v, made in commits.items()
    )


def _each(results: Iterable[RunResult], get: Callable[[RunResult], object]) -> str:
    """The values that occur, each once, in the order of the runs."""
    return " or ".join(dict.fromkeys(str(get(result)) for result in results))

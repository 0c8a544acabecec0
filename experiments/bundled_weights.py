"""The trained networks that come with the package, as repflow_pl/bundled/<data set>.safetensors.

The plain RGB network and the one with a flow layer on its input, averaged, of a data set's first
split and the first seed: rows of the table of places, trained where their weights are not there.
What the file's card says is measured with the file itself.

    python experiments/bundled_weights.py
    python experiments/bundled_weights.py --data ucf101 --data-root VIDEOS
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from all_tables import builder
from rich.console import Console

from repflow_pl.cli import Options, trained
from repflow_pl.data.index import VideoSet, fold_count, open_set
from repflow_pl.data.upkeep.facts import facts_of
from repflow_pl.errors import UserError
from repflow_pl.files import check_writable
from repflow_pl.models.build import build_model
from repflow_pl.models.streams import LateFusion
from repflow_pl.one_split import first_runs, have, parse
from repflow_pl.report.stats import Answers, accuracy_of_one
from repflow_pl.report.wording import with_interval
from repflow_pl.showing.answers import Answer, ask_each
from repflow_pl.showing.bundled import FOLDER
from repflow_pl.showing.weights import SUFFIX, Described, Weights, load_weights, save_weights
from repflow_pl.specs import LateSpec, late
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.recording.predictions import groups_of
from repflow_pl.training.recording.versions import versions
from repflow_pl.training.run import load_trained

ABOUT = "Train and measure the networks that come with the package."
ROWS = ("RGB CNN", "Flow layer on RGB inputs")
LICENCES = {
    "motion_shapes": "Data and weights are the project's own, under its licence.",
    "ucf101": "The videos (Soomro, Zamir and Shah, CRCV-TR-12-01, 2012) are no part of the file. "
    "Their source states no licence: use the weights for research, and cite it.",
}


def main(arguments: Sequence[str]) -> int:
    """Train what is missing and write the file; 0, 1 where a run failed, 2 for a mistake."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    return trained(lambda: make(parse(ABOUT, arguments), console))


def make(options: Options, console: Console) -> int:
    """Train, save, measure and describe. Errors: UserError for what the user can mend."""
    setting, runs = options.setting.plain(), options.out / "runs"
    if setting.data not in LICENCES:
        raise UserError(f"weights come with the package of {' and '.join(LICENCES)} alone.")
    check_writable(runs)
    check_writable(FOLDER)
    video_set = open_set(setting.data, options.data_root, fold=setting.splits[0])
    by_row = {job.row: job for job in first_runs(builder("placement"), setting, video_set)}
    jobs = [by_row[row] for row in ROWS]
    facts_of(video_set, runs)
    if not have(jobs, "networks", video_set, options, console):
        return 1
    weights = joined(jobs, video_set, options.out)
    with tempfile.TemporaryDirectory() as folder:  # what is measured is what was saved
        file = Path(folder) / f"{setting.data}{SUFFIX}"
        save_weights(file, weights, half=True)
        videos = [video_set.root / video.path for video in video_set.part("test")]
        answers = []
        for answer in ask_each(load_weights(file), videos):
            if isinstance(answer, UserError):
                raise answer
            answers.append(answer)
    card = card_of(options, video_set, answers)
    path = FOLDER / f"{setting.data}{SUFFIX}"
    described = replace(weights.described, card=card)
    save_weights(path, replace(weights, described=described), half=True)
    console.print(f"{card}\nwrote {path}, {path.stat().st_size / 1e6:.2f} MB")
    return 0


def joined(jobs: Sequence[Job], video_set: VideoSet, out: Path) -> Weights:
    """The late average of trained runs."""
    spec = late(*(job.spec for job in jobs))
    assert isinstance(spec.model, LateSpec)
    network = build_model(spec.model, len(video_set.classes))
    assert isinstance(network, LateFusion)
    for part, job in zip(network.members, jobs, strict=True):
        load_trained(part, job, out, "the file of weights")
    said = Described(spec.model, spec.data.clip, video_set.classes, spec.recipe.precision)
    return Weights(network.eval(), said)


def card_of(options: Options, video_set: VideoSet, answers: Sequence[Answer]) -> str:
    """What a person should know of the file, in markdown."""
    setting, clip = options.setting, answers[0]
    videos = video_set.part("test")
    labels = np.array([video.label for video in videos])
    groups = groups_of(videos)
    asked = [np.array([a.scores for a in answers])]
    asked += [np.array([a.members[k][1] for a in answers]) for k in range(len(ROWS))]
    right = [(scores.argmax(1) == labels)[None].astype(float) for scores in asked]
    reached = [with_interval(accuracy_of_one(Answers(each, groups))) for each in right]
    split = f" of split {video_set.fold}" if fold_count(setting.data) > 1 else ""
    command = shlex.join(["python", "experiments/bundled_weights.py", *setting.arguments()])
    ran = versions()
    lines = [
        f"# {setting.data}: the average of a network that sees frames and one that sees motion",
        "",
        f"Made by `{command}` with repflow_pl {ran.repflow_pl}, commit {ran.commit}.",
        "",
        f"- Data: {setting.data}, {len(video_set.part('train'))} training videos{split}, "
        f"{len(video_set.classes)} classes; a video is {len(clip.starts)} clips.",
        f"- Top-1 of the {len(videos)} test videos{split}, with 95 % intervals over groups of "
        f"alike videos: {reached[0]} %; without motion ({ROWS[0]}) {reached[1]} %, with it alone "
        f"({ROWS[1]}) {reached[2]} %. One seed: the tables say how much another one differs.",
        "- Limits: a demonstration, trained in minutes on small clips. Whatever it is shown, it "
        f"names one of {', '.join(video_set.classes)}.",
        f"- Licence: {LICENCES[setting.data]}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

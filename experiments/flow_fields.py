"""What the flow layers see: fields of the same clips at each place, before and after training.

The places of the placement table are trained with seed 0, where their weights are not there yet,
and pictured beside TV-L1 on clips of the test part. Nothing is chosen by them.

    python experiments/flow_fields.py
    python experiments/flow_fields.py --data ucf101 --data-root VIDEOS
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from all_tables import builder
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.utils import flow_to_image

from repflow_pl.cli import Options, trained
from repflow_pl.data.fields.tvl1 import tvl1
from repflow_pl.data.floats import to_float
from repflow_pl.data.index import open_set
from repflow_pl.data.upkeep.facts import facts_of
from repflow_pl.files import check_writable
from repflow_pl.models.build import build_model
from repflow_pl.one_split import first_runs, have, parse
from repflow_pl.report.fields_page import (
    NAME,
    Picture,
    Seen,
    fields_csv,
    fields_markdown,
    fields_picture,
    likeness,
)
from repflow_pl.report.join import join_yours
from repflow_pl.report.page import YOURS, write_page
from repflow_pl.report.wording import where
from repflow_pl.specs import ModelSpec
from repflow_pl.training.following.pictures import flow_fields
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.recording.versions import versions
from repflow_pl.training.run import first_views, load_trained

ABOUT = "Picture what the flow layers of the placement table see."
CLIPS, PICTURED = 64, 4
"""Clips that are measured, and how many of them are shown."""


def main(arguments: Sequence[str]) -> int:
    """Train what is missing and write the page; 0, 1 where a run failed, 2 for a mistake."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    return trained(lambda: picture_fields(parse(ABOUT, arguments), console))


def picture_fields(options: Options, console: Console) -> int:
    """Train, picture and write. Errors: UserError for what the user can mend."""
    setting, runs = options.setting.plain(), options.out / "runs"
    check_writable(runs)
    video_set = open_set(setting.data, options.data_root, fold=setting.splits[0])
    jobs = [
        job
        for job in first_runs(builder("placement"), setting, video_set)
        if isinstance(job.spec.model, ModelSpec) and job.spec.model.flow is not None
    ]
    facts = facts_of(video_set, runs)
    if not have(jobs, "places", video_set, options, console):
        return 1
    (views,) = first_views(video_set, jobs[0].spec, CLIPS)
    pairs = views[:, :, :2].permute(0, 2, 3, 4, 1).numpy()  # [clips, 2, H, W, 3]
    fields = np.stack([tvl1(first, second).transpose(2, 0, 1) for first, second in pairs])
    seen = [
        seen_by(network(job, len(video_set.classes), options if trained else None), job,
                trained, views, fields)
        for job in jobs
        for trained in (False, True)
    ]  # fmt: skip
    place = where(setting.shown_data, setting.profile, setting.backbone, setting.changes_in_words)
    title = f"What the flow layers see: {place}"
    command = shlex.join(["python", "experiments/flow_fields.py", *setting.arguments()])
    ran = versions()
    measured = [
        f"Made by `{command}`.",
        f"Weights: seed 0 of the rows of the table of places, split {video_set.fold}.",
        "Clips: the first two frames of the first view of test videos, spread over the part.",
        "A field is the mean over the channels of the flow layer, enlarged to the input's size.",
        f"Fingerprint of the list of videos: {video_set.fingerprint}.",
        f"Versions: repflow_pl {ran.repflow_pl} (commit {ran.commit}), torch {ran.torch}.",
    ]
    stem = options.out / YOURS / setting.folder(facts.fingerprint) / NAME
    png = fields_picture(title, list(pairs[:PICTURED, 0]), drawn(fields[:PICTURED]), seen)
    files = write_page(stem, fields_markdown(title, seen, measured), fields_csv(seen), png)
    console.print(files.markdown.read_text(encoding="utf-8"))
    console.print(f"{files.said}\nwrote {join_yours(options.out)}")
    return 0


def network(job: Job, classes: int, trained: Options | None) -> nn.Module:
    """A run's network as it begins, or as it ended below `trained.out`."""
    assert isinstance(job.spec.model, ModelSpec)
    torch.manual_seed(job.seed)
    model = build_model(job.spec.model, classes)
    if trained is not None:
        load_trained(model, job, trained.out, "the picture of the fields")
    return model


def seen_by(
    model: nn.Module, job: Job, trained: bool, views: Tensor, tvl1s: npt.NDArray[np.float32]
) -> Seen:
    """What the network's flow layer sees of clips uint8 [B, 3, T, H, W]; `tvl1s` [B, 2, H, W]."""
    height, width = views.shape[-2:]
    found = torch.cat([flow_fields(model, to_float(part)) for part in views.split(8)])
    strides = torch.tensor([width / found.shape[-1], height / found.shape[-2]])
    large = F.interpolate(found, size=(height, width), mode="bilinear") * strides[:, None, None]
    fields = large.double().numpy()
    return Seen(
        job.row,
        trained,
        lengths=np.linalg.norm(fields, axis=1).mean((1, 2)),
        likeness=np.array([likeness(a, b) for a, b in zip(fields, tvl1s, strict=True)]),
        pictures=drawn(large[:PICTURED].numpy()),
    )


def drawn(fields: npt.NDArray[np.float32]) -> tuple[Picture, ...]:
    """Fields [B, 2, H, W] as pictures [H, W, 3] by torchvision's wheel, each to its longest."""
    return tuple(flow_to_image(torch.from_numpy(f)).permute(1, 2, 0).numpy() for f in fields)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

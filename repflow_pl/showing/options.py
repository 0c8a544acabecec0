"""What the command's parts are asked for. Imports neither torch nor a decoder: --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repflow_pl.errors import UserError


@dataclass(frozen=True)
class PredictOptions:
    """Say what trained weights see in videos: the top classes of each, as a table.

    A video that cannot be read is one sentence, the others go on, and the exit status is 1.
    """

    weights: Path | None = None
    """A .safetensors file of repflow export, a run's folder or checkpoint, the authors' file, or
    motion_shapes or ucf101 for those that come with the package; there is no default."""
    demo: bool = False
    """Ask the weights of motion_shapes about four of its test videos, drawn anew, and show what the
    network without motion and the one with it say."""
    top: int = 5
    """Classes that are shown of each video, the best first."""
    json: bool = False
    """Print JSON in the place of the table, which is the default."""
    csv: bool = False
    """Print CSV, a line for each video and class, in the place of the table, which is the
    default."""
    html: Path | None = None
    """Write a page as well, which plays each video with the flow over it and shows the scores over
    time, those without motion beside those with it where the weights have both; by default none."""
    device: str = "auto"
    """cpu, cuda, cuda:1 and the like; by default a GPU where there is one."""
    iterations: int | None = None
    """Of the flow layers of the authors' files; by default what the file tells."""
    classes: Path | None = None
    """A text file with a class's name on each line, in the order of the scores; by default the
    weights' own names."""

    def __post_init__(self) -> None:
        if self.json and self.csv:
            raise UserError("--json and --csv are two ways to print: name one.")
        if self.top < 1:
            raise UserError("--top is a count of 1 or more.")
        if self.html is not None and self.html.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"the page's name ends in .html, not as {self.html} does.")
        if self.demo and (self.weights is not None or self.classes is not None):
            raise UserError("--demo has weights of its own: leave out --weights and --classes.")


@dataclass(frozen=True)
class LookOptions:
    """Show the flow in a video: a film of it beside the frames, with the colours' wheel and scale.

    A long video is gone through frame by frame and takes no more memory than a short one.
    """

    out: Path | None = None
    """The film, its kind by the ending: .mp4, .gif or .webm; or, with .html, a page that lays the
    flow over the video. By default VIDEO's name with _flow.mp4 in the current folder."""
    weights: Path | None = None
    """Show the flow layer of this trained network too, of a file as repflow predict takes them; by
    default none."""
    no_tvl1: bool = False
    """Leave TV-L1 out, which takes the longest; by default it is shown."""
    size: int = 240
    """Short side of each panel in pixels; no video is enlarged."""
    scale: float | None = None
    """The motion that has the full colour, in pixels of a panel per frame; by default measured at
    four places of the video, for each kind of flow by itself."""
    seconds: float | None = None
    """Look at the first SECONDS; by default at the whole video."""
    device: str = "auto"
    """Of the trained network: cpu, cuda, cuda:1 and the like; by default a GPU where there is
    one."""
    iterations: int | None = None
    """Of the flow layers of the authors' files; by default what the file tells."""

    def __post_init__(self) -> None:
        if self.size < 16:
            raise UserError("--size is 16 pixels or more.")
        if (self.scale is not None and self.scale <= 0) or (
            self.seconds is not None and self.seconds <= 0
        ):
            raise UserError("--scale and --seconds are above 0.")
        for option, is_given in (
            ("--iterations", self.iterations is not None),
            ("--device", self.device != "auto"),
        ):
            if is_given and self.weights is None:
                raise UserError(f"{option} is of --weights, which are not named: name both.")


@dataclass(frozen=True)
class ExportOptions:
    """Write trained weights as one file, and run it to see that it gives the network's scores.

    Of the clips' bytes, as they are decoded and cropped, it makes class scores before the softmax.
    """

    to: Literal["weights", "onnx", "torch"] = "weights"
    """weights: a .safetensors file that names network, classes and clips, for repflow predict and
    look; onnx: for any runtime of ONNX; torch: a .pt2 of torch.export, for torch without this
    package."""
    out: Path | None = None
    """The file; by default named after the weights, in the current folder."""
    iterations: int | None = None
    """Of the flow layers of the authors' files; by default what the file tells."""
    classes: Path | None = None
    """A text file with a class's name on each line, in the order of the scores; by default the
    weights' own names."""


@dataclass(frozen=True)
class CurvesOptions:
    """Draw the training curves of runs, finished or under way, and say where they end.

    Runs of one spec are one line, the mean over their seeds, in a band from the least to the
    greatest. Specs are called by what of them differs.
    """

    out: Path = Path("curves.png")
    """The picture: .png, .svg or .pdf."""
    runs: Path = Path("runs")
    """Folder in which a name that is no folder is looked for."""

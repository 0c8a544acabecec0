"""`motion_shapes`, the embedded data set: a class is a shape and the direction it moves in.

Four shapes times four directions, 64 x 64 pixels, rendered once to H.264 files. A single frame
says which shape it is and nothing about where it goes:

- the world is a torus. What leaves on one side comes in on the other, and an object starts
  anywhere, so its place is uniform in every frame, whatever the direction;
- speed, size, turn, colours and textures are drawn alike for every class;
- the background is textured too, and pans in a direction that has nothing to do with the class,
  so that a change of pixels alone does not tell the direction either.

Hence a network that sees one frame can be right about the shape only, one time in four.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.decode_pyav import pyav
from repflow_pl.data.decoding.isolated import isolated_map
from repflow_pl.data.index import SPLITS, Candidate, Split, data_set
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write, write_json

NAME = "motion_shapes"
VERSION = 4
"""Of the generator. Raise it with every change of what is drawn: everything is rendered anew."""
SHAPES = ("ring", "square", "triangle", "cross")
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
"""Unit steps (x, y); y grows downwards."""
CLASSES = tuple(f"{shape}-{direction}" for shape in SHAPES for direction in DIRECTIONS)
PALETTE = np.array([(0.15, 0.18, 0.26), (0.50, 0.50, 0.48), (0.84, 0.81, 0.72)])
"""Dark, middle and light, for objects and backgrounds alike: were every video's colours its own, a
network would know the 640 training videos by their colours long before it learned a shape."""
SIDE = 64
FPS = 12
STAMP = "motion_shapes.json"
QUALITY = "8"
"""x264's constant rate factor: near lossless, so that coding errors do not betray the motion."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """Videos in each part; every class has the same share of them."""

    train: int = 640
    val: int = 160
    test: int = 320

    def __post_init__(self) -> None:
        for split in SPLITS:
            if getattr(self, split) % len(CLASSES):
                raise ValueError(f"the {split} part must be a multiple of {len(CLASSES)} videos")


@dataclass(frozen=True)
class Texture:
    """A sum of plane waves, periodic on the torus."""

    waves: Array
    """[n, 2]: whole periods per side in x and y."""
    phases: Array
    """[n], radians."""
    colours: Array
    """[n, 3]: each wave's amplitude in red, green and blue, of 1."""

    def at(self, x: Array, y: Array) -> Array:
        """Values [h, w, 3] at the columns x [w] and rows y [h], in pixels."""
        # cos(a + b) is the real part of exp(ia) exp(ib): far fewer exponentials than pixels.
        columns = np.exp(2j * np.pi / SIDE * x[:, None] * self.waves[:, 0])
        rows = np.exp(2j * np.pi / SIDE * y[:, None] * self.waves[:, 1] + 1j * self.phases)
        waves: Array = (rows[:, None] * columns).real
        return waves @ self.colours


@dataclass(frozen=True)
class Scene:
    """All that decides a video."""

    label: str
    frames: int
    start: Array
    """Centre of the object in frame 0: (x, y), pixels."""
    velocity: Array
    """Of the object: (x, y), pixels per frame."""
    pan: Array
    """Velocity of the background: (x, y), pixels per frame."""
    area: float
    """Of the object, square pixels."""
    turn: float
    """Of the object, radians; constant."""
    colour: Array
    texture: Texture
    background_colour: Array
    background_texture: Texture


def scene(seed: int, split: Split, index: int) -> Scene:
    """The scene of one video, a function of its arguments alone."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    label = CLASSES[index % len(CLASSES)]
    pan_angle = rng.uniform(0, 2 * np.pi)
    colour, background_colour = rng.choice(PALETTE, 2, replace=False)
    return Scene(
        label=label,
        frames=int(rng.integers(20, 29)),
        start=rng.uniform(0, SIDE, 2),
        velocity=rng.uniform(1.5, 3.0) * np.array(DIRECTIONS[label.split("-")[1]]),
        pan=rng.uniform(0, 1) * np.array([np.cos(pan_angle), np.sin(pan_angle)]),
        area=rng.uniform(700, 1100),
        turn=rng.uniform(-np.pi / 12, np.pi / 12),
        colour=colour,
        texture=_texture(rng, finest=8, depth=0.2),
        background_colour=background_colour,
        background_texture=_texture(rng, finest=5, depth=0.15),
    )


def draw(scene: Scene) -> npt.NDArray[np.uint8]:
    """The frames of a scene, uint8 [frames, 64, 64, 3]."""
    pixels = np.arange(SIDE, dtype=np.float64)
    frames = np.empty((scene.frames, SIDE, SIDE, 3), np.uint8)
    shape = scene.label.split("-")[0]
    for t in range(scene.frames):
        at = scene.start + t * scene.velocity
        # Nearest copy of the object on the torus.
        dx = (pixels - at[0] + SIDE / 2) % SIDE - SIDE / 2
        dy = (pixels - at[1] + SIDE / 2) % SIDE - SIDE / 2
        distance = _distance(shape, dx[None, :], dy[:, None], scene.area, scene.turn)
        # A pixel on the edge belongs to the object by half: this is the anti-aliasing.
        inside = np.clip(0.5 - distance, 0, 1)[..., None]
        thing = scene.colour + scene.texture.at(dx, dy)
        px, py = t * scene.pan
        behind = scene.background_colour + scene.background_texture.at(pixels - px, pixels - py)
        frame = np.clip(inside * thing + (1 - inside) * behind, 0, 1)
        frames[t] = np.round(255 * frame)
    return frames


def render(
    root: Path, sizes: Sizes | None = None, seed: int = 0, workers: int | None = None
) -> Sizes:
    """Render what is missing under `root`: ROOT/<part>/<class>/<index>.mp4; returns the sizes.

    A file stands under its name only when it is whole, so an interrupted rendering goes on where
    it was. A root that was rendered before keeps its sizes and its seed.

    Errors: UserError where `root` holds something else, or videos of another version.
    """
    sizes, seed = _stamp(root, sizes or Sizes(), seed)
    jobs = [
        (root / path, seed, split, index)
        for split, index, path in _paths(sizes)
        if not (root / path).exists()
    ]
    for (path, *_), outcome in isolated_map(_render_one, jobs, "Rendering motion_shapes", workers):
        if outcome:
            raise UserError(f"{path} could not be written: {outcome}")
    return sizes


_drawn_set = partial(
    data_set,
    default_root=f"{NAME}-v{VERSION}",
    generated=True,
    mirror_safe=False,
    hint="delete the folder and it is rendered anew",
)


@_drawn_set(NAME)
def motion_shapes(root: Path) -> Iterator[Candidate]:
    """Render the set where it is not there yet, and list it."""
    for split, index, path in _paths(render(root)):
        yield Candidate(path, CLASSES[index % len(CLASSES)], split)


@_drawn_set(f"{NAME}_validation")
def motion_shapes_validation(root: Path) -> Iterator[Candidate]:
    """The same videos for choosing a recipe: the validation part is also the test part."""
    for video in motion_shapes(root):
        if video.split != "test":
            yield video
        if video.split == "val":
            yield replace(video, split="test")


def encode(frames: npt.NDArray[np.uint8], path: Path, fps: int = FPS) -> None:
    """Write frames [n, h, w, 3] to an H.264 mp4 that is whole or absent."""
    av = pyav()
    with atomic_write(path, "wb") as stream, av.open(stream, "w", format="mp4") as container:
        # One thread and no look-ahead: both make the file differ from one rendering to the next.
        options = {
            "crf": QUALITY,
            "preset": "veryfast",
            "threads": "1",
            "x264-params": "no-mbtree=1:rc-lookahead=0:b-adapt=0",
        }
        video = container.add_stream("libx264", rate=fps, options=options)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())


def _stamp(root: Path, sizes: Sizes, seed: int) -> tuple[Sizes, int]:
    """Read what a root holds, sizes and seed, or write it down where the root is new."""
    file = root / STAMP
    # Asked first, and not of hidden files: another process may be at writing the stamp.
    used = root.exists() and not (root.is_dir() and all(p.name[0] == "." for p in root.iterdir()))
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["version"] != VERSION:
            raise UserError(
                f"motion_shapes: {root} was rendered by version {found['version']} of the "
                f"generator and this is version {VERSION}; delete that folder or name another one."
            )
        return Sizes(**found["sizes"]), found["seed"]
    if used:
        raise UserError(
            f"motion_shapes: {root} holds other things; name an empty or a new folder for the set."
        )
    write_json(file, {"version": VERSION, "seed": seed, "sizes": asdict(sizes)})
    return sizes, seed


def _paths(sizes: Sizes) -> Iterator[tuple[Split, int, str]]:
    for split in SPLITS:
        for index in range(getattr(sizes, split)):
            yield split, index, f"{split}/{CLASSES[index % len(CLASSES)]}/{index:05d}.mp4"


def _render_one(job: tuple[Path, int, Split, int]) -> None:
    path, seed, split, index = job
    encode(draw(scene(seed, split, index)), path)


def _texture(rng: np.random.Generator, finest: int, depth: float) -> Texture:
    """Six waves of `finest` periods per side or fewer, `depth` together at most."""
    n = 6
    weights = rng.dirichlet(np.ones(n))[:, None]
    return Texture(
        waves=rng.integers(-finest, finest + 1, (n, 2)).astype(np.float64),
        phases=rng.uniform(0, 2 * np.pi, n),
        colours=np.repeat(depth * weights, 3, axis=1),
    )


def _distance(shape: str, x: Array, y: Array, area: float, turn: float) -> Array:
    """Pixels from (x, y) to the outline of a shape around the origin; negative inside.

    All shapes have the same area, so that size does not tell them apart. Beyond corners the value
    is smaller than the true distance, which no pixel of the picture shows.
    """
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    distance: Array
    if shape == "ring":  # the hole is half as wide
        outer = np.sqrt(area / (0.75 * np.pi))
        distance = np.abs(np.hypot(x, y) - 0.75 * outer) - 0.25 * outer
    elif shape == "square":
        distance = np.maximum(np.abs(x), np.abs(y)) - np.sqrt(area) / 2
    elif shape == "triangle":  # equilateral: three sides at the radius of its inner circle
        radius = np.sqrt(area / (3 * np.sqrt(3)))
        slope = np.sqrt(3) / 2 * np.abs(x) - y / 2
        distance = np.maximum(slope, y) - radius
    elif shape == "cross":  # five squares
        arm = np.sqrt(area / 5) / 2
        wide, high = np.abs(x), np.abs(y)
        flat = np.maximum(wide - 3 * arm, high - arm)
        upright = np.maximum(wide - arm, high - 3 * arm)
        distance = np.minimum(flat, upright)
    else:
        raise ValueError(f"no such shape: {shape}")
    return distance

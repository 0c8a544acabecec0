"""`ut_interaction`: six interactions of two people, 20 clips each, filmed on two grounds.

M. S. Ryoo and J. K. Aggarwal, "UT-Interaction Dataset, ICPR contest on Semantic Description of
Human Activities", 2010; segmented sets 1 (a parking lot) and 2 (a lawn). Protocol: train on set 1,
test on set 2; there is no validation part. The clips are not part of this project:

    python -m repflow_pl.data import ut_interaction ARCHIVE

unpacks a tar of `<class>/set<S>_seq<NN>_<CCC>.avi` files. Left and right carry no class.

Width, height and length of a clip nearly give its class away, as each was cut out tightly around
its action. So a clip is a fixed window of a fixed rate: every video is at least 212 pixels high and
128 wide, and the action is in its middle.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from repflow_pl.data.index import Candidate, Split, cache_dir, data_set
from repflow_pl.data.listing.found import files_by_stem
from repflow_pl.errors import UserError
from repflow_pl.files import unwritable
from repflow_pl.specs import ClipSpec

NAME = "ut_interaction"
CLASSES = ("hug", "kick", "point", "punch", "push", "shake_hands")
CLIP = ClipSpec(
    frames=8, stride=4, source_crop=(208, 128), size=(104, 64), crop=(96, 56), flip=True
)
CLIP_NAME = re.compile(r"set([12])_seq\d+_\d+")
SETS: dict[str, Split] = {"1": "train", "2": "test"}
HINT = (
    f"fetch the archive and run: python -m repflow_pl.data import {NAME} ARCHIVE [--data-root ROOT]"
)


@data_set(NAME, default_root=NAME, mirror_safe=True, clip=CLIP, hint=HINT)
def ut_interaction(root: Path) -> Iterator[Candidate]:
    """Set 1 trains, set 2 tests."""
    for label in CLASSES:
        for stem, path in files_by_stem(root / label).items():
            match = CLIP_NAME.fullmatch(stem)
            if match:
                yield Candidate(f"{label}/{path}", label, SETS[match[1]])


def import_archive(archive: Path, root: Path | None = None) -> Path:
    """Unpack a tar (plain or compressed) of the clips to `root`, which is whole or absent.

    Errors: UserError where the archive cannot be read, has members that would land outside of
    `root` or are links, lacks a class, or where `root` is in use.
    """
    root = (root or cache_dir() / NAME).expanduser().absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{NAME}: {root} is not empty; delete it first or name another folder.")
    if not archive.is_file():
        raise UserError(f"{NAME}: there is no archive {archive}; check the path.")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".part", dir=root.parent))
    except OSError as error:
        raise unwritable(root, error) from error
    try:
        _unpack(archive, staging)
        for label in CLASSES:
            if not any(map(CLIP_NAME.fullmatch, files_by_stem(staging / label))):
                raise UserError(
                    f"{NAME}: {archive} has no clips {label}/set*_seq*_*.avi; fetch the right one."
                )
        staging.chmod(0o755)
        staging.replace(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return root


def _unpack(archive: Path, target: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise UserError(
                        f"{NAME}: {archive} wants to write outside of its folder ({member.name}); "
                        "do not use it."
                    )
                if member.isdir():
                    continue
                source = tar.extractfile(member) if member.isfile() else None
                if source is None:
                    raise UserError(
                        f"{NAME}: {archive} holds a link or device ({member.name}); do not use it."
                    )
                _write(source.read(), target / name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else "damaged"
        raise UserError(
            f"{NAME}: the archive {archive} cannot be read ({reason}); fetch it again."
        ) from error


def _write(content: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error) from error

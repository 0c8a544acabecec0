"""Archives of data sets: tar, zip, and rar by a program that is installed, nested ones too.

A folder that is made of them is whole or absent.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repflow_pl.data.listing.found import files_by_stem
from repflow_pl.data.parallel import console
from repflow_pl.data.sets import ut_interaction
from repflow_pl.errors import UserError
from repflow_pl.files import cache_dir, unwritable

SUFFIXES = (".rar", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(subprocess.CalledProcessError, RuntimeError),
)
"""What an archive raises (of a zip with a password, or of a compression that is Windows' own, a
RuntimeError); beside them OSErrors that are not the system's, which have no number."""


def archives(folder: Path) -> list[Path]:
    """The archives right in a folder."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(SUFFIXES)
    )


def unpack_all(source: Path, target: Path) -> None:
    """Unpack every archive of `source` to `target/<name>`, and the archives found in there.

    A folder `<name>` is whole or absent: what an earlier call has unpacked is left as it is.
    Errors: UserError where an archive cannot be read, or is a rar and no program can read it, and
    where two would be unpacked to one folder.
    """
    places: dict[Path, Path] = {}
    for archive in archives(source):
        place = target / _stem(archive)
        if place in places:
            raise UserError(
                f"{places[place].name} and {archive.name} would both be unpacked to {place.name}; "
                "rename or remove one."
            )
        places[place] = archive
    for place, archive in places.items():
        if not place.exists():
            console.print(f"unpacking {archive.name}")
            with _staged(place) as staging:
                unpack(archive, staging)
                for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
                    for inner in archives(folder):
                        unpack(inner, folder)
                        inner.unlink()


def import_archive(archive: Path, root: Path | None = None) -> Path:
    """Unpack the clips of `ut_interaction` to `root`, by default where that set is looked for.

    Errors: UserError as of `unpack`, where the archive lacks a class, or where `root` is in use.
    """
    name = ut_interaction.NAME
    root = (root or cache_dir() / name).expanduser().absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{name}: {root} is not empty; delete it first or name another folder.")
    if not archive.is_file():
        raise UserError(f"{name}: there is no archive {archive}; check the path.")
    with _staged(root) as staging:
        unpack(archive, staging)
        for label in ut_interaction.CLASSES:
            clips = files_by_stem(staging / label)
            if not any(map(ut_interaction.CLIP_NAME.fullmatch, clips)):
                raise UserError(
                    f"{name}: {archive} has no clips {label}/set*_seq*_*.avi; fetch the right one."
                )
    return root


@contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """A folder beside `place` that becomes it, unless an error comes in between."""
    place = place.resolve()  # where a link to an empty folder leads
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.replace(place)
        except OSError as error:  # a disk is mounted there, or another process was faster
            raise unwritable(place, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpack(archive: Path, target: Path) -> None:
    """Unpack one archive into a folder.

    Errors: UserError as `unpack_all` says, and where a member is a link or would land elsewhere.
    """
    name = archive.name.lower()
    try:
        if name.endswith(".rar"):
            _unpack_rar(archive, target)
        elif name.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(target)  # keeps every member below the target by itself
        else:
            _unpack_tar(archive, target)
    except (*DAMAGED, OSError) as error:
        told = getattr(error, "stderr", "") or str(error)
        if isinstance(error, OSError) and error.errno is not None:
            if error.filename != str(archive):
                raise unwritable(target, error) from error
            told = error.strerror
        reason = told.strip().splitlines() or ["damaged"]
        raise UserError(
            f"the archive {archive} cannot be read ({reason[-1].rstrip('.')}); fetch it again, or "
            "unpack it yourself."
        ) from error
    for path in target.rglob("*"):
        if path.is_symlink():
            raise UserError(f"{archive} holds a link ({path.name}); do not use it.")


def _unpack_rar(archive: Path, target: Path) -> None:
    if program := shutil.which("unrar"):
        command = [program, "x", "-y", "-idq", str(archive), f"{target}/"]
    elif program := shutil.which("bsdtar"):
        command = [program, "-x", "-f", str(archive), "-C", str(target)]
    else:
        raise UserError(
            f"{archive.name} is a rar archive, and neither unrar nor bsdtar is installed; install "
            "one of them (Debian, Ubuntu: apt install libarchive-tools; macOS has bsdtar)."
        )
    subprocess.run(command, check=True, capture_output=True, text=True)


def _unpack_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in opened:
            if not (member.isdir() or member.isfile()):
                raise UserError(f"{archive} holds a link or device ({member.name}); do not use it.")
            if target.resolve() not in (target / member.name).resolve().parents:
                if (target / member.name).resolve() == target.resolve():
                    continue  # the folder "." itself
                raise UserError(
                    f"{archive} wants to write outside of its folder ({member.name}); "
                    "do not use it."
                )
            if sys.version_info >= (3, 12):
                opened.extract(member, target, filter="data")
            else:
                opened.extract(member, target, set_attrs=False)
        assert opened.fileobj is not None
        opened.fileobj.read(-1)  # to the end, where the check sum of a .gz stands


def _stem(archive: Path) -> str:
    suffix = next(suffix for suffix in SUFFIXES if archive.name.lower().endswith(suffix))
    return archive.name[: -len(suffix)]

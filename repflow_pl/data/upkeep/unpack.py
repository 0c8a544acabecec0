"""Archives of data sets: tar, zip, and rar by a program that is installed, nested ones too."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError
from repflow_pl.files import unwritable

SUFFIXES = (".rar", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


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
            console.print(f"unpacking {archive.name}", markup=False)
            _unpack_whole(archive, place)


def _unpack_whole(archive: Path, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        unpack(archive, staging)
        for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
            for inner in archives(folder):
                unpack(inner, folder)
                inner.unlink()
        staging.chmod(0o755)
        staging.replace(place)
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
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines() or ["damaged"]
        raise UserError(
            f"the archive {archive} cannot be read ({reason[-1].rstrip('.')}); fetch it again."
        ) from error
    except OSError as error:
        raise unwritable(target, error) from error
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


def _stem(archive: Path) -> str:
    name = archive.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name

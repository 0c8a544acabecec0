"""A set of 100,000 videos: what is known of it is opened in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from repflow_pl.data.index import manifest_path, open_set
from repflow_pl.data.listing.manifest import Finding, write_manifest

OPEN = """
import csv, json, os, resource, sys, time
from pathlib import Path
from repflow_pl.data.index import manifest_path, open_set
root = Path(sys.argv[1])
def least():
    with manifest_path("folder", root).open(newline="") as stream:
        for line in csv.reader(stream):
            os.path.exists(f"{root}/{line[0]}")
def seconds(work):
    began = time.process_time()
    work()
    return time.process_time() - began
videos = len(open_set("folder", root).videos)
least()
pairs = [(seconds(lambda: open_set("folder", root)), seconds(least)) for _ in range(5)]
taken = sorted(one / other for one, other in pairs)[2]
status = Path("/proc/self/status")
if status.exists():  # Linux counts what the parent held in ru_maxrss
    peak = int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([videos, taken, peak]))
"""


def lay_out(root: Path, videos: int) -> None:
    """Empty files, 100 classes, that are in the manifest as if they had been decoded."""
    findings = {}
    for k in range(videos):
        split = ("train", "train", "val", "test")[k // 100 % 4]
        path = f"{split}/class {k % 100:02}/a video of the set {k:06}.mp4"
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        seen = file.stat()
        findings[path] = Finding(
            path, f"class {k % 100:02}", 0, seen.st_mtime_ns, 300, 25.0, 320, 240, "seek", "pyav"
        )
    write_manifest(manifest_path("folder", root), findings)


@pytest.mark.slow
def test_a_hundred_thousand_videos_open_in_500_mb_and_little_more_than_their_list_takes(
    tmp_path: Path, cache: Path
) -> None:
    """In time over that of reading the list and looking for each file, which it cannot do without:
    seconds depend on the machine."""
    lay_out(tmp_path / "set", 100_000)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path / "set")], capture_output=True, check=True
    )
    videos, times, peak = json.loads(done.stdout)
    assert videos == 100_000
    assert times < 8 and peak < 500 * 2**20


@pytest.mark.long
def test_opening_grows_with_the_videos_and_no_faster(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in calls of functions, which no other process slows down."""

    def calls(videos: int) -> int:
        root = tmp_path / str(videos)
        lay_out(root, videos)
        count = 0

        def one_more(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event == "call" or event == "c_call"

        sys.setprofile(one_more)
        try:
            open_set("folder", root)
        finally:
            sys.setprofile(None)
        return count

    calls(400)  # imports
    small, large = calls(800), calls(3200)
    assert large < 4.4 * small, f"{large} calls for {small}"

"""`repflow audit`: look at a set's videos, write what was found, and say whether a split leaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from repflow_pl.audit.classes import counts_of, remarks_on
from repflow_pl.audit.findings import Findings, Leak, leaks_of
from repflow_pl.audit.options import AuditOptions
from repflow_pl.audit.pairs import find_pairs, places_of
from repflow_pl.audit.thumbs import Thumbs, thumbs_of
from repflow_pl.data.folder import candidates_in
from repflow_pl.data.index import SPLITS, Broken, Candidate, Listed, list_set
from repflow_pl.files import atomic_write, check_writable

JSON = "audit.json"


def audit(root: Path | None, options: AuditOptions) -> int:
    """Write what was found and say it in a few sentences; 1 where a split leaks.

    Errors: UserError for a set that cannot be opened.
    """
    check_writable(options.out)
    empty: list[Path] = []

    def tolerant(root: Path) -> Iterator[Candidate]:
        return candidates_in(root, empty.append)

    listing = tolerant if options.data == "folder" else None
    listed = list_set(options.data, root, options.workers, listing)
    splits = [listed.fold(fold) for fold in range(1, listed.folds + 1)]
    videos = {video.path: video for split in splits for video in split.videos}
    looked = thumbs_of(listed.root, list(videos.values()), options.workers)
    thumbs = {path: each for path, each in looked.items() if isinstance(each, Thumbs)}
    pairs = find_pairs(places_of(listed.candidates), thumbs)
    sizes = {(split.fold, part): len(split.part(part)) for split in splits for part in SPLITS}
    broken = {each.path: each for split in splits for each in split.broken}
    broken |= {path: Broken(path, why) for path, why in looked.items() if isinstance(why, str)}
    counts = tuple(count for split in splits for count in counts_of(split))
    findings = Findings(
        name=options.data,
        videos=len(thumbs),
        classes=counts,
        pairs=pairs,
        leaks=leaks_of(pairs, sizes),
        split_groups=tuple(_split_groups(listed)),
        unreadable=tuple(broken[path] for path in sorted(broken)),
        missing=tuple(sorted({path for split in splits for path in split.missing})),
        not_sought=tuple(sorted(p for p, video in videos.items() if video.access == "read")),
        remarks=tuple(remarks_on(counts, empty, splits)),
    )
    with atomic_write(options.out / JSON) as stream:
        json.dump(asdict(findings), stream, indent=1)
        stream.write("\n")
    for line in said(findings, options.out):
        print(line)
    return 1 if findings.leaks or findings.split_groups else 0


def said(findings: Findings, out: Path) -> Iterator[str]:
    """What a person reads at the terminal."""
    yield from findings.remarks
    for broken in findings.unreadable:
        yield f"{broken.path} cannot be read: {broken.reason}."
    if findings.missing:
        yield f"{len(findings.missing)} videos that the set names are not there."
    inside = sum(not pair.straddles for pair in findings.pairs)
    if inside:
        yield f"{inside} pairs of videos on one side of a split show the same."
    for leak in findings.leaks:
        yield _leaks(findings.name, leak)
    if findings.split_groups:
        yield (
            f"{len(findings.split_groups)} groups of the set, as {findings.split_groups[0]}, have "
            "videos in several parts of a split: keep each in one."
        )
    if not findings.leaks and not findings.split_groups:
        yield f"no split of {findings.name} leaks: {findings.videos} videos were compared."
    yield f"wrote {out / JSON}"


def _leaks(name: str, leak: Leak) -> str:
    return (
        f"split {leak.fold} of {name} leaks: {leak.seen} of its {leak.videos} {leak.part} videos "
        f"show what {' and '.join(leak.by)} videos show; keep these on one side, or leave them out."
    )


def _split_groups(listed: Listed) -> Iterator[str]:
    """Groups with videos in several parts of a split; validated and tested is one."""
    parts: dict[tuple[int, str], set[str]] = {}
    for path, place in places_of(listed.candidates).items():
        for fold, part in place.parts.items():
            if place.group and not listed.findings[path].error:
                parts.setdefault((fold, place.group), set()).add(part)
    yield from sorted({group for (_, group), found in parts.items() if len(found) > 1})

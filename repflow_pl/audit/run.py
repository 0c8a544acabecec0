"""`repflow audit`: look at a set's videos, write what was found, and say whether a split leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from repflow_pl.extras import needs

with needs("train"):
    from repflow_pl.audit.classes import counts_of, remarks_on
    from repflow_pl.audit.decoders import disagreements
    from repflow_pl.audit.findings import Findings
    from repflow_pl.audit.groups import write_groups
    from repflow_pl.audit.options import AuditOptions
    from repflow_pl.audit.page import write_page, write_pictures
    from repflow_pl.audit.pairs import find_pairs, leaks_of, places_of
    from repflow_pl.audit.probes import probes
    from repflow_pl.audit.recipe import suggest
    from repflow_pl.audit.thumbs import Thumbs, thumbs_of
    from repflow_pl.data.index import SPLITS, Broken, Listed, Video, VideoSet, list_set
    from repflow_pl.data.sets.folder import candidates_in, has_parts
    from repflow_pl.errors import UserError
    from repflow_pl.files import check_writable, write_json

JSON = "audit.json"
FOLDER = "folder"
NAMED = 5
"""Unreadable files that are named at the terminal; the page has all."""


def audit(root: Path | None, options: AuditOptions) -> int:
    """Write what was found and say it in a few sentences; 1 where a split leaks.

    Errors: UserError for a set that cannot be opened.
    """
    out = options.out
    if options.data == FOLDER and root and root.expanduser().resolve() in out.resolve().parents:
        raise UserError(
            f"{FOLDER}: {out} lies in {root}, where a folder is a class; name another one by --out."
        )
    check_writable(out)
    empty: list[Path] = []
    tolerant = partial(candidates_in, empty=empty.append)
    listing = tolerant if options.data == FOLDER else None
    listed = list_set(options.data, root, options.workers, listing)
    splits = [listed.fold(fold) for fold in range(1, listed.folds + 1)]
    videos = {video.path: video for split in splits for video in split.videos}
    thumbs, broken = _looked_at(splits, list(videos.values()), options)
    places = places_of([each for each in listed.candidates if each.path in thumbs])
    pairs = find_pairs(places, thumbs)
    sizes = {(split.fold, part): len(split.part(part)) for split in splits for part in SPLITS}
    counts = tuple(count for split in splits for count in counts_of(split))
    tried, decoders = disagreements(listed.root, list(videos.values()), options.workers)
    findings = Findings(
        name=options.data,
        videos=len(thumbs),
        classes=counts,
        pairs=write_pictures(pairs, thumbs, out),
        leaks=leaks_of(pairs, places, sizes),
        split_groups=_split_groups(listed),
        unreadable=tuple(broken[path] for path in sorted(broken)),
        missing=tuple(sorted({path for split in splits for path in split.missing})),
        not_sought=tuple(sorted(p for p, video in videos.items() if video.access == "read")),
        probes=tuple(probe for split in splits for probe in probes(split, thumbs)),
        tried=tried,
        decoders=decoders,
        suggestion=suggest(splits[0]),
        remarks=tuple(remarks_on(counts, empty, splits)),
    )
    mends = bool(pairs) and options.data == FOLDER and not has_parts(listed.root)
    # Of the unreadable ones too: a list of groups has to name every video.
    groups = write_groups(places_of(listed.candidates), pairs, out) if mends else ""
    write_json(out / JSON, asdict(findings))
    lines = list(said(findings))
    page = write_page(findings, lines, groups, out)
    if groups:
        lines.append(
            f"copied to {listed.root}, {out / groups} keeps what shows the same on one side."
        )
    if findings.suggestion:
        lines.append(f"a recipe to begin with: {findings.suggestion.options}")
    for line in (*lines, f"open {page} in a browser; all of it is in {out / JSON} too."):
        print(line)
    return 1 if findings.leaks or findings.split_groups else 0


def said(findings: Findings) -> Iterator[str]:
    """What a person is told, the gravest first."""
    for leak in findings.leaks:
        all_alike = f" ({leak.alike} with all of their groups)" if leak.alike > leak.seen else ""
        yield (
            f"split {leak.fold} of {findings.name} leaks: {leak.seen} of its {leak.videos} "
            f"{leak.part} videos show what {' and '.join(leak.by)} videos show{all_alike}; keep "
            "these on one side, or leave them out."
        )
    if findings.split_groups:
        yield (
            f"{len(findings.split_groups)} groups of the set, as {findings.split_groups[0]}, have "
            "videos in several parts of a split: keep each in one."
        )
    if not findings.leaks and not findings.split_groups:
        yield f"no split of {findings.name} leaks: {findings.videos} videos were compared."
    inside = sum(not pair.straddles for pair in findings.pairs)
    if inside:
        yield f"pairs of videos that show the same on one side of every split: {inside}."
    yield from findings.remarks
    for broken in findings.unreadable[:NAMED]:
        yield f"{broken.path} cannot be read: {broken.reason}."
    if len(findings.unreadable) > NAMED:
        yield f"{len(findings.unreadable) - NAMED} more videos cannot be read."
    if findings.missing:
        yield f"{len(findings.missing)} videos that the set names are not there."
    for probe in findings.probes:
        if probe.tells and "alone" not in probe.sees:
            yield (
                f"split {probe.fold}: {probe.sees} tell {100 * probe.accuracy:.0f} % of the test "
                f"videos ({100 * probe.low:.0f} to {100 * probe.high:.0f}), chance is "
                f"{100 * probe.chance:.0f} %."
            )
    if findings.decoders:
        files = len({each.path for each in findings.decoders})
        yield (
            f"{files} of {findings.tried} files are shown otherwise by another decoder, as "
            f"{findings.decoders[0].path}: {findings.decoders[0].decoder} "
            f"{findings.decoders[0].said}."
        )


def _looked_at(
    splits: Sequence[VideoSet], videos: Sequence[Video], options: AuditOptions
) -> tuple[dict[str, Thumbs], dict[str, Broken]]:
    """Small pictures of the videos, and the files that cannot be read, by their paths.

    Errors: UserError where no video can be read.
    """
    looked = thumbs_of(splits[0].root, videos, options.workers)
    thumbs = {path: each for path, each in looked.items() if isinstance(each, Thumbs)}
    broken = {each.path: each for split in splits for each in split.broken}
    broken |= {path: Broken(path, why) for path, why in looked.items() if isinstance(why, str)}
    if not thumbs:
        first = next(iter(broken.values()))
        raise UserError(
            f"{options.data}: no video can be read, as {first.path}: {first.reason}; fetch them "
            "again."
        )
    return thumbs, broken


def _split_groups(listed: Listed) -> tuple[str, ...]:
    """Groups with videos in several parts of a split; validated and tested is one."""
    parts: dict[tuple[int, str], set[str]] = {}
    for path, place in places_of(listed.candidates).items():
        for fold, part in place.parts.items():
            if place.group and not listed.findings[path].error:
                parts.setdefault((fold, place.group), set()).add(part)
    return tuple(sorted({group for (_, group), found in parts.items() if len(found) > 1}))

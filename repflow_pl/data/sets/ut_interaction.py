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
from collections.abc import Iterator
from pathlib import Path

from repflow_pl.data.index import Candidate, Split, data_set
from repflow_pl.data.listing.found import files_by_stem
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

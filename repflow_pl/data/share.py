"""A batch is shared out evenly among the processes that train a run together."""

from __future__ import annotations

import math
from collections.abc import Collection

from repflow_pl.errors import UserError


def check_ranks(batches: Collection[int], ranks: int) -> None:
    """Refuse batches of these sizes on so many processes, unless each divides.

    Errors: UserError, which names the counts that work for all.

    >>> check_ranks({12, 24}, 16)
    Traceback (most recent call last):
    repflow_pl.errors.UserError: a batch of 12 cannot be shared out evenly among 16 processes or \
GPUs: make a run with 1, 2, 3, 4, 6 or 12 of them.
    """
    common = math.gcd(*batches)
    works = [str(count) for count in range(1, common + 1) if common % count == 0]
    for batch in sorted(batches):
        if batch % ranks:
            some = " or ".join(filter(None, [", ".join(works[:-1]), works[-1]]))
            raise UserError(
                f"a batch of {batch} cannot be shared out evenly among {ranks} processes or GPUs: "
                f"make a run with {some} of them."
            )

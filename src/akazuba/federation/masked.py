"""The masked mode: the server sees a noised sum of at least `least` clinics and no single update.

A round of `privacy.aggregation` is one buffer. Since nobody but the clinic sees its update, the clinic
weights it itself by the release's terms, before it is clipped, rounded, noised and masked there; and since
nobody sees it, **nobody sees that it is poison**: what a liar can do is bounded by the clip and by being in
a round once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from akazuba.errors import InputError
from akazuba.federation.folding import Folding, Version
from akazuba.federation.updates import ModelRelease, Numbers
from akazuba.federation.weights import Weights
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import Checked, contribute_once
from akazuba.privacy.aggregation.server import Total
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.ledger import Ledger, Release


def contribution(
    ledger: Ledger,
    identity: Identity,
    checked: Checked,
    release: ModelRelease,
    change: Numbers,
    *,
    examples: int,
    behind: int,
    age_s: float,
    random: Callable[[int], bytes],
    bfv: Bfv | None = None,
) -> Release:
    """A clinic's upload to a round: its change weighted by the newest release's terms, then clipped, noised
    and masked; charged for in its privacy ledger, once.

    change: (dimension,). behind: versions between its base and `release`. age_s: since it was trained. Raises
    InputError for a change of another size, BudgetError when the clinic's budget does not reach.
    """
    if change.shape != (checked.plan.dimension,) or len(release.numbers) != 4 * checked.plan.dimension:
        found = f"{change.shape} and a model of {len(release.numbers) // 4}"
        raise InputError("update", f"{checked.plan.dimension} numbers, as the plan says", found)
    weights = Weights(release.cap, release.alpha, release.half_life_s, release.floor)
    weighted = change * np.float32(weights.weight(examples, behind, age_s))
    return contribute_once(ledger, identity, checked, weighted, random, bfv)


def folded(folding: Folding, total: Total, round_id: bytes, now_s: float) -> Version:
    """The version that a round's opened sum becomes. Its noise and its cost are the round's own; the folding
    adds none. Sizes are not known, so the mean is over clinics.
    """
    return folding.adopt(total.update.astype(np.float32), total.clinics, f"round {round_id.hex()}", now_s)

"""Do live decisions equal the replayed ones? Every difference is listed, measured and explained, or called unexplained.

Live and cache compute the same logits in other batches, hence with other rounding: about 1e-6. A decision may differ
only where so little is enough to cross a border. That is shown in one of two ways:

1. the sample's exits, computed once more, lead to the live decision and to the replayed one, each after moving the
   logits by at most ``NEAR`` (and float16 features by a step) before the network rounds them, where it does; the moves
   are random and seeded. This holds for every rule, also for those that count, whose score is never near anything;
2. where nobody can compute the exits again: at the earlier of the two exits, a continuous score lies within ``NEAR``
   of the threshold, but not on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.live.rows import Disagreement, Explanation
from harness.live.runner import LiveOutcome
from policies.base import ExitPolicy
from policies.evidence import EvidenceTable
from policies.spec import canonical
from policies.table import Floats, Ints, TestTable
from policies.walk import Decisions, decide

Predictions = NDArray[np.int64] | NDArray[np.float64]
NEAR = 1e-4
"""Largest distance to a border that rounding of float32 may cross."""
FEATURE_STEP = 2.0**-10
"""One step of float16, relative: cached features are rounded to it, so rounding may take the next step."""
COPIES = 200
"""Moved copies of a sample's logits that are tried."""
NEAR_TIE: Explanation = "near-tie"
PRECISION: Explanation = "precision"
UNEXPLAINED: Explanation = "unexplained"


class Replayed(NamedTuple):
    """What the replay decided.

    Attributes:
        exit_index: int64 [N], 0-based.
        prediction: class ids or values [N].
        score: float64 [N], the policy's score at that exit.
    """

    exit_index: Ints
    prediction: Predictions
    score: Floats


class Recheck(NamedTuple):
    """One sample's exits, computed again by the real network in float32.

    Attributes:
        logits: float32 [L, C], before the network rounds them to half precision, if it does.
        features: float16 [L, H].
        cached: float32 [L, C] from the cache, or None.
        half_logits: whether the network rounds them; a move of 1e-6 may then change a logit by a step of float16.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float16]
    cached: NDArray[np.float32] | None
    half_logits: bool = False

    def as_output(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Such logits as the network gives them."""
        return logits.astype(np.float16 if self.half_logits else np.float32).astype(np.float32)


class Pair(NamedTuple):
    """A policy, and all it decided twice.

    Attributes:
        policy: the one that decided both.
        live: outcomes [N].
        replayed: decisions [N].
        sample_ids: int64 [N].
    """

    policy: ExitPolicy
    live: LiveOutcome
    replayed: Replayed
    sample_ids: Ints


def disagreements(
    pair: Pair, recheck: Callable[[int], Recheck] | None = None, *, dtype: str = "float32"
) -> list[Disagreement]:
    """List the samples whose exit or prediction differs; values of a regression differ from ``NEAR`` on.

    Args:
        pair: what to compare.
        recheck: computes all exits of the sample at a position again; called for disagreements only.
        dtype: the arithmetic of the live run; lower ones than float32 are an explanation of their own.
    """
    live, replayed = pair.live, pair.replayed
    other = ~_close(live.prediction, replayed.prediction) | (live.exit_index != replayed.exit_index)
    return [_explained(pair, row, recheck, dtype) for row in np.flatnonzero(other).tolist()]


def _explained(pair: Pair, row: int, recheck: Callable[[int], Recheck] | None, dtype: str) -> Disagreement:
    policy, live, replayed, sample_ids = pair
    distance = _distance(pair, row)
    difference = None
    if recheck is not None:
        again = recheck(row)
        if again.cached is not None:
            difference = float(np.abs(again.as_output(again.logits) - again.cached).max())
        explanation, detail = _by_moving_logits(pair, row, again, dtype)
    elif distance is not None and 0 < distance < NEAR:
        explanation, detail = NEAR_TIE, f"the score lies {distance:.1e} from the threshold"
    else:
        explanation, detail = UNEXPLAINED, "the score is not near the threshold"
    return Disagreement(
        policy=canonical(policy),
        sample_id=int(sample_ids[row]),
        live_exit=int(live.exit_index[row]) + 1,
        replayed_exit=int(replayed.exit_index[row]) + 1,
        live_prediction=float(live.prediction[row]),
        replayed_prediction=float(replayed.prediction[row]),
        live_score=_finite(live.score[row]),
        replayed_score=_finite(replayed.score[row]),
        distance=distance,
        logit_difference=difference,
        explanation=explanation,
        detail=detail,
    )


def _by_moving_logits(pair: Pair, row: int, again: Recheck, dtype: str) -> tuple[Explanation, str]:
    live_found, replayed_found = False, False
    for decision in _nearby(pair.policy, again, int(pair.sample_ids[row])):
        live_found |= _is_same(decision, pair.live, row)
        replayed_found |= _is_same(decision, pair.replayed, row)
        if live_found and replayed_found:
            return NEAR_TIE, f"logits within {NEAR:g} of the network's own lead to either decision"
    if replayed_found and dtype != "float32":
        return PRECISION, f"in float32 the network leads to the replayed decision; {dtype} moved it"
    if replayed_found:
        return UNEXPLAINED, "the network's logits lead to the replayed decision, not to the live one"
    if live_found:
        return UNEXPLAINED, "the network's logits lead to the live decision, not to the replayed one: is the cache its?"
    return UNEXPLAINED, "the network's logits lead neither to the live decision nor to the replayed one"


def _nearby(policy: ExitPolicy, again: Recheck, sample_id: int) -> Iterator[Decisions]:
    """Decisions on the logits as they are, then on copies moved at random by up to NEAR."""
    rng = np.random.default_rng(sample_id)
    regression = again.logits.shape[1] == 1
    label = np.zeros(1) if regression else np.zeros(1, np.int64)
    size = 0.0
    for _ in range(COPIES):
        logits = again.logits + size * NEAR * rng.uniform(-1, 1, again.logits.shape)
        features = again.features * (1 + size * FEATURE_STEP * rng.uniform(-1, 1, again.features.shape))
        table = TestTable(
            again.as_output(logits)[None],
            label,
            np.array([sample_id]),
            features=features[None].astype(np.float16),
        )
        yield decide(policy, EvidenceTable(table))
        size = 1.0


def _is_same(decision: Decisions, other: LiveOutcome | Replayed, row: int) -> bool:
    rows = slice(row, row + 1)
    return bool(decision.exit_index[0] == other.exit_index[row] and _close(decision.prediction, other.prediction[rows]))


def _close(one: Predictions, other: Predictions) -> NDArray[np.bool_]:
    if np.issubdtype(one.dtype, np.integer):
        return np.asarray(one == other)
    return np.asarray(np.abs(one - other) <= NEAR * np.maximum(1.0, np.abs(other)))


def _distance(pair: Pair, row: int) -> float | None:
    """|score - threshold| at the earlier exit, of the side that left there."""
    first = pair.live if pair.live.exit_index[row] <= pair.replayed.exit_index[row] else pair.replayed
    exit_index, level = int(first.exit_index[row]), pair.policy.level
    if isinstance(level, tuple):
        level = level[exit_index] if exit_index < len(level) else None
    return None if level is None else _finite(abs(first.score[row] - level))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

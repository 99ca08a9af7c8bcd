"""The anti-cheat pass: does anything remember its inputs?

A network that has seen an input may answer it from memory (a cache of results, of tokens, of compiled shapes), and a
timing that repeats inputs then measures the memory. So as many unique batches are timed as repetitions of a few of the
same shapes, before anything else has seen them, side by side:

    ratio = time of unique inputs / time of repeated inputs of equal shapes

About 1 for an honest network; clearly above 1, times on repeated inputs are not to be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.live.protocol import Clock, Entrant, Hook, Plan, measure
from harness.live.verdict import Ratio, paired_ratio

MOST = 256
"""Batches of each kind at most."""
SECONDS = 4.0
SUSPICIOUS = 1.10
"""Lower end of the ratio's interval from which on inputs count as remembered."""
REMEMBERED = (
    "repeated inputs are suspiciously fast, so something remembers inputs: switch off caches of results, tokens or "
    "shapes, and run again"
)


def representatives(shapes: Sequence[object]) -> list[int]:
    """Return for every batch the first one of the same shape."""
    first: dict[object, int] = {}
    return [first.setdefault(shape, item) for item, shape in enumerate(shapes)]


def unique_over_repeated(
    run: Callable[[int], object],
    shapes: Sequence[object],
    *,
    prepare: Hook,
    seed: int = 0,
    clock: Clock | None = None,
    synchronise: Callable[[], None] | None = None,
) -> Ratio | None:
    """Time unique batches against repeated ones; None where too little could be timed for a ratio.

    Args:
        run: the bare network on a batch.
        shapes: of every batch, anything that can be compared.
        prepare: loads batches.
        seed: of the order.
        clock: the real one by default.
        synchronise: waits for the device.
    """
    again = representatives(shapes)
    n = min(MOST, len(shapes))

    def load(items: Sequence[int]) -> None:
        prepare(sorted({*items, *(again[item] for item in items)}))

    unique, repeated = Entrant("unique", run), Entrant("repeated", lambda item: run(again[item]))
    plan = Plan(warm_up=4, block=8, min_duration_s=0, min_items=0, max_duration_s=SECONDS, seed=seed)
    timings = measure([unique, repeated], n, plan, clock=clock, synchronise=synchronise, prepare=load)
    return paired_ratio(timings.series["unique"], timings.series["repeated"], seed=seed)


def remembers(ratio: Ratio | None) -> bool:
    """Whether repeated inputs are suspiciously fast."""
    return ratio is not None and ratio.low > SUSPICIOUS

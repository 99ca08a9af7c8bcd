"""What the exits so far say together: cheap evidence that a rule accumulates on its way."""

from __future__ import annotations

import math

import numpy as np

from policies.base import State
from policies.evidence import Evidence
from policies.table import Floats

LEAST_DOUBT = 1e-6
"""Smallest 1 - confidence told apart: below it float32 logits hold little but rounding."""
N_NUMBERS = 6


def agreement_run(state: State, evidence: Evidence) -> tuple[State, Floats]:
    """Return the state after this exit and how many exits in a row, this one included, predict its label [B].

    The state it returns holds ``run`` and ``label`` only.
    """
    run = np.ones(len(evidence))
    if "run" in state:
        run += state["run"] * (evidence.label == state["label"])
    return {"run": run, "label": evidence.label}, run


def cheap_numbers(state: State, evidence: Evidence) -> tuple[State, Floats]:
    """Return the state after this exit and what is known so far as N_NUMBERS numbers [B, 6].

    At exit i (from 1), with the labels y_j and probabilities p_j of the exits so far:

        ln c / (1 - c)          with c = max p_i
        H_i / ln C
        p_(1) - p_(2)
        run / i                 exits in a row with this label
        2 S / (i (i + 1))       BEEM's score with weights j: the sum of j c_j over that run
        ln e / (1 - e)          with e = largest mean probability over exits 1..i

    Reads label, confidence, entropy, margin and probs; defined for C >= 2.
    """
    depth = evidence.exit_index + 1
    confidence = evidence.confidence
    kept, run = agreement_run(state, evidence)
    beem, total = depth * confidence, evidence.probs
    if "beem" in state:
        beem = beem + state["beem"] * (run > 1.0)
        total = total + state["total"]
    ensemble = total.max(axis=1) / depth
    numbers = (
        _log_odds(confidence),
        evidence.entropy / math.log(evidence.n_outputs),
        evidence.margin,
        run / depth,
        beem / (depth * (depth + 1) / 2),
        _log_odds(ensemble),
    )
    return kept | {"beem": beem, "total": total}, np.stack(numbers, axis=1)


def _log_odds(probability: Floats) -> Floats:
    return np.log(probability / np.maximum(1.0 - probability, LEAST_DOUBT))

"""What the exits so far say together: evidence that a rule accumulates on its way."""

from __future__ import annotations

import numpy as np

from policies.base import State
from policies.evidence import Evidence
from policies.table import Floats


def agreement_run(state: State, evidence: Evidence) -> tuple[State, Floats]:
    """Return the state after this exit and how many exits in a row, this one included, predict its label [B].

    The state it returns holds ``run`` and ``label`` only.
    """
    run = np.ones(len(evidence))
    if "run" in state:
        run += state["run"] * (evidence.label == state["label"])
    return {"run": run, "label": evidence.label}, run

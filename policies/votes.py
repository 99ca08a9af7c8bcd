"""Exits as voters: the sample leaves when enough of them agree on a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence
from policies.parameters import Threshold, knob, parameter
from policies.table import Floats, Ints


@dataclass(frozen=True, slots=True)
class Vote(ExitPolicy):
    """Leave when enough of the exits so far vote for one class, in whatever order.

    max_c #{j <= i: y_j = c} >= votes; answer: the class with most votes (ties: the first class), also for samples that
    nobody released. votes >= 1.

    Reference: Sun et al., Early Exiting with Ensemble Internal Classifiers (arXiv 2105.13792), in the form a survey
    gives it ("if a certain number of classifiers agree"); the paper's own normalisation and code were not found.
    """

    votes: int | None = knob(low=1)
    name = "vote"
    needs = frozenset({"label"})
    knob = "votes"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: votes of the leading class."""
        state, most, leader = count_votes(state, evidence)
        return state, most, leader


@dataclass(frozen=True, slots=True)
class VoteShare(ExitPolicy):
    """Leave when a large enough share of the exits so far votes for one class.

    max_c #{j <= i: y_j = c} / i >= share, tested from exit ``min_exit`` on; answer: the class with most votes (ties:
    the first class), also for samples that nobody released. At exit 1 the share is always 1, so min_exit = 1 answers
    everything there; the default 2 is ours.

    Reference: the "vote" mode of EENet's code (Ilhan et al., WACV 2024), which counts the votes of the largest label
    instead of the leading one and breaks ties by noise; here the leader counts and the first class wins ties.
    """

    share: Threshold = knob(low=0, high=1)
    min_exit: int = parameter(2, low=1)
    name = "vote_share"
    needs = frozenset({"label"})
    knob = "share"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the share of the leading class; none before ``min_exit``."""
        state, most, leader = count_votes(state, evidence)
        exits = evidence.exit_index + 1
        return state, most / exits if exits >= self.min_exit else np.full(len(evidence), np.nan), leader


def count_votes(state: State, evidence: Evidence) -> tuple[State, Floats, Ints]:
    """Return the state with this exit's vote, the votes [B] of the leading class, and that class [B].

    Only the class just voted for can catch up with the leader, so the labels seen are all that has to be kept: the
    state grows with the exits, not with the classes.
    """
    label = evidence.label
    votes = np.ones(len(evidence))
    for j in range(evidence.exit_index):
        votes += state[f"label.{j}"] == label
    most, leader = votes, label
    if evidence.exit_index:
        before, leader_before = state["most"], state["leader"]
        most = np.maximum(votes, before)
        tied = np.where(votes == before, np.minimum(label, leader_before), leader_before)
        leader = np.where(votes > before, label, tied)
    return state | {f"label.{evidence.exit_index}": label, "most": most, "leader": leader}, most, leader

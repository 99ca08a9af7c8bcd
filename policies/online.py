"""Bandits over exits and thresholds: rules that need no calibration and learn while they serve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.parameters import parameter
from policies.stream import Arms, OnlinePolicy
from policies.table import ExitTable, Floats, Ints


@dataclass(frozen=True, slots=True)
class UcbExit(OnlinePolicy):
    """Learn which exit to give to everybody, by how often exits disagree with the first.

    Exit of the t-th sample: argmax_j P_j + c_1 - c_j + sqrt(alpha ln t / N_j), where P_j is the share of samples seen
    so far on which exit j disagrees with exit 1, N_j how many samples were seen at exit j, and c_j the cost of exit j
    as a share of that of the last. The first sample goes to the last exit; leaving at j reveals exits 1..j. Published:
    alpha 1, costs in layers.

    Reference: UEE-UCB (Hanawal et al., Unsupervised early exit, 2022), which assumes that an exit that is right stays
    right; where deep exits disagree because they are wrong, it goes too deep. Its regret is measured by error and cost.
    """

    alpha: float = parameter(1.0, low=0)
    unit: str = parameter("layers")
    seed: int = parameter(0, low=0)
    name = "ucb_exit"
    needs = frozenset({"label"})

    def arms(self, evidence: EvidenceTable) -> Arms:
        """One arm an exit; reward: whether it disagrees with exit 1, less what it costs more."""
        label = evidence.quantity("label")
        cost = cost_shares(self.name, evidence.table, self.unit)[:, None]
        exits = np.arange(len(label))[:, None]
        return Arms(np.broadcast_to(exits, label.shape), (label != label[0]) + cost[0] - cost)

    def bonus(self, time: int, counts: Floats) -> Floats:
        """Return sqrt(alpha ln t / N_j), the sample at hand being the t-th."""
        bonus: Floats = np.sqrt(self.alpha * np.log(time + 1) / counts)
        return bonus

    def opening(self, n_arms: int) -> range:
        """Return the last exit, which reveals all."""
        return range(n_arms - 1, n_arms)

    def feedback(self, arms: Arms, evidence: EvidenceTable, played: int, row: int) -> tuple[slice, Floats]:
        """Credit every exit on the way."""
        here = slice(0, played + 1)
        return here, arms.reward[here, row]

    def worth(self, arms: Arms, evidence: EvidenceTable, labels: Ints) -> Floats:
        """Return minus the error and the cost of every exit."""
        cost = cost_shares(self.name, evidence.table, self.unit)
        error: Floats = (evidence.quantity("label") != labels).mean(axis=1)
        return -(error + cost)


@dataclass(frozen=True, slots=True)
class SplitEe(OnlinePolicy):
    """Learn at which exit to look: whoever is confident there leaves, the others go to the last exit.

    Arm j: leave at exit j if max p_j >= threshold, else at the last exit. Reward: max p_j - price j for those who leave
    at j, max p_L - offload - price j for the others (without the offload at j = L). Arm of the t-th sample:
    argmax_j mean reward + explore sqrt(ln t / N_j); the first L samples try all arms. With side_information, all arms
    up to j are credited. Published: threshold .7 to .85 by data set, price .1 a layer, offload .1 to .6, explore 1.

    Reference: SplitEE and, with side_information, SplitEE-S (Bajpai et al., 2023), where the last exit is a server. The
    released SplitEE-S credits an unconfident arm below j with max p_L also when the sample has left at j and nobody
    computed it; here the confidence at j stands in for it. The samples that try arms out count as decided.
    """

    offload: float = parameter(0.1, low=0)
    side_information: bool = parameter(default=False)
    threshold: float = parameter(0.7, low=0, high=1)
    price: float = parameter(0.1, low=0)
    explore: float = parameter(1.0, low=0)
    seed: int = parameter(0, low=0)
    name = "splitee"
    needs = frozenset({"label", "confidence"})

    def arms(self, evidence: EvidenceTable) -> Arms:
        """One arm an exit."""
        confidence = evidence.quantity("confidence").astype(np.float64)
        exits = np.arange(len(confidence))[:, None]
        leaves = confidence >= self.threshold
        leaves[-1] = True
        gain = np.where(leaves, confidence, confidence[-1] - self.offload)
        return Arms(np.where(leaves, exits, len(exits) - 1), gain - self.price * (exits + 1))

    def bonus(self, time: int, counts: Floats) -> Floats:
        """Return explore sqrt(ln t / N_j), the sample at hand being the t-th."""
        bonus: Floats = self.explore * np.sqrt(np.log(time + 1) / counts)
        return bonus

    def feedback(self, arms: Arms, evidence: EvidenceTable, played: int, row: int) -> tuple[slice, Floats]:
        """Credit the arm that was played, or with side information those up to it."""
        if not self.side_information:
            return OnlinePolicy.feedback(self, arms, evidence, played, row)
        here = slice(0, played + 1)
        seen = arms.exit_index[played, row]
        stand_in = evidence.quantity("confidence")[seen, row] - self.offload - self.price * np.arange(1, played + 2)
        return here, np.where(arms.exit_index[here, row] <= seen, arms.reward[here, row], stand_in)


@dataclass(frozen=True, slots=True)
class UcbThreshold(OnlinePolicy):
    """Learn which confidence threshold pays.

    Arm a: leave at the first exit with max p_i >= thresholds[a]. Reward of leaving at exit i:
    max p_i - max p_1 - overhead (i - 1) / (L - 1), so 0 at exit 1. Arm of the t-th sample: argmax_a mean reward +
    explore sqrt(ln (t - 1) / N_a); the first samples try all arms. Published: thresholds .5, .55, ..., .95, overhead
    .1, explore 2.

    Reference: UBERT and CeeBERT (Bajpai and Hanawal, 2023/24; the released notebooks have two exits, where this is
    their rule) and A-CapEEN (2024), whose overhead grows with depth over several exits as here, but which learns one
    threshold for each exit and credits other arms with the reward of the one that was played.
    """

    thresholds: tuple[float, ...] = parameter((0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95), low=0, high=1)
    overhead: float = parameter(0.1, low=0)
    explore: float = parameter(2.0, low=0)
    seed: int = parameter(0, low=0)
    name = "ucb_threshold"
    needs = frozenset({"label", "confidence"})

    def arms(self, evidence: EvidenceTable) -> Arms:
        """One arm a threshold."""
        if not self.thresholds:
            raise PolicyError("ucb_threshold: thresholds is empty: give at least one number, e.g. [0.7, 0.9]")
        confidence = evidence.quantity("confidence").astype(np.float64)
        last, rows = len(confidence) - 1, np.arange(confidence.shape[1])
        exits = np.empty((len(self.thresholds), len(rows)), np.int64)
        for a, threshold in enumerate(self.thresholds):
            leaves = confidence >= threshold
            leaves[-1] = True
            exits[a] = leaves.argmax(axis=0)
        reward = confidence[exits, rows] - confidence[0] - self.overhead * exits / max(last, 1)
        return Arms(exits, reward)

    def bonus(self, time: int, counts: Floats) -> Floats:
        """Return explore sqrt(ln t / N_a) after t samples."""
        bonus: Floats = self.explore * np.sqrt(np.log(time) / counts)
        return bonus


def cost_shares(name: str, table: ExitTable, unit: str) -> Floats:
    """Return the mean cost [L] of every exit as a share of that of the last.

    Raises:
        PolicyError: the table has no such unit, or the last exit costs nothing in it.
    """
    cost: Floats = table.cost(unit).mean(axis=0)
    if not cost[-1] > 0:
        raise PolicyError(
            f"{name}: in '{unit}' the last exit costs nothing, so there is nothing to save: "
            f"choose another unit of {', '.join(sorted(table.costs))}"
        )
    cost /= cost[-1]
    return cost

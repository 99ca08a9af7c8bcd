"""A few hand-made rows of every study, round numbers that can be found again in the tables."""

from __future__ import annotations

ALL = "all data sets"
NAN = float("nan")


def area(cell, policy, gain, volume, n=100):
    return {
        "cell": cell, "policy": policy, "metric": "accuracy", "n": n,
        "mean_gain": gain, "mean_gain_low": gain - 0.01, "mean_gain_high": gain + 0.01,
        "hypervolume": volume, "hypervolume_low": volume - 0.02, "hypervolume_high": volume + 0.02,
    }  # fmt: skip


def ranked(by, place, policy, mean_rank, alike_until, difference=1.1):
    return {
        "by": by, "place": place, "policy": policy, "mean_rank": mean_rank, "n_blocks": 9, "n_policies": 3,
        "critical_difference": difference, "friedman_chi2": 7.1, "friedman_p": 0.0004, "alike_until": alike_until,
    }  # fmt: skip


def leak(cell, policy, flatters):
    return {
        "cell": cell, "policy": policy, "operating": "match_final(tolerance=0)", "metric": "accuracy", "n": None,
        "delta_calibration": -flatters, "delta_published": 0.0, "speedup_calibration": 1.5, "speedup_published": 1.25,
        "flatters": flatters, "flatters_low": flatters - 0.01, "flatters_high": flatters + 0.01,
        "flatters_speedup": -0.25, "flatters_speedup_low": -0.5, "flatters_speedup_high": 0.0,
        "optimism": 0.004, "optimism_speedup": NAN,
    }  # fmt: skip


def moved(cell, source, kind, difference):
    return {
        "cell": cell, "source": source, "kind": kind, "policy": "max_prob", "operating": "match_final(tolerance=0)",
        "metric": "accuracy", "n": 100, "delta_own": -0.01, "delta": -0.01 + difference, "difference": difference,
        "difference_low": difference - 0.015, "difference_high": difference + 0.015, "speedup_own": 2.0, "speedup": 1.5,
    }  # fmt: skip


def size(cell, n, repeats, delta):
    return {
        "cell": cell, "policy": "max_prob", "operating": "match_final(tolerance=0)", "metric": "accuracy",
        "n_calibration": n, "repeats": repeats, "delta": delta, "delta_q05": 2 * delta, "delta_q95": 0.0,
        "worse": 0.5, "speedup": 1.5, "no_threshold": 0.0,
    }  # fmt: skip


def claim(cell, verdict, difference, reason="", **changes):
    return {
        "place": 0, "claim": "a-beats-b", "paper": "P & Q", "statement": "A beats B", "source": "P, 2020",
        "test": "a - b > 0, mean over speed-up 1.5 to 2", "cell": cell, "n_cells": 3, "metric": "accuracy", "n": 100,
        "value_a": 0.9, "value_b": 0.8, "speedup_a": 1.75, "speedup_b": 1.75, "difference": difference,
        "low": difference - 0.01, "high": difference + 0.01, "p_value": 0.0001, "p_holm": 0.0004, "detectable": 0.02,
        "verdict": verdict, "reason": reason,
    } | changes  # fmt: skip


def stand(place, policy, speedup, gain, ahead, front, **changes):
    return {
        "task": "classification", "place": place, "policy": policy, "family": "confidence",
        "operating": "match_final(tolerance=0)", "causal": True, "n_cells": 3, "n_datasets": 2, "n_skipped": 0,
        "n_invalid": 0, "n_unasked": 0,
        "speedup": speedup, "speedup_low": speedup - 0.25, "speedup_high": speedup + 0.25,
        "delta": -0.005, "delta_low": -0.015, "delta_high": 0.005, "gain": gain, "gain_low": gain - 0.01,
        "gain_high": gain + 0.01, "ahead": ahead, "ahead_low": ahead - 0.01, "ahead_high": ahead + 0.01,
        "front": front, "front_cells": 2,
    } | changes  # fmt: skip


ROWS = {
    "catalogue": [
        stand(1, "max_prob", 2.5, 0.03, 0.02, "yes"),
        stand(2, "beem_a", 2.25, 0.015, 0.005, "no", family="beem"),
        stand(3, "beem_c(cost=0.1)", 2.0, 0.01, 0.0, "no", family="beem"),
        stand(4, "pabee(tolerance=0)", 1.5, -0.02, -0.03, "no"),
        stand(5, "lte", 1.25, 0.005, -0.015, "", n_cells=1, n_datasets=1, n_skipped=1, n_invalid=1, n_unasked=4),
        stand(6, "oracle", 4.0, NAN, NAN, "", operating="–", causal=False, front_cells=None),
    ],
    "area": [
        area("a.x.s0", "max_prob", 0.02, 0.3), area("a.x.s1", "max_prob", 0.04, 0.3),
        area("a.y.s0", "max_prob", 0.01, 0.2),
        area("a.x", "max_prob", 0.03, 0.3, None), area(ALL, "max_prob", 0.02, 0.25, None),
        area("a.x", "pabee(tolerance=0)", 0.05, 0.3, None), area(ALL, "pabee(tolerance=0)", -0.01, 0.25, None),
    ],
    "ranks": [
        ranked("mean_gain", 1, "max_prob", 1.25, 2), ranked("mean_gain", 2, "pabee(tolerance=0)", 2.0, 3),
        ranked("mean_gain", 3, "pabee(tolerance=0.5)", 2.75, 3), ranked("hypervolume", 1, "max_prob", 1.0, 1),
    ],
    "power": [
        {"cell": "a.x.s0", "metric": "accuracy", "n": 449, "final": 0.98, "discordance": 0.0156, "detectable": 0.0176,
         "detectable_samples": 7.9, "seed": 2541831888306916, "seed_of_seeds": 34},
        {"cell": "a.z.s0", "metric": "pearson", "n": 99, "final": 0.5, "discordance": NAN, "detectable": NAN,
         "detectable_samples": NAN, "seed": 56, "seed_of_seeds": 78},
    ],
    "leak": [leak("a.x.s0", "max_prob", 0.03), leak("a.x", "max_prob", 0.02), leak(ALL, "max_prob", 0.01)],
    "transfer": [
        moved("a.x.s0", "a.x.s1", "seed", 0.0), moved("a.x.s1", "a.x.s0", "seed", -0.02),
        moved("b.x.s0", "a.x.s0", "network", 0.03),
    ],
    "sizes": [
        size("a.x.s0", 50, 100, -0.02), size("a.x.s0", 120, 1, -0.01), size("a.x.s1", 50, 100, -0.04),
        size("a.x.s1", 120, 1, 0.0), size("a.y.s0", 50, 100, -0.01), size("a.y.s0", 100, 100, -0.005),
        size("a.y.s0", 500, 1, 0.0),
    ],
    "claims": [
        claim("a.x.s0", "holds", 0.05), claim("a.x.s1", "not decidable", 0.0, "the interval allows both"),
        claim("a.y.s0", "does not hold", -0.05), claim(ALL, "holds", 0.025),
        claim(ALL, "not decidable", NAN, "no cell can answer it", claim="c-beats-d", n_cells=0, p_holm=NAN,
              detectable=NAN, metric=""),
    ],
}  # fmt: skip

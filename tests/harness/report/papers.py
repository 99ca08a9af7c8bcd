"""A few hand-made rows of every frame like those of the papers, round numbers that can be found again."""

from __future__ import annotations

NAN = float("nan")


def point(backbone, dataset, policy, at, value, speedup, **changes):
    full = at == "full"
    return {
        "backbone": backbone, "dataset": dataset, "task": "classification", "metric": "accuracy", "policy": policy,
        "spec": policy, "point": at, "causal": policy != "oracle", "n": 100, "n_seeds": 1, "n_exits": 4,
        "value": value, "low": value - 0.05, "high": value + 0.05, "value_sd": NAN,
        "delta": NAN if full else value - 0.9, "delta_low": NAN if full else value - 0.92,
        "delta_high": NAN if full else value - 0.88, "speedup": speedup,
        "speedup_low": speedup, "speedup_high": speedup,
        "p_value": NAN if full else 0.01, "p_holm": NAN if full else 0.04, "mark": "" if full else "~",
    } | changes  # fmt: skip


def beside(line, method, published, **changes):
    return {
        "dataset": "rte", "policy": "pabee", "paper": "PABEE", "year": "2020", "method": method,
        "backbone": "ALBERT-base", "split": "dev", "metric": "acc (README)", "published": published,
        "published_change": 1.5, "is_difference": False, "published_speedup": "1.57x", "published_ratio": 1.57,
        "speedup_of": "layers", "speedup_definition": "L / mean exit", "our_backbone": "small",
        "our_metric": "accuracy", "our_point": "1.5x", "n_seeds": 3, "our_value": 0.6,
        "our_low": 0.5, "our_high": 0.7, "our_delta": 0.01,
        "our_delta_low": -0.02, "our_delta_high": 0.04, "our_speedup": 1.5, "differs": "backbone, protocol",
        "source": "a README", "file": "f.csv", "line": line,
    } | changes  # fmt: skip


def bin_(cell, exit_, low, n, accuracy, ece=0.1):
    return {
        "cell": cell, "exit": exit_, "bin_low": low, "bin_high": low + 0.1, "n": n, "confidence": low + 0.05,
        "accuracy": accuracy, "ece": ece,
    }  # fmt: skip


def agree(cell, exit_, other, value, kind="equal answers"):
    return {"cell": cell, "exit": exit_, "other_exit": other, "kind": kind, "agreement": value}


def change(cell, exit_, lost, ever, won):
    row = {"cell": cell, "exit": exit_, "n": 100}
    for name, share in (("lost", lost), ("ever_lost", ever), ("won", won)):
        row |= {name: share, f"{name}_low": max(0.0, share - 0.01), f"{name}_high": share + 0.01}
    return row


def three(name, value, half=0.01):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def recipe(name, last, front=NAN, *, cost=NAN, cost_p=NAN, ahead=NAN, ahead_p=NAN, dataset="x", **changes):
    return {
        "network": "net", "dataset": dataset, "recipe": name, "metric": "accuracy", "n": 100, "n_exits": 3,
        "n_seeds": 1, "n_seeds_known": 1, "last_sd": NAN, **three("last", last), **three("exits", front - 0.1),
        **three("front", front), **three("front_slow", front + 0.1), **three("gain", front - 0.7),
        **three("cost", cost), "cost_detectable": 0.014, "cost_p_holm": cost_p,
        **three("ahead", ahead), "ahead_detectable": 0.014, "ahead_p_holm": ahead_p,
        **three("ahead_slow", ahead), "ahead_slow_detectable": 0.014, "ahead_slow_p_holm": ahead_p,
    } | changes  # fmt: skip


def recipe_exit(name, exit_, value, *, n_exits=3, dataset="x"):
    return {
        "network": "net", "dataset": dataset, "recipe": name, "metric": "accuracy", "exit": exit_,
        "is_last": exit_ == n_exits, "n_exits": n_exits, "n_seeds": 1, **three("value", value),
    }  # fmt: skip


def verdict(claim, said, sentence, dataset="x", network="net"):
    return {
        "claim": claim, "network": network, "dataset": dataset, "metric": "accuracy", "recipe": "joint",
        **three("difference", -0.02), "n_seeds": 1, "verdict": said, "sentence": sentence,
    }  # fmt: skip


ROWS = {
    "points": [
        point("small", "rte", "final", "full", 0.9, 1.0),
        point("small", "rte", "max_prob", "no loss", 0.95, 1.25, mark="+"),
        point("small", "rte", "oracle", "no loss", 0.99, 3.0),
        point("small", "rte", "static exit", "2x", 0.7, 2.0, mark="-"),
        point("small", "rte", "max_prob", "2x", 0.8, 2.12, mark="–", p_value=NAN, p_holm=NAN),
        point("small", "sts", "final", "full", 0.8, 1.0, metric="pearson", n_seeds=3, task="regression"),
        point("small", "sts", "pabee(tolerance=0.25)", "no loss", 0.81, 1.5, metric="pearson", n_seeds=3),
        point("other", "rte", "final", "full", 0.6, 1.0),
    ],
    "absent": [{"backbone": "small", "dataset": "cola", "status": "skipped", "reason": "no weights"}],
    "published": [
        beside(2, "PABEE", 80.1),
        beside(3, "DeeBERT", -1.4, is_difference=True, published_change=-1.4, published_ratio=1.67, speedup_of="time"),
        beside(4, "BERxiT", 70.0, our_backbone="", our_metric="", our_value=NAN, our_low=NAN, our_high=NAN,
               our_delta=NAN, our_delta_low=NAN, our_delta_high=NAN, our_speedup=NAN, differs="", n_seeds=None,
               published_ratio=NAN, published_speedup="within 1.89x-2.09x", published_change=NAN),
    ],
    "reliability": [
        bin_("a.x.s0", 1, 0.5, 30, 0.5), bin_("a.x.s0", 1, 0.9, 70, 0.9), bin_("a.x.s0", 2, 0.9, 100, 1.0),
        bin_("a.x.s1", 1, 0.5, 10, 0.9, ece=0.3), bin_("a.x.s1", 2, 0.9, 100, 0.9),
    ],
    "agreement": [
        *(agree(f"a.x.s{s}", i, j, 1.0 if i == j else 0.6 + 0.2 * s) for s in (0, 1) for i in (1, 2) for j in (1, 2)),
        *(agree("c.sts.s0", i, j, 1.0 if i == j else NAN, "correlation") for i in (1, 2) for j in (1, 2)),
    ],
    "overthinking": [
        change("a.x.s0", 1, 0.04, 0.04, 0.5), change("a.x.s0", 2, 0.0, 0.04, 0.0),
        change("a.x.s1", 1, 0.02, 0.02, 0.3), change("a.x.s1", 2, 0.0, 0.02, 0.0),
    ],
    "recipes": [
        recipe("single_exit", 0.9),
        recipe("joint", 0.88, 0.8, cost=-0.02, cost_p=0.01, n_seeds_known=3, last_sd=0.012),
        recipe("two_stage", 0.9, 0.7, cost=0.0, cost_p=1.0, ahead=-0.1, ahead_p=0.002),
        recipe("single_exit", 0.7, dataset="y"),
        recipe("joint", 0.7, 0.6, cost=0.0, cost_p=0.9, dataset="y"),
    ],
    "recipe_exits": [
        recipe_exit("single_exit", 1, 0.9, n_exits=1),
        *(recipe_exit("joint", i, 0.6 + 0.1 * i) for i in (1, 2, 3)),
        *(recipe_exit("two_stage", i, 0.3 + 0.2 * i) for i in (1, 2, 3)),
        *(recipe_exit("joint", i, 0.5, dataset="y") for i in (1, 2, 3)),
    ],
    "recipe_verdicts": [
        verdict("joint training costs the last exit", "holds", "holds: it does."),
        verdict("joint training costs the last exit", "not decidable", "not decidable: mean.", "all data sets", ""),
    ],
}  # fmt: skip
NOTHING = {name: [] for name in ROWS}
